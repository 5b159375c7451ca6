"""For accuracy and not for the paper: ResNet-50 on COCO, 36 epochs, with what later work added to training.

    inspose train modern --init resnet50.pth --workdir runs/modern --data coco

`r50_coco_36e` with: class scores that learn the OKS of their pose (varifocal), a running average of the parameters,
large-scale jitter, rotation and translation, colours, a cosine schedule, bfloat16, and a second look at the mirrored
image at test time.  Each is a field of its own, and turns off with `--config.FIELD`.  Not run here.

36.05 M parameters; 220.8 G multiply-adds for an image of 800 x 1216, and 5 M for each person.
"""

from inspose_jax import recipes
from inspose_jax.config import Config, replace


def recipe() -> Config:
    """The paper's recipe with every element added."""
    paper = recipes.read(recipes.carried("r50_coco_36e")).config
    return replace(
        paper,
        model=replace(paper.model, classification_loss="varifocal", compute_dtype="bfloat16"),
        data=replace(
            paper.data,
            large_scale_jitter=(0.5, 1.5),
            rotation=30.0,
            translation=0.1,
            brightness=0.1,
            contrast=0.2,
            saturation=0.3,
            hue=10.0,
            test_flip=True,
        ),
        schedule=replace(paper.schedule, decay="cosine", ema=0.9998),
    )
