"""What the processes of a run say to each other; one alone answers itself at once.

Whatever one of them asks here all must ask, in the same order and at the same step, since whoever asks waits for the
others; it costs a round over the network.  How a process joins the others is `cli/distributed.py`.
"""

import json
from collections.abc import Callable, Collection
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from inspose_jax.errors import UserError


def is_first() -> bool:
    """Whether this is the process that writes what all of them know."""
    return jax.process_index() == 0


def wait_for_all(what: str) -> None:
    """Go on when every process has come so far, to the place named `what`."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"inspose: {what}")


def is_same(value: int) -> bool:
    """Whether all processes have this value."""
    return bool((multihost_utils.process_allgather(np.array(value)) == value).all())


def total(value: int) -> int:
    """The sum of all processes' values."""
    return value if jax.process_count() == 1 else int(multihost_utils.process_allgather(np.array(value)).sum())


def of_first(value: float) -> float:
    """The first process's value, in all of them."""
    return value if jax.process_count() == 1 else float(multihost_utils.broadcast_one_to_all(np.array(value)))


def union_size(members: Collection[int], number: int) -> int:
    """How many of `number` things are in the set of one process at least."""
    if jax.process_count() == 1 or total(len(members)) == 0:
        return len(members)
    is_member = np.zeros(number, bool)
    is_member[list(members)] = True
    return int(multihost_utils.process_allgather(is_member).any(0).sum())


def gathered(make: Callable[[], Any]) -> list[Any]:
    """What `make` gives in every process, in their order, in each of them; it travels as JSON.

    A fault in one is a fault of all, so that nobody waits: its own error where it happened, elsewhere a UserError for
    what a user can mend (UserError, OSError) and RuntimeError for a bug.
    """
    if jax.process_count() == 1:
        return [make()]
    mine, fault = None, None
    try:
        mine = make()
    except Exception as error:  # also one of our own bugs: the others would wait for it
        fault = error
    is_users = isinstance(fault, UserError | OSError)
    told = fault and [str(fault) or type(fault).__name__, is_users]
    content = np.frombuffer(json.dumps([told, mine]).encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.array([len(content)]))[:, 0]
    contents = multihost_utils.process_allgather(np.pad(content, (0, lengths.max() - len(content))))
    all_told = [json.loads(row[:length].tobytes()) for row, length in zip(contents, lengths, strict=True)]
    if fault is not None:
        raise fault
    for text, is_users in (told for told, _ in all_told if told):
        raise UserError(text) if is_users else RuntimeError(f"another process has failed with {text}")
    return [theirs for _, theirs in all_told]
