"""Images of what a run's model finds: people beside their labels, and the maps of their KP-Nets."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from inspose_jax import checkpoints, draw, run_folder
from inspose_jax.data.drawn.people import DrawnPeople
from inspose_jax.data.image_files import read_image
from inspose_jax.errors import UserError
from inspose_jax.predictor import People, Predictor
from inspose_jax.recipes import Recipe
from inspose_jax.structures import Sample

NUM_SHOWN = 12  # images
THRESHOLD = 0.2  # least score of the people shown
SEARCHED = 60  # drawn images among which to look for those to show
MOSTLY_SEEN = 0.8  # least share of visible joints, for both people of the drawn image with the keypoint maps
SIDE, PAIR_SIDE, MAP_SIDE = 480, 256, 256  # pixels of an image's longer side: alone, one of a pair, with a map
SHOWN_JOINTS = ("nose", "left_shoulder", "left_wrist", "right_wrist", "left_ankle", "right_ankle")
RgbImage = UInt8[np.ndarray, "H W 3"]


class PersonMaps(NamedTuple):
    """The keypoint maps of one person's KP-Net."""

    person: RgbImage  # the person's joints
    joints: dict[str, RgbImage]  # by joint name: the joint's map, as light over the grey image
    num_parameters: int  # number of parameters that the network generated for this person


class Shown(NamedTuple):
    """The images that show what a model finds."""

    about: str  # a description of the images
    images: list[tuple[RgbImage, str]]  # images with people drawn on them, each with a caption
    maps: list[PersonMaps]  # of the best two people in one image


def show_run(workdir: Path, paths: Sequence[Path], recipe: Recipe | None = None) -> Shown:
    """Show a run's newest checkpoint on some images; if none can be loaded, only `about` is filled, with the reason.

    `recipe` is as in `checkpoints.load`.
    """
    if not checkpoints.steps(workdir / run_folder.CHECKPOINTS):
        return Shown("No images yet: the run has not saved a checkpoint.", [], [])
    try:
        loaded = checkpoints.load(workdir, recipe)
    except UserError as error:
        return Shown(f"No images: {error}.", [], [])
    return show(Predictor(loaded.config, loaded.variables, method=loaded.method), loaded.step, paths)


def show(model: Predictor, step: int, paths: Sequence[Path] = ()) -> Shown:
    """Show the model of a step on image files, or, if there are none, on drawn images if it was trained on such."""
    which = f"the model of step {step}"
    if paths:
        return show_files(model, paths, which)
    if model.config.data.source == "drawn":
        return show_drawn(model, which)
    return Shown("No images: the run's own images are not in its folder; give some with --images FOLDER.", [], [])


def show_files(model: Predictor, paths: Sequence[Path], which: str) -> Shown:
    """Show the people found in the first files."""
    images = [read_image(path, follow_exif=True) for path in paths[:NUM_SHOWN]]
    people = model(images, THRESHOLD)
    captions = [f"{path.name}: {len(one)} found" for path, one in zip(paths, people, strict=False)]
    two = [image for image, one in zip(images, people, strict=True) if len(one) > 1]
    about = (
        f"What {which} finds in {len(images)} of {len(paths)} images with a score of at least {THRESHOLD}. "
        f"Nose magenta, left side blue, right side orange."
    )
    drawn = [paint(one) for one in people]
    return Shown(about, list(zip(drawn, captions, strict=True)), keypoint_maps(model, two[0]) if two else [])


