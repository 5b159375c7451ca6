"""Where the time of the demo's step goes: taskset -c 0 python experiments/benchmarks/train_step/shares.py

Traces some steps on one core of a CPU (with more of them, an operation also lasts while it waits for one), and gives
every operation of the compiled program to a part of the step by the name that the program knows it by.
"""

import re
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import jax
import numpy as np
from jax.profiler import ProfileData

from inspose_jax import methods, recipes
from inspose_jax.config import Config
from inspose_jax.data import pipeline
from inspose_jax.data.drawn.people import DrawnPeople
from inspose_jax.training import sharding

STEPS = 40  # traced, after as many that are timed without a trace
SCOPES = ("targets", "losses", "optimizer", "average")


def main() -> None:
    step, state, batches = step_of(recipes.read("drawn_people").config)
    times = []
    for batch in batches:
        begin = time.perf_counter()
        state, _ = jax.block_until_ready(step(state, batch))
        times.append(time.perf_counter() - begin)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for batch in batches:
                state, _ = jax.block_until_ready(step(state, batch))
        (trace,) = Path(folder).rglob("*.xplane.pb")
        seconds = by_part(intervals(trace), parts_of(step.as_text()))
    busy = sum(seconds.values())
    print(f"median step {1e3 * np.median(times):.0f} ms without a trace, {1e3 * busy / STEPS:.0f} ms busy with one")
    for name, value in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"  {name:34}{value / busy:6.1%}")


def step_of(config: Config) -> tuple[jax.stages.Compiled, object, list]:
    """The compiled step of a run, its first state and some batches, on one device."""
    mesh = sharding.make_mesh(config.schedule)
    source = pipeline.InMemory(DrawnPeople(config.data.scene, "train", 0, STEPS * config.schedule.batch_size))
    plan = pipeline.make_plan(source, config, train=True)
    batches = [sharding.put_batch(batch, mesh) for batch in pipeline.batches(source, plan, config, 0, STEPS)]
    state = sharding.new_state(methods.for_model(config.model), config.schedule, 2600, mesh)
    train_step = sharding.jit_train_step(methods.for_model(config.model), config.schedule, 2600, mesh)
    return train_step.lower(state, batches[0]).compile(), state, batches


def parts_of(program: str) -> dict[str, str]:
    """The part of the step that each instruction of a compiled program belongs to."""
    bodies = dict(re.findall(r"^%?([\w.-]+) \([^\n]*\{\n(.*?)^\}", program, re.M | re.S))  # computation -> its text
    parts = {}
    for name, kind, rest in re.findall(r"^ +(?:ROOT )?%([\w.-]+) = .*? ([a-z][\w-]*)\((.*)$", program, re.M):
        called = re.search(r"(?:calls|to_apply)=%([\w.-]+)", rest)
        inside = bodies.get(called[1], "") if called else ""
        scope = re.search(r'op_name="([^"]*)"', rest)
        path = scope[1] if scope else ""
        if kind in ("while", "call", "conditional"):
            continue  # what is inside is counted
        named = next((part for part in SCOPES if re.search(rf"\b{part}\b", path)), None)
        if named == "losses" and (kind == "dot" or " dot(" in inside):
            parts[name] = "KP-Nets' products and gradients"
        elif named:
            parts[name] = named
        elif kind == "convolution" or " convolution(" in inside:
            parts[name] = "convolutions and their gradients"
        elif not path and "transpose" in name:
            parts[name] = "transposed for a convolution"
        elif re.search(r"\b(norm\d*|BatchNorm|GroupNorm|\w*_norm)\b", path):
            parts[name] = "norms"
        else:
            parts[name] = "the rest of the network"
    return parts


def intervals(trace: Path) -> list[tuple[str, float, float]]:
    """(instruction, begin, end) in seconds of everything that ran in a trace."""
    begins, ends = defaultdict(list), defaultdict(list)
    for plane in ProfileData.from_file(str(trace)).planes:
        for line in plane.lines:
            for event in line.events:
                if event.name.startswith("end: "):
                    ends[event.name[5:]].append(event.start_ns)
                elif "hlo_op" in dict(event.stats):
                    begins[event.name].append(event.start_ns)
    return [
        (name, begin / 1e9, end / 1e9)
        for name in begins
        for begin, end in zip(sorted(begins[name]), sorted(ends[name]), strict=True)
    ]


def by_part(ran: list[tuple[str, float, float]], parts: dict[str, str]) -> dict[str, float]:
    """Seconds of each part; a moment in which n operations run gives each of them its n-th."""
    moments = sorted(
        [(begin, 1, name) for name, begin, _ in ran if name in parts]
        + [(end, -1, name) for name, _, end in ran if name in parts]
    )
    running, seconds, before = defaultdict(int), defaultdict(float), 0.0
    for moment, change, name in moments:
        number = sum(running.values())
        for part, count in running.items():
            seconds[part] += (moment - before) * count / number if number else 0
        running[parts[name]] += change
        before = moment
    return dict(seconds)


if __name__ == "__main__":
    main()
