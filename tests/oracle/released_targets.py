"""What the released model learns: which location answers for whom, heatmaps and offsets; one cell at a time.

Points are (x, y), boxes x0 y0 x1 y1, in pixels of the network's input; maps are N people, K joints, h w cells.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

STRIDES = (8, 16, 32, 64, 128)
RANGES = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8))  # of the distance to the farthest side, both closed
CENTRE = 1.5  # half side of the centre box, in strides
OVERLAP, LARGEST = 0.9, 3  # of the windows around joints


class People(NamedTuple):
    """The people of an image."""

    boxes: Tensor  # f[N,4]
    keypoints: Tensor  # f[N,K,3] x, y, flag; labelled where the flag is above 0
    areas: Tensor  # f[N] pixels of their masks


def owners(boxes: Tensor, sizes: list[tuple[int, int]]) -> list[Tensor]:
    """For each level of (height, width) cells the person i64[h,w] that each location answers for; -1 for none."""
    people = boxes.tolist()
    maps = []
    for (height, width), stride, limits in zip(sizes, STRIDES, RANGES, strict=True):
        owned = torch.full((height, width), -1)
        for row in range(height):
            for column in range(width):
                x, y = column * stride + stride / 2, row * stride + stride / 2
                owned[row, column] = owner(x, y, stride, limits, people)
        maps.append(owned)
    return maps


def owner(x: float, y: float, stride: int, limits: tuple[float, float], people: list[list[float]]) -> int:
    """The person with the smallest box of those that take this location, the first of equal ones; -1 for none."""
    best, smallest = -1, math.inf
    for index, (x0, y0, x1, y1) in enumerate(people):
        middle_x, middle_y, reach = (x0 + x1) / 2, (y0 + y1) / 2, CENTRE * stride
        is_in_columns = max(x0, middle_x - reach) < x < min(x1, middle_x + reach)
        is_in_rows = max(y0, middle_y - reach) < y < min(y1, middle_y + reach)
        farthest = max(x - x0, y - y0, x1 - x, y1 - y)
        area = (x1 - x0) * (y1 - y0)
        if is_in_columns and is_in_rows and limits[0] <= farthest <= limits[1] and area < smallest:
            best, smallest = index, area
    return best


def window_limit(height: float, width: float, overlap: float) -> float:
    """CornerNet's radius R for a box, as the released code has it: each quadratic's denominator is 2."""
    total, product = height + width, height * width
    first = (total + math.sqrt(total**2 - 4 * product * (1 - overlap) / (1 + overlap))) / 2
    second = (2 * total + math.sqrt(4 * total**2 - 16 * (1 - overlap) * product)) / 2
    third = (-2 * overlap * total + math.sqrt(4 * overlap**2 * total**2 - 16 * overlap * (overlap - 1) * product)) / 2
    return min(first, second, third)


def half_width(height: float, width: float, overlap: float = OVERLAP) -> int:
    """The half-width of the windows around a person's joints, for a box in cells of stride 4."""
    return min(max(math.floor(window_limit(height, width, overlap)), 0), LARGEST)


class Dense:
    """Heatmap, offsets and where offsets are supervised of one joint; people are added one after another."""

    def __init__(self, height: int, width: int):
        self.heatmap = torch.zeros(height, width, dtype=torch.float64)
        self.offset = torch.zeros(2, height, width, dtype=torch.float64)
        self.length = torch.full((height, width), math.inf, dtype=torch.float64)  # squared, of the offset so far

    def add(self, x: float, y: float, reach: int) -> None:
        """A joint at (x, y) in cells, with a window of half-width `reach`, of which a part may lie outside."""
        height, width = self.heatmap.shape
        sigma = (2 * reach + 1) / 6
        for row in range(max(math.floor(y) - reach, 0), min(math.floor(y) + reach + 1, height)):
            for column in range(max(math.floor(x) - reach, 0), min(math.floor(x) + reach + 1, width)):
                away = (column - math.floor(x)) ** 2 + (row - math.floor(y)) ** 2
                self.heatmap[row, column] = max(self.heatmap[row, column], math.exp(-away / (2 * sigma**2)))
                length = (x - column) ** 2 + (y - row) ** 2
                if length < self.length[row, column]:
                    self.length[row, column] = length
                    self.offset[:, row, column] = torch.tensor([x - column, y - row])


def dense_targets(people: People, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Heatmaps f[K,h,w], offsets f[2K,h,w] and where they are supervised bool[2K,h,w], at stride 4."""
    joints = [Dense(*size) for _ in range(people.keypoints.shape[1])]
    for (x0, y0, x1, y1), keypoints in zip(people.boxes.tolist(), people.keypoints.tolist(), strict=True):
        reach = half_width((y1 - y0) / 4, (x1 - x0) / 4)
        for joint, (x, y, flag) in zip(joints, keypoints, strict=True):
            if flag > 0:
                joint.add(x / 4, y / 4, reach)
    is_supervised = torch.stack([joint.length < math.inf for joint in joints])
    return (
        torch.stack([joint.heatmap for joint in joints]),
        torch.cat([joint.offset for joint in joints]),
        is_supervised.repeat_interleave(2, 0),
    )
