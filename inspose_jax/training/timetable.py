"""At which steps of a run what is done; a pure answer to every step, the same in all processes."""

from typing import NamedTuple

from inspose_jax.errors import UserError
from inspose_jax.training.log import FETCH_EVERY

# The step of an early checkpoint: a disk that cannot hold one is found before hours were spent. So is a device that an
# evaluation does not fit on: one is tried out then or, where a run goes on after that, at its first step.
FIRST_SAVE = 50


class Timetable(NamedTuple):
    """The steps after `start` up to `stop`, of a run of `num_steps`."""

    start: int
    stop: int
    num_steps: int
    save_every: int
    eval_every: int  # 0: only at the end
    has_evaluation: bool
    has_trial: bool
    traced: range

    @property
    def steps(self) -> range:
        """All that are made."""
        return range(self.start + 1, self.stop + 1)

    def fetches(self, step: int) -> bool:
        """Whether measurements are fetched from the device."""
        return step % FETCH_EVERY == 0 or step == self.stop

    def saves(self, step: int) -> bool:
        """Whether a checkpoint is written."""
        return step % self.save_every == 0 or step in (FIRST_SAVE, self.stop)

    def evaluates(self, step: int) -> bool:
        """Whether the model is evaluated after this step, which may be the one that the run goes on from."""
        at_intervals = self.eval_every > 0 and step % self.eval_every == 0
        return self.has_evaluation and step > 0 and (step == self.num_steps or at_intervals)

    def tries_out(self, step: int) -> bool:
        """Whether it is tried out if an evaluation fits on the device, as none was made before."""
        is_first_chance = self.has_trial and step == max(FIRST_SAVE, self.start + 1)
        return is_first_chance and not any(map(self.evaluates, range(self.start + 1, step + 1)))


def traced_steps(wanted: range, start: int, stop: int) -> range:
    """Those of `wanted` that a run from `start` to `stop` makes; UserError where some are wanted and none is made."""
    made = range(max(start + 1, wanted.start), min(stop + 1, wanted.stop))
    if wanted and not made:
        makes = f"makes the steps {start + 1} to {stop}" if start < stop else f"is done, at step {stop}"
        raise UserError(f"no step of {wanted[0]} to {wanted[-1]} can be traced: this run {makes}")
    return made
