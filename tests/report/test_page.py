"""The page of a run: complete, well-formed, and in agreement with the run's files."""

import base64
import io
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import jax
import numpy as np
import pytest
import tiny
from PIL import Image

from inspose_jax import cli, config, config_json, methods
from inspose_jax.checkpoints import Checkpoints
from inspose_jax.cli import demo
from inspose_jax.evaluation.coco_ap import NAMES
from inspose_jax.predictor import Predictor
from inspose_jax.report import people
from inspose_jax.report.page import page_of
from inspose_jax.report.run import read_run
from inspose_jax.training import step

# Without a score threshold, random weights find people everywhere; without disk offsets, joints are mid-cell.
MODEL = tiny.model(score_threshold=0.0, nms_threshold=0.9, disk_offset=False)
CONFIG = replace(tiny.CONFIG, model=MODEL)


class Page(HTMLParser):
    """Checks that elements close in order; collects the text and the images."""

    def __init__(self, content: str):
        super().__init__()
        self.open: list[str] = []
        self.images: list[tuple[str, bytes]] = []
        self.words: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.feed(content)
        self.close()
        assert self.open == []
        assert not re.search(r"(src|href)=.https?:|url\(|@import", content), "needs something outside of the page"

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            found = dict(attrs)
            kind, data = re.fullmatch(r"data:(image/[\w+]+);base64,(.+)", found["src"]).groups()
            assert found["alt"]
            self.images.append((kind, base64.b64decode(data)))
        elif tag != "meta":
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)
            if "td" in self.open or "th" in self.open:
                self.tables[-1][-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def fact(self, name: str) -> str:
        return self.words[self.words.index(name) + 1]


def write_run(workdir: Path, num_measured: int, cut: bool = False) -> None:
    """A run of 30 steps, of which some are measured; the loss of step n is 10 - n / 10."""
    workdir.mkdir(exist_ok=True)
    (workdir / "config.json").write_text(json.dumps({"num_steps": 30, **config_json.to_dict(CONFIG)}))
    (workdir / "versions.json").write_text(json.dumps({"jax": "9.8.7", "machine": "abacus"}))
    lines = []
    for n in range(1, num_measured + 1):
        terms = {f"loss/{name}": 1.0 / n for name in ("cls", "keypoint", "offset", "heatmap")}
        row = {"step": n, "grad_norm": 5.0, "loss/total": 10 - n / 10, **terms, "lr": 0.01, "skipped": int(n == 3)}
        lines.append(row | ({"images_per_s": 40.0, "data_wait": 0.25, "unreadable": 2} if n % 10 == 0 else {}))
        if n % 10 == 0:
            lines.append({"step": n, "eval/AP": 0.5 - n / 100, "eval/APL": -1.0})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (workdir / "metrics.jsonl").write_text(text[:-20] if cut else text)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's folder with a checkpoint."""
    workdir = tmp_path_factory.mktemp("report") / "a<b"
    write_run(workdir, 30)
    variables = tiny.variables(MODEL)
    with Checkpoints(workdir / "checkpoints", 0) as checkpoints, jax.numpy_dtype_promotion("standard"):
        checkpoints.save(30, step.state_of(variables, methods.for_model(CONFIG.model), CONFIG.schedule, 30), CONFIG)
    return workdir


@pytest.fixture(scope="module")
def predictor():
    return Predictor(CONFIG, tiny.variables(MODEL))


def test_a_killed_run_without_checkpoint_gives_a_page_of_its_measurements(tmp_path, capsys):
    write_run(tmp_path / "run", 22, cut=True)
    cli.main(["report", str(tmp_path / "run")])
    assert capsys.readouterr().out.strip() == str(tmp_path / "run/report.html")
    page = Page((tmp_path / "run/report.html").read_text())
    assert "At step 21 of 30: the run is still going on, or was stopped there." in page.text
    assert "There is no checkpoint yet." in page.text
    assert "No images yet" in page.text
    assert page.fact("loss, mean of 21 steps") == f"{10 - 11 / 10:.3f}"
    assert [kind for kind, _ in page.images] == ["image/svg+xml"] * 7
    for _, content in page.images:
        assert ElementTree.fromstring(content).tag.endswith("svg")


def test_a_run_that_has_just_begun_gives_a_page(tmp_path):
    write_run(tmp_path / "run", 0)
    page = Page(page_of(read_run(tmp_path / "run"), people.Shown("nothing yet", [], [])))
    assert "At step 0 of 30" in page.text
    assert page.images == []


def test_numbers_on_the_page_are_those_of_the_run(trained):
    page = Page(page_of(read_run(trained), people.Shown("", [], [])))
    assert f"Run {trained}" in page.words  # with a < in its name
    assert "All 30 steps are done." in page.text
    assert page.fact("loss, mean of 30 steps") == f"{10 - 1.55:.3f}"
    assert page.fact("images per second, median") == "40.0"
    assert page.fact("waiting for data") == "25.0%"
    assert page.fact("training time") == f"{30 * 2 / 40:.0f} s"
    assert page.fact("best AP so far") == "0.400"
    assert page.fact("steps skipped, not finite") == "1"
    assert page.fact("images unreadable") == "2"
    assert [["", "AP", "APL"], ["best, step 10", "0.400", "–"], ["last, step 30", "0.200", "–"]] in page.tables
    assert "Steps kept: 30." in page.text
    assert [["jax", "9.8.7"], ["machine", "abacus"]] in page.tables


def test_every_field_is_shown_and_those_that_differ_from_the_default_are_marked(trained):
    cells = {
        row[0]: row[1] for table in Page(page_of(read_run(trained), people.Shown("", [], []))).tables for row in table
    }
    assert cells["batch_size"] == "2 default 16"
    assert cells["level_limits"] == "[64] default [64, 128, 256, 512]"
    assert cells["momentum"] == "0.9"
    assert cells["disk_offset"] == "false default true"
    assert cells["skeleton"] == "coco, 17 joints"
    names = {place.path[-1] for place in config.places(CONFIG)}
    assert names - cells.keys() == set()


def test_a_field_of_another_version_is_marked(tmp_path):
    write_run(tmp_path, 1)
    about = json.loads((tmp_path / "config.json").read_text())
    about["model"]["colour"] = "red"
    (tmp_path / "config.json").write_text(json.dumps(about))
    tables = Page(page_of(read_run(tmp_path), people.Shown("", [], []))).tables
    assert ["colour", "red not a field of this version"] in [row for table in tables for row in table]


def test_a_run_with_a_checkpoint_shows_people_and_maps(trained, tmp_path):
    cli.main(["report", str(trained), "--out", str(tmp_path / "a.html")])
    page = Page((tmp_path / "a.html").read_text())
    photos = [Image.open(io.BytesIO(content)) for kind, content in page.images if kind == "image/jpeg"]
    pairs = [photo for photo in photos if photo.size == (2 * people.PAIR_SIDE + 4, people.PAIR_SIDE)]
    assert len(pairs) == people.NUM_SHOWN
    assert len(photos) - len(pairs) in (0, 2 * 7)
    assert "what the model of step 30 finds" in page.text
    assert sum(" labelled, " in word for word in page.words) == people.NUM_SHOWN


def test_images_of_a_folder_are_shown_with_their_names(trained, tmp_path):
    for number in range(14):
        Image.fromarray(np.full((40, 64, 3), 9 * number, np.uint8)).save(tmp_path / f"{number:02}.png")
    (tmp_path / "03.png").rename(tmp_path / "03\udcff.png")  # a name that is not valid text
    cli.main(["report", str(trained), "--out", str(tmp_path / "a.html"), "--images", str(tmp_path)])
    page = Page((tmp_path / "a.html").read_text())
    names = [word.split(":")[0] for word in page.words if ".png" in word]
    assert names == [f"{number:02}.png" if number != 3 else "03\\udcff.png" for number in range(12)]
    assert "12 of 14 images" in page.text


def test_maps_are_those_of_the_people_found(predictor):
    """Without disk offsets, a joint is in the middle of the brightest cell of its map."""
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    seen = predictor.maps(image, threshold=0.0, most=3)
    assert seen.maps.shape == (3, 17, 8, 8)
    np.testing.assert_allclose(seen.maps.sum((2, 3)), 1, atol=1e-5)
    row, column = np.divmod(seen.maps.reshape(3, 17, -1).argmax(-1), 8)
    np.testing.assert_allclose(seen.people.keypoints, np.stack([column, row], -1) * 8.0 + 4)
    np.testing.assert_array_equal(seen.people.scores, predictor(image, 0.0).scores[:3])
    np.testing.assert_array_equal(seen.image, image)
    assert seen.stride == 8


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_only_people_kept_by_suppression_get_maps(predictor, number):
    fake = Predictor(CONFIG, predictor.variables)

    def look(*arguments):
        outputs, poses = predictor.compiled_forward(*arguments)
        return outputs, poses._replace(is_person=np.arange(MODEL.decoding.num_poses)[None] < number)

    fake.compiled_forward = look
    maps = people.keypoint_maps(fake, np.zeros((64, 64, 3), np.uint8))
    assert len(maps) == min(number, 2)
    assert all(len(one.joints) == 6 and one.num_parameters == 313 for one in maps)


def test_the_overlay_of_a_map_is_bright_where_the_map_is_high():
    heat = np.zeros((4, 4))
    heat[1, 2] = 0.5
    image = people.overlay_map(heat, np.full((4, 4, 3), 100, np.uint8))
    assert image[1, 2].min() > 150
    assert (np.delete(image.reshape(16, 3), 6, 0) == 60).all()


def test_the_demos_page_is_that_of_its_run_with_the_results(trained):
    metrics = {name: 0.5 + number / 100 for number, name in enumerate(NAMES)} | {
        "APL": -1.0,
        "AP_per_number_of_people": {2: 0.25, 10: 0.125},
        "AP_by_class_score_alone": 0.375,
        "pictures": 77,
    }
    run = read_run(trained)
    page = Page(page_of(run, people.Shown("", [], []), "Drawn", [demo.results_section(metrics, CONFIG)]))
    assert page.tables[0] == [
        list(NAMES),
        ["0.500", "0.510", "0.520", "0.530", "–", *(f"0.5{n}0" for n in range(5, 10))],
    ]
    assert page.tables[1] == [["people in the image", "2", "10"], ["AP", "0.250", "0.125"]]
    assert "over 77 held-out images. No value for APL: at 64 pixels" in page.text
    assert "by class score alone AP is 0.375" in page.text
    plain = Page(page_of(run, people.Shown("", [], [])))
    assert page.tables[2:] == plain.tables
    assert len(page.images) == len(plain.images)


def test_a_checkpoint_that_cannot_be_read_is_named_on_the_page(trained, tmp_path):
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    (run / "checkpoints/30/checksums.json").unlink()
    shutil.rmtree(run / "checkpoints/30/about")
    with pytest.warns(UserWarning, match="damaged"):
        shown = people.show_run(run, [])
    assert "No images: " in shown.about
    assert "can be read" in shown.about
    assert shown.images == []
