"""How many slots at once: python experiments/benchmarks/train_step/slots.py IMAGES

The KP-Nets' loss and its gradient in the size of the paper's R50 at 800 x 1344, made-up images and outputs of a
network: milliseconds, and memory for intermediate values, for several values of `per_person.SLOTS_AT_ONCE`.  With 256
no slot is left out.
"""

import sys
import time
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from accelerator import HEIGHT, WIDTH, random_batch

from inspose_jax import geometry, losses, recipes
from inspose_jax.network import kp_net, per_person
from inspose_jax.structures import Controller, Outputs
from inspose_jax.targets import make_targets

REPEATS = 5


def main(num_images: int) -> None:
    recipe = recipes.read("r50_coco_36e").config
    model = recipe.model
    batch = random_batch(replace(recipe, schedule=replace(recipe.schedule, batch_size=num_images)))
    grid = geometry.make_grid(
        (HEIGHT, WIDTH), model.network.levels, model.network.map_level, model.kp_net.relative_scale
    )
    targets = jax.jit(lambda batch: make_targets(batch, grid, model.assignment))(batch)
    filled, rng = targets.is_slot.sum(1), np.random.default_rng(0)
    print(f"{jax.devices()[0].device_kind}: {num_images} images, {filled.min()} to {filled.max()} slots filled")
    network = kp_net.make(model.kp_net, 17)
    parameters = network.num_parameters
    thetas = (*targets.is_positive.shape, parameters)
    maps = (num_images, *grid.map_size, model.kp_net.feature_channels)
    theta, features = (jnp.asarray(rng.normal(0, 0.3, shape), jnp.float32) for shape in (thetas, maps))

    def loss(theta, features):
        # As if the controller's last layer handed on what is there: the KP-Nets alone are measured.
        levels = jnp.split(theta, np.cumsum([h * w for h, w in grid.level_sizes])[:-1], axis=1)
        levels = [x.reshape(len(x), *size, parameters) for x, size in zip(levels, grid.level_sizes, strict=True)]
        controller = Controller(tuple(levels), jnp.eye(parameters)[None, None], jnp.zeros(parameters))
        outputs = Outputs(None, controller, features, None, None)
        likelihoods = losses.of_slots(network.log_likelihoods, outputs, targets, batch.size, grid)
        return losses.keypoint_loss(likelihoods, targets, filled.sum())

    for at_once in (8, 16, 32, 64, model.assignment.num_slots):
        per_person.SLOTS_AT_ONCE = at_once
        jax.clear_caches()
        compiled = jax.jit(jax.value_and_grad(loss, argnums=(0, 1))).lower(theta, features).compile()
        times = []
        for _ in range(1 + REPEATS):
            begin = time.perf_counter()
            jax.block_until_ready(compiled(theta, features))
            times.append(time.perf_counter() - begin)
        held = compiled.memory_analysis().temp_size_in_bytes / 1e6
        median = 1e3 * float(np.median(times[1:]))
        print(f"{at_once:4} at once: {median:6.0f} ms, {held:5.0f} MB", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
