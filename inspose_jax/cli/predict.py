"""`inspose predict`: find people in images and videos, draw them, and write their joints."""

import json
import os
from collections import Counter
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Annotated, Any, TextIO

import tyro

from inspose_jax import files
from inspose_jax.cli import arguments
from inspose_jax.config import Data
from inspose_jax.errors import NotFound, UserError

LONGEST_JPEG = 65500  # pixels, libjpeg's limit
MOST_SHAPES = 16  # of own paddings that are compiled, about two minutes on 2 cores; docs/differences.md has times


@dataclass
class Predict:
    """Find people in images and videos.

    Example: inspose predict --checkpoint demo_out/run photo.jpg holiday/ --out drawn --json people.json

    Example: inspose predict --checkpoint demo_out/run dance.mp4 --out drawn --json people.jsonl

    --config.FIELD VALUE changes a setting of test time, such as --config.data.test-short-side 640.
    """

    sources: tyro.conf.Positional[tuple[Path, ...]]
    """Images, videos, or folders of them; hidden files, subfolders and other files in a folder are skipped."""
    checkpoint: Path
    """A run's folder, one of its checkpoints, or PyTorch's weights: a file, or a folder that export-torch wrote."""
    out: Path | None = None
    """Folder for the images (NAME.jpg) and videos (NAME.mp4) with people drawn on them."""
    json: Path | None = None
    """For images a COCO results list with each image's file name.  For videos a .jsonl with one line per frame:
    {"file_name", "frame" from 0, "seconds", "people": COCO results, whose image_id is the frame}."""
    recipe: arguments.Place = None
    """The run's recipe, if it defines a method of its own."""
    threshold: Annotated[float, tyro.conf.arg(metavar="T")] = 0.3
    """Leave out people with a lower score.  Those whose class score is not above --config.model.score-threshold, which
    often is .1, are left out before."""


def run(argv: list[str]) -> None:
    """Parse, check every file before anything is written, then predict, print one line per file, and write."""
    launch, rest = arguments.parse(Predict, argv, "predict", with_config=True)
    if not 0 <= launch.threshold <= 1:
        raise UserError(f"--threshold is {launch.threshold}; it must lie between 0 and 1")
    if rest and not launch.sources:
        raise UserError("no image or video given; name them before --config.FIELD VALUE, which takes all that follows")
    paths = list_files(launch.sources)
    given, written = {os.path.realpath(path) for path in paths}, set()
    drawn = {path: launch.out / drawn_name(path) for path in paths} if launch.out is not None else {}
    for target in (*drawn.values(), *([launch.json] if launch.json is not None else [])):
        place = os.path.realpath(target)
        if place in written:
            raise UserError(f"{target}: two results would be written there; run predict on those files separately")
        if place in given:
            raise UserError(
                f"{target}: is one of the given files; write the results elsewhere, so that it is not overwritten"
            )
        written.add(place)
    videos = [path for path in paths if is_video(path)]
    images = [path for path in paths if not is_video(path)]
    if launch.json is not None and videos and images:
        raise UserError(
            f"{launch.json}: images give COCO results, videos one line per frame; run predict on them separately"
        )
    if launch.json is not None and videos and launch.json.suffix != ".jsonl":
        raise UserError(f"{launch.json}: videos give one JSON line per frame; name the file {launch.json.stem}.jsonl")
    ids = image_ids(images) if launch.json is not None else []

    from inspose_jax import devices
    from inspose_jax.cli import trained
    from inspose_jax.data import image_files, video_files

    # Listed before anything is written, as the results may go into the same folder.
    others = skipped_files(launch.sources, image_files.SUFFIXES + video_files.SUFFIXES)
    devices.check()
    model = trained.load(launch.checkpoint, launch.recipe, rest)
    sizes = []
    for path in images:  # reading twice costs little beside the network, and avoids half a folder of results
        height, width, _ = image_files.read_image(path, follow_exif=True).shape
        sizes.append((height, width))
        if launch.out is not None and max(height, width) > LONGEST_JPEG:
            raise UserError(
                f"{path}: {height} x {width} pixels (height x width) cannot be drawn as .jpg, which holds at most "
                f"{LONGEST_JPEG} a side; leave out --out, or make the image smaller"
            )
    for path in videos:
        next(video_files.read_frames(path))
    if not any("test-padding" in word for word in rest):
        model.config = replace(model.config, data=choose_padding(model.config.data, sizes))
    with files.results_folder(launch.out), files.atomic(launch.json) if launch.json else nullcontext() as partial:
        if images:
            results = predict_images(model, images, launch.threshold, drawn, ids)
            if partial is not None:
                partial.write_text(json.dumps(results))
        with partial.open("w") if partial is not None and videos else nullcontext() as lines:
            for path in videos:
                predict_video(model, path, launch.threshold, drawn.get(path), lines)
    for line in others:
        print(line)


def choose_padding(data: Data, sizes: list[tuple[int, int]]) -> Data:
    """The settings, with the config's few shapes for images that would need too many paddings of their own.

    `sizes` are the images' (height, width).  Prints a line where it chooses other padding than the config's.  With
    `test_scales`, which those shapes may not hold, the padding stays.
    """
    from inspose_jax.data import plan

    number = plan.number_of_shapes(sizes, data) if data.test_padding == "own" else 0
    if number <= MOST_SHAPES or data.passes.test_scales:
        return data
    shapes = " and ".join(f"{height} x {width}" for height, width in data.shapes) or "a few shapes found for them"
    print(
        f"{len(sizes)} images need {number} different paddings, each of which would be compiled: they are padded to "
        f"{shapes} instead, which moves scores and joints; --config.data.test-padding own keeps each image's own"
    )
    return replace(data, test_padding="shapes")


