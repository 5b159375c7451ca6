"""The paper's recipe on COCO: ResNet-50, 100 epochs, batch 16, SGD.

    inspose train r50_coco_100e --init resnet50.pth --images coco/train2017 \
        --annotations coco/annotations/person_keypoints_train2017.json

36.05 M parameters; 220.8 G multiply-adds for an image of 800 x 1216, and 5 M for each person.
The paper's AP: 65.4 on test-dev, 67.1 at several scales (Table 5). Not run here.
"""

from inspose_jax.config import Config, Model, Network, Schedule


def recipe() -> Config:
    """Sec. 4, with the drops of the learning rate as fractions of the run."""
    return Config(
        model=Model(network=Network(backbone="resnet50")),
        schedule=Schedule(batch_size=16, epochs=100, learning_rate=0.01, drop_at=(75 / 100, 90 / 100)),
    )
