"""What is due at which step of a run: a pure function of the step, the same in all processes."""

from typing import NamedTuple

from inspose_jax.errors import UserError
from inspose_jax.training.log import FETCH_EVERY

# The step of an early checkpoint, so that a disk that cannot hold one is noticed before hours are spent.  The same goes
# for a device that an evaluation does not fit on: one is tried out at this step or, in a run that resumes after it, at
# its first step.
FIRST_SAVE = 50


class Timetable(NamedTuple):
    """The timetable of the steps after `start` up to `stop`, in a run of `num_steps`."""

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
        """All steps that this run makes."""
        return range(self.start + 1, self.stop + 1)

    def fetches(self, step: int) -> bool:
        """Whether measurements are fetched: of the steps before, while the device works on this one; at the end all."""
        return (step % FETCH_EVERY == 1 and step > self.start + 1) or step == self.stop

    def saves(self, step: int) -> bool:
        """Whether a checkpoint is written."""
        return step % self.save_every == 0 or step in (FIRST_SAVE, self.stop)

    def evaluates(self, step: int) -> bool:
        """Whether the model is evaluated after this step, which may be the step that the run resumes from."""
        at_intervals = self.eval_every > 0 and step % self.eval_every == 0
        return self.has_evaluation and step > 0 and (step == self.num_steps or at_intervals)

    def tries_out(self, step: int) -> bool:
        """Whether to check that an evaluation fits on the device, because none was made before."""
        is_first_chance = self.has_trial and step == max(FIRST_SAVE, self.start + 1)
        return is_first_chance and not any(map(self.evaluates, range(self.start + 1, step + 1)))


def traced_steps(wanted: range, start: int, stop: int) -> range:
    """The steps of `wanted` that a run from `start` to `stop` makes.

    Raises UserError if some are wanted but none of them is made.
    """
    made = range(max(start + 1, wanted.start), min(stop + 1, wanted.stop))
    if wanted and not made:
        makes = f"covers the steps {start + 1} to {stop}" if start < stop else f"is complete, at step {stop}"
        raise UserError(f"none of the steps {wanted[0]} to {wanted[-1]} can be traced: this run {makes}")
    return made
