"""What distortions gain when few images are seen many times, as in many epochs over a small dataset."""

from inspose_jax.sweep.rows import Row, Sweep

DISTORTIONS = {  # those of `modern`
    "large-scale jitter": "--config.data.large-scale-jitter 0.5 1.5",
    "affine distortion": "--config.data.rotation 30 --config.data.translation 0.1",
    "photometric distortion": "--config.data.brightness 0.1 --config.data.contrast 0.2 --config.data.saturation 0.3 "
    "--config.data.hue 10",
}
FEW_HERE = "--config.data.num-drawn 128"  # 75 epochs in 1,200 steps of 8


def sweep() -> Sweep:
    """The elements of the sweep `modern` that change images, with few images in place of ever new ones."""
    rows = [
        Row("none", changes_here=FEW_HERE),
        *(Row(label, changes, FEW_HERE) for label, changes in DISTORTIONS.items()),
        Row("all three", " ".join(DISTORTIONS.values()), FEW_HERE),
    ]
    return Sweep(
        "Distortions of images: what do they gain when few images are seen many times?",
        tuple(rows),
        steps=1200,
        seeds=(0,),
        results="../results",
    )
