"""Models with random weights that find somebody: ours, and the same ones in PyTorch; small ones of both variants."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tiny
import torch

from inspose_jax import config, recipes
from inspose_jax.config import Config
from inspose_jax.predictor import Predictor
from inspose_jax.skeletons import COCO
from inspose_jax.torch_bridge import export, inspose_torch, variants

torch.set_num_threads(1)  # tests run beside each other
FIVE = COCO.subset("nose", "left_wrist", "right_wrist", "left_hip", "right_hip")
CHANNELS = ("fpn_channels", "head_channels", "coarse_channels", "keypoint_channels", "dense_channels")
RELEASED = config.replace(tiny.RELEASED, backbone_widths=(4, 8, 16, 32), num_poses=30, **dict.fromkeys(CHANNELS, 16))
PAPER = tiny.model(score_threshold=0.3, nms_threshold=0.9, num_candidates=60, num_poses=50)
SIZES = {"test_short_side": 128, "long_side": 192, "shapes": ((128, 192), (192, 128))}
PAPERS = replace(tiny.CONFIG, model=PAPER, data=replace(tiny.CONFIG.data, **SIZES))
RECIPE = recipes.read("released_r50_coco_3x").config
RELEASEDS = replace(RECIPE, model=RELEASED, data=replace(RECIPE.data, **SIZES))


def with_five_joints(given: Config, **fields: Any) -> Config:
    """The config with other joints, and with other values in some fields of the model."""
    return replace(given, model=config.replace(given.model, skeleton=FIVE, **fields))


def both(given: Config, module: Any = inspose_torch) -> tuple[Predictor, Any]:
    """Our predictor with a config, and the same model in PyTorch, from the package or a copy of its file."""
    with torch.device("meta"):  # takes no memory and no random numbers
        theirs = module.InsPose(export.torch_config(given))
    tensors = random_tensors(theirs)
    variables = variants.variables_of(Path("random"), tensors, given.model)
    theirs.load_state_dict({name: torch.tensor(x) for name, x in tensors.items()}, assign=True)
    return Predictor(given, variables), theirs.eval()


def random_tensors(model: torch.nn.Module, seed: int = 0) -> dict[str, np.ndarray]:
    """A state_dict for a model: somebody is found everywhere, and no norm is trivial."""
    rng = np.random.default_rng(seed)

    def random(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if not shape:
            return np.zeros((), np.int64)
        if len(shape) > 1:
            return rng.normal(0, np.prod(shape[1:]) ** -0.5, shape).astype(np.float32)
        is_scale = name.endswith(("running_var", "bn1.weight", "bn2.weight", "bn3.weight", "gn.weight"))
        return rng.uniform(*((0.5, 1.5) if is_scale else (-0.2, 0.2)), shape).astype(np.float32)

    return {name: random(name, tuple(x.shape)) for name, x in model.state_dict().items()}
