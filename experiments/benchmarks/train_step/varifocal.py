"""What OKS as the class target adds to a step: python experiments/benchmarks/train_step/varifocal.py [PAIRS]

The step with the focal and with the varifocal loss in turn, on the same batches: of `drawn_people_p3`, and of the
paper's R50 with two made-up images of 512 x 640.  Times are CPU time of this process, which other work on the machine
disturbs less than it does the time that passes.
"""

import sys
import time
from dataclasses import replace

import accelerator
import jax
import numpy as np
import shares

from inspose_jax import methods, recipes
from inspose_jax.config import Config
from inspose_jax.config import replace as with_fields
from inspose_jax.training import sharding

LOSSES = ("focal", "varifocal")


def main(num_pairs: int = 20) -> None:
    drawn = recipes.read("drawn_people_p3").config
    shares.STEPS = num_pairs + 1
    compare("drawn_people_p3", {loss: shares.step_of(with_loss(drawn, loss)) for loss in LOSSES})
    accelerator.HEIGHT, accelerator.WIDTH = 512, 640
    paper = recipes.read("r50_coco_36e").config
    paper = replace(paper, schedule=replace(paper.schedule, batch_size=2))
    compare("r50_coco_36e", {loss: made_up(with_loss(paper, loss), 1 + num_pairs // 4) for loss in LOSSES})


def with_loss(config: Config, loss: str) -> Config:
    """The config with one of the classification losses."""
    return replace(config, model=with_fields(config.model, classification_loss=loss))


def made_up(config: Config, number: int) -> tuple[jax.stages.Compiled, object, list]:
    """As `shares.step_of`, with one made-up batch for all steps."""
    mesh = sharding.make_mesh(config.schedule, jax.devices()[:1])
    method = methods.for_model(config.model)
    state = sharding.new_state(method, config.schedule, 1000, mesh)
    batch = sharding.put_batch(accelerator.random_batch(config), mesh)
    step = sharding.jit_train_step(method, config.schedule, 1000, mesh).lower(state, batch).compile()
    return step, state, [batch] * number


def compare(name: str, sides: dict[str, tuple[jax.stages.Compiled, object, list]]) -> None:
    """Take steps of either side in turn, the first of which does not count, and say what each takes."""
    seconds = {loss: [] for loss in LOSSES}
    states = {loss: sides[loss][1] for loss in LOSSES}
    for batches in zip(*(sides[loss][2] for loss in LOSSES), strict=True):
        for loss, batch in zip(LOSSES, batches, strict=True):
            begin = time.process_time()
            states[loss], _ = jax.block_until_ready(sides[loss][0](states[loss], batch))
            seconds[loss].append(time.process_time() - begin)
    focal, varifocal = (np.array(seconds[loss][1:]) for loss in LOSSES)
    held = [sides[loss][0].memory_analysis().temp_size_in_bytes / 1e6 for loss in LOSSES]
    print(f"{name}: focal {1e3 * np.median(focal):.0f} ms, varifocal {1e3 * np.median(varifocal):.0f} ms of CPU time")
    ratios = np.sort(varifocal / focal)
    print(f"  ratio, median of {len(ratios)} pairs: {np.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})")
    print(f"  intermediate values: {held[0]:.0f} and {held[1]:.0f} MB", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
