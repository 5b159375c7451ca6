"""A whole model in a file of PyTorch's tensors, as `checkpoints.load` gives that of a run's folder."""

from pathlib import Path

from inspose_jax import methods
from inspose_jax.checkpoints import Loaded
from inspose_jax.config import Config
from inspose_jax.errors import UserError
from inspose_jax.skeletons import COCO
from inspose_jax.torch_bridge import released_weights
from inspose_jax.torch_bridge.tensor_files import load_torch

HEAD = "bbox_head."  # what follows the backbone and the pyramid
JOINTS = "bbox_head.hm_pred.weight"  # has an output for every joint


def load(path: Path) -> Loaded | None:
    """The model in a `.pth`, `.pt` or `.safetensors` file; None if the file holds no more than a backbone.

    A file has no names of its joints: 17 are taken for COCO's.  Raises UserError for any other number of them, and if
    the file cannot be read or its tensors do not fit one another.
    """
    tensors = load_torch(path)
    if not any(name.startswith(HEAD) for name in tensors):
        return None
    if not released_weights.is_released(tensors):
        raise UserError(f"{path}: a whole model, but not the released one (no {released_weights.MARK})")
    if JOINTS in tensors and len(tensors[JOINTS]) != COCO.num_keypoints:
        raise UserError(
            f"{path}: a model of {len(tensors[JOINTS])} joints, and the file does not name them; make a checkpoint of "
            f"it with inspose import-torch --skeleton, and give that"
        )
    model = released_weights.config_of(path, tensors)
    variables = released_weights.variables_of(path, tensors, model)
    return Loaded(Config(model), methods.for_model(model), variables, 0)
