"""Drawn people: a picture with its labels from nothing but a seed, for the demo, the tests and the benchmarks.

People are painted part after part, from far to near, into a canvas with a fourth channel that remembers whose part each
pixel is; visibility, masks and boxes are read from it.  Left and right look alike: only where somebody faces tells.
"""

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from inspose_jax.config import Scene
from inspose_jax.data import body
from inspose_jax.structures import Sample

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
SUPERSAMPLING = 2  # painted at twice the size, so that edges are smooth
MIN_VISIBLE = 64  # pixels: people of whom less is seen carry no labelled joint
PARTS = 24  # labels a person
THING = 255  # label of what stands in front of people

CIRCLE = np.stack([np.cos(np.arange(12) * np.pi / 6), np.sin(np.arange(12) * np.pi / 6)], -1)
SKIN = ((255, 219, 190), (240, 195, 160), (215, 165, 125), (175, 120, 85), (120, 80, 55), (85, 58, 42))
HAIR = ((30, 25, 22), (70, 45, 28), (120, 75, 35), (190, 150, 85), (150, 150, 150), (150, 65, 35))

# Parts as (label, points, radii in statures, what it wears); labels tell which joints a part can show.
HEAD, TORSO, NECK = 1, 2, 3
LIMBS = (
    (4, (5, 7), (0.040, 0.033), "sleeve"),
    (5, (7, 9), (0.031, 0.024), "forearm"),
    (6, (9, body.LEFT_HAND), (0.024, 0.027), "skin"),
    (7, (6, 8), (0.040, 0.033), "sleeve"),
    (8, (8, 10), (0.031, 0.024), "forearm"),
    (9, (10, body.RIGHT_HAND), (0.024, 0.027), "skin"),
    (10, (11, 13), (0.062, 0.044), "legs"),
    (11, (13, 15), (0.042, 0.029), "shin"),
    (12, (15, body.LEFT_TOE), (0.030, 0.022), "shoes"),
    (13, (12, 14), (0.062, 0.044), "legs"),
    (14, (14, 16), (0.042, 0.029), "shin"),
    (15, (16, body.RIGHT_TOE), (0.030, 0.022), "shoes"),
)
# The parts that a joint is seen on: its own limbs, and the torso at shoulders and hips.
SHOWN_ON = (
    *[{HEAD}] * 5,
    {4, TORSO},
    {7, TORSO},
    {4, 5},
    {7, 8},
    {5, 6},
    {8, 9},
    {10, TORSO},
    {13, TORSO},
    {10, 11},
    {13, 14},
    {11, 12},
    {14, 15},
)


class DrawnPeople:
    """A source of drawn pictures: random access, the same picture for the same place in the same split and seed."""

    def __init__(self, scene: Scene, split: Split, seed: int, count: int):
        self.scene, self.split, self.seed, self.count = scene, split, seed, count
        self.sizes = np.full((count, 2), scene.size, np.int32)
        self.is_labelled = np.ones(count, bool)  # also the empty ones: they teach what is nobody
        self.image_ids = np.arange(count)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        return draw(self.scene, split_seed(self.split, self.seed, int(index)))


def split_seed(split: Split, seed: int, index: int) -> tuple[int, int, int]:
    """Seed of one picture; those of different splits never meet."""
    return SPLITS.index(split), seed, index


def draw(scene: Scene, seed: tuple[int, ...]) -> Sample:
    """The picture of a seed: u8[size,size,3] with its people in random order; the seed's last number is its id."""
    rng = np.random.default_rng(seed)
    size, big = scene.size, scene.size * SUPERSAMPLING
    canvas = np.zeros((big, big, 4), np.uint8)
    canvas[..., :3] = background(rng, big, scene.clutter)
    people = place_people(rng, scene)
    for number, (points, facing) in enumerate(people):
        paint_person(canvas, points * SUPERSAMPLING, facing, number, rng)
        if rng.random() < 0.1 * scene.clutter:
            paint_thing(canvas, rng, THING)  # stands between this person and the next
    for _ in range(rng.poisson(0.25 * scene.clutter)):
        paint_thing(canvas, rng, THING)

    labels = canvas[::SUPERSAMPLING, ::SUPERSAMPLING, 3]
    keypoints = np.zeros((len(people), 17, 3), np.float32)
    boxes, area = np.zeros((len(people), 4), np.float32), np.zeros(len(people), np.float32)
    for number, (points, _) in enumerate(people):
        mask = (labels > number * PARTS) & (labels <= (number + 1) * PARTS) & (labels != THING)
        area[number] = mask.sum()
        if mask.any():
            (rows,), (columns,) = np.nonzero(mask.any(1)), np.nonzero(mask.any(0))
            boxes[number] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        if area[number] >= MIN_VISIBLE:
            keypoints[number] = label_joints(points, labels, number)
    return Sample(finish(canvas, rng, size), keypoints, boxes, area, np.zeros(len(people), bool), seed[-1])


