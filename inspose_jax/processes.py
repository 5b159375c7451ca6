"""Communication between the processes of a run; a single process gets its answer immediately.

All processes must make the same calls in the same order and at the same step, since each call waits for the others
and costs a round trip over the network.  `cli/distributed.py` is where a process joins the others.
"""

import json
from collections.abc import Callable, Collection
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from inspose_jax.errors import UserError


def is_first() -> bool:
    """Whether this is the process that writes results on behalf of all."""
    return jax.process_index() == 0


def wait_for_all(what: str) -> None:
    """Wait until every process has reached the barrier named `what`."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"inspose: {what}")


def is_same(value: int) -> bool:
    """Whether `value` is the same in all processes."""
    return bool((multihost_utils.process_allgather(np.array(value)) == value).all())


def total(value: int) -> int:
    """The sum of `value` over all processes."""
    return value if jax.process_count() == 1 else int(multihost_utils.process_allgather(np.array(value)).sum())


def from_first(value: float) -> float:
    """The first process's value, returned in all processes."""
    return value if jax.process_count() == 1 else float(multihost_utils.broadcast_one_to_all(np.array(value)))


def union_size(members: Collection[int], number: int) -> int:
    """How many of the indices below `number` are in `members` of at least one process."""
    if jax.process_count() == 1 or total(len(members)) == 0:
        return len(members)
    is_member = np.zeros(number, bool)
    is_member[list(members)] = True
    return int(multihost_utils.process_allgather(is_member).any(0).sum())


def gathered(make: Callable[[], Any]) -> list[Any]:
    """Call `make` in every process and return all results, in the order of the processes, in each; they travel as JSON.

    If `make` fails in one process, all of them raise, so that none waits forever.  The failing process raises its own
    error; the others raise UserError if that was one that a user can correct (UserError or OSError), else RuntimeError.
    """
    if jax.process_count() == 1:
        return [make()]
    mine, fault = None, None
    try:
        mine = make()
    except Exception as error:  # bugs included, since the other processes would wait for this one
        fault = error
    is_users = isinstance(fault, UserError | OSError)
    own_fault = fault and [str(fault) or type(fault).__name__, is_users]
    content = np.frombuffer(json.dumps([own_fault, mine]).encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.array([len(content)]))[:, 0]
    contents = multihost_utils.process_allgather(np.pad(content, (0, lengths.max() - len(content))))
    answers = [json.loads(row[:length].tobytes()) for row, length in zip(contents, lengths, strict=True)]
    if fault is not None:
        raise fault
    for text, is_users in (other_fault for other_fault, _ in answers if other_fault):
        raise UserError(text) if is_users else RuntimeError(f"another process has failed with {text}")
    return [theirs for _, theirs in answers]
