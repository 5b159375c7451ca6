"""A run whose recipe leaves the shapes open finds them once, keeps them, and compiles one step for each."""

import json
from dataclasses import replace

import numpy as np
import pytest
from small_run import CONFIG, SOURCE, lines

from inspose_jax import checkpoints
from inspose_jax.data import pipeline, shapes
from inspose_jax.errors import UserError
from inspose_jax.training import loop, sharding

pytestmark = pytest.mark.usefixtures("steps_are_traced_once")
OPEN = replace(CONFIG, data=replace(CONFIG.data, shapes=(), short_side=(32, 32), test_short_side=32))


class WideAndTall(pipeline.InMemory):
    """The images of the small run, every other one cut to its upper half and the rest to their left half."""

    def __init__(self):
        super().__init__(SOURCE)
        self.sizes = np.array([(32, 64) if i % 2 else (64, 32) for i in range(len(self))], np.int32)

    def __getitem__(self, index):
        height, width = self.sizes[index]
        sample = super().__getitem__(index)
        return sample._replace(image=np.ascontiguousarray(sample.image[:height, :width]))


@pytest.mark.slow
def test_shapes_are_found_kept_and_compiled_once_each(tmp_path, capsys, monkeypatch):
    steps = []
    make = sharding.jit_train_step
    monkeypatch.setattr(sharding, "jit_train_step", lambda *args: steps.append(make(*args)) or steps[-1])
    source, run = WideAndTall(), tmp_path / "run"
    assert loop.train(OPEN, source, run, num_steps=8, stop_at=5) == 5
    found = ((32, 64), (64, 32))
    assert json.loads((run / "config.json").read_text())["data"]["shapes"] == [list(shape) for shape in found]
    assert checkpoints.load(run).config.data.shapes == found
    printed = [line for line in capsys.readouterr().err.splitlines() if "compiled" in line]
    assert sorted(line[: line.index(" in ")] for line in printed) == [
        "compiled the step for 8 images of 32 x 64 pixels",
        "compiled the step for 8 images of 64 x 32 pixels",
    ]

    # Were they found anew, they would be others now.
    monkeypatch.setattr(shapes, "find", lambda sizes: ((64, 64),))
    assert loop.train(OPEN, source, run, num_steps=8, resume=True) == 8
    assert checkpoints.load(run).config.data.shapes == found
    monkeypatch.setattr(shapes, "find", None)
    loop.train(replace(OPEN, data=replace(OPEN.data, shapes=found)), source, tmp_path / "given", num_steps=8)
    assert lines(run, timing=False) == lines(tmp_path / "given", timing=False)
    assert [step._cache_size() for step in steps] == [2, 2, 2], "one program for each shape, also after two more starts"


def test_the_length_of_a_run_counts_the_batches_of_the_shapes_it_finds():
    assert loop.run_length(OPEN, WideAndTall()) == 2  # eight images of each shape, in batches of eight


def test_a_plan_without_shapes_says_where_to_find_some():
    with pytest.raises(UserError, match=r"data.shapes is empty, which only a training run fills"):
        pipeline.make_plan(SOURCE, OPEN, train=True)
    own = replace(OPEN, data=replace(OPEN.data, test_padding="own"))
    assert pipeline.make_plan(SOURCE, own, train=False).steps_per_epoch == 2
