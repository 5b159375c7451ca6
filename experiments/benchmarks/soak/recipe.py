"""A small network on small drawn pictures, all of them seen within fifty steps: what a long run leaks shows."""

from inspose_jax.config import Config, Data, Model, Scene, Schedule


def recipe() -> Config:
    """Every part of the network, few channels; a checkpoint every hundred steps."""
    model = Model(
        backbone="resnet18",
        backbone_widths=(8, 16, 24, 32),
        batch_norm="trained",
        frozen_stages=0,
        levels=(3, 4),
        level_limits=(64.0,),
        fpn_channels=16,
        head_channels=16,
        head_depth=1,
        keypoint_channels=16,
        keypoint_depth=1,
        dense_channels=16,
        num_people=4,
        num_slots=16,
        num_candidates=32,
        num_poses=20,
    )
    data = Data(
        source="drawn",
        scene=Scene(size=64),
        num_drawn=200,
        short_side=(64, 64),
        long_side=64,
        test_short_side=64,
        shapes=((64, 64),),
        num_ignore=4,
    )
    schedule = Schedule(batch_size=4, optimizer="muon", learning_rate=0.002, decay="cosine", ema=0.99, save_every=100)
    return Config(model, data, schedule)
