"""How good a model is: `evaluator` sends a data set through the predictor, `coco_ap` scores what comes back."""
