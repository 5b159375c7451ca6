"""The smallest run, shared by several test files."""

import json
from dataclasses import replace

import tiny

from inspose_jax.config import Machine
from inspose_jax.data import pipeline
from inspose_jax.data.drawn.people import DrawnPeople

# The eight simulated devices share a batch of eight.
CONFIG = replace(tiny.CONFIG, schedule=tiny.schedule(batch_size=8, ema=0.9), machine=Machine(save_every=5))
SOURCE = pipeline.InMemory(DrawnPeople(CONFIG.data.scene, "train", 0, 16))


def lines(workdir, timing=True):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: row[name] for name in row if timing or name not in ("images_per_s", "data_wait")} for row in rows]