def place_people(rng: np.random.Generator, scene: Scene) -> list[tuple[Float[np.ndarray, "P 3"], np.ndarray]]:
    """Bodies in pixels of the picture (x right, y down, z towards the viewer), farthest first, and where heads face."""
    people: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(rng.integers(scene.num_people[0], scene.num_people[1] + 1)):
        points, facing = body.random_body(rng)
        points = points * [1, -1, 1]
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        height = np.exp(rng.uniform(*np.log(scene.height)))
        points = (points - [*(low + high) / 2, 0]) * height / (high - low).max()
        extent = (high - low) * height / (high - low).max() / 2
        # People look for room: of a few places the one farthest from the others, as strangers in a street do.
        tries = rng.uniform([0.1, 0], [0.9, 1], (4, 2))
        others = np.array([other[:, :2].mean(0) / scene.size for other, _ in people]).reshape(-1, 1, 2)
        distance = np.abs((tries - others)[..., 0]).min(0, initial=1)
        centre = tries[distance.argmax() if rng.random() < 0.6 else 0]
        # How far the frame may cut somebody: a little at the sides and below, hardly at the head.
        slack = np.abs(rng.normal(0, 0.13, 2))
        centre = np.clip(centre, np.minimum(extent - slack * [1, 0.4], 0.5), np.maximum(1 - extent + slack, 0.5))
        people.append(((points + [*centre, 0]) * scene.size, facing))
    return sorted(people, key=lambda person: person[0][:, 1].max() + rng.normal(0, 0.1 * scene.size))


def label_joints(
    points: Float[np.ndarray, "P 3"], labels: UInt8[np.ndarray, "h w"], number: int
) -> Float[np.ndarray, "17 3"]:
    """x, y, visibility of a person's joints: 0 out of the frame, 2 where a part of its own that shows it is on top."""
    joints = np.zeros((17, 3), np.float32)
    for k, (x, y, z) in enumerate(points[:17]):
        if not (0 <= x < labels.shape[1] and 0 <= y < labels.shape[0]):
            continue
        on_top = int(labels[int(y), int(x)]) - number * PARTS
        seen = on_top in SHOWN_ON[k]
        if k < 5:  # on the head: only the side towards the viewer; ears stick out, so they are seen from behind too
            margin = 0.0 if k < 3 else -0.4
            seen = seen and z - points[body.HEAD, 2] > margin * head_radius(points)
        joints[k] = x, y, 2 if seen else 1
    return joints


# --- painting -------------------------------------------------------------------------------------------------------


def head_radius(points: Float[np.ndarray, "P 3"]) -> float:
    """In the unit of `points`; thighs keep their length whatever the pose."""
    return float(np.linalg.norm(points[11] - points[13])) / body.THIGH * body.HEAD_RADIUS


def blob(canvas: np.ndarray, points: np.ndarray, radii: Sequence[float], colour: Sequence[float], label: int) -> None:
    """Fill the hull of circles around `points` (x, y in canvas pixels)."""
    outline = (points[:, None] + CIRCLE * np.asarray(radii)[:, None, None]).reshape(-1, 2)
    hull = cv2.convexHull((outline * 16).astype(np.int32))
    cv2.fillConvexPoly(canvas, hull, (*map(float, colour), label), shift=4)


def outlined(canvas: np.ndarray, points: np.ndarray, radii: Sequence[float], colour: np.ndarray, label: int) -> None:
    """A blob with a darker rim, so that parts stand out from one another."""
    blob(canvas, points, radii, colour * 0.5, label)
    blob(canvas, points, [max(r - 1.2, 0.6) for r in radii], colour, label)


