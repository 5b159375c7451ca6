"""Table 5: three backbones, as they are and with images at several scales."""

from inspose_jax.sweep.rows import Row, Sweep

PAPER = {  # on test-dev, by backbone: at one scale, and at several
    "ResNet-50": (
        {"AP": 65.4, "AP50": 88.9, "AP75": 71.7, "APM": 60.2, "APL": 72.7, "seconds an image": 0.08},
        {"AP": 67.1, "AP50": 89.7, "AP75": 74.0, "APM": 62.6, "APL": 73.8},
    ),
    "ResNet-101": (
        {"AP": 66.3, "AP50": 89.2, "AP75": 73.0, "APM": 61.2, "APL": 73.9, "seconds an image": 0.10},
        {"AP": 67.8, "AP50": 90.3, "AP75": 74.9, "APM": 64.3, "APL": 73.4},
    ),
    "HRNet-w32": (
        {"AP": 69.3, "AP50": 90.3, "AP75": 76.0, "APM": 64.8, "APL": 76.1, "seconds an image": 0.15},
        {"AP": 71.0, "AP50": 91.3, "AP75": 78.0, "APM": 67.5, "APL": 76.5},
    ),
}
RECIPES = {"ResNet-50": "r50_coco_100e", "ResNet-101": "r101_coco_100e", "HRNet-w32": "hrnet_w32_coco_100e"}
NARROW = {  # HRNet's stem and first stage keep their width
    "ResNet-50": "--config.model.backbone resnet50 --config.model.backbone-widths 16 24 32 48",
    "ResNet-101": "--config.model.backbone resnet101 --config.model.backbone-widths 16 24 32 48",
    "HRNet-w32": "--config.model.backbone hrnet_w32 --config.model.backbone-widths 8 16 32 64",
}
# The paper does not name its scales.  A shape that images are padded to holds one scale, so each gets its own padding.
SCALES, SCALES_HERE = "--config.data.test-scales 640 800 960", "--config.data.test-scales 160 192 224"
OWN, FLIP = "--config.data.test-padding own", "--config.data.test-flip"


def sweep() -> Sweep:
    """The paper's six rows, and one more for each backbone: every scale mirrored too.  Scales need no training."""
    rows = []
    for backbone, (one_scale, three_scales) in PAPER.items():
        recipe, narrow = RECIPES[backbone], NARROW[backbone]
        scales, scales_here = f"{OWN} {SCALES}", f"{narrow} {SCALES_HERE}"
        rows += [
            Row(backbone, "", narrow, recipe, one_scale),
            Row(f"{backbone}, three scales", scales, scales_here, recipe, three_scales),
            Row(f"{backbone}, three scales, mirrored too", f"{scales} {FLIP}", scales_here, recipe),
        ]
    return Sweep(
        "Table 5: what do backbones and scales give?",
        tuple(rows),
        steps=1200,
        results="../results",
        measured_on="test-dev",
    )
