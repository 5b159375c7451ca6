"""The demo's recipe with few channels and small images, all of them seen within fifty steps: what leaks shows."""

from inspose_jax import recipes
from inspose_jax.config import Config, Scene, replace


def recipe() -> Config:
    """Every part of the network at 64 pixels; checkpoints as often as by default."""
    demo = recipes.read("drawn_people").config
    model = replace(
        demo.model,
        backbone_widths=(8, 16, 24, 32),
        fpn_channels=16,
        head_channels=16,
        keypoint_channels=16,
        keypoint_depth=1,
        dense_channels=16,
    )
    data = replace(
        demo.data,
        scene=Scene(size=64),
        num_drawn=200,
        short_side=(64, 64),
        long_side=64,
        test_short_side=64,
        shapes=((64, 64),),
    )
    return Config(model, data, replace(demo.schedule, batch_size=4))
