"""The seven terms of the released model's loss, from the outputs of its heads, one person and one joint at a time.

With `strict`, four slips of the released code are kept: OKS divides distances in stride-8 cells by an area in pixels;
tags are read one cell above and left of their cell, where cell -1 is the last one; the heatmap term of a batch without
a peak is not divided; and a joint at x = W of the padded image stands, in the keypoint map, for the first cell of the
next row.  Without it, distances are in pixels, tags are read at their cell, such a batch divides by its number of
heatmaps, and a joint on the far border has no cell.  Where the released code fails, a joint has no cell either.

Axes: B images, K joints, P parameters of a KP-Net, h w cells.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .released_targets import STRIDES, People, dense_targets, owners

SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089,
    0.089,
)  # fmt: skip
UNLABELLED = 0.1  # class target of a person without a labelled joint
EPSILON = torch.finfo(torch.float32).eps
WIDTH = 8  # of the KP-Nets' hidden layers


class Heads(NamedTuple):
    """What the heads and branches yield; lists hold a map for each level."""

    logits: list[Tensor]  # f[B,1,h,w]
    coarse: list[Tensor]  # f[B,2K,h,w] (x, y) of the joints from the location, in strides
    theta: list[Tensor]  # f[B,P,h,w]
    features: Tensor  # f[B,C,h,w] stride 8
    heatmaps: Tensor  # f[B,K,h,w] logits, stride 4
    tags: Tensor  # f[B,K,h,w] stride 4
    offsets: Tensor  # f[B,2K,h,w] (x, y), stride 4


class Positive(NamedTuple):
    """A location that answers for a person."""

    image: int
    level: int
    row: int
    column: int
    person: int


class Losses(NamedTuple):
    """The terms by the names of the released code, and what they were made from."""

    terms: dict[str, Tensor]
    owners: list[list[Tensor]]  # of each image and level, i64[h,w]
    class_targets: list[Tensor]  # of each level, f[B,h,w]
    divisor: int  # of the class term
    similarities: list[float]  # OKS of the positives whose person has a labelled joint
    maps: list[Tensor]  # of each positive, f[K,h,w]
    heatmaps: Tensor  # f[B,K,h,w]
    offsets: Tensor  # f[B,2K,h,w]


def losses(heads: Heads, people: list[People], strict: bool) -> Losses:
    """The terms of a batch."""
    sizes = [(x.shape[2], x.shape[3]) for x in heads.logits]
    owned = [owners(one.boxes, sizes) for one in people]
    positives = [
        Positive(image, level, row, column, int(of_level[row, column]))
        for image, of_image in enumerate(owned)
        for level, of_level in enumerate(of_image)
        for row, column in (of_level >= 0).nonzero().tolist()
    ]
    maps = [keypoint_maps(heads, positive) for positive in positives]
    targets, similarities = class_targets(heads, people, positives, maps, strict)
    divisor = len(positives) + len(people)
    dense = [dense_targets(one, tuple(heads.heatmaps.shape[2:])) for one in people]
    heatmaps, offsets, is_supervised = (torch.stack(parts) for parts in zip(*dense, strict=True))
    pull, push = tag_losses(heads.tags, people, strict)
    classes = sum(varifocal(z[:, 0], q).sum() for z, q in zip(heads.logits, targets, strict=True))
    terms = {
        "loss_cls": classes / (divisor + EPSILON),
        "loss_keypoint": keypoint_loss(people, positives, maps, strict, heads.features),
        "loss_keypoint_reg": coarse_loss(heads, people, positives),
        "loss_heatmap": heatmap_loss(heads.heatmaps, heatmaps, strict),
        "loss_ae_pull": pull,
        "loss_ae_push": push,
        "loss_heatmap_offset": ((heads.offsets - offsets).abs() * is_supervised).sum()
        / (int(is_supervised.sum()) + 1e-4),
    }
    return Losses(terms, owned, targets, divisor, similarities, maps, heatmaps, offsets)


def keypoint_maps(heads: Heads, positive: Positive) -> Tensor:
    """The logits f[K,h,w] that a location's KP-Net gives to the cells of stride 8."""
    image, level, row, column, _ = positive
    features, theta, stride = heads.features[image], heads.theta[level][image, :, row, column], STRIDES[level]
    (inputs, height, width), joints = features.shape, heads.heatmaps.shape[1]
    x, y = column * stride + stride / 2, row * stride + stride / 2
    columns, rows = (torch.arange(n, dtype=features.dtype) for n in (width, height))
    relative_x = ((8 * columns + 4 - x) / (8 * stride)).expand(height, width)
    relative_y = ((8 * rows + 4 - y) / (8 * stride))[:, None].expand(height, width)
    maps = torch.cat([features, relative_x[None], relative_y[None]])
    first = 0
    for number, (before, after) in enumerate([(inputs + 2, WIDTH), (WIDTH, WIDTH), (WIDTH, joints)]):
        if number > 0:
            maps = maps.relu()
        weight = theta[first : first + before * after].reshape(after, before)
        bias = theta[first + before * after : first + before * after + after]
        maps = torch.einsum("oi,ihw->ohw", weight, maps) + bias[:, None, None]
        first += before * after + after
    assert first == len(theta)
    return maps


