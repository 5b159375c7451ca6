"""Bad input as data: what is wrong, the call, the line it gets; and what is unusual and works.

`test_bad_input.py` makes every call, and `python tests/bad_input.py > docs/bad_input.md` writes the page.
"""

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from inspose_jax import config
from inspose_jax.data import video_files

JSON = "drawn/annotations.json"
IMAGES, LABELS = "--images drawn/images", f"--annotations {JSON}"
EVAL, PREDICT, CHECK = "eval --checkpoint run", "predict --checkpoint run", "data check"
SHOW = f"data show {IMAGES} {LABELS}"
TRAIN = f"train small.py --steps 1 --workdir out {IMAGES} {LABELS}"


class Case(NamedTuple):
    """One bad call, made in a folder that has a run `run`, a drawn set `drawn`, a recipe over such sets `small.py`."""

    wrong: str
    command: str
    line: str  # after `inspose: error: `, paths as seen from the folder; … stands for any text
    prepare: Callable[[Path], object] = lambda folder: None
    needs_rights: bool = False  # means something only to those whom permissions bind


# --- what makes the input bad ---------------------------------------------------------------------------------------


def labels(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Change the content of the drawn set's JSON."""

    def prepare(folder: Path) -> None:
        path = folder / "drawn/annotations.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return prepare


def first_image(**fields: Any) -> Callable[[Path], None]:
    """Change fields of the first entry of `images`."""
    return labels(lambda content: content["images"][0].update(fields))


def first_person(**fields: Any) -> Callable[[Path], None]:
    """Change fields of the first entry of `annotations`."""
    return labels(lambda content: content["annotations"][0].update(fields))


def without(kind: str, field: str) -> Callable[[Path], None]:
    """Take a field from every entry of a list."""
    return labels(lambda content: [entry.pop(field, None) for entry in content[kind]])


def file(name: str, content: str | bytes = b"") -> Callable[[Path], None]:
    """A file with some content in the place of whatever is there."""

    def prepare(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return prepare


def folder(name: str) -> Callable[[Path], None]:
    """An empty folder."""
    return lambda here: (here / name).mkdir(parents=True)


def loop(name: str) -> Callable[[Path], None]:
    """A symbolic link to itself."""
    return lambda here: (here / name).symlink_to(Path(name).name)


def mode(name: str, permissions: int) -> Callable[[Path], None]:
    """Permissions of what is there."""
    return lambda here: (here / name).chmod(permissions)


def recipe(content: str) -> Callable[[Path], None]:
    return file("mine.py", content)


def copied(source: str, *names: str) -> Callable[[Path], None]:
    """Copies of a file of the drawn set."""
    return lambda here: [shutil.copy(here / source, here / name) for name in names]


def both(*steps: Callable[[Path], object]) -> Callable[[Path], None]:
    def prepare(here: Path) -> None:
        for step in steps:
            step(here)

    return prepare


def video(name: str) -> Callable[[Path], None]:
    """Write a video of three frames."""

    def prepare(folder: Path) -> None:
        with video_files.writing(folder / name, 25.0) as add:
            for grey in (50, 100, 150):
                add(np.full((64, 64, 3), grey, np.uint8))

    return prepare


def half(name: str) -> Callable[[Path], object]:
    """Cut the second half of a file off."""
    return lambda folder: (folder / name).write_bytes(
        (folder / name).read_bytes()[: (folder / name).stat().st_size // 2]
    )


def own_run(change: Callable[[Path], object]) -> Callable[[Path], None]:
    """A copy of the run, as `mine`, changed."""

    def prepare(here: Path) -> None:
        change(shutil.copytree(here / "run", here / "mine"))

    return prepare


def png(width: int, height: int) -> bytes:
    """A black picture, one bit a pixel: large ones are small files."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


FIRST = "drawn/images/000000000000.jpg"
SMALL = """
from inspose_jax.config import Config, Data, Model
def recipe():
    towers = dict(fpn_channels=8, head_channels=8, keypoint_channels=8, dense_channels=8)
    depths = dict(head_depth=1, keypoint_depth=1)
    model = Model("coco", "resnet18", (4, 4, 4, 4), "trained", 0, **towers, **depths)
    return Config(model, Data(short_side=(64, 64), test_short_side=64, shapes=((64, 64),)))
"""
SHOW = f"data show {IMAGES} {LABELS}"
RUN = own_run(file("config.json", '{"num_steps": 3, "model": {}, "data": {}, "schedule": {"batch_size": 2}}'))
LOCKED = both(folder("locked"), mode("locked", 0o555))
NOT_A_PICTURE = (
    "not a picture that can be read; is it damaged, or not one of .jpg, .jpeg, .png, .webp, .bmp, .tif, .tiff?"
)
NOT_A_VIDEO = "not a video that can be read; is it damaged, empty or cut off?"
NO_ROOM = "choose another place, or make space there"


def says(fault: str) -> str:
    """The line for a fault of the drawn set's JSON."""
    return f"{JSON}: {fault}; `inspose data check` lists all"


def begun_run(here: Path) -> None:
    """A run of which nothing is known but how it was started."""
    about = {"num_steps": 1, "pictures": "1", **json.loads(config.to_json(config.Config()))}
    file("out/config.json", json.dumps(about))(here)


# --- the cases ------------------------------------------------------------------------------------------------------

# fmt: off
CASES: dict[str, list[Case]] = {
    "Words on the command line": [
        Case("an unknown command", "predicct", "predicct: no such command; did you mean predict?"),
        Case("one like no other", "xyz", "xyz: no such command; there are demo, train, …"),
        Case("an unknown command of `data`", "data drw", "data drw: no such command; did you mean draw?"),
        Case("an unknown option", f"{EVAL} {IMAGES} {LABELS} --outt x",
             "--outt: no such option of inspose eval; did you mean --out?"),
        Case("an option like no other", "demo --zzz", "--zzz: no such option of inspose demo; see inspose demo --help"),
        Case("an option that is missing", "predict a.jpg",
             "Missing from inspose predict: --checkpoint PATH …; see inspose predict --help"),
        Case("an option without its value", f"{EVAL} {IMAGES} --annotations",
             "Missing value for argument '--annotations'. Expected 1 values.; see inspose eval --help"),
        Case("a word too many", "demo now", "now: not expected here; see inspose demo --help"),
        Case("an empty word", "predict --checkpoint '' a.jpg",
             "one of the words given is empty; is it a variable of the shell that is not set?"),
        Case("no number where one belongs", "data draw --out new --count many",
             "Error parsing --count: …'many'; see inspose data draw --help"),
    ],
    "Recipes and their fields": [
        Case("an unknown recipe", "train drawn_peple",
             "drawn_peple: no such recipe file or name; did you mean drawn_people?"),
        Case("no such file", "train gone.py", "gone.py: no such recipe file or name; there are drawn_people, …"),
        Case("a folder", "train drawn", "drawn: no such recipe file or name; there are drawn_people, …"),
        Case("not Python", "train mine.py", "mine.py: the recipe fails with SyntaxError: …; mend it",
             recipe("def recipe(:")),
        Case("imports what is not there", "train mine.py",
             "mine.py: the recipe fails with ModuleNotFoundError: No module named 'nothing_here'; mend it",
             recipe("import nothing_here")),
        Case("ends the program", "train mine.py", "mine.py: the recipe fails with SystemExit: 0; mend it",
             recipe("import sys; sys.exit(0)")),
        Case("calls itself", "train mine.py", "mine.py: the recipe fails with RecursionError: …; mend it",
             recipe("def recipe(): return recipe()")),
        Case("gives no Config", "train mine.py",
             "mine.py: no recipe; it needs a function `recipe` that returns a Config",
             recipe("def recipe(): return 3")),
        Case("gives values that do not go together", "train mine.py",
             "mine.py: model.level_limits has 4 numbers for 1 levels; give one fewer than levels",
             recipe("from inspose_jax.config import *\ndef recipe(): return Config(Model(levels=(3,)))")),
        Case("cannot be read", "train mine.py", "mine.py: the recipe fails with PermissionError: …; mend it",
             both(recipe(""), mode("mine.py", 0)), needs_rights=True),
        Case("an unknown field", "train drawn_people --config.schedule.batch-siz 3",
             "Unrecognized options: --config.schedule.batch-siz, 3; did you mean --config.schedule.batch-size?"),
        Case("a field without its value", "train drawn_people --config.schedule.batch-size",
             "Missing value for argument '--config.schedule.batch-size'. …"),
        Case("a choice that there is not", "train drawn_people --config.schedule.optimizer adm",
             "invalid choice 'adm' for argument '--config.schedule.optimizer'. Expected one of ('sgd', …"),
        Case("a batch of none", "train drawn_people --config.schedule.batch-size 0",
             "schedule.batch_size is 0; it must be above 0"),
        Case("a negative batch", "train drawn_people --config.schedule.batch-size -1",
             "schedule.batch_size is -1; it must be above 0"),
        Case("half a picture more", "train drawn_people --config.schedule.batch-size 1.5",
             "Error parsing --config.schedule.batch-size: …'1.5'; …"),
        Case("a number beyond all bounds", "train drawn_people --config.schedule.batch-size 99999999999",
             "config.schedule.batch_size is 99999999999; it must be a whole number below 2^31"),
        Case("not a number", "train drawn_people --config.schedule.learning-rate nan",
             "config.schedule.learning_rate is nan; it must be a finite number"),
        Case("an infinite number", "train drawn_people --config.schedule.learning-rate inf",
             "config.schedule.learning_rate is inf; it must be a finite number"),
        Case("limits that do not rise", "train drawn_people --config.model.level-limits -1",
             "model.level_limits is (-1.0,); it must rise, from 0 or above"),
        Case("a shape that is none", "train drawn_people --config.data.shapes 100 100",
             "data.shapes [(100, 100)]: each side must be a positive multiple of 32"),
    ],
    "`train`": [
        Case("no steps", "train drawn_people --steps 0", "--steps is 0; it must be at least 1"),
        Case("negative steps", "train drawn_people --stop-at -3", "--stop-at is -3; it must be at least 1"),
        Case("evaluations too often", "train drawn_people --eval-every 0", "--eval-every is 0; it must be at least 1"),
        Case("a trace that ends before it begins", "train drawn_people --profile 9:3",
             "--profile 9:3: not two steps, the first and the last of a trace, such as 20:25"),
        Case("half of what to evaluate on", "train drawn_people --val-images drawn/images",
             "--val-images and --val-annotations go together: give the folder and its COCO keypoint JSON"),
        Case("pictures for a recipe that draws its own", f"train drawn_people {IMAGES} {LABELS}",
             "this recipe draws its own pictures; leave out --images and --annotations"),
        Case("no pictures for one that needs them", "train r50_coco_36e --init w.pth",
             "this recipe trains on a COCO folder: give --images FOLDER and --annotations JSON", file("w.pth")),
        Case("frozen weights that nobody gave", f"train r50_coco_36e --workdir out {IMAGES} {LABELS}",
             "what is frozen would stay random: give pretrained weights (--init resnet50.pth), or train all of it …"),
        Case("frozen weights, and a run that saved no step",
             f"train r50_coco_36e --workdir out --resume {IMAGES} {LABELS}",
             "what is frozen would stay random: give pretrained weights …", folder("out/checkpoints/5")),
        Case("weights that are not there", f"{TRAIN} --init gone.pth",
             "gone.pth: no such file of weights; check --init"),
        Case("a folder for weights", f"{TRAIN} --init drawn", "drawn: no such file of weights; check --init"),
        Case("weights of an unknown format", f"{TRAIN} --init w.txt", "w.txt: weights come as .pth or .safetensors",
             file("w.txt")),
        Case("broken weights (torch)", f"{TRAIN} --init w.pth",
             "w.pth: not a file that torch.save wrote (UnpicklingError); is it damaged?", file("w.pth", "nonsense")),
        Case("broken weights (safetensors)", f"{TRAIN} --init w.safetensors",
             "w.safetensors: not a safetensors file (…); is it damaged?", file("w.safetensors", "nonsense")),
        Case("a folder in use", "train drawn_people --workdir out",
             "out: holds a run already; take another folder, or --resume to go on with it", file("out/notes")),
        Case("nothing to resume there", "train drawn_people --workdir out --resume",
             "out: holds files but no run (no config.json); take another folder", file("out/notes")),
        Case("a finished step without its run", f"train r50_coco_36e --workdir out --resume {IMAGES} {LABELS}",
             "out: holds files but no run (no config.json); take another folder",
             file("out/checkpoints/5/commit_success.txt")),
        Case("a run whose configuration is broken", "train drawn_people --workdir out --resume",
             "out/config.json: not the configuration of a run; is it damaged? Take another folder",
             file("out/config.json", "{")),
        Case("a run whose configuration is another file", "train drawn_people --workdir out --resume",
             "out/config.json: not the configuration of a run; is it damaged? Take another folder",
             file("out/config.json", "[1]")),
        Case("a read-only workdir", "train drawn_people --workdir locked/out",
             f"locked/out: cannot be a folder for results (Permission denied); {NO_ROOM}", LOCKED, needs_rights=True),
        Case("a workdir below a file", "train drawn_people --workdir file/in_it",
             f"file/in_it: cannot be a folder for results (Not a directory); {NO_ROOM}", file("file")),
        Case("a file for a workdir", "train drawn_people --workdir file",
             f"file: cannot be a folder for results (File exists); {NO_ROOM}", file("file")),
    ],
    "`demo`": [
        Case("a file for a folder", "demo --out file", f"file: cannot be a folder for results (File exists); {NO_ROOM}",
             file("file")),
        Case("a folder below a file", "demo --out file/in_it",
             f"file/in_it: cannot be a folder for results (Not a directory); {NO_ROOM}", file("file")),
        Case("a folder of something else", "demo --out out",
             "out/run: holds files but no run (no config.json); take another folder", file("out/run/notes")),
        Case("a read-only folder", "demo --out locked/out",
             f"locked/out: cannot be a folder for results (Permission denied); {NO_ROOM}", LOCKED, needs_rights=True),
    ],
    "`data draw`": [
        Case("no pictures", "data draw --out new --count 0", "--count is 0; it must be 1 to 10000000"),
        Case("fewer than none", "data draw --out new --count -4", "--count is -4; it must be 1 to 10000000"),
        Case("more than any disk holds", "data draw --out new --count 999999999999",
             "--count is 999999999999; it must be 1 to 10000000"),
        Case("pictures too small", "data draw --out new --count 2 --size 5", "--size is 5; it must be 32 to 4096"),
        Case("a negative seed", "data draw --out new --count 2 --seed -1", "--seed is -1; it must be 0 to 4294967295"),
        Case("a folder that holds something", "data draw --out drawn --count 2",
             "drawn: already holds something; give a new or empty folder"),
        Case("a file for a folder", "data draw --out file --count 2",
             "file: already holds something; give a new or empty folder", file("file")),
        Case("a folder below a file", "data draw --out file/in_it --count 2",
             f"file: cannot be a folder for results (File exists); {NO_ROOM}", file("file")),
        Case("a link to itself", "data draw --out self --count 2",
             "self: already holds something; give a new or empty folder", loop("self")),
        Case("a read-only folder", "data draw --out locked/new --count 2",
             f"locked: cannot be a folder for results (Permission denied); {NO_ROOM}", LOCKED, needs_rights=True),
    ],
    "`data show`": [
        Case("no pictures", f"{SHOW} --count 0", "--count is 0; it must be 1 to 500"),
        Case("more than a browser likes", f"{SHOW} --count 501", "--count is 501; it must be 1 to 500"),
        Case("a result of another kind", f"{SHOW} --out labels.pdf",
             "labels.pdf: neither a page nor a sheet; name it .html, .jpg or .png"),
        Case("over a picture of the set", f"{SHOW} --out {FIRST}",
             f"{FIRST}: lies among the pictures, which stay as they are; choose another place"),
        Case("a place in no folder", f"{SHOW} --out gone/a.html",
             f"gone/a.html: cannot be written (No such file or directory); {NO_ROOM}"),
        Case("a folder for a file", f"{SHOW} --out a.png", "a.png: no file that can be replaced; choose another place",
             folder("a.png")),
        Case("over a picture of the set", f"{SHOW} --out {FIRST}",
             f"{FIRST}: lies among the pictures, which stay as they are; choose another place"),
        Case("a read-only folder", f"{SHOW} --out locked/a.html",
             f"locked/a.html: cannot be written (Permission denied); {NO_ROOM}", LOCKED, needs_rights=True),
        Case("a broken picture", SHOW, f"{FIRST}: {NOT_A_PICTURE}", file(FIRST, "hello")),
    ],
    "`report`": [
        Case("no such folder", "report gone", "gone: no such folder; give the --workdir of a run"),
        Case("not named like a page", f"report out --out {FIRST}", f"{FIRST}: not named like a page; name it .html"),
        Case("a file for a folder", "report small.py", "small.py: is no folder; give the --workdir of a run"),
        Case("a folder of something else", "report drawn",
             "drawn: no run (no config.json); give the --workdir of a run"),
        Case("the folder of a demo", "report out", "out: no run (no config.json); did you mean out/run?",
             file("out/run/config.json", "{}")),
        Case("a configuration that is cut off", "report mine",
             "mine/config.json: not JSON (…); is it damaged or cut off?", file("mine/config.json", '{"num_st')),
        Case("a configuration of something else", "report mine",
             "mine/config.json: not a run's configuration; give the --workdir of a run",
             file("mine/config.json", "{}")),
        Case("a damaged line", "report mine",
             "mine/metrics.jsonl: line 2 is no step's measurements; take that line out",
             both(RUN, file("mine/metrics.jsonl", '{"step": 1}\n{"ste{"step": 3}\n{"step": 4}\n'))),
        Case("a place in no folder", "report mine --out gone/a.html",
             f"gone/a.html: cannot be written (No such file or directory); {NO_ROOM}", RUN),
        Case("a folder for a file", "report mine --out a.html",
             "a.html: no file that can be replaced; choose another place", both(RUN, folder("a.html"))),
        Case("over a picture", f"report mine --out {FIRST}", f"{FIRST}: not named like a page; name it .html", RUN),
        Case("a read-only folder", "report mine --out locked/a.html",
             f"locked/a.html: cannot be written (Permission denied); {NO_ROOM}", both(RUN, LOCKED), needs_rights=True),
        Case("no such pictures", "report mine --images gone",
             "gone: no such picture, video or folder; check the path", RUN),
        Case("only videos", "report mine --images films",
             "films: no picture there, only videos; `inspose predict` draws them",
             both(RUN, folder("films"), video("films/a.mp4"))),
        Case("a broken picture", "report mine --images drawn/images", f"{FIRST}: {NOT_A_PICTURE}",
             both(RUN, file(FIRST, "hello"))),
    ],
    "Checkpoints": [
        Case("nothing there", f"predict --checkpoint gone {FIRST}",
             "gone: no such checkpoint; give a run's folder or one of its checkpoints/<step>"),
        Case("a folder of something else", f"{EVAL.replace('run', 'drawn')} {IMAGES} {LABELS}",
             "drawn: holds no checkpoint; give a run's folder or one of its checkpoints/<step>"),
        Case("a file", f"predict --checkpoint {FIRST} {FIRST}",
             f"{FIRST}: holds no checkpoint; give a run's folder or one of its checkpoints/<step>"),
        Case("a link to itself", f"predict --checkpoint self {FIRST}",
             "self: no such checkpoint; give a run's folder or one of its checkpoints/<step>", loop("self")),
        Case("the only one is damaged", f"predict --checkpoint mine {FIRST}",
             "mine/checkpoints: none of the checkpoints [1] can be read; take another run's folder, or start anew",
             own_run(lambda run: (run / "checkpoints/1/state/_METADATA").unlink())),
        Case("one of another program", f"predict --checkpoint mine/checkpoints/7 {FIRST}",
             "mine/checkpoints/7: damaged or not written by inspose (…)",
             file("mine/checkpoints/7/commit_success.txt")),
        Case("options that make it another network", f"{EVAL} {IMAGES} {LABELS} --config.model.kp-net.depth 2",
             "the checkpoint does not fit the config, params/instance_heads/theta/conv/bias: float32[241] wanted, "
             "float32[313] found; params/instance_heads/theta/conv/kernel: …; leave out the --config fields that "
             "change the network"),
        Case("an option out of range", f"{EVAL} {IMAGES} {LABELS} --config.model.score-threshold 3",
             "model.score_threshold is 3.0; it must lie between 0 and 1"),
    ],
    "Pictures of `predict`": [
        Case("none given", PREDICT, "no picture or video given; name files or folders"),
        Case("not there", f"{PREDICT} gone.jpg", "gone.jpg: no such picture, video or folder; check the path"),
        Case("a link to itself", f"{PREDICT} self.jpg", "self.jpg: no such picture, video or folder; check the path",
             loop("self.jpg")),
        Case("an empty folder", f"{PREDICT} empty", "empty: no picture or video in this folder (…)", folder("empty")),
        Case("a text file named .jpg", f"{PREDICT} {FIRST} text.jpg --out out --json p.json",
             f"text.jpg: {NOT_A_PICTURE}", file("text.jpg", "hello")),
        Case("an empty file", f"{PREDICT} none.jpg", f"none.jpg: {NOT_A_PICTURE}", file("none.jpg")),
        Case("half a file", f"{PREDICT} half.jpg", f"half.jpg: {NOT_A_PICTURE}",
             lambda here: (here / "half.jpg").write_bytes((here / FIRST).read_bytes()[:900])),
        Case("another kind of file", f"{PREDICT} note.txt", f"note.txt: {NOT_A_PICTURE}", file("note.txt", "hello")),
        Case("a folder named like a picture, in a folder", f"{PREDICT} drawn/images --out out",
             "drawn/images/z.jpg: is no picture; check the path", folder("drawn/images/z.jpg")),
        Case("a dead link in a folder", f"{PREDICT} drawn/images --out out",
             "drawn/images/self.jpg: no such picture; check the path", loop("drawn/images/self.jpg")),
        Case("40,000 x 40,000 pixels", f"{PREDICT} huge.png",
             "huge.png: has more than 2^30 pixels, or 2^20 a side, which OpenCV does not read; make it smaller",
             lambda here: (here / "huge.png").write_bytes(png(40_000, 40_000))),
        Case("too long for the drawing's format", f"{PREDICT} long.png --out out",
             "long.png: 10 x 70000 pixels (height x width), to be drawn as .jpg, which holds at most 65500 a side; …",
             lambda here: (here / "long.png").write_bytes(png(70_000, 10))),
        Case("a picture that may not be read", f"{PREDICT} secret.jpg",
             "secret.jpg: Permission denied; check the path, its permissions and the space there",
             both(copied(FIRST, "secret.jpg"), mode("secret.jpg", 0)), needs_rights=True),
        Case("a folder that may not be read", f"{PREDICT} secret",
             "secret: Permission denied; check the path, its permissions and the space there",
             both(folder("secret"), mode("secret", 0)), needs_rights=True),
        Case("a threshold beyond 1", f"{PREDICT} {FIRST} --threshold 2",
             "--threshold is 2.0; it must lie between 0 and 1"),
        Case("a negative threshold", f"{PREDICT} {FIRST} --threshold -1",
             "--threshold is -1.0; it must lie between 0 and 1"),
        Case("a threshold that is not a number", f"{PREDICT} {FIRST} --threshold nan",
             "--threshold is nan; it must lie between 0 and 1"),
    ],
    "Videos of `predict`": [
        Case("not there", f"{PREDICT} gone.mp4", "gone.mp4: no such picture, video or folder; check the path"),
        Case("a text file named .mp4", f"{PREDICT} {FIRST} text.mp4 --out out", f"text.mp4: {NOT_A_VIDEO}",
             file("text.mp4", "hello")),
        Case("an empty file", f"{PREDICT} none.mp4", f"none.mp4: {NOT_A_VIDEO}", file("none.mp4")),
        Case("half a file that tells its frames at the end", f"{PREDICT} half.mp4", f"half.mp4: {NOT_A_VIDEO}",
             both(video("half.mp4"), half("half.mp4"))),
        Case("a folder named like a video, in a folder", f"{PREDICT} drawn/images --out out",
             "drawn/images/z.mp4: is no video; check the path", folder("drawn/images/z.mp4")),
        Case("a video that may not be read", f"{PREDICT} secret.mp4",
             "secret.mp4: Permission denied; check the path, its permissions and the space there",
             both(video("secret.mp4"), mode("secret.mp4", 0)), needs_rights=True),
        Case("lines named .json", f"{PREDICT} a.mp4 --json p.json",
             "p.json: videos give a JSON line a frame; name the file p.jsonl", video("a.mp4")),
        Case("with pictures, into one file", f"{PREDICT} a.mp4 {FIRST} --json p.jsonl",
             "p.jsonl: pictures give COCO results, videos a line a frame; predict them apart", video("a.mp4")),
        Case("drawn over the video given", f"{PREDICT} a.mp4 --out .",
             "a.mp4: is a file given; write the results elsewhere, so that it stays", video("a.mp4")),
        Case("a read-only folder for drawings", f"{PREDICT} a.mp4 --out locked",
             f"locked: cannot be a folder for results (Permission denied); {NO_ROOM}",
             both(video("a.mp4"), LOCKED), needs_rights=True),
    ],
    "Results of `predict`": [
        Case("a file for a folder", f"{PREDICT} {FIRST} --out file",
             f"file: cannot be a folder for results (File exists); {NO_ROOM}", file("file")),
        Case("a folder below a file", f"{PREDICT} {FIRST} --out file/in_it",
             f"file/in_it: cannot be a folder for results (Not a directory); {NO_ROOM}", file("file")),
        Case("drawn over the pictures given", f"{PREDICT} drawn/images --out drawn/images",
             f"{FIRST}: is a file given; write the results elsewhere, so that it stays"),
        Case("written over a picture given", f"{PREDICT} {FIRST} --json {FIRST}",
             f"{FIRST}: is a file given; write the results elsewhere, so that it stays"),
        Case("two pictures of one name", f"{PREDICT} a.jpg a.png --out out",
             "out/a.jpg: two results would be written there; predict those files apart",
             copied(FIRST, "a.jpg", "a.png")),
        Case("two pictures of one image id", f"{PREDICT} {FIRST} 0.jpg --json p.json",
             "0: image_id of 2 pictures, which are named by it; predict them apart", copied(FIRST, "0.jpg")),
        Case("a folder for a file", f"{PREDICT} {FIRST} --json drawn",
             "drawn: no file that can be replaced; choose another place"),
        Case("a device for a file", f"{PREDICT} {FIRST} --json /dev/full",
             "/dev/full: no file that can be replaced; choose another place"),
        Case("a folder that is not there", f"{PREDICT} {FIRST} --json gone/p.json",
             f"gone/p.json: cannot be written (No such file or directory); {NO_ROOM}"),
        Case("a read-only folder for drawings", f"{PREDICT} {FIRST} --out locked",
             f"locked: cannot be a folder for results (Permission denied); {NO_ROOM}", LOCKED, needs_rights=True),
        Case("a read-only folder for the JSON", f"{PREDICT} {FIRST} --json locked/p.json",
             f"locked/p.json: cannot be written (Permission denied); {NO_ROOM}", LOCKED, needs_rights=True),
    ],
    "Annotated sets: the files (`train`, `eval` and `data check` alike)": [
        Case("no folder of pictures", f"{EVAL} --images gone {LABELS} --out out",
             "gone: no such folder of pictures; give the one that drawn/annotations.json lists"),
        Case("a file for the folder", f"data check --images {FIRST} {LABELS}",
             f"{FIRST}: is no folder of pictures; give the one that drawn/annotations.json lists"),
        Case("no annotation file", f"{CHECK} {IMAGES} --annotations gone.json",
             "gone.json: no such annotation file; give the COCO keypoint JSON"),
        Case("a folder for the file", f"{CHECK} {IMAGES} --annotations drawn",
             "drawn: is no annotation file; give the COCO keypoint JSON"),
        Case("a link to itself", f"{CHECK} {IMAGES} --annotations self.json",
             "self.json: no such annotation file; give the COCO keypoint JSON", loop("self.json")),
        Case("a file that may not be read", f"{CHECK} {IMAGES} {LABELS}",
             f"{JSON}: Permission denied; check the path, its permissions and the space there",
             mode("drawn/annotations.json", 0), needs_rights=True),
        Case("an empty file", f"{CHECK} {IMAGES} {LABELS}",
             f"{JSON}: not JSON (Expecting value: line 1 column 1 (char 0)); is it damaged or cut off?",
             file("drawn/annotations.json")),
        Case("broken JSON", f"{EVAL} {IMAGES} {LABELS} --out out",
             f"{JSON}: not JSON (Expecting value: line 1 column 13 (char 12)); is it damaged or cut off?",
             file("drawn/annotations.json", '{"images": [')),
        Case("a picture", f"{CHECK} {IMAGES} --annotations {FIRST}",
             f"{FIRST}: not JSON ('utf-8' codec can't decode …); is it damaged or cut off?"),
        Case("nested without end", f"{CHECK} {IMAGES} {LABELS}", f"{JSON}: not JSON (…); is it damaged or cut off?",
             file("drawn/annotations.json", "[" * 100_000)),
        Case("a number of 5,000 digits", f"{CHECK} {IMAGES} {LABELS}",
             f"{JSON}: not JSON (Exceeds the limit …); is it damaged or cut off?",
             file("drawn/annotations.json", "1" * 5000)),
        Case("some other JSON", f"{CHECK} {IMAGES} {LABELS}",
             f"{JSON}: no list `images`; is it a COCO annotation file with labels?",
             file("drawn/annotations.json", "[]")),
        Case("a file of test pictures, without labels", f"{EVAL} {IMAGES} {LABELS}",
             f"{JSON}: no list `annotations`; is it a COCO annotation file with labels?",
             labels(lambda content: content.pop("annotations"))),
        Case("`--out` would write over it", f"{EVAL} {IMAGES} --annotations out/results.json --out out",
             "out/results.json: would be written over; choose another --out, so that it stays",
             both(folder("out"), lambda here: shutil.copy(here / "drawn/annotations.json", here / "out/results.json"))),
        Case("a file for the folder of results", f"{EVAL} {IMAGES} {LABELS} --out {FIRST}",
             f"{FIRST}: cannot be a folder for results (File exists); {NO_ROOM}"),
        Case("a read-only folder of results", f"{EVAL} {IMAGES} {LABELS} --out locked",
             f"locked: cannot be a folder for results (Permission denied); {NO_ROOM}", LOCKED, needs_rights=True),
    ],
    "Annotated sets: what the JSON says (`train` and `eval` name the first fault, `data check` all)": [
        Case("nobody in it", TRAIN, f"{JSON}: nobody in it (`annotations` is empty); there is nothing to use",
             labels(lambda content: content.update(annotations=[]))),
        Case("boxes without keypoints", f"{EVAL} {IMAGES} {LABELS} --out out",
             f"{JSON}: no annotation has `keypoints`; give the person_keypoints file, …",
             without("annotations", "keypoints")),
        Case("people without a labelled joint", TRAIN,
             f"{JSON}: nobody has a labelled joint (visibility above 0); there is nothing to use",
             labels(lambda content: [person.update(keypoints=[0] * 51) for person in content["annotations"]])),
        Case("keypoints of another length", TRAIN,
             says("annotation 1: 3 numbers for keypoints; coco needs 51 (x, y, visibility each)"),
             first_person(keypoints=[1, 2, 2])),
        Case("keypoints that are no numbers", TRAIN, says('annotation 1: keypoints are "x", not a list of numbers'),
             first_person(keypoints="x")),
        Case("keypoints that are NaN", TRAIN, says("annotation 1: keypoints are not all finite and below 1e9"),
             first_person(keypoints=[float("nan")] * 51)),
        Case("keypoints beyond all bounds", TRAIN, says("annotation 1: keypoints are not all finite and below 1e9"),
             first_person(keypoints=[10**400] * 51)),
        Case("a box of negative width", TRAIN, says("annotation 1: bbox is [1, 2, -3, 4], not x, y, width, height"),
             first_person(bbox=[1, 2, -3, 4])),
        Case("people without area", TRAIN, says("annotation 1: no area"), without("annotations", "area")),
        Case("a person of area 0", TRAIN, says("annotation 1: area is 0; OKS divides by it"),
             first_person(area=0, keypoints=[1, 1, 2] * 17)),
        Case("another category", TRAIN, says("annotation 1: category_id is 3, not 1, which is COCO's person"),
             first_person(category_id=3)),
        Case("a crowd that is neither yes nor no", TRAIN, says('annotation 1: iscrowd is "no", not 0 or 1'),
             first_person(iscrowd="no")),
        Case("an annotation id given twice", TRAIN, says("annotation 2: its id is another annotation's too"),
             first_person(id=2)),
        Case("a person of a picture that is not listed", TRAIN, says("annotation 1: its image 77 is not in the list"),
             first_person(image_id=77)),
        Case("an image id given twice", f"{EVAL} {IMAGES} {LABELS} --out out",
             says("image 1: its id is another image's too"), first_image(id=1)),
        Case("an image id that is no number", TRAIN, says('image "0": id is "0", not a whole number below 2^31'),
             first_image(id="0")),
        Case("a picture of no width", TRAIN, says("image 0: width is 0, not a number of pixels"), first_image(width=0)),
        Case("pictures without their size", TRAIN, says("image 0: no height"), without("images", "height")),
        Case("a file outside of the folder", TRAIN,
             says('image 0: file_name is "../secret.jpg", not a file\'s name in the folder of pictures'),
             first_image(file_name="../secret.jpg")),
        Case("a file by its whole path", TRAIN,
             says('image 0: file_name is "/a.jpg", not a file\'s name in the folder of pictures'),
             first_image(file_name="/a.jpg")),
        Case("something else in the list", TRAIN, says("image ?: 5 is not an object with fields"),
             labels(lambda content: content["images"].insert(0, 5))),
        Case("a picture that is not there", TRAIN,
             "drawn/images/gone.jpg: no such picture; is drawn/images its folder?", first_image(file_name="gone.jpg")),
        Case("a picture that cannot be read", f"{EVAL} {IMAGES} {LABELS} --out out", f"{FIRST}: {NOT_A_PICTURE}",
             file(FIRST, "hello")),
        Case("a size that is not the file's", f"{EVAL} {IMAGES} {LABELS} --out out",
             f"{FIRST}: 64 x 64 pixels, but its annotation says 32 x 64 (height x width); labels would not fit. …",
             first_image(height=32)),
        Case("the same, checked", f"data check {IMAGES} {LABELS}",
             f"{JSON}: 1 fault; mend, or leave those pictures out", first_image(width=99)),
    ],
}
# fmt: on


class Works(NamedTuple):
    """A call that is unusual and works, made in the same folder."""

    what: str
    command: str
    output: str  # what is printed; … stands for any text
    prepare: Callable[[Path], object] = lambda folder: None


def picture(name: str, kind: str, **options: Any) -> Callable[[Path], None]:
    """The first drawn picture in another PIL mode and format."""
    return lambda here: Image.open(here / FIRST).convert(kind).save(here / name, **options)


def sixteen_bit(name: str) -> Callable[[Path], None]:
    """The first drawn picture, grey, 16 bits a pixel."""

    def prepare(here: Path) -> None:
        grey = np.asarray(Image.open(here / FIRST).convert("L"), np.uint16)
        Image.fromarray(grey * 257).save(here / name)

    return prepare


def turned(name: str) -> Callable[[Path], None]:
    """The first drawn picture with the word that it is to be turned by a quarter when shown."""

    def prepare(here: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.open(here / FIRST).resize((64, 64)).save(here / name, exif=exif)

    return prepare


def bom(here: Path) -> None:
    """The drawn set's JSON as some editors save it."""
    path = here / "drawn/annotations.json"
    path.write_text(path.read_text(), "utf-8-sig")


def renamed(old: str, new: str) -> Callable[[Path], None]:
    return lambda here: (here / old).rename(here / new)


# fmt: off
WORKS = [
    Works("a grey picture", f"{PREDICT} a.jpg --out out", "a.jpg: …", picture("a.jpg", "L")),
    Works("a CMYK picture", f"{PREDICT} a.jpg --out out", "a.jpg: …", picture("a.jpg", "CMYK")),
    Works("16 bits a pixel", f"{PREDICT} a.png --out out", "a.png: …", sixteen_bit("a.png")),
    Works("16 bits a pixel, TIFF", f"{PREDICT} a.tif --out out", "a.tif: …", sixteen_bit("a.tif")),
    Works("a palette", f"{PREDICT} a.png --out out", "a.png: …", picture("a.png", "P")),
    Works("black or white", f"{PREDICT} a.png --out out", "a.png: …", picture("a.png", "1")),
    Works("see-through", f"{PREDICT} a.webp --out out", "a.webp: …", picture("a.webp", "RGBA")),
    Works("turned by EXIF: people in the picture as shown", f"{PREDICT} a.jpg --out out", "a.jpg: …", turned("a.jpg")),
    Works("turned by EXIF, annotated: labels in the stored pixels", f"{CHECK} {IMAGES} {LABELS}",
          f"{JSON}: no fault found", turned(FIRST)),
    Works("one pixel", f"{PREDICT} a.png --out out", "a.png: …", lambda here: (here / "a.png").write_bytes(png(1, 1))),
    Works("20,000 pixels long", f"{PREDICT} a.png --out out", "a.png: …",
          lambda here: (here / "a.png").write_bytes(png(20_000, 100))),
    Works("spaces and other alphabets", f"{PREDICT} 'Fotos 写真/ж a.jpg' --out 'out ü' --json 'people ü.json'",
          "Fotos 写真/ж a.jpg: …", both(folder("Fotos 写真"), copied(FIRST, "Fotos 写真/ж a.jpg"))),
    Works("such a set", f"{CHECK} --images 'Menge 集/images' --annotations 'Menge 集/annotations.json'",
          "Menge 集/annotations.json: no fault found", renamed("drawn", "Menge 集")),
    Works("a name that is no text", f"{PREDICT} pictures", "pictures/\\udcff.jpg: …",
          both(folder("pictures"), copied(FIRST, "pictures/\udcff.jpg"))),
    Works("JSON that begins with a byte order mark", f"{CHECK} {IMAGES} {LABELS}", f"{JSON}: no fault found", bom),
    Works("annotation ids that begin at 0", f"{CHECK} {IMAGES} {LABELS}", f"{JSON}: no fault found",
          first_person(id=0)),
    Works("a person of whom only the box is known", f"{EVAL} {IMAGES} {LABELS}", "AP …",
          labels(lambda content: content["annotations"][0].pop("keypoints"))),
    Works("no categories", f"{EVAL} {IMAGES} {LABELS}", "…AP50…",
          labels(lambda content: content.update(categories=None))),
    Works("drawing into an empty folder", "data draw --out new --count 1 --size 32", "new: 1 pictures; …",
          folder("new")),
]
# fmt: on


def page() -> str:
    """`docs/bad_input.md`."""

    def row(*cells: str) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    def code(text: str) -> str:
        return f"`` {text} ``" if "`" in text else f"`{text}`"

    lines = [
        "# What bad input gets",
        "",
        "One line on stderr that says what is wrong, where, and what to do; exit code 2; no file or folder left",
        "behind, none changed. `tests/test_bad_input.py` makes every call below, in a folder with a run `run`, a drawn",
        "set `drawn` and a recipe `small.py`; `python tests/bad_input.py > docs/bad_input.md` writes this page from",
        "the same cases. Each line follows `inspose: error: `; … stands for what differs from place to place. Ctrl-C",
        "gives `inspose: stopped` and exit code 130; a training saves first. A disk that is full in the middle of",
        "`predict` gets its line too, and the pictures drawn so far stay, each of them whole.",
    ]
    for heading, cases in CASES.items():
        lines += ["", f"## {heading}", "", row("what is wrong", "the call", "the line"), row("---", "---", "---")]
        lines += [row(case.wrong, code(f"inspose {case.command}"), code(case.line)) for case in cases]
    lines += ["", "## Unusual, and works", "", row("what", "the call"), row("---", "---")]
    lines += [row(one.what, code(f"inspose {one.command}")) for one in WORKS]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
