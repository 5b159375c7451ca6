"""How good a model is: `evaluate` runs a predictor on a dataset, `coco_ap` scores the results."""

from inspose_jax.evaluation.evaluator import evaluate

__all__ = ["evaluate"]
