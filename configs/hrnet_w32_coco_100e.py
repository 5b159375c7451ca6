"""The paper's recipe on COCO: HRNet-w32, 100 epochs, batch 16, SGD.

    inspose train hrnet_w32_coco_100e --init hrnet_w32.pth --images coco/train2017 \
        --annotations coco/annotations/person_keypoints_train2017.json

The paper's AP: 69.3 on test-dev (Table 5).  It does not say how HRNet's maps enter the pyramid; here P3 to P5 read the
branches of stride 8, 16 and 32.  Not run here.
"""

from inspose_jax.config import Config, Model, Network, Schedule


def recipe() -> Config:
    """Sec. 4, with the drops of the learning rate as fractions of the run."""
    return Config(
        model=Model(network=Network(backbone="hrnet_w32")),
        schedule=Schedule(batch_size=16, epochs=100, learning_rate=0.01, drop_at=(75 / 100, 90 / 100)),
    )
