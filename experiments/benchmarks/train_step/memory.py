"""What the training step of the paper's R50 holds: python experiments/benchmarks/train_step/memory.py [TYPE]

Compiles `r50_coco_36e` at 800 x 1344 for 1 and for 3 images, here and without running it, and prints the memory for
intermediate values: that of every further image is what limits a batch.
"""

import sys
from dataclasses import replace

import jax
from accelerator import lower

from inspose_jax import config, recipes


def main(dtype: str = "float32") -> None:
    recipe, device = recipes.read("r50_coco_36e").config, jax.devices()[0]
    model = config.replace(recipe.model, compute_dtype=dtype)
    held = {}
    for number in (1, 3):
        experiment = replace(recipe, model=model, schedule=replace(recipe.schedule, batch_size=number))
        held[number] = lower(experiment, device).compile().memory_analysis().temp_size_in_bytes / 1e9
        print(f"{device.device_kind}, {dtype}, {number} images: {held[number]:.2f} GB", flush=True)
    print(f"every further image: {(held[3] - held[1]) / 2:.2f} GB")


if __name__ == "__main__":
    main(*sys.argv[1:])
