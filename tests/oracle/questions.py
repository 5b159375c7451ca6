"""The inputs of our own fixtures: a tiny model, images, people, and cases for every operation, all from one seed.

Numbers of the network have a few bits, so that files stay small and float32 holds them exactly.  The keys are those of
the authors' numbers, so that the same tests read both.
"""

import io
import itertools

import numpy as np
import torch
from PIL import Image

from .answers import Arrays, inspose_torch
from .network import LEVELS

SIDES = np.array([32, 64])  # short and long side of images at test time
SIZES = {"a": (40, 72), "b": (50, 37)}  # height, width
BATCH = (2, 3, 64, 64)
LARGE = (1, 3, 96, 224)
SIZE_OF_MODEL = {
    "backbone": "resnet18",
    "backbone_widths": [4, 4, 6, 8],
    "fpn_channels": 6,
    "head_channels": 3,  # in one group of a norm, those with six in two
    "head_depth": 1,
    "coarse_channels": 6,
    "keypoint_channels": 6,
    "keypoint_depth": 1,
    "dense_channels": 6,
}
JOINTS = 17


def questions() -> dict[str, Arrays]:
    """The inputs of every file."""
    rng = np.random.default_rng(0)
    files = {"model": weights(rng), "pipeline": images(rng), "heads": head_outputs(rng)}
    files["forward_train"] = {"img": few_bits(smooth(rng, BATCH))}
    files["losses"] = people(rng)
    files["ops"] = operations(rng)
    files["targets"] = assignments(rng) | windows(rng)
    return files | {"forward_eval": {}, "grads": {}, "detections": {}}


