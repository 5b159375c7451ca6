"""The recipe that the paper's authors released: ResNet-50, 36 epochs, batch 32, SGD.  It differs from the paper's.

    inspose train released_r50_coco_3x --init resnet50.pth --images coco/train2017 \
        --annotations coco/annotations/person_keypoints_train2017.json

50.11 M parameters; 612.9 G multiply-adds for an image of 800 x 1216.
The authors' AP: 65.2 on val2017.  Not run here.  Their weights find people at once:

    inspose import-torch released.pth --out released
    inspose predict --checkpoint released photo.jpg --out drawn
"""

from inspose_jax.config import Config, Data, Schedule
from inspose_jax.released.config import Model


def recipe() -> Config:
    """The released recipe, with the drops of the learning rate as fractions of the run."""
    return Config(
        model=Model(),
        data=Data(test_padding="own", joint_pixel_offset=0.0, short_side_step=32, train_images="people"),
        schedule=Schedule(
            batch_size=32,
            epochs=36,
            learning_rate=0.02,
            drop_at=(27 / 36, 33 / 36),
            warmup_steps=2000,
            warmup_from=0.001,
        ),
    )
