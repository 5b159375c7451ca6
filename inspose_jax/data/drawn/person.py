"""The appearance of a body: skin, hair, face and clothes, painted part by part from far to near.

Only the facing direction, the face and the clothes distinguish left from right.
"""

import cv2
import numpy as np

from inspose_jax.data.drawn.body import FIRST_BALL, JOINT, PARTS, POINT, Body
from inspose_jax.data.drawn.canvas import CIRCLE, FINER, NOBODY, Canvas, cloth_colour

SKIN = np.array([(246, 214, 186), (234, 192, 156), (214, 164, 124), (176, 124, 86), (132, 88, 60), (98, 64, 46)], float)
HAIR = np.array([(30, 24, 22), (70, 44, 26), (116, 74, 38), (196, 158, 88), (128, 52, 28), (160, 158, 156)], float)
EYE_WHITE, PUPIL = np.full(3, 245.0), np.array([25.0, 20.0, 20.0])

# Directions from the head's centre in the head's frame.  Hair begins at the edge of the face, 67 degrees around a
# direction slightly below straight ahead.
FACE_EDGE = 0.92 * CIRCLE @ np.array([(1, 0, 0), (0, 0.97, 0.24)]) + 0.39 * np.array([0, -0.24, 0.97])
MOUTH = np.array([(-0.3, -0.56, 0.78), (0.0, -0.62, 0.8), (0.3, -0.56, 0.78)])
# Offsets towards the viewer, in body heights, which order parts that are about as near as the torso.
NEARER = {
    "torso": 0.02, "pelvis": 0.0, "neck": -0.02, "head": 0.05,
    "upper_arm": 0.03, "forearm": 0.055, "hand": 0.06, "thigh": -0.005, "shin": 0.0, "foot": 0.01,
}  # fmt: skip
KIND = [part.removeprefix("left_").removeprefix("right_") for part in PARTS]
PULL = np.array([NEARER[kind] for kind in KIND])


def paint_person(canvas: Canvas, body: Body, person: int, rng: np.random.Generator) -> None:
    """Paint the shadow, seat and all parts of a body; its labels are person * len(PARTS) + part."""
    skin = SKIN[rng.integers(len(SKIN))] * rng.uniform(0.92, 1.06)
    hair = HAIR[rng.integers(len(HAIR))] * rng.uniform(0.85, 1.15)
    if np.abs(hair - skin).sum() < 120:
        hair = hair * 0.45  # the back of a head must not look like a face
    shirt, trousers, shoes, seat = (cloth_colour(rng) for _ in range(4))
    print_colour = (shirt + rng.uniform(90, 160, 3)) % 240
    is_striped, long_sleeves, long_legs = rng.random(3) < (0.3, 0.45, 0.7)
    colours = {
        "torso": shirt, "pelvis": trousers, "neck": skin * 0.9, "upper_arm": shirt, "thigh": trousers,
        "forearm": shirt if long_sleeves else skin, "hand": skin, "shin": trousers if long_legs else skin,
        "foot": shoes * 0.6,
    }  # fmt: skip
    _paint_shadow(canvas, body)
    if body.is_seated:
        _paint_seat(canvas, body, seat)
    centres, radii = body.balls()
    circles = (centres[:, None, :2] + radii[:, None, None] * CIRCLE).astype(np.float32)
    balls_of = np.diff(FIRST_BALL)
    middles = np.add.reduceat(centres, FIRST_BALL[:-1]) / balls_of[:, None]
    sheen = 0.42 * middles[:, :2] - 0.12 * (np.add.reduceat(radii, FIRST_BALL[:-1]) / balls_of)[:, None]
    nearness = middles[:, 2] / body.scale + PULL
    # Farther parts are slightly darker, so that the far limbs stand out from the near ones.
    brightness = 1 + 0.9 * np.clip(nearness, -0.2, 0.1)
    for part in np.argsort(nearness).tolist():
        label = person * len(PARTS) + part
        if KIND[part] == "head":
            _paint_head(canvas, body, skin, hair, label)
            continue
        colour = colours[KIND[part]] * brightness[part]
        outline = _hull(circles[FIRST_BALL[part] : FIRST_BALL[part + 1]])
        canvas.fill(outline, colour, label, edge=0.5)
        canvas.fill(0.58 * outline + sheen[part], colour * 1.12 + 8)  # light falls from the upper left
        if KIND[part] == "torso":
            _paint_shirt(canvas, body, shirt, print_colour, bool(is_striped))


