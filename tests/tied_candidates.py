"""Candidates of the released model with equal scores: who wins depends on their order in line alone.

On an image of 64 x 96 pixels, four locations are above the threshold.  A and B overlap with an IoU of .5; C, whose
score is higher, and D, on the second level, overlap nobody.  All levels are in raster order, A B C | D.  The first
pick, C, changes places with A, so that B comes before A, and A's score is halved: C B D A.  If the first level is cut
to its best, it is sorted, C A B | D, and A comes before B, whose score is halved: C A D B.
"""

import numpy as np

SIZE = (64, 96)
NUM_LOCATIONS = 8 * 12 + 4 * 6 + 2 * 3 + 1 * 2 + 1
A, B, C, D = 5, 6, 6 * 12 + 8, 96 + 2 * 6  # D is in the third row of the second level
CUT, UNCUT = 95, 1000  # the best of each level; the first level has 96 locations
PICKED = {UNCUT: [C, B, D, A], CUT: [C, A, D, B]}
SCORES = [1 / (1 + np.exp(-1)), 0.5, 0.5, 0.25]


def heads(num_joints: int) -> tuple[np.ndarray, np.ndarray]:
    """Class logits f32[L], and coarse joints f32[L,K,2] in cells of their level, from every location."""
    logits = np.full(NUM_LOCATIONS, -9, np.float32)
    logits[[A, B, C, D]] = 0, 0, 1, 0
    coarse = np.zeros((NUM_LOCATIONS, num_joints, 2), np.float32)
    coarse[:, 0], coarse[:, 1] = (-1.5, 0), (1.5, 2)  # boxes of A, B and C have 24 x 16 pixels
    return logits, coarse
