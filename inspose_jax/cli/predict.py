"""`inspose predict`: find people in pictures, draw them, write their joints."""

import json
import os
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Annotated

import tyro

from inspose_jax.cli import arguments

LONGEST_JPEG = 65500  # pixels, libjpeg's limit


@dataclass
class Predict:
    """Find people in pictures.

    Example: inspose predict --checkpoint demo_out/run photo.jpg holiday/ --out drawn --json people.json
    """

    pictures: tyro.conf.Positional[tuple[Path, ...]]
    """Files, or folders of pictures."""
    checkpoint: Path
    """A run's folder, or one of its checkpoints."""
    out: Path | None = None
    """Folder for the pictures with people drawn on them."""
    json: Path | None = None
    """File for a COCO results list, with each picture's file name."""
    threshold: Annotated[float, tyro.conf.arg(metavar="T")] = 0.3
    """People of lower score are left out."""


def run(argv: list[str]) -> None:
    """Parse, look at every file before anything is written, then predict, print a line each, write."""
    launch, _ = arguments.parse(Predict, argv, "predict")
    if not 0 <= launch.threshold <= 1:
        raise ValueError(f"--threshold is {launch.threshold}; it must lie between 0 and 1")
    paths = list_pictures(launch.pictures)
    given, written = {os.path.realpath(path) for path in paths}, set()
    drawn = [launch.out / drawn_name(path) for path in paths] if launch.out is not None else []
    for target in (*drawn, *([launch.json] if launch.json is not None else [])):
        place = os.path.realpath(target)
        if place in written:
            raise ValueError(f"{target}: two results would be written there; predict those pictures apart")
        if place in given:
            raise ValueError(f"{target}: is a picture given; write the results elsewhere, so that it stays")
        written.add(place)
    ids = image_ids(paths) if launch.json is not None else []

    import inspose_jax
    from inspose_jax.cli import files
    from inspose_jax.data.image_files import read_image
    from inspose_jax.predictor import BATCH

    model = inspose_jax.load(launch.checkpoint)
    for path in paths:  # reading twice is cheap beside the network; half a folder of results is not
        height, width, _ = read_image(path, follow_exif=True).shape
        if launch.out is not None and max(height, width) > LONGEST_JPEG:
            raise ValueError(
                f"{path}: {height} x {width} pixels (height x width), to be drawn as .jpg, which holds at most "
                f"{LONGEST_JPEG} a side; leave out --out, or make it smaller"
            )
    results = []
    with files.results_folder(launch.out), files.whole(launch.json) if launch.json else nullcontext() as partial:
        for first in range(0, len(paths), BATCH):
            chunk = paths[first : first + BATCH]
            for number, people in enumerate(model(chunk, launch.threshold), start=first):
                path = paths[number]
                print(f"{path}: {len(people)} {'person' if len(people) == 1 else 'people'}")
                if launch.out is not None:
                    with files.whole(drawn[number]) as half:
                        people.save(half)
                if partial is not None:
                    results += [{**result, "file_name": path.name} for result in people.to_coco(ids[number])]
        if partial is not None:
            partial.write_text(json.dumps(results))


def image_ids(paths: list[Path]) -> list[int]:
    """The number that a file is named by, else a running number that none is named by; ValueError for equal ones."""
    named = {path: int(path.stem) for path in paths if path.stem.isdecimal()}
    for number, times in Counter(named.values()).items():
        if times > 1:
            raise ValueError(f"{number}: image_id of {times} pictures, which are named by it; predict them apart")
    running = (number for number in count() if number not in set(named.values()))
    return [named[path] if path in named else next(running) for path in paths]


def drawn_name(path: Path) -> str:
    """File name of a picture with its people drawn on it."""
    return f"{path.stem}.jpg"


def list_pictures(given: tuple[Path, ...]) -> list[Path]:
    """Files as they are, folders as the pictures in them; FileNotFoundError or ValueError for what has none."""
    from inspose_jax.data.image_files import SUFFIXES

    paths = []
    for path in given:
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
            if not found:
                raise ValueError(f"{path}: no picture in this folder ({', '.join(SUFFIXES)})")
            paths += found
        elif path.is_file():
            paths.append(path)
        else:
            raise FileNotFoundError(f"{path}: no such picture or folder; check the path")
    if not paths:
        raise ValueError("no picture given; name files or folders")
    return list(dict.fromkeys(paths))  # once, also if a folder and a file in it are given