def few_bits(x: np.ndarray, bits: int = 3) -> np.ndarray:
    """The nearest numbers with so many bits behind the leading one."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.round(mantissa * 2**bits) / 2**bits, exponent).astype(np.float32)


def smooth(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Noise in blocks of 4x4 cells."""
    coarse = rng.normal(0, 1, (*shape[:-2], -(-shape[-2] // 4), -(-shape[-1] // 4)))
    return coarse.repeat(4, -2).repeat(4, -1)[..., : shape[-2], : shape[-1]]


# --- the network ------------------------------------------------------------------------------------------------------


def weights(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random weights: activations stay about as large from layer to layer, no norm is trivial, people are found."""
    config = {
        "method": "released",
        "model": {
            "network": SIZE_OF_MODEL,
            "kp_net": {"feature_channels": 8, "width": 8, "depth": 3, "relative_scale": 64.0},
            "skeleton": {"keypoint_names": inspose_torch.COCO},
            "star_joints": [],
        },
    }
    with torch.device("meta"):
        shapes = {name: tuple(x.shape) for name, x in inspose_torch.InsPose(config).state_dict().items()}
    louder = {"conv_cls": 2.0, "controller": 0.75, "kpt_offset": 2.0}
    found = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            found[name] = np.zeros(shape, np.int64)
        elif len(shape) == 4:
            gain = louder.get(name.split(".")[1], 1.0) * np.sqrt(2 / np.prod(shape[1:]))
            found[name] = few_bits(rng.normal(0, gain, shape), 2)
        elif name.endswith(("weight", "running_var")):
            found[name] = (rng.integers(4, 13, shape) / 8).astype(np.float32)
        else:
            found[name] = (rng.integers(-4, 5, shape) / 8).astype(np.float32)
    found["bbox_head.conv_cls.bias"] = np.array([-2.5], np.float32)
    return found


def images(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Two images, and sizes that images are resized to."""
    found: dict[str, np.ndarray] = {"sides": SIDES}
    for name, (height, width) in SIZES.items():
        image = np.clip(128 + 60 * smooth(rng, (3, height, width)), 0, 255).astype(np.uint8).transpose(1, 2, 0)
        file = io.BytesIO()
        Image.fromarray(image).save(file, "png")
        found |= {f"{name}/png": np.frombuffer(file.getvalue(), np.uint8), f"{name}/bgr": image[..., ::-1]}
    sizes = [(*rng.integers(20, 2000, 2), long, short) for long, short in [(1333, 800), (1333, 640), (64, 32)] * 6]
    return found | {"sizes": np.array([[*size, 0, 0] for size in sizes])}


def head_outputs(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Outputs of the heads for a batch, of no network: the losses alone are computed from them."""
    number, _, height, width = BATCH
    found = {}
    for level, name in enumerate(LEVELS, 3):
        size = -(-height // 2**level), -(-width // 2**level)
        found |= {
            f"logits/{name}": few_bits(rng.normal(-1, 2, (number, 1, *size))),
            f"coarse/{name}": few_bits(rng.normal(0, 2, (number, 2 * JOINTS, *size))),
            # A few maps in turn, which the file holds once; their number is prime, so that a wrong index shows.
            f"theta/{name}": (rng.integers(-3, 4, (number, 37, *size)) / 4).astype(np.float32)[:, np.arange(313) % 37],
        }
    half, quarter = (number, 8, height // 8, width // 8), (number, JOINTS, height // 4, width // 4)
    return found | {
        "F_kp": few_bits(np.abs(rng.normal(0, 1, half))),
        "hm": (rng.integers(-9, 6, quarter) / 2).astype(np.float32),
        "tag": (rng.integers(-6, 7, quarter) / 4).astype(np.float32),
        "hm_offset": (rng.integers(-6, 7, (number, 2 * JOINTS, *quarter[2:])) / 4).astype(np.float32),
    }


# --- people -----------------------------------------------------------------------------------------------------------


def person(rng: np.random.Generator, x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """Joints f[17,3] in a box, their flags 0, 1 or 2; two lie in its corners, so that it is their tight box."""
    keypoints = np.stack([rng.uniform(x0, x1, JOINTS), rng.uniform(y0, y1, JOINTS), rng.integers(0, 3, JOINTS)], 1)
    keypoints[keypoints[:, 2] == 0] = 0
    keypoints[3], keypoints[11] = (x0, y0, 2), (x1, y1, 1)
    return keypoints.astype(np.float32)


def box(keypoints: np.ndarray) -> np.ndarray:
    """The tight box of the labelled joints."""
    points = keypoints[keypoints[:, 2] > 0, :2]
    return np.concatenate([points.min(0), points.max(0)])


def people(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The cases of the losses."""
    first, second, third = person(rng, 6, 5, 40, 47), person(rng, 22, 10, 58, 44), person(rng, 9, 30, 33, 61)
    small, nobody = person(rng, 40, 8, 51, 20), np.zeros((JOINTS, 3), np.float32)
    border = person(rng, 0, 3, 64, 40)  # columns of the padded width, and rows of its height, have no cell
    border[5], border[6], border[7], border[8] = (64, 20, 2), (30, 64, 2), (64, 64, 1), (3, 2, 2)
    border[9] = (2, 50, 2)
    twin, right = person(rng, 30, 20, 50, 40), person(rng, 4, 30, 24, 50)  # of equal areas
    at_border = person(rng, 10, 10, 64, 50)
    at_border[:, 0] = np.where(at_border[:, 2] > 0, 64, 0)
    cases = {
        "normal": [[first, second], [third, small]],
        "edge": [[border, twin, right], [twin, twin, third]],
        "invisible": [[nobody], [first, nobody]],
        "empty_one": [[second, small], []],
        "empty_all": [[], []],
        "nopeak": [[], [at_border]],
        "large": [[person(rng, 3, 4, 221, 92), person(rng, 20, 10, 130, 94), person(rng, 150, 30, 190, 62)]],
    }
    boxes_of_others = {"invisible": np.array([8, 10, 44, 52.0]), "nopeak": np.array([10, 10, 64, 50.0])}
    found = {"large/img": few_bits(smooth(rng, LARGE))}
    for case, batch in cases.items():
        found[f"{case}/img_shape"] = np.array([LARGE[2:] if case == "large" else BATCH[2:]] * len(batch))
        for image, some in enumerate(batch):
            own = [case != "nopeak" and (one[:, 2] > 0).any() for one in some]
            boxes = [box(one) if is_own else boxes_of_others[case] for one, is_own in zip(some, own, strict=True)]
            found[f"{case}/gt{image}/boxes"] = np.array(boxes, np.float32).reshape(-1, 4)
            found[f"{case}/gt{image}/keypoints"] = np.array(some, np.float32).reshape(-1, JOINTS, 3)
            found[f"{case}/gt{image}/areas"] = rng.integers(20, 900, len(some)).astype(np.float64)
    return found


def assignments(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Boxes for the label assignment."""
    corner = rng.uniform(0, 200, (12, 2))
    cases = {
        "small": ((128, 160), [[10, 12, 60, 100], [40, 20, 150, 120], [3, 3, 30, 28]]),
        "equal_area": ((128, 160), [[16, 16, 56, 56], [16, 16, 56, 56], [36, 16, 76, 56], [26, 6, 46, 86]]),
        "nested": ((128, 160), [[0, 0, 160, 128], [20, 20, 140, 108], [50, 40, 110, 90], [70, 55, 90, 75]]),
        "border": ((128, 160), [[120, 0, 160, 128], [0, 100, 160, 128], [150, 120, 160, 128]]),
        "tiny": ((128, 160), [[19, 19, 22, 21], [40, 40, 48, 48], [99, 99.5, 101.5, 101]]),
        "closed_ranges": ((192, 256), [[4, 4, 68, 68], [20, 20, 148, 148], [12, 12, 76, 140]]),  # 64 and 128 occur
        "strict_centre": ((128, 160), [[28, 28, 52, 52], [8, 8, 32, 32], [64, 48, 96, 80]]),
        "none": ((64, 96), []),
        "full_size": ((320, 448), [*np.concatenate([corner, corner + rng.uniform(10, 240, (12, 2))], 1)]),
        "odd_levels": ((96, 224), [[5, 5, 210, 90], [30, 10, 100, 80]]),
    }
    found = {}
    for case, (size, boxes) in cases.items():
        found |= {
            f"assign/{case}/input_hw": np.array(size),
            f"assign/{case}/boxes": np.array(boxes, np.float32).reshape(-1, 4),
            f"assign/{case}/sizes": np.array([[-(-side // 2**level) for side in size] for level in range(3, 8)]),
        }
    return found


def windows(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """People for heatmaps and offsets."""
    first, second = person(rng, 4, 6, 44, 48), person(rng, 20, 3, 92, 60)
    at_border = person(rng, 0, 0, 96, 64)
    at_border[:4] = (96, 20, 2), (30, 64, 2), (96, 64, 2), (0, 0, 1)
    cases = {
        "small": [[first, second]],
        "equal_area": [[first, first, person(rng, 44, 6, 84, 48)]],
        "border": [[person(rng, 0, 0, 20, 64), person(rng, 60, 40, 95, 63)]],
        "tiny": [[person(rng, 30, 30, 33, 34), person(rng, 31, 29, 37, 33)]],
        "nested": [[person(rng, 0, 0, 95, 63), person(rng, 20, 20, 70, 50), person(rng, 40, 30, 60, 40)]],
        "far_border": [[at_border], [person(rng, 50, 20, 96, 64)], []],
    }
    found = {}
    for case, batch in cases.items():
        found[f"maps/{case}/input_hw"] = np.array([64, 96])
        for image, some in enumerate(batch):
            found[f"maps/{case}/boxes{image}"] = np.array([box(one) for one in some], np.float32).reshape(-1, 4)
            found[f"maps/{case}/keypoints{image}"] = np.array(some, np.float32).reshape(-1, JOINTS, 3)
    return found


# --- operations -------------------------------------------------------------------------------------------------------


def operations(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The cases of every operation."""
    found = deformable(rng) | suppression(rng)
    for case, shape in zip(
        "abcde", [(1, 2, 5, 6), (2, 1, 4, 3), (1, 2, 1, 1), (1, 1, 2, 3), (1, 1, 8, 7)], strict=True
    ):
        found[f"bicubic2/{case}/input"] = few_bits(rng.normal(0, 1, shape))
        twice = *shape[:2], 2 * shape[2], 2 * shape[3]
        found[f"bilinear2/{case}/grad_out"] = few_bits(rng.normal(0, 1, twice)).astype(np.float64)
    sizes = [((3, 5), (5, 9)), ((4, 5), (8, 10)), ((2, 3), (3, 5)), ((7, 13), (13, 25)), ((5, 8), (10, 15))]
    for case, (old, new) in enumerate([*sizes, ((2, 2), (3, 3)), ((1, 1), (2, 1))]):
        # The cells' indices are the answer; their number is the question.
        found |= {f"nearest/{case}/in_size": np.array(old), f"nearest/{case}/source_index": np.zeros(new, np.int32)}
    joints = [
        [5.25, 6.75, 3],
        [7.125, 7.875, 2],
        [0, 0, 3],
        [15.875, 10.25, 2],
        [16, 4, 3],
        [3, 12, 1],
        [14.5, 0.375, 1],
    ]
    peaks = few_bits(rng.normal(0, 4, (1, 3, 5, 6)))
    peaks[0, 0, 0, :2] = -12, 12  # beyond the limits of probabilities
    heat = np.clip(few_bits(rng.uniform(-1, 1, peaks.shape)), 0, 0.875)
    hit = heat.copy()
    hit[0, [0, 0, 1, 2], [0, 0, 3, 4], [0, 1, 5, 0]] = 1
    true = few_bits(rng.uniform(0, 1, 30)) * rng.integers(0, 2, 30).astype(np.float32)
    cells = np.concatenate([rng.integers(0, 12, (6, JOINTS, 2)), rng.integers(0, 3, (6, JOINTS, 1))], 2)
    cells[:, 0, 2] = 1  # one joint is labelled
    return found | {
        "radius/hw": few_bits(rng.uniform(0.5, 60, (60, 2)), 6),
        "draw/x_y_r": np.array([*joints, [14.5, 0.375, 1], [10.25, 9, 0], [10.875, 9.625, 3]], np.float32),
        "draw/size_hw": np.array([12, 16]),
        "varifocal/logits": few_bits(rng.normal(0, 3, 30)),
        "varifocal/target": true,
        "varifocal/avg_factor": np.array(11.0),
        "centerfocal/peaks/logits": peaks,
        "centerfocal/peaks/target": hit,
        "centerfocal/nopeak/logits": peaks,
        "centerfocal/nopeak/target": heat,
        "oks/gt_cells": cells.astype(np.float32),
        "oks/pred_cells": (cells[..., :2] + rng.integers(-2, 3, (6, JOINTS, 2))).astype(np.float32),
        "oks/areas": rng.integers(20, 3000, 6).astype(np.float64),
    }


def deformable(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Deformable convolutions: near and far offsets, whole numbers, and maps with a side below 3."""
    cases = {  # images, channels in and out, height, width
        "a": (2, 3, 2, 4, 5),
        "b": (1, 2, 3, 5, 4),
        "c": (1, 2, 2, 2, 3),
        "d": (1, 2, 3, 1, 1),
        "e": (1, 2, 2, 2, 2),
        "f": (1, 2, 2, 4, 3),
        "g": (1, 2, 2, 1, 4),
    }
    reach = {"a": 1.5, "b": 6.0, "e": 4.0, "g": 4.0}
    found = {}
    for case, (number, inputs, outputs, height, width) in cases.items():
        offset = rng.normal(0, reach.get(case, 1.0), (number, 18, height, width))
        found |= {
            f"dcn/{case}/input": few_bits(rng.normal(0, 1, (number, inputs, height, width))),
            f"dcn/{case}/offset": np.round(offset).astype(np.float32) if case == "f" else few_bits(offset, 10),
            f"dcn/{case}/weight": few_bits(rng.normal(0, 1, (outputs, inputs, 3, 3))),
            f"dcn/{case}/grad_out": few_bits(rng.normal(0, 1, (number, outputs, height, width))),
        }
    return found


def suppression(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Boxes and scores for soft-NMS."""

    def some(number: int, spread: float, side: float = 25) -> np.ndarray:
        low = rng.uniform(0, spread, (number, 2))
        return np.concatenate([low, low + rng.uniform(5, side, (number, 2))], 1)

    twice, flat = some(6, 40), some(8, 40)
    flat[2:5, 2:] = flat[2:5, :2]  # points
    flat[4] = flat[3]
    of_cases = {
        "random": (some(30, 50), rng.uniform(0.05, 1, 30)),
        "ties": (some(16, 40), rng.integers(1, 6, 16) / 8),
        "duplicates": (np.concatenate([twice, twice]), rng.uniform(0.05, 1, 12)),
        "zero_area": (flat, rng.uniform(0.05, 1, 8)),
        "crowded": (some(20, 6, 40), rng.uniform(0.05, 1, 20)),
        "all_equal": (np.tile([0.0, 0, 10, 10], (5, 1)), np.full(5, 0.5)),
        "exact_threshold": (
            np.array([[0, 0, 10, 10], [0, 0, 3, 10], [20, 0, 30, 10], [20, 0, 22.5, 10.0]]),
            np.array([0.875, 0.75, 0.625, 0.5]),
        ),
        "one": (some(1, 40), np.array([0.5])),
    }
    keys = ("boxes", "scores")
    pairs = itertools.product(of_cases, enumerate(keys))
    return {f"softnms/{case}/{key}": of_cases[case][i].astype(np.float32) for case, (i, key) in pairs}
