"""The released network of `inspose_torch.py`, in a given precision and mode, and everything it computes on the way."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .released_losses import Heads

FILE = Path(__file__).parents[2] / "inspose_jax" / "torch_bridge" / "inspose_torch.py"
LEVELS = ("P3", "P4", "P5", "P6", "P7")


def load_file(path: Path = FILE) -> ModuleType:
    """The module in a file, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("inspose_torch_alone", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


inspose_torch: Any = load_file()


def released(weights: Mapping[str, np.ndarray], short_side: int, long_side: int, dtype: torch.dtype) -> Any:
    """The released model with some weights, of any widths and depths, in evaluation mode."""
    tensors = {name: torch.tensor(array) for name, array in weights.items()}
    config = inspose_torch.released_config(tensors)
    config["data"] = {"test_short_side": short_side, "long_side": long_side, "test_padding": "own"}
    for field, layers in (("head_depth", "cls_convs"), ("keypoint_depth", "shared_convs")):
        number = sum(f"bbox_head.{layers}.{i}.conv.weight" in tensors for i in range(9))
        config["model"]["network"][field] = number - (layers == "shared_convs")
    model = inspose_torch.InsPose(config)
    model.load_state_dict(tensors)
    return model.to(dtype).eval()


def training(model: Any) -> Any:
    """The same model in training mode; the stem and the first stage stay as they are."""
    model.train()
    for frozen in (model.backbone.conv1, model.backbone.bn1, model.backbone.layer1):
        frozen.eval().requires_grad_(False)
    return model


def heads(model: Any, image: Tensor) -> Heads:
    """What the losses see of a batch f[B,3,H,W], in training mode, with theta at every location."""
    out = model(image)
    theta = [model.bbox_head.controller(x) for x in out.controller]
    return Heads(out.logits, out.coarse, theta, out.features, out.heatmaps, out.tags, out.offsets)


@torch.no_grad()
def stages(model: Any, image: np.ndarray) -> dict[str, np.ndarray]:
    """Every stage of a forward pass of f[B,3,H,W], f[B,C,h,w], by the names of the reference numbers."""
    head, caught = model.bbox_head, {}

    def watch(name: str, module: nn.Module) -> Any:
        return module.register_forward_hook(
            lambda _, inputs, output: caught.setdefault(name, []).append((inputs[0], output))
        )

    watched = {
        "C": model.backbone,
        "P": model.neck,
        "cls_tower": head.cls_convs,
        "ctrl_tower": head.ctrl_convs,
        "kpt_tower": head.kpt_convs,
        "cls_star": head.cls_star_gn,
        "ctr_star": head.ctr_star_gn,
        "dense": head.hm_convs[2],
    }
    hooks = [watch(name, module) for name, module in watched.items()]
    outputs = model(torch.tensor(image).to(next(model.parameters()).dtype))
    for hook in hooks:
        hook.remove()
    theta = [head.controller(x) for x in outputs.controller]
    heatmaps, tags = head.hm_pred(caught["dense"][0][1]), head.ae_pred(caught["dense"][0][1])
    found = {f"C{i}": x for i, x in enumerate(caught["C"][0][1], 2)}
    found |= {f"P{level}": x for level, x in caught["P"][0][1].items()}
    for name in ("cls_tower", "ctrl_tower", "kpt_tower"):
        found |= {f"{name}/{level}": output for level, (_, output) in zip(LEVELS, caught[name], strict=True)}
    for name in ("cls_star", "ctr_star"):
        found |= {f"{name}_conv/{level}": before for level, (before, _) in zip(LEVELS, caught[name], strict=True)}
        found |= {f"{name}/{level}": after.relu() for level, (_, after) in zip(LEVELS, caught[name], strict=True)}
    for name, maps in (("logits", outputs.logits), ("coarse", outputs.coarse), ("theta", theta)):
        found |= {f"{name}/{level}": x for level, x in zip(LEVELS, maps, strict=True)}
    for level, coarse in zip(LEVELS, outputs.coarse, strict=True):
        found[f"dcn_offset/{level}"] = star_offsets(head, coarse)
    found |= {"F_kp": outputs.features, "hm": heatmaps, "tag": tags, "hm_offset": outputs.offsets}
    return {name: x.numpy() for name, x in found.items()}


def star_offsets(head: Any, coarse: Tensor) -> Tensor:
    """What a deformable convolution is told: from each tap's cell of the 3x3 kernel to where it reads, (dy, dx)."""
    height, width = coarse.shape[2:]
    cells = torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), -1)
    taps = torch.tensor([(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)])
    offsets = head.star_places(coarse) - cells - taps[:, None, None]
    return offsets.flip(-1).permute(0, 1, 4, 2, 3).flatten(1, 2)
