"""Eight real images learnt by heart, from random weights, on a CPU.

    inspose train experiments/overfit_real/recipe.py --workdir runs/overfit_real --steps 2400 \\
        --images $COCO/train2017 --annotations eight.json

The same images at one size, never mirrored; everything else is the demo's model with one level more.
"""

from inspose_jax import recipes
from inspose_jax.config import Config, Data, Machine, replace


def recipe() -> Config:
    """The demo's model and schedule on images of 256 x 384 pixels."""
    demo = recipes.read("drawn_people").config
    model = replace(
        demo.model,
        backbone_widths=(32, 64, 96, 128),
        levels=(3, 4, 5),
        level_limits=(48.0, 96.0),
        num_people=12,
        num_slots=32,
        num_candidates=100,
    )
    data = Data(
        short_side=(256, 256),
        long_side=384,
        test_short_side=256,
        shapes=((256, 384), (384, 256)),
        flip=0.0,
        num_ignore=8,
    )
    schedule = replace(demo.schedule, batch_size=4, ema=0.99)
    return Config(model, data, schedule, Machine(save_every=400))
