"""Drawn people at 128 pixels, from random weights, in minutes on a CPU: the demo's model.

    inspose train drawn_people --workdir runs/drawn

Smaller than the paper's and laid out for small images: maps at stride 4 (what counts is a person's size in map
cells), offsets up to 8 pixels from a joint, two levels, one trunk for all dense branches, poses ranked by class score
times mean softmax peak.

0.77 M parameters; 0.2 G multiply-adds for an image of 128 x 128, and 0.3 M for each person.
"""

from inspose_jax.config import Assignment, Config, Data, Decoding, Machine, Model, Network, Schedule


def recipe() -> Config:
    """The demo's experiment."""
    model = Model(
        num_people=4,
        network=Network(
            backbone="resnet18",
            backbone_widths=(32, 48, 64, 96),
            batch_norm="trained",
            frozen_stages=0,
            levels=(3, 4),
            map_level=2,
            fpn_channels=48,
            head_channels=48,
            head_depth=1,
            controller_kernel=1,
            keypoint_channels=48,
            keypoint_depth=2,
            shared_trunk=True,
        ),
        assignment=Assignment(level_limits=(64.0,), num_slots=16, disk_radius=2.0),
        decoding=Decoding(num_candidates=64, num_poses=20, pose_score="class_times_peak"),
    )
    data = Data(
        source="drawn",
        num_drawn=12_000,
        short_side=(128, 128),
        long_side=128,
        test_short_side=128,
        shapes=((128, 128),),
        num_ignore=4,
    )
    schedule = Schedule(
        batch_size=8,
        epochs=2,
        optimizer="muon",
        learning_rate=0.008,
        decay="cosine",
        warmup_steps=100,
        momentum=0.9,
        ema=0.999,
    )
    return Config(model, data, schedule, Machine(save_every=200))
