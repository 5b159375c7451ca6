"""Soft non-maximum suppression with fixed shapes: overlapping boxes lose score instead of being dropped at once.

Linear, as in the released code: picks the best box, multiplies the score of every remaining one by 1 - IoU where the
IoU reaches the threshold, and goes on with the best of these.

Axes: N boxes, D picks.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from inspose_jax import geometry
from inspose_jax.nms import Picks


class Line(NamedTuple):
    """The boxes in the order in which the released code's array has them, on which the winner of a tie depends.

    The picked ones come first, then the remaining ones, then those that count no more.
    """

    index: Array  # i32[N] the box at each place
    scores: Array  # f32[N] its score
    number: Array  # i32[] of boxes that count


def soft_nms(
    boxes: Float[Array, "N 4"],
    scores: Float[Array, " N"],
    number: Int32[Array, ""],
    threshold: float,
    least_score: float,
    num_picks: int,
) -> Picks:
    """Pick up to `num_picks` of the first `number` boxes, x0 y0 x1 y1; of equal scores the first in line wins."""
    places = jnp.arange(len(boxes), dtype=jnp.int32)

    def pick(i: Array, line: Line) -> Line:
        is_left = (places >= i) & (places < line.number)
        best = jnp.argmax(jnp.where(is_left, line.scores, -jnp.inf)).astype(jnp.int32)
        line = swapped(line, i, jnp.where(i < line.number, best, i))
        overlaps = geometry.box_iou(boxes[line.index[i]][None], boxes[line.index])[0]
        decays = (places > i) & (overlaps >= threshold)
        line = line._replace(scores=jnp.where(decays, line.scores * (1 - overlaps), line.scores))
        is_dropped = (places > i) & (places < line.number) & (line.scores < least_score)
        return without(line, is_dropped)

    num_picks = min(num_picks, len(boxes))
    line = jax.lax.fori_loop(0, num_picks, pick, Line(places, scores, number))
    return Picks(line.index[:num_picks], line.scores[:num_picks], jnp.minimum(line.number, num_picks))


def swapped(line: Line, first: Array, second: Array) -> Line:
    """The line with two of its boxes in each other's places."""

    def swap(x: Array) -> Array:
        return x.at[first].set(x[second]).at[second].set(x[first])

    return Line(swap(line.index), swap(line.scores), line.number)


def without(line: Line, is_dropped: Array) -> Line:
    """The line without some of its boxes: into the first gap moves the last box that stays, and so on."""
    places = jnp.arange(len(is_dropped), dtype=jnp.int32)
    number = line.number - is_dropped.sum(dtype=jnp.int32)
    is_gap = is_dropped & (places < number)
    moves = ~is_dropped & (places >= number) & (places < line.number)
    # The n-th gap from the front is filled by the n-th mover from the back.
    gap, mover = jnp.cumsum(is_gap) - 1, jnp.cumsum(moves[::-1])[::-1] - 1
    movers = jnp.zeros_like(places).at[jnp.where(moves, mover, len(places))].set(places, mode="drop")
    source = jnp.where(is_gap, movers[gap], places)
    return Line(line.index[source], line.scores[source], number)
