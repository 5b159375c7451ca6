"""An articulated human body: a random plausible pose, turned in space and seen by a camera, as 17 joints and 16 parts.

A part is the convex hull of a few balls, so its image is the hull of a few circles.  Angles are clipped to joint
limits; poses look natural because they vary around a table of everyday ones.

Two frames: the body's (x to its left, y up, z forward) and the camera's (x right, y down, z towards the viewer, all
in units of the upright body's height until `posed` scales them to pixels).  Axes: P points, B balls.
"""

from dataclasses import dataclass, replace
from math import cos, radians, sin

import numpy as np
from jaxtyping import Bool, Float

from inspose_jax.skeletons import COCO

LIMB_PARTS = ("upper_arm", "forearm", "hand", "thigh", "shin", "foot")
PARTS = ("torso", "pelvis", "neck", "head", *(f"{side}_{part}" for part in LIMB_PARTS for side in ("left", "right")))
PART = {name: number for number, name in enumerate(PARTS)}
JOINT = {name: number for number, name in enumerate(COCO.keypoint_names)}
EXTRA = ("left_hand", "right_hand", "left_toe", "right_toe", "chest", "belly", "throat", "head", "seat", "front")
POINT = JOINT | {name: COCO.num_keypoints + number for number, name in enumerate(EXTRA)}

# Balls (point, radius) of each part; radii in body heights.
BALLS: dict[str, tuple[tuple[str, float], ...]] = {
    "torso": (("left_shoulder", 0.046), ("right_shoulder", 0.046), ("chest", 0.088), ("belly", 0.086)),
    "pelvis": (("left_hip", 0.074), ("right_hip", 0.074), ("belly", 0.07)),
    "neck": (("throat", 0.036), ("head", 0.036)),
    "head": (("head", 0.085),),
} | {
    f"{side}_{part}": ((f"{side}_{start}", thick), (f"{side}_{end}", thin))
    for side in ("left", "right")
    for part, start, thick, end, thin in (
        ("upper_arm", "shoulder", 0.048, "elbow", 0.039),
        ("forearm", "elbow", 0.039, "wrist", 0.029),
        ("hand", "wrist", 0.026, "hand", 0.032),
        ("thigh", "hip", 0.076, "knee", 0.054),
        ("shin", "knee", 0.053, "ankle", 0.036),
        ("foot", "ankle", 0.04, "toe", 0.03),
    )
}
# The same as arrays over the balls of all parts, in the order of `PARTS`; part p owns the balls from FIRST_BALL[p] up
# to FIRST_BALL[p + 1].
BALL_POINTS = np.array([POINT[name] for part in PARTS for name, _ in BALLS[part]])
BALL_RADII = np.array([radius for part in PARTS for _, radius in BALLS[part]])
BALL_IS_HEAD = np.array([part == "head" for part in PARTS for _ in BALLS[part]])
FIRST_BALL = np.cumsum([0, *(len(BALLS[part]) for part in PARTS)])
HEAD_RADIUS = BALLS["head"][0][1]

# The parts of which one must be visible at a joint's pixel for the joint to count as visible.
SHOWN_BY: dict[str, tuple[str, ...]] = dict.fromkeys(COCO.keypoint_names[:5], ("head",)) | {
    f"{side}_{joint}": tuple(part if part in PART else f"{side}_{part}" for part in parts)
    for side in ("left", "right")
    for joint, parts in (
        ("shoulder", ("torso", "upper_arm")),
        ("elbow", ("upper_arm", "forearm")),
        ("wrist", ("forearm", "hand")),
        ("hip", ("torso", "pelvis", "thigh")),
        ("knee", ("thigh", "shin")),
        ("ankle", ("shin", "foot")),
    )
}

