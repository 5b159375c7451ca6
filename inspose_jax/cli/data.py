"""`inspose data`: draw, show, check, measure, import and build datasets."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from inspose_jax.cli import arguments, data_build, data_check, data_import, data_shapes, data_stats
from inspose_jax.errors import UserError, did_you_mean

MOST_IMAGES = 10_000_000  # a disk's worth
Count = Annotated[int, tyro.conf.arg(metavar="N")]
MOST_SHOWN = 500  # images; a larger page would be too heavy for a browser
SHOWN_SIDE = 480  # pixels of their longer side


@dataclass
class Draw:
    """Draw people into a COCO folder: DIR/images/*.jpg and DIR/annotations.json.

    Example: inspose data draw --out drawn --count 500 --seed 999
    """

    out: Path
    """A new or empty folder."""
    count: Count
    """Number of images."""
    size: Count = 128
    """Side of the images in pixels."""
    seed: Count = 0
    """Other seeds give other images; the demo trains on none of them."""


@dataclass
class Show:
    """Show annotated images with their labels: on a page (.html), or as one sheet of images (.jpg, .png).

    Example: inspose data show --data drawn --out labels.html
    """

    given: arguments.GivenData = arguments.OF_TRAIN
    out: Path = Path("labels.html")
    """File to write: the page or the sheet."""
    count: Count = 24
    """Number of images, evenly spaced over the file."""


def run(argv: list[str]) -> None:
    """Run the subcommand in `argv`."""
    commands = {
        "draw": draw,
        "show": show,
        "check": data_check.run,
        "stats": data_stats.run,
        "shapes": data_shapes.run,
        "import": data_import.run,
        "build": data_build.run,
    }
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: inspose data draw ...    draw people into a COCO folder")
        print("       inspose data show ...    show annotated images with their labels")
        print("       inspose data check ...   name every fault of annotated images, and repair what can be repaired")
        print("       inspose data stats ...   count and measure the people and images of a dataset")
        print("       inspose data shapes ...  find the shapes that a dataset's images are best padded to")
        print("       inspose data import ...  write Label Studio's own JSON as a COCO file")
        print("       inspose data build ...   build a dataset of a few large files, for many machines and TFDS")
        print("example: inspose data draw --out drawn --count 500")
        return
    if argv[0] not in commands:
        hint = did_you_mean(argv[0], commands, f"the commands are {', '.join(commands)}")
        raise UserError(f"data {argv[0]}: no such command; {hint}")
    commands[argv[0]](argv[1:])


def draw(argv: list[str]) -> None:
    """Draw images of the test split, which no training uses."""
    launch, _ = arguments.parse(Draw, argv, "data draw")
    for name, value, low, high in (
        ("count", launch.count, 1, MOST_IMAGES),
        ("size", launch.size, 32, 4096),
        ("seed", launch.seed, 0, 2**32 - 1),
    ):
        arguments.check_range(name, value, low, high)

    from tqdm import tqdm

    from inspose_jax import files
    from inspose_jax.config import Data, Scene
    from inspose_jax.data import coco
    from inspose_jax.data.drawn.people import DrawnPeople
    from inspose_jax.skeletons import COCO

    source = DrawnPeople(Scene(size=launch.size), "test", launch.seed, launch.count)
    with (
        files.new_folder(launch.out) as folder,
        tqdm(range(launch.count), desc="drawing", unit="image", dynamic_ncols=True) as bar,
    ):
        coco.write_folder(folder, (source[i] for i in bar), COCO, Data().joint_pixel_offset)
    print(
        f"{launch.out}: {launch.count} image{'s' * (launch.count > 1)}; look at them, or run: inspose data check "
        f"--data {launch.out}"
    )


def show(argv: list[str]) -> None:
    """Draw the labels of some images; no other images are decoded."""
    launch, _ = arguments.parse(Show, argv, "data show")
    arguments.check_range("count", launch.count, 1, MOST_SHOWN)
    form = {".html": "", ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}.get(launch.out.suffix.lower())
    if form is None:
        raise UserError(f"{launch.out}: neither a page nor a sheet; the name must end in .html, .jpg or .png")
    import numpy as np
    from PIL import Image
    from tqdm import tqdm

    from inspose_jax import files
    from inspose_jax.cli import sources
    from inspose_jax.config import Data
    from inspose_jax.draw import (
        LABELS_LEGEND,
        captioned,
        contact_sheet,
        describe_labels,
        draw_labels,
        label_colours,
        legend,
    )
    from inspose_jax.report import markup
    from inspose_jax.skeletons import FROM_DATA

    source = sources.annotated(launch.given, FROM_DATA, Data().joint_pixel_offset)
    files.refuse_among_images(launch.out, source.image_folders(), "--out")
    chosen = np.linspace(0, len(source) - 1, min(launch.count, len(source))).round().astype(int).tolist()
    names, colours = source.skeleton.keypoint_names, label_colours(source.skeleton)
    which = f"{len(chosen)} of {len(source)} images, evenly spaced over the file."

    def shown(index: int) -> tuple[np.ndarray, str, str]:
        sample = source[index]
        return draw_labels(sample, source.skeleton, SHOWN_SIDE), describe_labels(sample), source.file_name(index)

    with (
        files.atomic(launch.out) as partial,
        tqdm(map(shown, chosen), desc="drawing", total=len(chosen), unit="image", dynamic_ncols=True) as images,
    ):
        if form:
            sheet = contact_sheet([captioned(*one) for one in images], columns=min(6, len(chosen)), gap=8)
            sheet = np.concatenate([legend(names, colours, sheet.shape[1]), sheet])
            Image.fromarray(sheet).save(partial, form, quality=90)
        else:
            figures = [(markup.photo(image, text), f"{text}\n{name}") for image, text, name in images]
            labels = markup.note(LABELS_LEGEND) + markup.legend(names, colours) + markup.gallery(figures, "15rem")
            title, lead = f"Labels of {source.name.name}", f"{source.name}: {which}"
            partial.write_text(markup.page(title, lead, {}, [("Labels", labels)]), encoding="utf-8")
    print(f"{launch.out}: {which} {LABELS_LEGEND}")
