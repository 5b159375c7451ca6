"""Drawn people: endless pictures with known joints, rendered from a seed, to learn from and test with without files.

A scene is people, things behind and things before them, painted from far to near.  What the map of labels says at a
joint's pixel decides whether the joint is seen, and the labels' count is the person's area.
"""

import hashlib
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Int16

from inspose_jax.config import Scene
from inspose_jax.data.body import PART, PARTS, SHOWN_BY, Body, posed
from inspose_jax.data.paint import CIRCLE, FINER, NOBODY, Canvas, cloth_colour, paint_person
from inspose_jax.skeletons import COCO
from inspose_jax.structures import Sample

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
FEWEST_PIXELS = 64  # people of whom less is seen carry no labels, as COCO leaves them unlabelled
SHOWN_PARTS = [{PART[part] for part in SHOWN_BY[name]} for name in COCO.keypoint_names]
FIRST_LIMB = PART["left_upper_arm"]


class DrawnPeople:
    """A source of drawn pictures: random access, the same picture for the same place in the same split and seed."""

    def __init__(self, scene: Scene, split: Split, seed: int, count: int):
        """Pictures 0 to `count` - 1 of a split."""
        self.scene, self.seed, self.count = scene, seed, count
        self.split: Split = split
        self.sizes = np.full((count, 2), scene.size, np.int32)
        self.is_labelled = np.ones(count, bool)  # also the empty ones: they teach what is nobody
        self.image_ids = np.arange(count)

    def __len__(self) -> int:
        """Number of pictures."""
        return self.count

    def __getitem__(self, index: int) -> Sample:
        """Draw picture `index`."""
        return draw(self.scene, split_seed(self.split, self.seed, int(index)))

    def labels_hash(self) -> str:
        """A hash of all that the labels follow from."""
        known = repr((self.scene, self.split, self.seed, self.count))
        return hashlib.sha256(known.encode()).hexdigest()[:12]


def split_seed(split: Split, seed: int, index: int) -> tuple[int, int, int]:
    """The seed of picture `index` of a split; those of different splits never meet."""
    return SPLITS.index(split), seed, index


def draw(scene: Scene, seed: tuple[int, ...]) -> Sample:
    """The picture of a seed: u8[size, size, 3] and its people; `image_id` is the seed's last number."""
    return draw_with_masks(scene, seed)[0]


def draw_with_masks(scene: Scene, seed: tuple[int, ...]) -> tuple[Sample, Int16[np.ndarray, "H W"]]:
    """`draw`, and for every pixel the number of the person seen there, in the sample's order; -1 for no one."""
    rng = np.random.default_rng(seed)
    bodies = place_bodies(scene, rng)
    canvas = Canvas(_background(scene, rng))
    occluder_after = rng.integers(0, len(bodies) + 1, rng.poisson(0.4 * scene.clutter))
    for number in range(len(bodies) + 1):
        if number > 0:
            paint_person(canvas, bodies[number - 1], number - 1, rng)
        for _ in range(int((occluder_after == number).sum())):
            _paint_occluder(canvas, rng)
    image = _finish(canvas.picture, scene.size, rng)
    owner = canvas.labels // len(PARTS)  # rounds down: NOBODY stays -1
    shown = np.unique(owner[owner >= 0])  # a person of whom nothing is seen is in no data set
    keypoints = np.zeros((len(shown), COCO.num_keypoints, 3), np.float32)
    boxes = np.zeros((len(shown), 4), np.float32)
    area = np.zeros(len(shown), np.float32)
    for row, person in enumerate(shown.tolist()):
        mask = owner == person
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        boxes[row] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        area[row] = np.count_nonzero(mask)
        if area[row] >= FEWEST_PIXELS:
            keypoints[row] = _labelled(bodies[person], canvas.labels - person * len(PARTS))
    renumbered = np.full(len(bodies) + 1, -1, np.int16)
    renumbered[shown] = np.arange(len(shown))
    sample = Sample(image, keypoints, boxes, area, np.zeros(len(shown), bool), seed[-1])
    return sample, renumbered[owner]


def place_bodies(scene: Scene, rng: np.random.Generator) -> list[Body]:
    """The people of a scene before anything hides or cuts them, the farthest first."""
    pitch = np.radians(rng.uniform(-4, 16))
    low, high = scene.height
    placed: list[tuple[Body, np.ndarray]] = []
    for _ in range(rng.integers(scene.num_people[0], scene.num_people[1] + 1)):
        body = posed(rng, scene.size * float(np.exp(rng.uniform(np.log(low), np.log(high)))), pitch)
        box = body.box()
        for _ in range(12):  # a few tries for a place where no one stands almost behind another
            target = _corner(scene.size, box[2:] - box[:2], [other for _, other in placed], rng) - box[:2]
            if not any(_almost_covers(box + np.tile(target, 2), other) for _, other in placed):
                break
        placed.append((body.moved(target), box + np.tile(target, 2)))
    placed.sort(key=lambda one: one[1][3])  # who stands lower in the picture stands nearer
    return [body for body, _ in placed]


