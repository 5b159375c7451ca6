"""Two programs that do the same, one in JAX and one in PyTorch, timed in turn on a CPU, and where their time goes.

Take the shares of convolutions from a run on one core (`taskset -c 0`): on several, an operation also lasts while it
waits.
"""

import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import shares
import torch

TRACED = 3  # runs of each side whose operations are recorded


def compare(ours: Callable[[], object], theirs: Callable[[], object], program: str, number: int) -> None:
    """Print the median times of `number` runs of either side, their ratio, and the seconds spent in convolutions.

    Both must wait for their results.  `program` is the text of JAX's compiled program.
    """
    sides: dict[str, Callable[[], object]] = {"JAX": ours, "PyTorch": theirs}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for run in sides.values():
        run()
    for _ in range(number):
        for name, run in sides.items():
            begin = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begin)
    parts = {"JAX": share_in_jax(ours, program), "PyTorch": share_in_torch(theirs)}
    for name, times in seconds.items():
        median, share = np.median(times), parts[name]
        print(
            f"{name}: median {median:.2f} s ({min(times):.2f} to {max(times):.2f}); convolutions {share:.1%}, "
            f"{share * median:.2f} s; the rest {(1 - share) * median:.2f} s"
        )
    ratios = np.array(seconds["JAX"]) / np.array(seconds["PyTorch"])
    print(f"JAX / PyTorch: median of {number} pairs {np.median(ratios):.2f}")


def share_in_jax(run: Callable[[], object], program: str) -> float:
    """The share of convolutions and of matrix products, which 1x1 convolutions are, in the time of all operations.

    What an operation is fused with counts with it, and so do the arrays that the compiler transposes for it, which have
    no name in the program: PyTorch's library does that inside its convolutions.
    """
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(TRACED):
                run()
        (trace,) = Path(folder).rglob("*.xplane.pb")
        ran = shares.intervals(trace)
    kinds = kinds_of(program)
    parts = {name: "convolutions" if found & {"convolution", "dot"} else "rest" for name, found in kinds.items()}
    seconds = shares.by_part(ran, parts)
    return seconds["convolutions"] / sum(seconds.values())


def kinds_of(program: str) -> dict[str, set[str]]:
    """The operations that every instruction of a compiled program consists of; none of loops and calls.

    XLA hands convolutions and products to a library as `custom-call`s, whose target or own name says what they are.
    """
    bodies = dict(re.findall(r"^%?([\w.-]+) \([^\n]*\{\n(.*?)^\}", program, re.M | re.S))  # computation -> its text
    kinds = {}
    for name, kind, rest in re.findall(r"^ +(?:ROOT )?%([\w.-]+) = .*? ([a-z][\w-]*)\((.*)$", program, re.M):
        if kind in ("while", "call", "conditional"):
            continue  # what is inside is counted
        called = re.search(r"(?:calls|to_apply)=%([\w.-]+)", rest)
        inside = bodies.get(called[1], "") if called else ""
        found = {kind, *re.findall(r" ([a-z][\w-]*)\(", inside)}
        if re.search(r"matmul|dot|conv", rest.split("metadata")[0]) and "custom-call" in found:
            found.add("dot")
        if name.startswith("transpose") and "op_name=" not in rest:
            found.add("convolution")
        kinds[name] = found
    return kinds


def share_in_torch(run: Callable[[], object]) -> float:
    """The same share in PyTorch."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(TRACED):
            run()
    seconds = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
    convolutions = {name: value for name, value in seconds.items() if re.search(r"conv|mkldnn|addmm|::mm|bmm", name)}
    return sum(convolutions.values()) / sum(seconds.values())