def _paint_shirt(canvas: Canvas, body: Body, shirt: np.ndarray, contrast: np.ndarray, is_striped: bool) -> None:
    """Paint what distinguishes chest from back: an opening, a collar and a print, or a seam; stripes go all around."""
    left, up, forward = body.chest_axes * body.scale
    chest, front = body.points[POINT["chest"], :2], body.points[POINT["front"], :2]
    plane = np.stack([left, up])[:, :2]
    if is_striped:
        for height in (-0.1, -0.055, -0.01):
            stripe = chest + np.array([(-0.085, height), (0.085, height)]) @ plane
            canvas.stroke(stripe, contrast, 0.014 * body.scale)
    if forward[2] > 0.15 * body.scale:
        canvas.stroke(front + np.array([(0, 0.06), (0, -0.15)]) @ plane, shirt * 0.55, 0.008 * body.scale)
        collar = np.array([(0.05, 0.085), (0.0, 0.03), (-0.05, 0.085)])
        canvas.stroke(front + collar @ plane, contrast, 0.016 * body.scale)
        if not is_striped:
            corners = 0.03 * np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) - (0, 0.04)
            canvas.fill(front + corners @ plane, contrast)
    elif forward[2] < -0.15 * body.scale:
        seam = np.array([(0.09, 0.05), (0.0, 0.035), (-0.09, 0.05)])
        canvas.stroke(2 * chest - front + seam @ plane, shirt * 0.6, 0.008 * body.scale)


def _paint_head(canvas: Canvas, body: Body, skin: np.ndarray, hair: np.ndarray, label: int) -> None:
    """Paint hair all around, skin where the face is, and eyes, nose, ears and mouth where they are visible."""
    radius = body.head_radius
    joints, seen = body.joints, body.faces_viewer
    ears = [JOINT["left_ear"], JOINT["right_ear"]]
    is_behind = {ear: body.points[ear, 2] < body.points[POINT["head"], 2] - 0.05 * radius for ear in ears}

    def paint_ears(behind: bool) -> None:
        for ear in ears:
            if is_behind[ear] == behind:
                canvas.fill(joints[ear] + CIRCLE * (0.24 * radius), skin * 0.92, label, edge=0.6)

    paint_ears(behind=True)
    canvas.fill(body.on_head(np.pad(CIRCLE, ((0, 0), (0, 1)))), hair, label, edge=0.5)
    edge = FACE_EDGE @ body.head_axes
    if (edge[:, 2] > 0).any():
        away = edge[:, 2] < 0  # clip what lies behind the head's outline to the outline
        edge[away, :2] /= np.linalg.norm(edge[away, :2], axis=1, keepdims=True)
        canvas.fill(_hull(body.on_head(edge).astype(np.float32)), skin)
    paint_ears(behind=False)
    for eye in (JOINT["left_eye"], JOINT["right_eye"]):
        if seen[eye]:
            canvas.fill(joints[eye] + CIRCLE * (0.2 * radius), EYE_WHITE)
            canvas.fill(joints[eye] + CIRCLE * (0.13 * radius), PUPIL)
    mouth = MOUTH @ body.head_axes
    if mouth[:, 2].min() > 0.1:
        canvas.stroke(body.on_head(mouth), skin * (0.75, 0.45, 0.45), 0.12 * radius)
    if seen[JOINT["nose"]]:
        canvas.fill(joints[JOINT["nose"]] + CIRCLE * (0.16 * radius), skin * (0.88, 0.72, 0.68), label)


def _paint_shadow(canvas: Canvas, body: Body) -> None:
    """Paint a dark ellipse on the ground under the feet."""
    feet = body.joints[[JOINT["left_ankle"], JOINT["right_ankle"]]]
    centre = np.array([feet[:, 0].mean(), feet[:, 1].max() + 0.03 * body.scale]) * FINER
    half = np.array([np.ptp(feet[:, 0]) / 2 + 0.14 * body.scale, 0.05 * body.scale]) * FINER
    low = np.maximum(centre - half, 0).astype(int)
    high = np.minimum(centre + half + 1, canvas.image.shape[0]).astype(int)
    if (high <= low).any():
        return
    region = canvas.image[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(region.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, np.rint(centre - low + CIRCLE * half).astype(np.int32), (255, 0, 0))
    cv2.copyTo(cv2.convertScaleAbs(region, alpha=0.55), mask, region)


def _paint_seat(canvas: Canvas, body: Body, colour: np.ndarray) -> None:
    """Paint a block under a seated person, which hides whoever is behind it."""
    x, y = body.points[POINT["seat"], :2]
    wide, bottom = 0.15 * body.scale, body.points[[POINT["left_toe"], POINT["right_toe"]], 1].min()
    corners = np.array([(x - wide, y), (x + wide, y), (x + wide, bottom), (x - wide, bottom)])
    canvas.fill(corners, colour, NOBODY, edge=0.6)


def _hull(points: np.ndarray) -> np.ndarray:
    """The convex hull [m, 2] of f32 points [..., 2]."""
    return cv2.convexHull(points.reshape(-1, 2))[:, 0]