# Directions from the head's centre in the head's frame; length 1 is the head's surface before it is stretched upwards.
FACE = np.array([(0, -0.15, 1.05), (0.4, 0.2, 0.88), (-0.4, 0.2, 0.88), (1.04, -0.02, -0.1), (-1.04, -0.02, -0.1)])
FACE_SHOWN_ABOVE = np.array([-0.1, 0.1, 0.1, -0.48, -0.48])  # least z (towards the viewer); ears stick out
HEAD_STRETCH = 0.18

# Degrees: thigh forward, knee, upper arm forward, upper arm out, elbow; then the direction in which the forearm bends.
Side = tuple[float, float, float, float, float, str]
EASY: Side = (0, 6, 0, 13, 18, "forward")
POSES: dict[str, tuple[float, float, Side, Side]] = {  # weight, lean forward, one side, the other
    "standing": (0.3, 2, EASY, EASY),
    "walking": (0.18, 4, (24, 12, -20, 10, 22, "forward"), (-16, 26, 22, 10, 28, "forward")),
    "running": (0.06, 12, (50, 55, -35, 12, 85, "forward"), (-14, 60, 30, 12, 85, "forward")),
    "hands_on_hips": (0.06, 0, (0, 5, -18, 46, 88, "medial"), (4, 8, -18, 46, 88, "medial")),
    "arms_up": (0.08, 0, (4, 8, 10, 140, 25, "medial"), (0, 6, 10, 140, 25, "medial")),
    "waving": (0.08, 0, (0, 6, 10, 88, 75, "up"), EASY),
    "reaching": (0.08, 6, (8, 10, 80, 22, 15, "up"), EASY),
    "holding": (0.06, 4, (4, 8, 28, 16, 80, "forward"), (0, 6, 28, 16, 80, "forward")),
    "sitting": (0.14, 4, (86, 84, 26, 14, 45, "forward"), (86, 84, 26, 14, 45, "forward")),
    "leaning": (0.04, 34, (14, 10, 55, 14, 20, "forward"), (10, 14, 40, 14, 30, "forward")),
    "squatting": (0.04, 22, (98, 112, 55, 16, 40, "forward"), (98, 112, 55, 16, 40, "forward")),
}
POSE_WEIGHTS = np.array([pose[0] for pose in POSES.values()])
SPREAD = np.array([7.0, 7.0, 10.0, 6.0, 12.0])  # standard deviations of the five angles
LIMITS = np.array([(-25, 112), (0, 130), (-45, 170), (4, 165), (3, 135)], float)
BEND_TO = {"forward": (0.0, 0.3, 1.0), "medial": (-1.0, 0.3, 0.45), "up": (-0.1, 1.0, 0.35)}  # x: outwards


@dataclass(frozen=True)
class Body:
    """A posed body in the camera's frame, in pixels; the origin is the middle of the hips until `moved`."""

    points: Float[np.ndarray, "P 3"]  # the joints first, then `EXTRA`
    scale: float  # the upright body's height in pixels
    thickness: float  # factor on all radii except the head's
    head_size: float  # factor on the head's radius
    head_axes: Float[np.ndarray, "3 3"]  # rows: the head's left, up and forward in the camera's frame
    chest_axes: Float[np.ndarray, "3 3"]  # the same for the chest
    faces_viewer: Bool[np.ndarray, "17"]  # False for what is on the far side of its own head or torso
    is_seated: bool

    @property
    def joints(self) -> Float[np.ndarray, "17 2"]:
        """The joints' x, y in pixels."""
        return self.points[: COCO.num_keypoints, :2]

    @property
    def head_radius(self) -> float:
        """The head's radius in pixels."""
        return HEAD_RADIUS * self.head_size * self.scale

    def balls(self) -> tuple[Float[np.ndarray, "B 3"], Float[np.ndarray, " B"]]:
        """Centres (x, y, z towards the viewer) and radii of the balls of all parts, in pixels."""
        size = np.where(BALL_IS_HEAD, self.head_size, self.thickness)
        return self.points[BALL_POINTS], BALL_RADII * (self.scale * size)

    def on_head(self, directions: np.ndarray) -> np.ndarray:
        """Pixels [n, 2] of the points on the head's surface in unit directions [n, 3] of the camera's frame."""
        up = self.head_axes[1]
        stretched = directions + HEAD_STRETCH * (directions @ up)[:, None] * up
        return self.points[POINT["head"], :2] + self.head_radius * stretched[:, :2]

    def box(self) -> np.ndarray:
        """x0, y0, x1, y1 in pixels of the whole body, before any occlusion or truncation."""
        centres, radii = self.balls()
        crown = self.on_head(np.array([(0.0, -1.0, 0.0), (0.0, 1.0, 0.0)]))  # the head is taller than its ball
        low = np.minimum((centres[:, :2] - radii[:, None]).min(0), crown.min(0))
        high = np.maximum((centres[:, :2] + radii[:, None]).max(0), crown.max(0))
        return np.concatenate([low, high])

    def moved(self, offset: np.ndarray) -> "Body":
        """The same body, shifted by `offset` (x, y) pixels."""
        points = self.points.copy()
        points[:, :2] += offset
        return replace(self, points=points)