def predict_images(
    model: Any, paths: list[Path], threshold: float, drawn: dict[Path, Path], ids: list[int]
) -> list[dict[str, Any]]:
    """Predict image by image, print a line each, and draw to the paths in `drawn`; COCO results if there are `ids`."""
    from inspose_jax.predictor import BATCH

    results = []
    for first in range(0, len(paths), BATCH):
        chunk = paths[first : first + BATCH]
        for number, people in enumerate(model(chunk, threshold), start=first):
            path = paths[number]
            print(f"{path}: {number_of_people(len(people))}")
            if drawn:
                with files.atomic(drawn[path]) as half:
                    people.save(half)
            if ids:
                results += [{**result, "file_name": path.name} for result in people.to_coco(ids[number])]
    return results


def predict_video(model: Any, path: Path, threshold: float, drawn: Path | None, lines: TextIO | None) -> None:
    """Predict, draw and write frame by frame, then print a line; at most three batches of frames are in memory."""
    from tqdm import tqdm

    from inspose_jax.data import video_files

    about = video_files.read_info(path)
    number = most = 0
    with ExitStack() as stack:
        add_frame = None
        options = {"total": about.num_frames or None, "unit": "frame", "dynamic_ncols": True}
        if drawn is not None:
            half = stack.enter_context(files.atomic(drawn))
            # The frame rate must be known before the first frame is written, and depends on the times of all frames.
            times = tqdm(video_files.frame_times(path), desc=f"{path.name}: reading times", leave=False, **options)
            rate = video_files.mean_rate(iter(times), about.fps)
            options["total"] = times.n
            add_frame = stack.enter_context(video_files.writing(half, rate))
        bar = stack.enter_context(tqdm(model.video(path, threshold), desc=path.name, **options))
        for people in bar:
            if add_frame is not None:
                add_frame(people.plot())
            if lines is not None:
                line = {"file_name": path.name, "frame": number, "seconds": people.seconds}
                lines.write(json.dumps({**line, "people": people.to_coco(number)}) + "\n")
            number, most = number + 1, max(most, len(people))
    print(f"{path}: {number} frames with at most {number_of_people(most)} in one")


def number_of_people(number: int) -> str:
    """The number in words, such as `1 person`."""
    return f"{number} {'person' if number == 1 else 'people'}"


def image_ids(paths: list[Path]) -> list[int]:
    """Each file's image id: its name if that is a number, else the next unused one; raises UserError if ids clash."""
    named = {path: int(path.stem) for path in paths if path.stem.isdecimal()}
    for number, times in Counter(named.values()).items():
        if times > 1:
            raise UserError(
                f"{number}: is the image_id of {times} images, since it comes from the file name; run predict on them "
                f"separately"
            )
    taken = set(named.values())
    free_ids = (number for number in count() if number not in taken)
    return [named[path] if path in named else next(free_ids) for path in paths]


def is_video(path: Path) -> bool:
    """Whether a file counts as a video, which its suffix alone decides."""
    from inspose_jax.data.video_files import SUFFIXES

    return path.suffix.lower() in SUFFIXES


def drawn_name(path: Path) -> str:
    """The file name of an image or video with its people drawn on it."""
    return f"{path.stem}.mp4" if is_video(path) else f"{path.stem}.jpg"


def list_files(given: tuple[Path, ...]) -> list[Path]:
    """The given files, with folders replaced by the images and videos in them.

    Raises NotFound for a path that does not exist, and UserError for a folder without images and videos or if nothing
    is given.
    """
    from inspose_jax.data import image_files, video_files

    suffixes = image_files.SUFFIXES + video_files.SUFFIXES
    paths = []
    for path in given:
        if path.is_dir():
            found, others = list_folder(path, suffixes)
            if not found:
                held = f"; it holds {others}" if others else ""
                raise UserError(f"{path}: no image or video in this folder ({', '.join(suffixes)}){held}")
            paths += found
        elif path.is_file():
            paths.append(path)
        else:
            raise NotFound(f"{path}: no such image, video or folder; check the path")
    if not paths:
        raise UserError("no image or video given; name files or folders")
    return list(dict.fromkeys(paths))  # each file once, even if it is given along with its folder


def skipped_files(given: tuple[Path, ...], suffixes: tuple[str, ...]) -> list[str]:
    """One line for each folder that contains anything other than files with these suffixes."""
    others = {path: list_folder(path, suffixes)[1] for path in given if path.is_dir()}
    return [f"skipped in {path}: {held}" for path, held in others.items() if held]


def list_folder(folder: Path, suffixes: tuple[str, ...]) -> tuple[list[Path], str]:
    """The files with these suffixes in a folder, and a count of everything else, such as `2 .gif, 1 folder`.

    Hidden files are skipped: macOS puts one beside each file, such as `._a.jpg` beside `a.jpg`, that is not an image.
    """
    found, others, folders = [], Counter(), 0
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.suffix.lower() in suffixes:  # even a folder of such a name, which reading reports as an error
            found.append(path)
        elif path.is_dir():
            folders += 1
        else:
            others[path.suffix.lower() or "without a suffix"] += 1
    said = [f"{number} {kind}" for kind, number in sorted(others.items())]
    if folders:
        said.append(f"{folders} folder{'s' * (folders > 1)}")
    return found, ", ".join(said)
