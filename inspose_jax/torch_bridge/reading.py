"""Read what `load` and --checkpoint take: a run, a checkpoint, a file of PyTorch's weights, or an exported folder."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from inspose_jax import checkpoints, config_json, methods, paths, provenance, recipes, run_folder, skeletons
from inspose_jax.checkpoints import Loaded
from inspose_jax.config import Config
from inspose_jax.config_check import check
from inspose_jax.errors import NotFound, UserError
from inspose_jax.provenance import IMPORTED
from inspose_jax.recipes import Recipe
from inspose_jax.skeletons import Skeleton
from inspose_jax.torch_bridge import names, variants
from inspose_jax.torch_bridge.tensor_files import SUFFIXES, load_torch
from inspose_jax.torch_bridge.variants import Variant

COUNTS = "num_batches_tracked"  # in `Loaded.about`: what each batch norm of an imported file had counted
SETTINGS, TYPES = "settings", "types"  # there too: where its config is from, and the types of its numbers
EXACT = {"float16", "bfloat16"}  # types whose numbers float32 has too
WRITTEN_BY = "written_by"  # in an exported config.json: the version that wrote it


def load(path: str | Path, recipe: Recipe | None = None, raw: bool = False) -> Loaded:
    """Load what prediction needs from anything that holds a model.

    That is a run's folder, one of its checkpoints, a `.pth`, `.pt` or `.safetensors` file of a whole model, or a folder
    with one such file, such as `inspose export-torch` writes.  `recipe` and `raw` are as in `checkpoints.load`, whose
    errors this raises too.
    """
    path = paths.absolute(path)
    if not is_weights(path):
        return checkpoints.load(path, recipe, raw)
    if recipe is not None and recipe.make_method is not None:
        raise UserError(f"{path}: PyTorch's weights have no method of a recipe's own; leave out {recipe.path}")
    return read(path)


def is_weights(path: Path) -> bool:
    """Whether a path is a file of PyTorch's weights, or a folder with some and without a checkpoint of ours."""
    if path.is_file():
        return path.suffix in SUFFIXES
    return not checkpoints.holds(path) and bool(weights_in(path))


def read(path: Path, skeleton: Skeleton | None = None, variant: Variant | None = None) -> Loaded:
    """The model in a file of PyTorch's weights, or in a folder with one such file; its `about` says where it is from.

    A config.json beside the file is the model's config.  Without one, sizes are read from the tensors, joints are those
    of `skeleton`, by default COCO's, and all else is as in the variant's recipe.

    Raises NotFound if there is no such file; UserError if it is not of `variant`, by default of any, or does not fit.
    """
    file = weights_file(path)
    return model_in(file, load_torch(file), skeleton, variant)


def model_in(
    file: Path, tensors: Mapping[str, np.ndarray], skeleton: Skeleton | None = None, variant: Variant | None = None
) -> Loaded:
    """`read` for the tensors of a file; raises `variants.NotWhole` if they are not those of a whole model."""
    found = variants.recognise(file, tensors)
    if variant not in (None, found):
        raise UserError(f"{file}: holds {found.words}, not {variant.words}; leave out --variant")
    config = config_beside(file, found)
    if config is not None and skeleton is not None:
        raise UserError(f"{file}: its joints are in {run_folder.CONFIG} beside it; leave out --skeleton")
    settings = f"the {run_folder.CONFIG} beside it"
    if config is None:
        model = found.config_of(file, tensors, skeleton or skeletons.COCO)
        config = dataclasses.replace(recipes.read(recipes.carried(found.recipe)).config, model=model)
        check(config)
        settings = f"its tensors (sizes) and the recipe {found.recipe} (the rest)"
    variables = variants.variables_of(file, tensors, config.model)
    counts = {name: tensor.item() for name, tensor in tensors.items() if names.is_counter(name) and tensor.size == 1}
    types = sorted({tensor.dtype.name for name, tensor in tensors.items() if not names.is_counter(name)})
    about = {IMPORTED: file.name, SETTINGS: settings, COUNTS: counts, TYPES: types}
    return Loaded(config, methods.for_model(config.model), variables, 0, about)


def stored_as(about: Mapping[str, Any]) -> str:
    """The type of a checkpoint's numbers, and how they differ from those of the file that it was imported from."""
    others = [name for name in about.get(TYPES, []) if name != "float32"]
    if not others:
        return "float32"
    same = "the same values" if set(others) <= EXACT else "rounded"
    return f"float32; {about[IMPORTED]} has {' and '.join(others)}: {same}"


def weights_file(path: Path) -> Path:
    """The file itself, or the only file of weights in a folder; raises NotFound or UserError if there is none."""
    if path.is_dir():
        found = weights_in(path)
        if len(found) == 1:
            return found[0]
        fault = f"holds {', '.join(file.name for file in found)}" if found else f"holds no {', '.join(SUFFIXES)} file"
        raise UserError(f"{path}: {fault}; name the file of weights")
    if not path.is_file():
        raise NotFound(f"{path}: no such file of weights; check the path")
    return path


def weights_in(folder: Path) -> list[Path]:
    """The files of weights in a folder; of several formats only `.safetensors`, as hubs keep the same weights twice."""
    found = sorted(file for file in folder.glob("*") if file.suffix in SUFFIXES and not file.name.startswith("."))
    return [file for file in found if file.suffix == ".safetensors"] or found


def config_beside(file: Path, variant: Variant) -> Config | None:
    """The config in the config.json beside a file of weights; None if there is none, or one that is not ours.

    Raises UserError if it is damaged, invalid or of another variant.
    """
    place = file.with_name(run_folder.CONFIG)
    if not place.is_file():
        return None
    try:
        stored = json.loads(place.read_text())
    except ValueError as error:
        raise UserError(f"{place}: not JSON ({error}); is it damaged?") from None
    if not isinstance(stored, dict) or not stored.keys() >= {"method", "model"}:
        return None
    try:
        config = config_json.from_dict({name: stored[name] for name in config_json.NAMES if name in stored})
    except config_json.OtherFields as error:
        raise UserError(f"{place}: {provenance.other_version(str(error), stored.get(WRITTEN_BY, {}))}") from None
    except UserError as error:
        raise UserError(f"{place}: {error}") from None
    if methods.name_of(config.model) != variant.method:
        described = variants.of_model(config.model).words
        raise UserError(
            f"{place}: describes {described}, but {file.name} holds {variant.words}; give it its own config"
        )
    return config