def paint_person(
    canvas: np.ndarray, points: Float[np.ndarray, "P 3"], facing: np.ndarray, number: int, rng: np.random.Generator
) -> None:
    """Paint one body, farthest part first; `points` in canvas pixels."""
    stature = head_radius(points) / body.HEAD_RADIUS
    bulk = stature * rng.uniform(1.0, 1.35)
    skin, hair = np.array(SKIN[rng.integers(len(SKIN))], float), np.array(HAIR[rng.integers(len(HAIR))], float)
    shirt, legs, shoes = rng.uniform(20, 245, (3, 3))
    long_sleeves, long_legs = rng.random(2) < [0.5, 0.7]
    wear = {
        "skin": skin,
        "sleeve": shirt,
        "forearm": shirt if long_sleeves else skin,
        "legs": legs,
        "shin": legs if long_legs else skin,
        "shoes": shoes,
    }
    first = number * PARTS
    flat = points[:, :2]

    feet = flat[[15, 16, body.LEFT_TOE, body.RIGHT_TOE]]
    if rng.random() < 0.7:  # a shadow on the ground, flattened around the feet
        x, y = feet.mean(0)
        dark = canvas[int(np.clip(y, 0, len(canvas) - 1)), int(np.clip(x, 0, len(canvas) - 1)), :3] * 0.6
        axes = (int(0.2 * stature), int(0.04 * stature) + 1)
        cv2.ellipse(canvas, (int(x), int(y + 0.02 * stature)), axes, 0, 0, 360, (*map(float, dark), 0), -1)

    def torso() -> None:
        outlined(canvas, flat[[5, 6, 11, 12]], np.array([0.045, 0.045, 0.06, 0.06]) * bulk, shirt, first + TORSO)
        middle, hips = flat[body.NECK], flat[[11, 12]].mean(0)
        front = np.cross(points[5] - points[6], points[body.NECK] - points[[11, 12]].mean(0))
        # Cross product of leftward and upward; y points down in the picture, which turns its sign.
        if -front[2] > 0:  # seen from the front: a collar and a row of buttons
            blob(canvas, np.stack([middle, middle * 0.75 + hips * 0.25]), (0.035 * bulk, 0.008 * bulk), skin, first + TORSO)
            seam = np.stack([middle * 0.7 + hips * 0.3, hips])
            blob(canvas, seam, (0.008 * bulk, 0.008 * bulk), 255 - shirt, first + TORSO)
        belt = flat[[11, 12]]
        blob(canvas, belt, (0.03 * bulk, 0.03 * bulk), legs * 0.6, first + TORSO)

    def neck() -> None:
        outlined(canvas, flat[[body.NECK, body.HEAD]], (0.035 * bulk, 0.03 * bulk), skin * 0.9, first + NECK)

    def head() -> None:
        paint_head(canvas, points, facing, skin, hair, first + HEAD)

    def limb(label: int, ends: tuple[int, int], radii: tuple[float, float], wears: str) -> None:
        light = 1 + 0.25 * np.clip(points[list(ends), 2].mean() / stature / 0.3, -1, 1)  # nearer is lighter
        outlined(canvas, flat[list(ends)], np.array(radii) * bulk, np.minimum(wear[wears] * light, 255), first + label)

    depth = points[:, 2] / stature
    parts = [
        (depth[[5, 6, 11, 12]].mean(), torso),
        (depth[body.NECK] - 0.02, neck),
        (depth[body.HEAD] + 0.02, head),
    ]
    for label, ends, radii, wears in LIMBS:
        bias = 0.03 if label < 10 else -0.015 if label in (10, 13) else 0.0  # arms hang before the torso's edge
        parts.append(
            (depth[list(ends)].mean() + bias, lambda a=label, b=ends, c=radii, d=wears: limb(a, b, c, d))
        )
    for _, paint in sorted(parts, key=lambda part: part[0]):
        paint()