def _corner(size: int, extent: np.ndarray, others: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """A random upper left corner for a box of `extent` (width, height): mostly in the picture, often near others."""
    room = size - extent
    corner = rng.uniform(np.minimum(room, 0) * 0.5, np.maximum(room, 0) + np.minimum(room, 0) * 0.5)
    if others and rng.random() < 0.72:
        other = others[rng.integers(len(others))]
        aside = rng.choice([-1, 1]) * rng.uniform(0.3, 0.64) * (extent[0] + other[2] - other[0]) / 2
        corner[0] = (other[0] + other[2] - extent[0]) / 2 + aside
        corner[0] = np.clip(corner[0], -0.3 * extent[0], size - 0.7 * extent[0])
        corner[1] = np.clip(other[3] + rng.normal(0, 0.08) * size, 0.5 * size, size * 1.1) - extent[1]
    if rng.random() < 0.3:  # cut by the frame
        corner += rng.uniform((-0.3, -0.1), (0.3, 0.45)) * extent
    return corner


def _almost_covers(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two boxes share so much that one of the two people would hardly be seen."""
    shared = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    areas = np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2])
    return bool(shared > 0.3 * (sum(areas) - shared) or shared > 0.65 * min(areas))


def _labelled(body: Body, part_at: np.ndarray) -> np.ndarray:
    """x, y, visibility [K, 3] of a body's joints; `part_at` is the number of its part seen at each pixel."""
    size = part_at.shape[0]
    keypoints = np.zeros((COCO.num_keypoints, 3), np.float32)
    for joint, place in enumerate(body.joints.astype(np.float32).tolist()):
        x, y = place
        if 0 <= x < size and 0 <= y < size:
            part = part_at[int(y), int(x)]
            # a shoulder or hip on the far side is seen where its own limb is, not where only the torso before it is
            seen = part in SHOWN_PARTS[joint] and (body.faces_viewer[joint] or part >= FIRST_LIMB)
            keypoints[joint] = x, y, 2 if seen else 1
    return keypoints


def _paint_occluder(canvas: Canvas, rng: np.random.Generator) -> None:
    """A box, a pole or a bush before the people so far."""
    size = canvas.size
    centre, half = rng.uniform((0, 0.3), (1, 1)) * size, rng.uniform(0.04, 0.13, 2) * size
    colour, kind = cloth_colour(rng), rng.integers(3)
    if kind == 0:
        angle = rng.normal(0, 0.2)
        turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
        box = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
        canvas.fill(centre + (box * half) @ turn, colour, NOBODY, edge=0.6)
        canvas.fill(centre + (box * half * 0.7) @ turn, colour * 1.15)
    elif kind == 1:
        top, wide = rng.uniform(-0.1, 0.5) * size, 0.35 * half[0]
        left, right = centre[0] - wide, centre[0] + wide
        pole = np.array([(left, top), (right, top), (right, 2 * size), (left, 2 * size)])
        canvas.fill(pole, colour, NOBODY, edge=0.6)
    else:
        green = np.array([60, 110, 50]) * rng.uniform(0.5, 1.5)
        for _ in range(5):
            leaf = centre + rng.normal(0, 0.5, 2) * half + CIRCLE * half * rng.uniform(0.4, 0.8)
            canvas.fill(leaf, green * rng.uniform(0.7, 1.3), NOBODY, edge=0.7)


def _background(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Wall and ground with soft texture, and things on them: u8[FINER * size, FINER * size, 3]."""
    size = scene.size * FINER
    wall, ground = (rng.uniform(55, 205) + rng.normal(0, 22, 3) for _ in range(2))
    horizon = int(rng.uniform(0.3, 0.85) * 16)
    coarse = np.where(np.arange(16)[:, None, None] < horizon, wall, ground) + rng.normal(0, 12, (16, 16, 3))
    picture = cv2.resize(np.clip(coarse, 0, 255).astype(np.uint8), (size, size), interpolation=cv2.INTER_LINEAR)
    fine = cv2.resize(rng.integers(0, 28, (64, 64), np.uint8), (size, size), interpolation=cv2.INTER_LINEAR)
    picture = cv2.add(picture, cv2.merge([fine] * 3))
    if rng.random() < 0.4 * scene.clutter:  # planks, bricks or tiles
        step = int(rng.uniform(0.06, 0.2) * size)
        shade = rng.uniform(0.75, 1.15)
        for start in range(int(rng.integers(step)), size, step):
            if rng.random() < 0.85:
                line = picture[:, start : start + max(2, size // 128)]
                line[:] = np.minimum(line * shade, 255)
    canvas = Canvas(picture)
    for _ in range(rng.poisson(7 * scene.clutter)):
        centre, half = rng.uniform(0, 1, 2) * scene.size, rng.uniform(0.02, 0.16, 2) * scene.size
        colour, kind = cloth_colour(rng) * 0.75 + 0.25 * wall, rng.integers(4)
        if kind == 0:
            canvas.fill(centre + CIRCLE * half, colour, edge=0.7)
        elif kind == 1:
            ends = np.stack([centre - 2 * half, centre + 2 * half * rng.choice([-1, 1], 2)])
            canvas.stroke(ends, colour, rng.uniform(0.01, 0.05) * scene.size)
        elif kind == 2:
            canvas.fill(centre + rng.normal(0, 1, (3, 2)) * half, colour)
        else:
            canvas.fill(centre + np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half, colour, edge=0.7)
    return canvas.picture


def _finish(picture: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """The picture at its own size, with uneven light, blur and noise as a camera sees it."""
    image = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    light = rng.uniform(0.8, 1.15) * rng.uniform(0.85, 1.12, (3, 3)).astype(np.float32)
    light = cv2.resize(light.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    noise = rng.uniform(1, 6) * rng.standard_normal((size, size), np.float32)
    image = image * light[..., None] + noise[..., None]
    if rng.random() < 0.35:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.75) * size / 128)
    return np.clip(image, 0, 255).astype(np.uint8)
