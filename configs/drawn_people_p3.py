"""Drawn people at 192 pixels with the paper's geometry: keypoint maps at stride 8, from P3, and all of its branches.

    inspose train drawn_people_p3 --workdir runs/p3

The small recipe of the experiments: whatever the paper's tables vary exists in this model too.

0.83 M parameters; 0.3 G multiply-adds for an image of 192 x 192, and 0.2 M for each person.
"""

from inspose_jax import recipes
from inspose_jax.config import Config, replace


def recipe() -> Config:
    """The demo's model and schedule, with maps at stride 8 and a branch of its own for offsets and for heatmaps."""
    demo = recipes.read(recipes.carried("drawn_people")).config
    model = replace(demo.model, map_level=3, shared_trunk=False, dense_channels=48, levels=(3, 4), num_slots=32)
    data = replace(
        demo.data,
        scene=replace(demo.data.scene, size=192),
        short_side=(192, 192),
        long_side=192,
        test_short_side=192,
        shapes=((192, 192),),
    )
    return replace(demo, model=model, data=data)
