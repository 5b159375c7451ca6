"""The paper's recipe on COCO with another backbone: HRNet-w32, 100 epochs, batch 16, SGD.

    inspose train hrnet_w32_coco_100e --init hrnet_w32.pth --images coco/train2017 \
        --annotations coco/annotations/person_keypoints_train2017.json

41.04 M parameters; 291.5 G multiply-adds for an image of 800 x 1216, and 5 M for each person.
The paper's AP: 69.3 on test-dev, 71.0 at several scales (Table 5).  It does not say how HRNet's maps enter the
pyramid; here P3 to P5 read the branches of stride 8, 16 and 32.  Not run here.
"""

from inspose_jax import recipes
from inspose_jax.config import Config, replace


def recipe() -> Config:
    """`r50_coco_100e` but for the backbone."""
    base = recipes.read(recipes.carried("r50_coco_100e")).config
    return replace(base, model=replace(base.model, backbone="hrnet_w32"))
