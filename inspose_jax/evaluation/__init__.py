"""How good a model is: `evaluate` sends a dataset through a predictor, `coco_ap` scores what comes back."""

from inspose_jax.evaluation.evaluator import evaluate

__all__ = ["evaluate"]