def show_drawn(model: Predictor, which: str) -> Shown:
    """Show the people found in drawn images that no training uses, beside their labels."""
    data, seed = model.config.data, model.config.schedule.seed
    held_out = DrawnPeople(data.scene, "val", seed, SEARCHED, data.joint_pixel_offset, model.skeleton)
    samples = [sample for sample in map(held_out.__getitem__, range(SEARCHED)) if len(sample.area)]
    found = model([sample.image for sample in samples[:NUM_SHOWN]], THRESHOLD)
    pairs = [
        (beside_labels(sample, people), f"{len(sample.area)} labelled, {len(people)} found")
        for sample, people in zip(samples, found, strict=False)
    ]
    two = [sample.image for sample in samples if has_two_visible(sample)]
    about = (
        f"Drawn images that were not trained on: each pair shows the labels on the left, and on the right what {which} "
        f"finds with a score of "
        f"at least {THRESHOLD}. Nose magenta, left side blue, right side orange."
    )
    return Shown(about, pairs, keypoint_maps(model, two[0]) if two else [])


def has_two_visible(sample: Sample) -> bool:
    """Whether there are exactly two people, both mostly visible."""
    return len(sample.area) == 2 and bool((sample.keypoints[..., 2] == 2).mean(1).min() >= MOSTLY_SEEN)


def paint(people: People, side: int = SIDE) -> RgbImage:
    """The image with everybody found, painted at display size so that lines and dots have the right thickness."""
    image, ratio = draw.scaled(people.image, side)
    return replace(people, image=image, keypoints=people.keypoints * ratio).plot()


def beside_labels(sample: Sample, people: People) -> RgbImage:
    """A pair: the labels of an image on the left, the people found on the right."""
    image, ratio = draw.scaled(sample.image, PAIR_SIDE)
    truth = draw.draw_people(image, sample.keypoints[..., :2] * ratio, sample.keypoints[..., 2] > 0, people.skeleton)
    return np.concatenate([truth, np.full((len(truth), 4, 3), 255, np.uint8), paint(people, PAIR_SIDE)], 1)


# --- keypoint maps --------------------------------------------------------------------------------------------------


def keypoint_maps(predictor: Predictor, image: RgbImage) -> list[PersonMaps]:
    """Figure 1 for one image: the maps that the KP-Nets of its best two people compute from the same features.

    There are fewer if fewer people are left after the suppression.  No score threshold applies, so that a model which
    is not confident of anybody shows its maps too.
    """
    if predictor.method.maps is None:
        return []
    two = predictor.maps(image, threshold=0.0, most=2)
    skeleton, canvas = predictor.skeleton, draw.scaled(two.image, MAP_SIDE)
    height, width = two.image.shape[:2]
    to_canvas = canvas[0].shape[0] / two.people.image_size[0]
    found = []
    for keypoints, heat in zip(two.people.keypoints, two.maps, strict=True):
        pixels = heat.repeat(two.stride, 1).repeat(two.stride, 2)[:, :height, :width]
        joints = {
            name: draw.scaled(overlay_map(pixels[skeleton.keypoint_names.index(name)], two.image), MAP_SIDE)[0]
            for name in SHOWN_JOINTS
            if name in skeleton.keypoint_names
        }
        everything = np.ones((1, len(keypoints)), bool)
        drawn = draw.draw_people(canvas[0], keypoints[None] * to_canvas, everything, skeleton)
        found.append(PersonMaps(drawn, joints, two.theta.shape[1]))
    return found


def overlay_map(heat: Float[np.ndarray, "H W"], image: RgbImage) -> RgbImage:
    """A map as light over the darkened grey image; its square root also shows the faint second guesses."""
    from matplotlib import colormaps

    glow = np.sqrt(heat / heat.max())
    colour = colormaps["inferno"](glow)[..., :3] * 255
    opacity = np.minimum(glow * 1.2, 1)[..., None]
    return (colour * opacity + 0.6 * image.mean(-1, keepdims=True) * (1 - opacity)).round().astype(np.uint8)


def maps_sheet(maps: Sequence[PersonMaps]) -> RgbImage:
    """One row per person: the joints, then map by map; needs at least one person."""
    tiles = [
        draw.captioned(image, name.replace("_", " "))
        for number, one in enumerate(maps, start=1)
        for name, image in {f"person {number}": one.person, **one.joints}.items()
    ]
    return draw.contact_sheet(tiles, columns=1 + len(maps[0].joints))
