"""Every array that the oracle can compute of a file of reference numbers, from the inputs in these files.

A function for each file takes all files, {name: {key: array}}, and returns {key: array}; `tests/golden/README.md`
describes the keys.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import network, released_losses, released_targets
from .network import LEVELS, inspose_torch
from .released_losses import Heads
from .released_ops import deformable_convolution
from .released_targets import People

Arrays = Mapping[str, np.ndarray]
Files = Mapping[str, Arrays]
IMAGES = ("a", "b")
AUTHORS_SIDES = np.array([100, 160])  # short and long side of images at test time in the authors' numbers
NUM_PER_LEVEL = (1000, 25)  # of the two runs of `detections`


def cases(arrays: Arrays, kind: str) -> list[str]:
    """The names of the cases KIND/CASE/... in a file."""
    return sorted({key.split("/")[1] for key in arrays if key.startswith(f"{kind}/")})


def wide(array: np.ndarray) -> Tensor:
    """A copy in float64."""
    return torch.tensor(array, dtype=torch.float64)


def with_gradient(function: Callable[..., Tensor], *inputs: Tensor, seed: Tensor | None = None) -> list[np.ndarray]:
    """The value of a function of tensors, and the gradient of its product with `seed` for each of them."""
    inputs = tuple(x.requires_grad_() for x in inputs)
    value = function(*inputs)
    return [value.detach().numpy(), *(x.numpy() for x in torch.autograd.grad(value, inputs, seed))]


def enlarge(x: Tensor, mode: str) -> Tensor:
    """A map of twice the size."""
    return F.interpolate(x, scale_factor=2, mode=mode, align_corners=False)


# --- operations and targets -------------------------------------------------------------------------------------------


def ops(files: Files) -> dict[str, np.ndarray]:
    """Single operations."""
    given, found = files["ops"], {}
    for case in cases(given, "dcn"):
        names = ("input", "offset", "weight", "grad_out")
        *inputs, seed = (wide(given[f"dcn/{case}/{name}"]) for name in names)
        answers = with_gradient(deformable_convolution, *inputs, seed=seed)
        keys = ("out", "grad_input", "grad_offset", "grad_weight")
        found |= {f"dcn/{case}/{key}": answer for key, answer in zip(keys, answers, strict=True)}
    for case in cases(given, "softnms"):
        boxes, scores = (torch.tensor(given[f"softnms/{case}/{name}"]) for name in ("boxes", "scores"))
        kept, decayed = inspose_torch.soft_suppress(boxes, scores, 0.3, 0.001, len(boxes))
        answers = {"kept": kept, "kept_scores": decayed, "kept_boxes": boxes[kept]}
        found |= {f"softnms/{case}/{key}": answer.numpy() for key, answer in answers.items()}
    for case in cases(given, "bicubic2"):
        x = torch.tensor(given[f"bicubic2/{case}/input"])
        found[f"bicubic2/{case}/out"] = enlarge(x.double(), "bicubic").numpy()
        found[f"bicubic2/{case}/out_f32"] = enlarge(x, "bicubic").numpy()
        seed = wide(given[f"bilinear2/{case}/grad_out"])
        answers = with_gradient(lambda x: enlarge(x, "bilinear"), x.double(), seed=seed)
        found |= {f"bilinear2/{case}/{key}": answer for key, answer in zip(("out", "grad_input"), answers, strict=True)}
    for case in cases(given, "nearest"):
        height, width = given[f"nearest/{case}/in_size"].tolist()
        cells, size = (
            torch.arange(height * width).reshape(1, 1, height, width),
            given[f"nearest/{case}/source_index"].shape,
        )
        found[f"nearest/{case}/source_index"] = F.interpolate(cells.double(), size, mode="nearest")[0, 0].int().numpy()
    for overlap in (90, 70):
        limits = [released_targets.window_limit(*hw, overlap / 100) for hw in given["radius/hw"].tolist()]
        halves = [released_targets.half_width(*hw, overlap / 100) for hw in given["radius/hw"].tolist()]
        found |= {f"radius/R_{overlap}": np.array(limits), f"radius/r_{overlap}": np.array(halves, np.int8)}
    return found | drawn(given) | of_losses(given)


def drawn(given: Arrays) -> dict[str, np.ndarray]:
    """Windows around joints, one after another on the same map."""
    every = released_targets.Dense(*given["draw/size_hw"].tolist())
    alone = []
    for x, y, reach in given["draw/x_y_r"].tolist():
        alone.append(released_targets.Dense(*given["draw/size_hw"].tolist()))
        for one in (every, alone[-1]):
            one.add(x, y, int(reach))
    return {
        "draw/heatmap_each": torch.stack([one.heatmap for one in alone]).numpy(),
        "draw/heatmap_all": every.heatmap.numpy(),
        "draw/offset_all": every.offset.numpy(),
        "draw/offset_mask_all": np.tile(np.isfinite(every.length.numpy()), (2, 1, 1)).astype(np.int8),
    }


def of_losses(given: Arrays) -> dict[str, np.ndarray]:
    """Parts of the losses."""
    logits, targets = (wide(given[f"varifocal/{name}"]) for name in ("logits", "target"))
    divisor = float(given["varifocal/avg_factor"]) + released_losses.EPSILON
    found = {"varifocal/each": released_losses.varifocal(logits, targets).numpy()}
    answers = with_gradient(lambda z: released_losses.varifocal(z, targets).sum() / divisor, logits)
    found |= dict(zip(("varifocal/loss", "varifocal/grad"), answers, strict=True))
    for case in cases(given, "centerfocal"):
        logits, targets = (wide(given[f"centerfocal/{case}/{name}"]) for name in ("logits", "target"))
        number = max(int((targets == 1).sum()), 1)

        def loss(z: Tensor, targets: Tensor = targets, number: int = number) -> Tensor:
            return released_losses.centre_focal(z, targets).sum() / number

        keys = (f"centerfocal/{case}/loss", f"centerfocal/{case}/grad")
        found |= dict(zip(keys, with_gradient(loss, logits), strict=True))
    found_cells, true = wide(given["oks/pred_cells"]), wide(given["oks/gt_cells"])
    people = zip(found_cells, true[..., :2], true[..., 2] > 0, given["oks/areas"].tolist(), strict=True)
    return found | {"oks/value": np.array([released_losses.similarity(*one, cell=1) for one in people])}


def targets(files: Files) -> dict[str, np.ndarray]:
    """Owners of locations, heatmaps and offsets."""
    given, found = files["targets"], {}
    for case in cases(given, "assign"):
        sizes = [tuple(size) for size in given[f"assign/{case}/sizes"].tolist()]
        owned = released_targets.owners(wide(given[f"assign/{case}/boxes"]), sizes)
        for level, of_level in zip(LEVELS, owned, strict=True):
            found[f"assign/{case}/labels/{level}"] = (of_level < 0).to(torch.int8).numpy()
            found[f"assign/{case}/gt_inds/{level}"] = of_level.clamp(min=0).to(torch.int8).numpy()
    for case in cases(given, "maps"):
        height, width = (given[f"maps/{case}/input_hw"] // 4).tolist()
        numbers = [key.removeprefix(f"maps/{case}/boxes") for key in given if key.startswith(f"maps/{case}/boxes")]
        made = []
        for number in sorted(numbers):
            boxes, keypoints = (wide(given[f"maps/{case}/{name}{number}"]) for name in ("boxes", "keypoints"))
            keypoints = keypoints.reshape(len(boxes), -1, 3) if len(boxes) else keypoints.reshape(0, 17, 3)
            made.append(released_targets.dense_targets(People(boxes, keypoints, boxes[:, 0]), (height, width)))
        names = ("heatmap", "offset", "offset_mask")
        for name, maps in zip(names, zip(*made, strict=True), strict=True):
            found[f"maps/{case}/{name}"] = torch.stack(maps).numpy().astype(np.int8 if "mask" in name else np.float32)
    return found


# --- the network ------------------------------------------------------------------------------------------------------


def model_of(files: Files, dtype: torch.dtype) -> Any:
    """The small model of the files."""
    short_side, long_side = files["pipeline"].get("sides", AUTHORS_SIDES).tolist()
    return network.released(files["model"], short_side, long_side, dtype)


def forward_eval(files: Files) -> dict[str, np.ndarray]:
    """All stages of each image alone, and how far float32 is off."""
    given, found, noise = files["forward_eval"], {}, {}
    narrow, exact = model_of(files, torch.float32), model_of(files, torch.float64)
    for image in IMAGES:
        ours, true = (network.stages(model, given[f"{image}/img"]) for model in (narrow, exact))
        found |= {f"{image}/{name}": array for name, array in ours.items()}
        found |= {f"{image}/f64/{name}": array for name, array in true.items()}
        noise |= {f"{image}/{name}": np.abs(array - ours[name]).max() for name, array in true.items()}
    return found | {"noise_names": np.array(list(noise)), "noise_values": np.array(list(noise.values()))}


def forward_train(files: Files) -> dict[str, np.ndarray]:
    """All stages of the batch in training mode, in float64."""
    return network.stages(network.training(model_of(files, torch.float64)), files["forward_train"]["img"])


def people_of(given: Arrays, case: str) -> list[People]:
    """The people of every image of a case."""
    found = []
    for image in range(len(given[f"{case}/img_shape"])):
        boxes, keypoints, areas = (wide(given[f"{case}/gt{image}/{name}"]) for name in ("boxes", "keypoints", "areas"))
        found.append(People(boxes.reshape(-1, 4), keypoints.reshape(-1, 17, 3), areas))
    return found


def losses(files: Files) -> dict[str, np.ndarray]:
    """The terms of every case, from the image and from stored outputs of the heads, with the slips and without."""
    given, found = files["losses"], {}
    model = network.training(model_of(files, torch.float64))
    stored = stored_heads(files["heads"] if "heads" in files else files["forward_train"])
    images = {"": files["forward_train"]["img"]}
    with torch.no_grad():
        computed = {"": network.heads(model, wide(images[""]))}
        for case in sorted({key.split("/")[0] for key in given}):
            people = people_of(given, case)
            if f"{case}/img" in given:
                computed[case] = network.heads(model, wide(given[f"{case}/img"]))
            sources = {"": computed.get(case, computed[""])} | ({} if case in computed else {"stored/": stored})
            for source, heads in sources.items():
                for slips, strict in (("", True), ("correct/", False)):
                    made = released_losses.losses(heads, people, strict)
                    place = f"{case}/{source}{slips}"
                    found |= {f"{place}{name}": np.asarray(term) for name, term in made.terms.items()}
                    found[f"{place}total"] = np.asarray(sum(made.terms.values()))
                    found |= {f"{place}rec/{name}": array for name, array in records(made).items()}
    return found


def records(made: released_losses.Losses) -> dict[str, np.ndarray]:
    """What the terms were made from."""
    found = {}
    for level, of_level in zip(LEVELS, zip(*made.owners, strict=True), strict=True):
        owned = torch.stack(of_level).flatten(1)
        found[f"labels/{level}"] = (owned < 0).to(torch.int8).numpy()
        found[f"gt_inds/{level}"] = owned.clamp(min=0).to(torch.int8).numpy()
    found["cls_target"] = torch.cat([x.flatten() for x in made.class_targets]).numpy()
    found["cls_avg"] = np.asarray(made.divisor)
    if made.similarities:
        found["oks"] = np.array(made.similarities)
    if made.maps:
        found["pos_argmax"] = torch.stack([x.flatten(1).argmax(1) for x in made.maps]).numpy().astype(np.int16)
    return found | {"hm_target": made.heatmaps.numpy(), "offset_target": made.offsets.numpy()}


def stored_heads(given: Arrays) -> Heads:
    """Outputs of the heads as they are stored."""
    levels = ([wide(given[f"{name}/{level}"]) for level in LEVELS] for name in ("logits", "coarse", "theta"))
    return Heads(*levels, *(wide(given[name]) for name in ("F_kp", "hm", "tag", "hm_offset")))


def grads(files: Files) -> dict[str, np.ndarray]:
    """The gradient of every parameter, and the running statistics after the step."""
    model = network.training(model_of(files, torch.float64))
    made = released_losses.losses(
        network.heads(model, wide(files["forward_train"]["img"])), people_of(files["losses"], "normal"), strict=True
    )
    torch.stack(list(made.terms.values())).sum().backward()
    every = dict(model.named_parameters())
    gradients = {name: parameter.grad for name, parameter in every.items() if parameter.grad is not None}
    norms = {name: float(gradient.norm()) for name, gradient in gradients.items()}
    found = {f"grad/{name}": gradient.numpy() for name, gradient in gradients.items()}
    for name, x in model.state_dict().items():
        if name.startswith("backbone.layer") and not name.startswith("backbone.layer1") and "running_" in name:
            found[f"bn_after/{name}"] = x.numpy()
    return found | {
        "names": np.array(list(norms)),
        "norms": np.array(list(norms.values())),
        "sums": np.array([float(gradient.sum()) for gradient in gradients.values()]),
        "global_norm": np.asarray(np.linalg.norm(list(norms.values()))),
        "frozen": np.array([name for name in every if name not in gradients]),
    }


# --- from an image to people ------------------------------------------------------------------------------------------


def image_of(files: Files, name: str) -> np.ndarray:
    """An image RGB u8[h,w,3]."""
    return files["pipeline"][f"{name}/bgr"][..., ::-1].copy()


def pipeline(files: Files) -> dict[str, np.ndarray]:
    """What becomes of an image before the network."""
    model, found = model_of(files, torch.float32), {}
    for name in IMAGES:
        image = image_of(files, name)
        x, size, scale = model.preprocess(image)
        found |= {
            f"{name}/test/input": x.numpy(),
            f"{name}/test/img_shape": np.array(size),
            f"{name}/test/pad_shape": np.array(x.shape[1:]),
            f"{name}/test/scale_factor": np.tile(scale.numpy(), 2),
            f"{name}/test/resized_bgr": inspose_torch.resize(torch.tensor(image), size).numpy()[..., ::-1],
        }
    sizes = []
    for height, width, long_side, short_side, *_ in files["pipeline"]["sizes"].tolist():
        data = {"test_short_side": short_side, "long_side": long_side, "test_padding": "own"}
        size, _ = inspose_torch.test_size(data, height, width)
        sizes.append([height, width, long_side, short_side, *size])
    return found | {"sizes": np.array(sizes)}


@torch.no_grad()
def detections(files: Files) -> dict[str, np.ndarray]:
    """The people of each image; of every joint, how much better its best cell is than the second best."""
    model, found = model_of(files, torch.float32), {}
    for name in IMAGES:
        image = image_of(files, name)
        for number in NUM_PER_LEVEL:
            model.config["model"]["decoding"]["num_per_level"] = number
            (people,) = model.detect(image, threshold=0)
            maps = inspose_torch.keypoint_maps(model, model(model.preprocess(image)[0][None]), people["locations"])
            enlarged = torch.cat([enlarge(x, "bicubic") for x in maps])
            best = enlarged.flatten(2).topk(2, dim=2).values
            found |= {
                f"{name}/top{number}/{key}": array.numpy()
                for key, array in (
                    ("locations", people["locations"]),
                    ("scores", people["scores"]),
                    ("boxes", people["boxes"]),
                    ("joints", people["keypoints"]),
                    ("argmax", inspose_torch.peaks_of(enlarged)[0]),
                    ("rec/hm_gap", best[..., 0] - best[..., 1]),
                )
            }
    return found


OF_FILE: dict[str, Callable[[Files], dict[str, np.ndarray]]] = {
    "ops": ops,
    "targets": targets,
    "forward_eval": forward_eval,
    "forward_train": forward_train,
    "losses": losses,
    "grads": grads,
    "detections": detections,
    "pipeline": pipeline,
}
