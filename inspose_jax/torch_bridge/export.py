"""Our models for PyTorch: their tensors by the names there, a file of them, or a folder that can go to a model hub."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from inspose_jax import config_json, files, paths, provenance, run_folder
from inspose_jax.checkpoints import Loaded, NeedsRecipe
from inspose_jax.config import Config
from inspose_jax.errors import UserError
from inspose_jax.torch_bridge import model_card, names, reading, variants
from inspose_jax.torch_bridge.tensor_files import SUFFIXES, write_tensors

TORCH_FILE = "inspose_torch.py"
WEIGHTS, CARD = "model.safetensors", "README.md"  # the names that model hubs look for


def state_dict(variables: Any, model: Any, counts: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
    """The variables of a model, a `Config.model`, as the state_dict of the model in `inspose_torch.py`.

    PyTorch counts the batches that a batch norm has seen.  We do not, so every count is 0 that is not in `counts`, by
    its name; nothing depends on it as long as a batch norm's momentum is a number.
    """
    name_of, counts = variants.torch_name(model), counts or {}
    tensors: dict[str, np.ndarray] = {}
    for kind in ("params", "batch_stats"):
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables[kind]):
            tensors[name_of(tuple(entry.key for entry in path))] = names.to_torch(np.asarray(leaf))
    counters = [name.replace("running_var", names.COUNTER) for name in tensors if name.endswith("running_var")]
    return {**tensors, **{name: np.array(counts.get(name, 0), np.int64) for name in sorted(counters)}}


def torch_config(config: Config) -> dict[str, Any]:
    """The content of a config.json, which the model in `inspose_torch.py` is made from."""
    return {**config_json.to_dict(config), reading.WRITTEN_BY: provenance.about()}


def single_pass(config: Config) -> str:
    """What to know of a model that is tested with several passes, as a sentence; empty for one with a single pass.

    The files that find people without this package look once at each image.
    """
    passes = config.data.passes
    fields = [name for name in ("test_flip", "test_scales") if getattr(passes, name)]
    if not fields:
        return ""
    return f"it looks once at each image: what {' and '.join(f'data.{name}' for name in fields)} add stays behind"


def load_for_export(path: str | Path, raw: bool = False) -> Loaded:
    """`reading.load`; raises UserError for a model that has no counterpart in PyTorch."""
    try:
        return reading.load(path, raw=raw)
    except NeedsRecipe:
        raise UserError(
            f"{path}: was trained with a recipe's own method, which has no counterpart in PyTorch; only the methods of "
            f"the package can be exported"
        ) from None


def export(checkpoint: str | Path, out: str | Path, raw: bool = False) -> Loaded:
    """Write what `reading.load` finds in `checkpoint` for PyTorch, completely or not at all; returns it.

    `out` is a new file, `.safetensors`, `.pth` or `.pt`, beside which a config.json is written, unless the same one is
    there; or else a new folder, ready for a model hub, with weights, config, model card and the PyTorch model.
    What is exported is what is evaluated; `raw` asks for the parameters even if the run kept their running average.
    Raises the errors of `reading.load`, and UserError if a method cannot be exported or something is in the way.
    """
    out = paths.expanded(out)
    is_file = out.suffix in SUFFIXES
    if is_file and (out.exists() or out.is_symlink()):
        raise UserError(f"{out}: already exists; give a new file")
    loaded = load_for_export(checkpoint, raw)
    tensors = state_dict(loaded.variables, loaded.config.model, loaded.about.get(reading.COUNTS))
    about = torch_config(loaded.config)
    if is_file:
        write_beside_config(out, tensors, about)
        return loaded
    metrics = model_card.metrics_of(checkpoint, loaded, raw)
    with files.new_folder(out) as folder:
        write_tensors(tensors, folder / WEIGHTS)
        files.write(folder / run_folder.CONFIG, json.dumps(about, indent=2))
        files.write(folder / CARD, model_card.text(loaded, tensors, metrics))
        shutil.copy(Path(__file__).with_name(TORCH_FILE), folder)
    return loaded


def write_beside_config(out: Path, tensors: Mapping[str, np.ndarray], about: dict[str, Any]) -> None:
    """Write a file of weights and the config.json that it needs; raises UserError if another config.json is there."""
    place = out.with_name(run_folder.CONFIG)
    if place.exists() and not is_same_config(place, about):
        raise UserError(
            f"{out}: its config would replace {place}, which is of something else; export to a folder of its own"
        )
    with files.atomic(place) as config, files.atomic(out) as weights:
        config.write_text(json.dumps(about, indent=2))
        write_tensors(tensors, weights)


def is_same_config(place: Path, about: dict[str, Any]) -> bool:
    """Whether a file holds the config `about`, perhaps written by another version."""
    try:
        stored = json.loads(place.read_text())
    except ValueError:
        return False
    return isinstance(stored, dict) and {**stored, reading.WRITTEN_BY: about[reading.WRITTEN_BY]} == about


def save_torch(checkpoint: str | Path | Mapping[str, np.ndarray], path: str | Path) -> None:
    """Write a checkpoint, or anything else that `inspose_jax.load` takes, for PyTorch, as `export` does.

    Tensors by name may be given instead; they are just written to a `.pth`, `.pt` or `.safetensors` file, which may
    exist.
    """
    if isinstance(checkpoint, Mapping):
        write_tensors(checkpoint, path)
    else:
        export(checkpoint, path)
