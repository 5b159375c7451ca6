"""The paper's recipe on COCO with another backbone: ResNet-101, 36 epochs, batch 16, SGD.

    inspose train r101_coco_36e --init resnet101.pth --images coco/train2017 \
        --annotations coco/annotations/person_keypoints_train2017.json

55.04 M parameters; 292.8 G multiply-adds for an image of 800 x 1216, and 5 M for each person.
The paper has no such run.  Not run here.
"""

from inspose_jax import recipes
from inspose_jax.config import Config, replace


def recipe() -> Config:
    """`r50_coco_36e` but for the backbone."""
    base = recipes.read(recipes.carried("r50_coco_36e")).config
    return replace(base, model=replace(base.model, backbone="resnet101"))
