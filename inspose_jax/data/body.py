"""An articulated body: random angles within what joints allow -> points in space.

Unit: the person's stature.  Axes of the body: x to its left, y up, z to where it faces; seen by a viewer in front of
it, x runs to the right of the picture and z towards the viewer.
"""

import numpy as np
from jaxtyping import Float

# Points beyond the 17 joints of COCO, used for drawing only; indices follow them.
HEAD, NECK, LEFT_HAND, RIGHT_HAND, LEFT_TOE, RIGHT_TOE, CHEST, CROWN = range(17, 25)
NUM_POINTS = 25
HEAD_RADIUS = 0.075

THIGH, SHIN, UPPER_ARM, FOREARM, HAND, FOOT = 0.245, 0.235, 0.165, 0.145, 0.045, 0.075
SHOULDER_WIDTH, HIP_WIDTH, SPINE, NECK_TO_HEAD = 0.115, 0.075, 0.295, 0.125


def turn(axis: int, degrees: float) -> Float[np.ndarray, "3 3"]:
    """Rotation about one axis, right-handed."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix


def random_body(rng: np.random.Generator) -> tuple[Float[np.ndarray, "P 3"], Float[np.ndarray, " 3"]]:
    """A posed body as the viewer sees it (x right, y up, z towards the viewer): its points, and where the head faces.

    The first 17 points are COCO's joints.
    """
    points = np.zeros((NUM_POINTS, 3))
    activity = rng.choice(["stand", "walk", "sit", "reach"], p=[0.4, 0.3, 0.12, 0.18])

    # The torso leans forward (about x) and sideways (about z) from the hips; the shoulders twist against them.
    lean = rng.normal(5, 9) if activity != "sit" else rng.normal(8, 8)
    torso = turn(0, np.clip(lean, -12, 45)) @ turn(2, np.clip(rng.normal(0, 5), -15, 15))
    shoulders = torso @ turn(1, np.clip(rng.normal(0, 10), -30, 30))
    points[CHEST] = torso @ [0, SPINE * 0.75, 0]
    points[NECK] = torso @ [0, SPINE, 0]
    neck = shoulders @ turn(1, np.clip(rng.normal(0, 18), -60, 60)) @ turn(0, np.clip(rng.normal(3, 8), -20, 30))
    points[HEAD] = points[NECK] + neck @ [0, NECK_TO_HEAD, 0.02]
    points[CROWN] = points[HEAD] + neck @ [0, HEAD_RADIUS * 1.15, 0]
    r = HEAD_RADIUS
    points[0] = points[HEAD] + neck @ [0, -0.1 * r, 1.0 * r]
    for side, eye, ear in ((1, 1, 3), (-1, 2, 4)):
        points[eye] = points[HEAD] + neck @ [0.4 * side * r, 0.22 * r, 0.85 * r]
        points[ear] = points[HEAD] + neck @ [0.95 * side * r, 0.05 * r, -0.05 * r]

    swing = rng.uniform(-1, 1)  # walking: the arm goes with the opposite leg
    for side, shoulder, elbow, wrist, hand, hip, knee, ankle, toe in (
        (1, 5, 7, 9, LEFT_HAND, 11, 13, 15, LEFT_TOE),
        (-1, 6, 8, 10, RIGHT_HAND, 12, 14, 16, RIGHT_TOE),
    ):
        # Arms: flexion lifts forward (-x turn), abduction to the side; the elbow only bends forward.
        if activity == "walk":
            flexion, abduction, bend = -30 * swing * side + rng.normal(0, 8), rng.uniform(3, 15), rng.uniform(5, 60)
        elif activity == "reach" and rng.random() < 0.7:
            flexion, abduction, bend = rng.uniform(0, 120), rng.uniform(10, 150), rng.uniform(0, 80)
        elif activity == "sit":
            flexion, abduction, bend = rng.uniform(0, 50), rng.uniform(3, 25), rng.uniform(10, 100)
        else:
            flexion, abduction, bend = rng.normal(5, 14), rng.uniform(6, 45), abs(rng.normal(0, 45))
        upper = shoulders @ turn(2, side * abduction) @ turn(0, -flexion)
        lower = upper @ turn(1, side * rng.uniform(-30, 70)) @ turn(0, -np.clip(bend, 0, 140))
        points[shoulder] = points[NECK] + shoulders @ [side * SHOULDER_WIDTH, -0.035, 0]
        points[elbow] = points[shoulder] + upper @ [0, -UPPER_ARM, 0]
        points[wrist] = points[elbow] + lower @ [0, -FOREARM, 0]
        points[hand] = points[wrist] + lower @ [0, -HAND, 0]

        # Legs: the knee only bends backwards.
        if activity == "walk":
            stride = 28 * swing * side
            flexion, abduction, bend = stride + rng.normal(3, 4), rng.uniform(0, 6), 5 + max(0, -stride) * 1.2
        elif activity == "sit":
            flexion, abduction = rng.uniform(60, 95), rng.uniform(2, 22)
            bend = flexion + rng.uniform(-15, 15)
        else:
            flexion, abduction, bend = rng.normal(5, 9), rng.uniform(1, 15), abs(rng.normal(0, 14))
        thigh = turn(2, side * abduction) @ turn(0, -np.clip(flexion, -25, 100))
        shin = thigh @ turn(0, np.clip(bend, 0, 130))
        points[hip] = [side * HIP_WIDTH, 0, 0]
        points[knee] = points[hip] + thigh @ [0, -THIGH, 0]
        points[ankle] = points[knee] + shin @ [0, -SHIN, 0]
        points[toe] = points[ankle] + shin @ turn(1, side * rng.uniform(0, 25)) @ [0, -0.025, FOOT]

    kind = rng.random()
    facing = rng.normal(0, 40) if kind < 0.8 else rng.normal(180, 35) if kind < 0.9 else rng.uniform(-180, 180)
    view = turn(2, rng.normal(0, 3)) @ turn(0, rng.uniform(-4, 12)) @ turn(1, facing)
    return points @ view.T, view @ neck @ np.array([0.0, 0, 1])
