"""A drawn scene: people, background and occluders, painted from far to near, and everybody's labels.

The label map at a joint's pixel decides whether the joint is visible, and the number of a person's pixels in the map is
the person's area.
"""

import numpy as np
from jaxtyping import Int16

from inspose_jax.config import Scene
from inspose_jax.data.drawn.body import PART, PARTS, SHOWN_BY, Body, posed
from inspose_jax.data.drawn.canvas import Canvas
from inspose_jax.data.drawn.person import paint_person
from inspose_jax.data.drawn.surroundings import paint_background, paint_occluder, photograph
from inspose_jax.skeletons import COCO
from inspose_jax.structures import Sample

FEWEST_PIXELS = 64  # people with fewer visible pixels stay unlabelled, as in COCO
SHOWN_PARTS = [{PART[part] for part in SHOWN_BY[name]} for name in COCO.keypoint_names]
FIRST_LIMB = PART["left_upper_arm"]


def draw(scene: Scene, seed: tuple[int, ...], with_masks: bool = False) -> Sample:
    """Draw the image of a seed, u8[size, size, 3], with its people; `image_id` is the seed's last number."""
    sample, person_at = draw_with_owners(scene, seed)
    people = np.arange(len(sample.area))[:, None, None]
    return sample._replace(masks=person_at == people) if with_masks else sample


def draw_with_owners(scene: Scene, seed: tuple[int, ...]) -> tuple[Sample, Int16[np.ndarray, "H W"]]:
    """As `draw`, and for every pixel the index of the person visible there, in the sample's order; -1 for nobody."""
    rng = np.random.default_rng(seed)
    bodies = place_bodies(scene, rng)
    canvas = Canvas(paint_background(scene, rng))
    occluder_after = rng.integers(0, len(bodies) + 1, rng.poisson(0.4 * scene.clutter))
    for number in range(len(bodies) + 1):
        if number > 0:
            paint_person(canvas, bodies[number - 1], number - 1, rng)
        for _ in range(int((occluder_after == number).sum())):
            paint_occluder(canvas, rng)
    image = photograph(canvas.image, scene.size, rng)
    owner = canvas.labels // len(PARTS)  # rounds down: NOBODY stays -1
    shown = np.unique(owner[owner >= 0])  # a dataset does not list fully hidden people
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
    """The people of a scene before any occlusion or truncation, the farthest first."""
    pitch = np.radians(rng.uniform(-4, 16))
    low, high = scene.height
    placed: list[tuple[Body, np.ndarray]] = []
    for _ in range(rng.integers(scene.num_people[0], scene.num_people[1] + 1)):
        body = posed(rng, scene.size * float(np.exp(rng.uniform(np.log(low), np.log(high)))), pitch)
        box = body.box()
        for _ in range(12):  # try for a place where nobody is almost hidden behind another
            target = _corner(scene.size, box[2:] - box[:2], [other for _, other in placed], rng) - box[:2]
            if not any(_almost_covers(box + np.tile(target, 2), other) for _, other in placed):
                break
        placed.append((body.moved(target), box + np.tile(target, 2)))
    placed.sort(key=lambda one: one[1][3])  # whoever stands lower in the image is nearer
    return [body for body, _ in placed]


def _corner(size: int, extent: np.ndarray, others: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """A random upper left corner for a box of `extent` (width, height): mostly in the image, often near others."""
    room = size - extent
    corner = rng.uniform(np.minimum(room, 0) * 0.5, np.maximum(room, 0) + np.minimum(room, 0) * 0.5)
    if others and rng.random() < 0.72:
        other = others[rng.integers(len(others))]
        aside = rng.choice([-1, 1]) * rng.uniform(0.3, 0.64) * (extent[0] + other[2] - other[0]) / 2
        corner[0] = (other[0] + other[2] - extent[0]) / 2 + aside
        corner[0] = np.clip(corner[0], -0.3 * extent[0], size - 0.7 * extent[0])
        corner[1] = np.clip(other[3] + rng.normal(0, 0.08) * size, 0.5 * size, size * 1.1) - extent[1]
    if rng.random() < 0.3:  # partly outside the image
        corner += rng.uniform((-0.3, -0.1), (0.3, 0.45)) * extent
    return corner


def _almost_covers(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two boxes overlap so much that one of the two people would hardly be visible."""
    shared = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    areas = np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2])
    return bool(shared > 0.3 * (sum(areas) - shared) or shared > 0.65 * min(areas))


def _labelled(body: Body, part_at: np.ndarray) -> np.ndarray:
    """x, y, visibility [K, 3] of a body's joints; `part_at` is the index of its part visible at each pixel."""
    size = part_at.shape[0]
    keypoints = np.zeros((COCO.num_keypoints, 3), np.float32)
    for joint, place in enumerate(body.joints.astype(np.float32).tolist()):
        x, y = place
        if 0 <= x < size and 0 <= y < size:
            part = part_at[int(y), int(x)]
            # A far shoulder or hip is visible where its own limb is, not where only the torso in front of it is.
            seen = part in SHOWN_PARTS[joint] and (body.faces_viewer[joint] or part >= FIRST_LIMB)
            keypoints[joint] = x, y, 2 if seen else 1
    return keypoints