def class_targets(
    heads: Heads, people: list[People], positives: list[Positive], maps: list[Tensor], strict: bool
) -> tuple[list[Tensor], list[float]]:
    """The quality f[B,h,w] that the class of every location should have, and the OKS among them; no gradient."""
    targets = [torch.zeros_like(z[:, 0]) for z in heads.logits]
    similarities = []
    for positive, one in zip(positives, maps, strict=True):
        keypoints = people[positive.image].keypoints[positive.person]
        value = UNLABELLED
        if (keypoints[:, 2] > 0).any():
            best = one.detach().flatten(1).argmax(1)
            found = torch.stack([best % one.shape[2], best // one.shape[2]], 1)
            value = similarity(
                found, torch.floor(keypoints[:, :2] / 8), keypoints[:, 2] > 0,
                float(people[positive.image].areas[positive.person]), cell=1 if strict else 8,
            )  # fmt: skip
            similarities.append(value)
        targets[positive.level][positive.image, positive.row, positive.column] = value
    return targets, similarities


def similarity(found: Tensor, true: Tensor, is_labelled: Tensor, area: float, cell: int) -> float:
    """OKS between cells [K,2] of joints; `cell` is the side of a cell in the unit of the area, pixels."""
    values = []
    for a, b, is_seen, sigma in zip(found.tolist(), true.tolist(), is_labelled.tolist(), SIGMAS, strict=True):
        if is_seen:
            distance = cell**2 * ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2)
            spread = (2 * float(torch.tensor(sigma, dtype=torch.float32))) ** 2  # the release has float32 sigmas
            values.append(math.exp(-distance / (spread * (area + 1e-4) * 2)))
    return sum(values) / len(values)


def varifocal(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each location, weighted by its target, or where that is 0 by three quarters of p^2."""
    weight = torch.where(targets > 0, targets, 0.75 * logits.sigmoid() ** 2)
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none") * weight


def keypoint_loss(
    people: list[People], positives: list[Positive], maps: list[Tensor], strict: bool, features: Tensor
) -> Tensor:
    """Cross-entropy over the cells of a map, mean over the joints with a cell of the people of all positives."""
    total, number = features.new_zeros(()), 0
    for positive, one in zip(positives, maps, strict=True):
        log_probabilities = one.flatten(1).log_softmax(1)
        height, width = one.shape[1:]
        for joint, (x, y, flag) in enumerate(people[positive.image].keypoints[positive.person].tolist()):
            row, column = math.floor(y / 8), math.floor(x / 8)
            index = row * width + column
            has_cell = index < height * width if strict else row < height and column < width
            if flag > 0 and has_cell:
                total, number = total - log_probabilities[joint, index], number + 1
    return total / max(number, 1)


def coarse_loss(heads: Heads, people: list[People], positives: list[Positive]) -> Tensor:
    """L1 between the coarse joints and the labelled ones, in strides, mean over x and y."""
    total, number = heads.features.new_zeros(()), 0
    for image, level, row, column, person in positives:
        stride = STRIDES[level]
        found = heads.coarse[level][image, :, row, column]
        for joint, (x, y, flag) in enumerate(people[image].keypoints[person].tolist()):
            if flag > 0:
                to_x = (x - (column * stride + stride / 2)) / stride
                to_y = (y - (row * stride + stride / 2)) / stride
                total = total + (found[2 * joint] - to_x).abs() + (found[2 * joint + 1] - to_y).abs()
                number += 2
    return total / max(number, 1)


def heatmap_loss(logits: Tensor, targets: Tensor, strict: bool) -> Tensor:
    """The focal loss of all cells over the number of those with a joint."""
    number = int((targets == 1).sum())
    if number == 0:
        number = 1 if strict else targets.shape[0] * targets.shape[1]
    return centre_focal(logits, targets).sum() / number


def centre_focal(logits: Tensor, targets: Tensor) -> Tensor:
    """CornerNet's focal loss of each cell."""
    p = logits.sigmoid().clamp(1e-4, 1 - 1e-4)
    peak = -p.log() * (1 - p) ** 2
    return torch.where(targets == 1, peak, -(1 - p).log() * p**2 * (1 - targets) ** 4)


def tag_losses(tags: Tensor, people: list[People], strict: bool) -> tuple[Tensor, Tensor]:
    """What pulls the tags of a person together, and pushes the means of people apart; mean over the images."""
    pull, push = tags.new_zeros(()), tags.new_zeros(())
    height, width = tags.shape[2:]
    for of_image, one in zip(tags, people, strict=True):
        means, spreads = [], []
        for keypoints in one.keypoints.tolist():
            read = []
            for joint, (x, y, flag) in enumerate(keypoints):
                row, column = math.floor(y / 4), math.floor(x / 4)
                if strict:
                    row, column = row - 1, column - 1  # -1 is Python's last one
                if flag > 0 and row < height and column < width:
                    read.append(of_image[joint, row, column])
            if read:
                means.append(torch.stack(read).mean())
                spreads.append(((torch.stack(read) - means[-1]) ** 2).mean())
        number = len(means)
        if number > 0:
            pull = pull + torch.stack(spreads).mean()
        if number > 1:
            alike = sum(torch.exp(-((a - b) ** 2)) for a in means for b in means)
            push = push + (alike - number) / (2 * number * (number - 1))
    return pull / len(people), push / len(people)
