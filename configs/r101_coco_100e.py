"""The paper's recipe on COCO: ResNet-101, 100 epochs, batch 16, SGD.

    inspose train r101_coco_100e --init resnet101.pth --images coco/train2017 \
        --annotations coco/annotations/person_keypoints_train2017.json

The paper's AP: 66.3 on test-dev (Table 5). Not run here.
"""

from inspose_jax.config import Config, Model, Network, Schedule


def recipe() -> Config:
    """Sec. 4, with the drops of the learning rate as fractions of the run."""
    return Config(
        model=Model(network=Network(backbone="resnet101")),
        schedule=Schedule(batch_size=16, epochs=100, learning_rate=0.01, drop_at=(75 / 100, 90 / 100)),
    )
