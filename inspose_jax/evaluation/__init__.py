"""How good a model is: `evaluator.evaluate` sends a data set through a predictor, `coco_ap` scores what comes back."""
