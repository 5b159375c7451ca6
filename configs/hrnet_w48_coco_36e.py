"""The paper's recipe on COCO with another backbone: HRNet-w48, 36 epochs, batch 16, SGD.

    inspose train hrnet_w48_coco_36e --init hrnet_w48.pth --images coco/train2017 \
        --annotations coco/annotations/person_keypoints_train2017.json

77.12 M parameters; 453.2 G multiply-adds for an image of 800 x 1216, and 5 M for each person.
The paper has no such run.  P3 to P5 read the branches of stride 8, 16 and 32.  Not run here.
"""

from inspose_jax import recipes
from inspose_jax.config import Config, replace


def recipe() -> Config:
    """`r50_coco_36e` but for the backbone."""
    base = recipes.read(recipes.carried("r50_coco_36e")).config
    return replace(base, model=replace(base.model, backbone="hrnet_w48"))