def paint_head(
    canvas: np.ndarray, points: np.ndarray, facing: np.ndarray, skin: np.ndarray, hair: np.ndarray, label: int
) -> None:
    """Hair all around, the face where the head looks, features on it."""
    r = head_radius(points)
    centre, up = points[body.HEAD, :2], (points[body.CROWN] - points[body.HEAD])[:2]
    outlined(canvas, np.stack([centre + 0.2 * up, centre - 0.1 * up]), (1.05 * r, 0.95 * r), hair, label)
    towards = points[:5, 2] - points[body.HEAD, 2]
    if facing[2] > -0.35:
        look = facing[:2] * [1, -1]
        face = centre + 0.42 * r * look - 0.18 * up
        half = 0.78 * r * max(0.45, float(facing[2]))
        side = np.array([up[1], -up[0]]) / max(np.linalg.norm(up), 1e-6)
        reach = max(half - 0.5 * r, 0) * side
        blob(canvas, np.stack([face + reach, face - reach, face - 0.35 * up]), (0.6 * r, 0.6 * r, 0.5 * r), skin, label)
    for ear in (3, 4):
        if towards[ear] > -0.4 * r:
            blob(canvas, points[[ear], :2], (0.24 * r,), skin * 0.8, label)
    for eye in (1, 2):
        if towards[eye] > 0:
            blob(canvas, points[[eye], :2], (0.24 * r,), (250, 250, 250), label)
            blob(canvas, points[[eye], :2], (0.14 * r,), (20, 20, 30), label)
    if towards[0] > 0:
        blob(canvas, points[[0], :2], (0.17 * r,), skin * 0.6, label)
        mouth = points[0, :2] - 0.4 * up
        blob(canvas, mouth[None], (0.15 * r,), (170, 50, 50), label)


def background(rng: np.random.Generator, size: int, clutter: float) -> UInt8[np.ndarray, "S S 3"]:
    """A smooth random texture with a ground, and things standing about."""
    coarse = rng.uniform(0, 255, (rng.integers(2, 7), rng.integers(2, 7), 3))
    fine = rng.normal(0, 12, (size // 4, size // 4, 1))
    picture = cv2.resize(coarse.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    picture = picture * 0.7 + cv2.resize(fine.astype(np.float32), (size, size))[..., None] + 30
    canvas = np.clip(picture, 0, 255).astype(np.uint8)
    if rng.random() < 0.6:
        ground = int(size * rng.uniform(0.5, 0.9))
        canvas[ground:] = canvas[ground:] // 2 + (rng.uniform(20, 110, 3)).astype(np.uint8)
    for _ in range(rng.poisson(5 * clutter)):
        paint_thing(canvas, rng, 0)
    return canvas


def paint_thing(canvas: np.ndarray, rng: np.random.Generator, label: int) -> None:
    """A box, a ball or a pole of random colour; in the background (label 0) anywhere, in front rather small."""
    size = len(canvas)
    colour = (*rng.uniform(0, 255, 3), label)
    x, y = rng.uniform(0, size, 2)
    kind = rng.integers(3)
    if kind == 0:
        w, h = rng.uniform(0.04, 0.2 if label == 0 else 0.13, 2) * size
        corners = cv2.boxPoints(((x, y), (w, h), rng.uniform(0, 90)))
        cv2.fillConvexPoly(canvas, corners.astype(np.int32), colour)
        cv2.polylines(canvas, [corners.astype(np.int32)], True, (*(c * 0.5 for c in colour[:3]), label), 2)
    elif kind == 1:
        cv2.circle(canvas, (int(x), int(y)), int(rng.uniform(0.02, 0.08) * size), colour, -1)
    else:
        end = np.array([x, y]) + rng.normal(0, 0.35, 2) * size
        cv2.line(canvas, (int(x), int(y)), (int(end[0]), int(end[1])), colour, int(rng.uniform(0.012, 0.04) * size))


def finish(canvas: np.ndarray, rng: np.random.Generator, size: int) -> UInt8[np.ndarray, "s s 3"]:
    """Down to its size, then light, blur and noise of a camera."""
    picture = cv2.resize(canvas[..., :3], (size, size), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.2:
        picture = cv2.GaussianBlur(picture, (3, 3), rng.uniform(0.4, 0.9))
    gain, offset = rng.uniform(0.75, 1.2), rng.uniform(-15, 15)
    noise = rng.standard_normal((size, size, 1), np.float32) * rng.uniform(1, 6)
    return np.clip(picture * np.float32(gain) + np.float32(offset) + noise, 0, 255).astype(np.uint8)