def posed(rng: np.random.Generator, height: float, camera_pitch: float) -> Body:
    """A random body whose image is `height` pixels tall, seen from `camera_pitch` radians above the horizon."""
    name = list(POSES)[rng.choice(len(POSES), p=POSE_WEIGHTS / POSE_WEIGHTS.sum())]
    points, chest, head = _in_body_frame(rng, name)
    camera = _camera(_facing(rng), camera_pitch)
    points = points @ camera.T
    thickness, head_size = rng.uniform(0.95, 1.3), rng.uniform(0.95, 1.15)
    head_axes = head @ camera.T
    chest_axes = chest @ camera.T
    face = FACE @ head_axes
    middle = points[POINT["head"]]
    stretched = face + HEAD_STRETCH * (face @ head_axes[1])[:, None] * head_axes[1]
    points[:5] = middle + HEAD_RADIUS * head_size * stretched
    faces_viewer = np.ones(COCO.num_keypoints, bool)
    faces_viewer[:5] = face[:, 2] > FACE_SHOWN_ABOVE
    for pair in (("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")):
        left, right = (points[POINT[joint]] for joint in pair)
        far = JOINT[pair[0] if left[2] < right[2] else pair[1]]
        # Beyond a turn of about 50 degrees the far shoulder or hip lies behind the torso, whatever is painted there.
        faces_viewer[far] = abs(left[2] - right[2]) < 0.77 * float(np.linalg.norm(left - right))
    unit = Body(points, 1.0, thickness, head_size, head_axes, chest_axes, faces_viewer, name == "sitting")
    box = unit.box()
    scale = height / float(box[3] - box[1])
    return replace(unit, points=points * scale, scale=scale)


def _facing(rng: np.random.Generator) -> float:
    """Radians by which a body is turned away from facing the viewer: mostly front views, some profiles and backs."""
    kind = rng.random()
    if kind < 0.76:
        return radians(rng.normal(0, 25))
    if kind < 0.88:
        return radians(rng.choice([-1, 1]) * rng.normal(80, 15))
    return radians(rng.normal(180, 28))


