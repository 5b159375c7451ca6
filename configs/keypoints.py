"""Your own joints: a model of medium size that takes skeleton and shapes of whatever data it is given.

    inspose train keypoints --data horses --val-data horses --workdir runs/horses

It starts from random weights, or with `--init resnet18.pth` from ImageNet's.  Images are read at a shorter side of 256
to 384 pixels, so that an epoch over a thousand images takes minutes even on a CPU.  Not run here on a real dataset.
"""

from inspose_jax.config import Assignment, Config, Data, Decoding, Machine, Model, Network, Schedule
from inspose_jax.skeletons import FROM_DATA


def recipe() -> Config:
    """ResNet-18, four levels, one trunk for all dense branches, 100 epochs."""
    model = Model(
        skeleton=FROM_DATA,
        num_people=16,
        network=Network(
            backbone="resnet18",
            batch_norm="trained",
            frozen_stages=0,
            levels=(3, 4, 5, 6),
            fpn_channels=96,
            head_channels=96,
            head_depth=2,
            keypoint_channels=96,
            keypoint_depth=2,
            dense_channels=96,
            shared_trunk=True,
        ),
        assignment=Assignment(level_limits=(64.0, 128.0, 256.0), num_slots=96),
        decoding=Decoding(num_candidates=200, num_poses=50, pose_score="class_times_peak"),
    )
    data = Data(
        short_side=(256, 384),
        long_side=640,
        test_short_side=320,
        shapes=(),  # found from the sizes of the images
        num_ignore=16,
    )
    schedule = Schedule(
        batch_size=8,
        epochs=100,
        optimizer="muon",
        learning_rate=0.004,
        decay="cosine",
        warmup_steps=200,
        ema=0.999,
    )
    return Config(model, data, schedule, Machine(save_every=500))