def _in_body_frame(rng: np.random.Generator, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points [P, 3], and the axes (left, up, forward as rows) of chest and head."""
    _, lean, *sides = POSES[name]
    if rng.random() < 0.5:
        sides.reverse()
    long = rng.uniform(0.94, 1.06)
    leg, arm, wide = long, long * rng.uniform(0.95, 1.05), rng.uniform(0.92, 1.12)
    chest = _axes(radians(np.clip(rng.normal(lean, 4), -8, 48)), radians(rng.normal(0, 4)), radians(rng.normal(0, 8)))
    # People mostly keep their heads up, so the head follows only a part of the lean.
    head = _axes(radians(0.4 * lean + rng.normal(3, 7)), radians(rng.normal(0, 6)), radians(rng.normal(0, 18)))
    point = dict.fromkeys(POINT, np.zeros(3))
    throat = chest[1] * 0.29
    point["throat"] = throat + chest[1] * 0.015
    point["chest"] = chest[1] * 0.215 + chest[2] * 0.008
    point["belly"] = chest[1] * 0.075
    point["front"] = point["chest"] + chest[2] * 0.09
    point["head"] = throat + chest[1] * 0.045 + head[1] * 0.087 + head[2] * 0.012
    point["seat"] = np.array([0, -0.06, 0.02])
    for side, sign, angles in (("left", 1.0, sides[0]), ("right", -1.0, sides[1])):
        drawn = np.clip(np.array(angles[:5]) + SPREAD * rng.standard_normal(5), LIMITS[:, 0], LIMITS[:, 1])
        hip, knee, forward, out, elbow = (radians(angle) for angle in drawn)
        spread = radians(np.clip(rng.normal(6, 4), 0, 25))
        thigh = _swing(sign, hip, spread)
        shin = _swing(sign, hip - knee, 0.6 * spread)
        toe = np.array([sign * sin(0.3), -0.25, cos(0.3)])
        point[f"{side}_hip"] = np.array([sign * 0.078 * wide, 0, 0])
        point[f"{side}_knee"] = point[f"{side}_hip"] + thigh * (0.235 * leg)
        point[f"{side}_ankle"] = point[f"{side}_knee"] + shin * (0.225 * leg)
        # The sole partly follows the shin, so that a lifted foot points down.
        toe = toe * 0.6 + np.array([0, shin[2], -shin[1]]) * 0.4
        point[f"{side}_toe"] = point[f"{side}_ankle"] + toe * 0.085 + np.array([0, -0.012, 0])
        upper = _swing(sign, forward, out) @ chest
        bend = np.array(BEND_TO[angles[5]]) * (sign, 1, 1) @ chest
        bend = bend - (bend @ upper) * upper
        fore = upper * cos(elbow) + bend * (sin(elbow) / max(float(np.linalg.norm(bend)), 1e-6))
        point[f"{side}_shoulder"] = throat + chest[0] * (sign * 0.128 * wide) - chest[1] * 0.012
        point[f"{side}_elbow"] = point[f"{side}_shoulder"] + upper * (0.165 * arm)
        point[f"{side}_wrist"] = point[f"{side}_elbow"] + fore * (0.145 * arm)
        point[f"{side}_hand"] = point[f"{side}_wrist"] + fore * 0.052
    return np.stack(list(point.values())), chest, head


def _swing(side: float, forward: float, out: float) -> np.ndarray:
    """Unit direction of a limb that hangs down, swung forward and then outwards; radians."""
    return np.array([side * sin(out), -cos(out) * cos(forward), cos(out) * sin(forward)])


def _axes(lean: float, tilt: float, turn: float) -> np.ndarray:
    """Left, up and forward (rows) of a segment turned about up, tilted to its left, then leant forward; radians."""
    turned = np.array([(cos(turn), 0, -sin(turn)), (0, 1, 0), (sin(turn), 0, cos(turn))])
    tilted = np.array([(cos(tilt), -sin(tilt), 0), (sin(tilt), cos(tilt), 0), (0, 0, 1)])
    leant = np.array([(1, 0, 0), (0, cos(lean), sin(lean)), (0, -sin(lean), cos(lean))])
    return turned @ tilted @ leant


def _camera(turn: float, pitch: float) -> np.ndarray:
    """Rotation from body to camera frame for a body turned by `turn`, seen from `pitch` above; radians.

    When the body faces the viewer, its left is on the right.
    """
    turned = np.array([(cos(turn), 0, sin(turn)), (0, 1, 0), (-sin(turn), 0, cos(turn))])
    seen = np.array([(1, 0, 0), (0, -cos(pitch), sin(pitch)), (0, sin(pitch), cos(pitch))])
    return seen @ turned
