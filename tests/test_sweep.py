"""`inspose sweep`: every run is made once, a killed sweep goes on, and the tables say what the result files say."""

import csv
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import tiny
import train_process

from inspose_jax import checkpoints, cli
from inspose_jax.cli import config_flags
from inspose_jax.cli import sweep as command
from inspose_jax.errors import NotFinite, UserError
from inspose_jax.evaluation import evaluator
from inspose_jax.sweep import hours, results, runs, tables
from inspose_jax.sweep.results import Run
from inspose_jax.sweep.rows import Row, Sweep

SWEEP = """
from inspose_jax.sweep.rows import Row, Sweep


def sweep():
    rows = (
        Row("three layers", paper={"AP": 63.1}),
        Row("one layer", "--config.model.kp-net.depth 1", paper={"AP": 54.7}),
        Row("one layer, strict NMS", "--config.model.kp-net.depth 1 --config.model.nms-threshold 0.3"),
    )
    return Sweep("Depth?", rows, steps=2, recipe="small.py", full_recipe="r50_coco_36e", seeds=(0, 1), num_images=3)
"""
SMALL = """
from inspose_jax import recipes
from inspose_jax.config import replace


def recipe():
    demo = recipes.read(recipes.carried("drawn_people")).config
    return replace(demo, data=replace(demo.data, num_drawn=4), schedule=replace(demo.schedule, batch_size=8))
"""
EXPERIMENTS = Path(__file__).parents[1] / "experiments"
STATISTICS: dict[str, float] = dict.fromkeys(tables.STATISTICS, 0.25)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A sweep in the current folder whose trainings are replaced by notes in `made`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table").mkdir()
    (tmp_path / "table/sweep.py").write_text(SWEEP)
    (tmp_path / "small.py").write_text(SMALL)
    return tmp_path / "table"


@pytest.fixture
def made(monkeypatch):
    """(depth, seed) of every run that is made instead of trained, with AP .1 x depth + .01 x seed."""
    made = []

    def make(group, *_):
        planned, _, run = group[0]
        depth, seed = run.config.model.kp_net.depth, run.config.schedule.seed
        made.append((depth, seed))
        statistics = {**STATISTICS, "AP": 0.1 * depth + 0.01 * seed, "APL": -1.0}
        evaluated = [results.evaluation(one.run.config, planned.sweep.num_images, statistics) for one in group]
        results.write(planned.results, run, {"seed": seed, "minutes": 7.0}, evaluated)

    monkeypatch.setattr(runs, "make", make)
    return made


def planned_in(folder):
    return runs.plan(folder, config_flags.override)


def test_every_run_is_made_once_and_test_time_fields_share_a_file(folder, made):
    cli.main(["sweep", "table"])
    assert made == [(3, 0), (1, 0), (3, 1), (1, 1)]
    stored = [json.loads(path.read_text()) for path in (folder / "results").iterdir()]
    assert sorted(len(one["evaluations"]) for one in stored) == [1, 1, 2, 2]
    cli.main(["sweep", "table"])
    assert len(made) == 4, "nothing is repeated"
    next((folder / "results").iterdir()).unlink()
    cli.main(["sweep", "table"])
    assert len(made) == 5, "what has no file is made again"


SUMMARY = """# Mine

<!-- written by inspose sweep -->

|  | row | paper's AP | on COCO's | AP here | runs here | at full size |
| --- | --- | ---: | --- | ---: | --- | --- |
| [Depth?](table/README.md) | three layers | 63.1 | minival | 30.5 ± 0.7 | 2 of 2 | `inspose train r50_coco_36e` |
| [Depth?](table/README.md) | one layer | 54.7 | minival | 10.5 ± 0.7 | 2 of 2 | `inspose train r50_coco_36e --DEPTH 1` |
| [Nine](other/README.md) | three layers | 63.1 | test-dev | 31.0 | 1 of 1 | `inspose train r50_coco_36e` |
| [Nine](other/README.md) | low | 55.0 | test-dev | 11.0 | 1 of 1 | `inspose eval --test-dev NAME --DEPTH 1 --NMS 0.3`, on the run of one layer |

<!-- end of what inspose sweep wrote -->

after
"""  # noqa: E501


def test_several_sweeps_share_their_runs_and_a_summary(folder, made):
    other = SWEEP.replace("seeds=(0, 1)", 'seeds=(1,), results="../table/results", measured_on="test-dev"').replace(
        "Depth?", "Nine: NMS?"
    )
    other = other.replace(', paper={"AP": 54.7}', "").replace('0.3")', '0.3", paper={"AP": 55.0})')
    shutil.copytree(folder, folder.parent / "other")
    (folder.parent / "other/sweep.py").write_text(other.replace("one layer, strict NMS", "low"))
    readme = folder.parent / "README.md"
    readme.write_text(f"# Mine\n\n{tables.BEGIN}\nformer table\n{tables.END}\n\nafter\n")
    cli.main(["sweep", "table", "other", "--summary", "README.md"])
    assert len(made) == 4
    found = (
        readme.read_text().replace("config.model.kp-net.depth", "DEPTH").replace("config.model.nms-threshold", "NMS")
    )
    assert found == SUMMARY


def test_a_table_without_its_end_is_refused(folder, made, capsys):
    """What follows may be the user's own text."""
    text = f"# Mine\n\n{tables.BEGIN}\n| former |\n\n## My notes\n"
    (folder / "README.md").write_text(text)
    with pytest.raises(SystemExit):
        cli.main(["sweep", "table"])
    assert made == [], "before any training"
    assert f"table/README.md: has the line `{tables.BEGIN}`, but no line `{tables.END}`" in capsys.readouterr().err
    assert (folder / "README.md").read_text() == text


def test_the_tables_say_what_the_files_say(folder, made):
    (folder / "README.md").write_text(f"# Mine\n\nbefore\n\n{tables.BEGIN}\nformer table\n{tables.END}\n\nafter\n")
    cli.main(["sweep", "table"])
    text = (folder / "README.md").read_text()
    assert text.startswith("# Mine\n\nbefore\n")
    assert text.endswith("\nafter\n")
    assert "former table" not in text
    assert "those of COCO's minival" in text
    assert "| three layers | 63.1 | 30.5 ± 0.7 | 25.0 ± 0.0 | 25.0 ± 0.0 | 25.0 ± 0.0 |  | 2 of 2 | 3.4 |" in text
    assert (
        "| one layer, strict NMS |  | 10.5 ± 0.7 | 25.0 ± 0.0 | 25.0 ± 0.0 | 25.0 ± 0.0 |  | 2 of 2 | shared |" in text
    )
    assert "inspose train r50_coco_36e --config.model.kp-net.depth 1    # one layer\n" in text
    strict = "--config.model.kp-net.depth 1 --config.model.nms-threshold 0.3"
    assert f"inspose eval {strict}    # one layer, strict NMS: the run of one layer\n" in text
    lines = list(csv.DictReader((folder / "results.csv").read_text().splitlines()))
    assert [(line["row"], line["seed"], float(line["AP"])) for line in lines[:3]] == [
        ("three layers", "0", pytest.approx(0.3)),
        ("three layers", "1", pytest.approx(0.31)),
        ("one layer", "0", pytest.approx(0.1)),
    ]
    assert (folder / "plot.svg").read_text().count("<svg") == 1
    before = text
    cli.main(["sweep", "table", "--list"])
    assert (folder / "README.md").read_text() == before


def test_box_ap_is_shown_where_a_row_has_it():
    sweep = Sweep("Boxes?", (Row("without"), Row("with", paper={"box AP": 52.5})), steps=1)
    trained = [tables.Trained(0, "a", 1.0, {**STATISTICS, "box AP": 0.5})]
    made = [tables.Line(sweep.rows[0], [], "", 1.0), tables.Line(sweep.rows[1], trained, "", 2.0)]
    assert "| with | 52.5 | 25.0 | 25.0 | 25.0 | 25.0 | 25.0 | 50.0 | 1 of 3 | 2.0 |" in tables.as_markdown(sweep, made)
    assert tables.as_csv(made).splitlines()[0].endswith("APL,box AP")
    assert "box" not in tables.as_csv(made[:1])


def test_the_plot_shows_the_papers_numbers_every_run_and_their_means():
    aps = {"first": (63.1, [0.25, 0.5]), "second": (None, [0.125]), "third": (54.7, [])}
    table = [
        tables.Line(
            Row(label, paper={} if paper is None else {"AP": paper}),
            [tables.Trained(seed, "a", 1.0, {**STATISTICS, "AP": ap}) for seed, ap in enumerate(here)],
            "",
            None,
        )
        for label, (paper, here) in aps.items()
    ]
    of_paper, of_here = tables.figure_of(table).axes
    (points,) = of_paper.lines
    np.testing.assert_array_equal(points.get_xdata(), [63.1, np.nan, 54.7])
    np.testing.assert_array_equal(points.get_ydata(), [0, 1, 2])
    dots, means = ([line.get_xydata().tolist() for line in of_here.lines if line.get_marker() == m] for m in "o|")
    assert dots == [[[25, 0], [50, 0]], [[12.5, 1]], []]
    assert means == [[[37.5, 0]], [[12.5, 1]]]
    assert [text.get_text() for text in of_paper.get_yticklabels()] == list(aps)
    assert of_paper.get_ylim() == (2.5, -0.5), "the first row on top"
    (alone,) = tables.figure_of(table[1:2]).axes
    assert [line.get_xydata().tolist() for line in alone.lines] == [[[12.5, 0]]] * 2, "no panel for the paper"


def test_recalls_and_seconds_are_shown_where_the_paper_has_them():
    paper = {"AP": 60.3, "AR": 68.6, "AR75": 73.7, "seconds an image": 0.08}
    sweep = Sweep("Recall?", (Row("one", paper=paper),), steps=1)
    trained = [tables.Trained(0, "a", 1.0, {**STATISTICS, "AR": 0.5, "AR50": 0.75, "AR75": 0.3})]
    line = tables.Line(sweep.rows[0], trained, "", 1.0)
    header, _, row, *_ = tables.as_markdown(sweep, [line]).splitlines()
    assert header.startswith("|  | paper's AP | paper's AR | paper's AR75 | paper's seconds an image | AP here |")
    assert header.endswith("| APL here | AR here | AR75 here | runs | hours |"), "seconds are not measured here"
    assert row == "| one | 60.3 | 68.6 | 73.7 | 0.08 | 25.0 | 25.0 | 25.0 | 25.0 | 25.0 | 50.0 | 30.0 | 1 of 3 | 1.0 |"
    assert "AR" not in tables.as_csv([line._replace(row=Row("one"))]), "runs alone have recalls too"


def test_the_commands_for_rows_on_test_dev_work(place, tmp_path, monkeypatch):
    """As the text below the table completes them; `eval` refuses `--data` there."""
    monkeypatch.setattr(hours, "multiply_adds", lambda *_: 1)  # they take long to count
    planned = planned_in(EXPERIMENTS / "table5")
    text = tables.as_markdown(planned.sweep, runs.table(planned))
    assert "those of COCO's test-dev" in text
    assert "`--data` and the run" not in text
    completed = re.search(r"`eval` .*`(--images) .*`(--annotations) .*`(--out)`.*`(--checkpoint)`", text)
    given = (place / "drawn/images", place / "drawn/annotations.json", tmp_path / "out", place / "run")
    more = [word for pair in zip(completed.groups(), map(str, given), strict=True) for word in pair]
    monkeypatch.setattr(evaluator, "find_all", lambda *_: [])
    commands = re.findall(r"^inspose (eval .*?)    #", text, re.M)
    assert len(commands) == 6
    for command_line in {*commands, "eval --test-dev NAME"}:
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        cli.main([*command_line.split(), *more])
        assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_run_that_fails_does_not_stop_the_others(folder, made, monkeypatch, capsys):
    others = runs.make

    tried = []

    def make(group, *more):
        if group[0].run.config.model.kp_net.depth == 1:
            tried.append(group[0].run.config.schedule.seed)
            raise NotFinite("loss is NaN at step 1")
        others(group, *more)

    monkeypatch.setattr(runs, "make", make)
    with pytest.raises(SystemExit):
        cli.main(["sweep", "table"])
    assert made == [(3, 0), (3, 1)]
    assert "2 of the runs failed" in capsys.readouterr().err
    assert "| one layer | 54.7 |  |  |  |  |  | 0 of 2 |" in (folder / "README.md").read_text()
    monkeypatch.setenv(command.START, "a")  # as two processes that were started together
    with pytest.raises(SystemExit):
        cli.main(["sweep", "table"])
    assert tried == [0, 1, 0, 1], "a later start tries again"
    cli.main(["sweep", "table"])
    assert tried == [0, 1, 0, 1], "but each run once"


@pytest.mark.parametrize(
    ("codes", "code", "line"),
    [
        ((0, 0), 0, ""),
        ((130, 0), 130, "stopped"),
        ((-signal.SIGTERM, 130), 130, "stopped"),  # the first was between two runs
        ((130, 2), 2, "error: 1 of 2 processes failed; their own lines say why"),
        ((-signal.SIGKILL, 1), 2, "error: 2 of 2 processes failed; their own lines say why"),
    ],
)
def test_processes_that_are_stopped_have_not_failed(folder, monkeypatch, capsys, codes, code, line):
    ends = iter(codes)
    processes = SimpleNamespace(Popen=lambda *_, **__: SimpleNamespace(wait=lambda: next(ends)))
    monkeypatch.setattr(command, "subprocess", processes)
    ended = 0
    try:
        cli.main(["sweep", "table", "--processes", "2"])
    except SystemExit as ending:
        ended = ending.code
    assert (ended, capsys.readouterr().err) == (code, f"inspose: {line}\n" if line else "")
    assert "0 of 2" in (folder / "README.md").read_text(), "the tables are written in any case"


def test_a_run_that_another_process_makes_is_left_to_it(folder, made):
    first = planned_in(folder).runs()[0][1]
    (folder.parent / "runs/sweep").mkdir(parents=True)
    with runs.claimed(folder.parent / "runs/sweep" / f"{results.identity(first)}.lock") as is_mine:
        assert is_mine
        cli.main(["sweep", "table"])
    assert made == [(1, 0), (3, 1), (1, 1)]


def test_a_file_system_without_locks_stops_no_sweep(folder, made, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(runs.fcntl, "flock", flock)
    cli.main(["sweep", "table"])
    assert len(made) == 4


@pytest.fixture
def untrained(monkeypatch):
    """Training takes no time and gives a checkpoint with the hash `a..`, whose AP is the threshold of the NMS."""
    loaded = checkpoints.Loaded(tiny.CONFIG, None, {}, 2, {})
    monkeypatch.setattr(runs.loop, "train", lambda *_, **__: 2)
    monkeypatch.setattr(runs.checkpoints, "load", lambda _: loaded)
    monkeypatch.setattr(runs.checkpoints, "identity", lambda _: "a" * 64)
    monkeypatch.setattr(runs, "read_run", lambda _: SimpleNamespace(metrics={}))
    monkeypatch.setattr(runs, "Predictor", lambda config, _: config.model.decoding.nms_threshold)
    monkeypatch.setattr(runs.evaluator, "evaluate", lambda nms, _: ({**STATISTICS, "AP": nms}, []))


def test_all_seeds_are_evaluated_on_the_same_images(folder, untrained):
    """Each trains on images of its own."""
    planned = planned_in(folder)
    (folder / "results").mkdir()
    asked = []

    def drawn(config, split, count):
        asked.append((split, config.schedule.seed, count))

    for label, run in planned.runs():
        if label == "three layers":
            runs.make([runs.Wanted(planned, label, run)], folder / "run", drawn, "")
    assert asked == [("train", 0, 4), ("test", 0, 3), ("train", 1, 4), ("test", 0, 3)]


def test_a_run_that_is_made_again_keeps_the_rows_of_every_sweep_that_is_named(folder, untrained, monkeypatch):
    """A later sweep has a row more of a run of the first; the run is trained again, as its folder is gone."""
    (folder.parent / "more").mkdir()
    more = SWEEP.replace("0.3", "0.4").replace("seeds=(0, 1)", 'seeds=(0,), results="../table/results"')
    (folder.parent / "more/sweep.py").write_text(more)
    cli.main(["sweep", "table"])
    monkeypatch.setattr(runs.checkpoints, "identity", lambda _: "b" * 64)
    cli.main(["sweep", "table", "more"])
    assert "| one layer, strict NMS |  | 30.0 ± 0.0 |" in (folder / "README.md").read_text()
    assert "| one layer, strict NMS |  | 40.0 |" in (folder.parent / "more/README.md").read_text()


@pytest.mark.parametrize("is_made_again", [False, True])
def test_evaluations_of_an_earlier_training_are_dropped(folder, untrained, monkeypatch, is_made_again):
    """One of two evaluations is stored; the run's checkpoint is the one that it was of, or another."""
    planned = planned_in(folder)
    wanted = [runs.Wanted(planned, label, run) for label, run in planned.runs()]
    group = [one for one in wanted if one.label.startswith("one layer") and one.run.config.schedule.seed == 0]
    first = group[0].run
    (folder / "results").mkdir()
    old = results.evaluation(first.config, 3, {**STATISTICS, "AP": 0.9})
    results.write(planned.results, first, {"minutes": 1.0, results.CHECKPOINT: "a" * 12}, [old])
    if is_made_again:
        monkeypatch.setattr(runs.checkpoints, "identity", lambda _: "b" * 64)
    runs.make(group, folder / "run", lambda *_: None, "")
    assert [planned.statistics(one.run)["AP"] for one in group] == [0.6 if is_made_again else 0.9, 0.3]


def test_the_name_of_a_run_depends_on_what_it_trains_and_on_nothing_else():
    config = tiny.CONFIG
    names = {
        results.identity(run)
        for run in (
            Run(config, 5),
            Run(config, 6),
            Run(replace(config, schedule=replace(config.schedule, seed=1)), 5),
            Run(replace(config, model=replace(config.model, kp_net=replace(config.model.kp_net, depth=1))), 5),
        )
    }
    assert len(names) == 4
    elsewhere = replace(config, machine=replace(config.machine, num_threads=7))
    tested = replace(config, data=replace(config.data, test_short_side=96))
    assert results.identity(Run(elsewhere, 5)) == results.identity(Run(tested, 5)) == results.identity(Run(config, 5))
    stored = {"evaluations": [results.evaluation(config, 3, STATISTICS)]}
    assert results.statistics_of(stored, config, 3) == STATISTICS
    assert results.statistics_of(stored, tested, 3) is None
    assert results.statistics_of(stored, config, 4) is None


def test_an_evaluation_is_found_by_the_values_of_its_fields_not_by_what_is_usual_now(monkeypatch):
    stored = {"evaluations": [results.evaluation(tiny.CONFIG, 3, STATISTICS)]}
    del stored["evaluations"][0]["fields"]["data.test_padding"]  # as if the field had been added later
    assert results.statistics_of(stored, tiny.CONFIG, 3) == STATISTICS
    stored["evaluations"][0]["fields"]["model.decoding.nms_threshold"] = "0.5"  # the default of an earlier version
    assert results.statistics_of(stored, tiny.CONFIG, 3) is None


def test_a_new_field_with_its_default_keeps_the_names(monkeypatch):
    before = results.identity(Run(tiny.CONFIG, 5))
    fields = results.training_fields
    monkeypatch.setattr(results, "training_fields", lambda config: {**fields(config), "model.added": "0"})
    assert results.identity(Run(tiny.CONFIG, 5)) == before


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "not a result of a run"),
        ('{"evaluations": [], "minutes": 1}', "not a result of a run"),
        (None, "its run had other values of schedule.learning_rate; remove it"),
    ],
)
def test_a_result_that_is_damaged_or_of_another_run_is_named(tmp_path, content, expected):
    run = Run(tiny.CONFIG, 5)
    if content is None:
        other = replace(tiny.CONFIG, schedule=replace(tiny.CONFIG.schedule, learning_rate=0.5))
        results.write(tmp_path, Run(other, 5), {"minutes": 1.0}, [])
        shutil.move(results.path_of(tmp_path, Run(other, 5)), results.path_of(tmp_path, run))
    else:
        results.path_of(tmp_path, run).write_text(content)
    with pytest.raises(UserError, match=expected):
        results.read(tmp_path, run)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = (", "fails with SyntaxError"),
        ("def sweep():\n    return 3", "not a sweep"),
        (SWEEP.replace('"one layer",', '"three layers",'), "no label twice"),
        (SWEEP.replace("steps=2", "steps=0"), "`steps` is 0"),
        (SWEEP.replace("seeds=(0, 1)", "seeds=()"), "`seeds` must hold"),
        (SWEEP.replace("seeds=(0, 1)", "seeds=(-1,)"), r"`seeds` is \(-1,\); it must be a tuple of whole numbers"),
        (SWEEP.replace('{"AP": 63.1}', '{"PA": 63.1}'), "row three layers: `paper` has 'PA'; it may have AP, AP50"),
        (SWEEP.replace("seeds=(0, 1)", 'measured_on="val"'), "`measured_on` is 'val'; it must be minival or test-dev"),
        (SWEEP.replace("depth 1", "depth 0"), "row one layer: .*depth is 0"),
        (SWEEP.replace("depth 1", "depth '1"), "row one layer: its changes .*No closing quotation"),
        (SWEEP.replace("small.py", "r50_coco_36e"), "does not draw its images"),
        (SWEEP.replace("r50_coco_36e", "r50_coco_37e"), "no such recipe"),
        (SWEEP.replace("small.py", "own.py"), "own.py: defines its own method"),
    ],
)
def test_a_wrong_sweep_is_named_before_any_run(folder, made, text, expected):
    (folder / "sweep.py").write_text(text)
    (folder.parent / "own.py").write_text(f"{SMALL}\n\ndef method(model):\n    return None\n")
    with pytest.raises(UserError, match=expected):
        command.run(["table"])
    assert not made
    assert not (folder / "results").exists()


@pytest.mark.parametrize(
    ("holder", "name", "value", "expected"),
    [
        ("made", "seeds", "(0.5,)", r"`seeds` is \(0.5,\); it must be a tuple of whole numbers of at least 0"),
        ("made", "seeds", "3", "`seeds` is 3; "),
        ("made", "recipe", "3", "`recipe` is 3; it must be text"),
        ("made", "steps", "2.5", "`steps` is 2.5; it must be a whole number"),
        ("made", "rows", "(Row('x'), 3, 4)", "`rows` must be a tuple of Rows only"),
        ("made", "rows", "3", "`rows` must be a tuple of Rows only"),
        ("made.rows[0]", "changes", "3", "row three layers: `changes` is 3; it must be text"),
        ("made.rows[0]", "paper", "None", "row three layers: `paper` is None; it must map"),
        ("made.rows[0]", "paper", "{'AP': 'x'}", "row three layers: `paper` has 'x' for AP; give a number"),
    ],
)
def test_a_value_of_another_type_is_named(folder, holder, name, value, expected):
    """It is set past the type checks that run in tests alone."""
    wrong = f"    made = right()\n    object.__setattr__({holder}, {name!r}, {value})\n    return made\n"
    (folder / "sweep.py").write_text(f"{SWEEP}\n\nright = sweep\n\n\ndef sweep():\n{wrong}")
    with pytest.raises(UserError, match=expected):
        command.run(["table", "--list"])


def test_spread_is_the_sample_standard_deviation_of_what_was_measured():
    assert tables.in_percent([0.1, 0.2, -1.0]) == f"15.0 ± {np.std([10, 20], ddof=1):.1f}"
    assert (tables.in_percent([0.123]), tables.in_percent([-1.0])) == ("12.3", "")


@pytest.mark.slow
def test_a_sweep_trains_evaluates_and_resumes(folder):
    """The real thing by two processes, and again without one result, as after a kill before it was written."""
    (folder / "sweep.py").write_text(SWEEP.replace("seeds=(0, 1)", "seeds=(0,)"))
    cli.main(["sweep", "table", "--processes", "2"])
    assert (folder / "README.md").read_text().count("1 of 1") == 3
    kept = {path.name: path.read_text() for path in (folder / "results").iterdir()}
    assert len(kept) == 2
    lost = sorted(kept)[0]
    (folder / "results" / lost).unlink()
    cli.main(["sweep", "table"])
    again = json.loads((folder / "results" / lost).read_text())
    assert again["evaluations"] == json.loads(kept[lost])["evaluations"], "the run's folder is still there"


def start(folder, *more):
    """`inspose sweep` in a process of its own."""
    words = [sys.executable, "-m", "inspose_jax", "sweep", folder.name, *more]
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(words, cwd=folder.parent, env=environment, stdout=pipe, stderr=pipe, text=True)


def ended(process):
    """The exit code of a process and the last line of its errors."""
    _, error = process.communicate(timeout=500)
    return process.returncode, error.splitlines()[-1]


def results_in(folder):
    """The result files of a sweep by name, but for what differs from run to run: time, commit, hash of the files."""
    found = {path.name: json.loads(path.read_text()) for path in (folder / "results").glob("*.json")}
    differs = ("minutes", "made_by", results.CHECKPOINT)
    return {name: {key: value for key, value in one.items() if key not in differs} for name, one in found.items()}


def write_long(folder):
    """The sweep and its recipe, but as two runs of 400 small steps."""
    (folder / "sweep.py").write_text(SWEEP.replace("steps=2", "steps=400").replace("seeds=(0, 1)", "seeds=(0,)"))
    train_process.write_recipe(folder.parent / "small.py", save_every=20)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder of a sweep that was never stopped."""
    straight = tmp_path_factory.mktemp("straight") / "table"
    straight.mkdir()
    write_long(straight)
    assert ended(start(straight))[0] == 0
    return straight


@pytest.mark.slow
@pytest.mark.parametrize(("number", "stop"), [(1, signal.SIGKILL), (2, signal.SIGTERM)])
def test_a_sweep_that_ends_within_its_runs_goes_on_to_the_same_results(folder, straight, number, stop):
    write_long(folder)
    workdirs = folder.parent / "runs/sweep"
    process = start(folder, "--processes", f"{number}")
    while sum(len(path.read_text().splitlines()) > 60 for path in workdirs.glob("*/metrics.jsonl")) < number:
        assert process.poll() is None, process.communicate()[1][-2000:]
        time.sleep(0.05)
    process.send_signal(stop)
    code, line = ended(process)
    assert code == (130 if stop == signal.SIGTERM else -stop)
    if stop == signal.SIGTERM:
        assert line == "inspose: stopped"
        assert "0 of 1" in (folder / "README.md").read_text()
    assert not results_in(folder)
    assert ended(start(folder))[0] == 0
    histories = [path.read_text().splitlines() for path in workdirs.glob("*/history.jsonl")]
    assert sum(len(lines) == 2 and 20 <= json.loads(lines[1])["step"] < 400 for lines in histories) == number
    assert len(results_in(straight)) == 2
    assert results_in(folder) == results_in(straight)
    for name in results_in(folder):
        ends = [
            checkpoints.newest(place / "runs/sweep" / Path(name).stem / "checkpoints")
            for place in (folder.parent, straight.parent)
        ]
        jax.tree.map(np.testing.assert_array_equal, ends[0][1], ends[1][1])


@pytest.fixture(scope="module")
def sweeps():
    """The sweeps of this repository, planned once, which takes seconds."""
    return [planned_in(path.parent) for path in sorted(EXPERIMENTS.rglob("sweep.py"))]


def test_the_sweeps_of_this_repository_fit_their_recipes(sweeps):
    assert len(sweeps) > 3
    for planned in sweeps:
        made = {(results.identity(run), str(results.tested_fields(run.config))) for _, run in planned.runs()}
        assert len(made) == len(planned.sweep.rows) * len(planned.sweep.seeds), "no two rows are equal"
        assert planned.results == EXPERIMENTS / "results", "all of them share their runs"


def test_the_names_of_runs_that_have_been_made_stay(sweeps):
    """Each costs ten minutes; a change of a default or of a recipe that renames them all must not go unnoticed."""
    (planned,) = (planned for planned in sweeps if planned.folder.name == "table2")
    run = planned.runs()[2][1]
    assert (run.config.model.kp_net.depth, run.config.schedule.seed, run.steps) == (3, 0, 1200)
    assert results.identity(run) == "c355eaee61a4"


@pytest.mark.parametrize("with_hours", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_committed_tables_are_those_of_the_committed_results(sweeps, monkeypatch, with_hours):
    """After new results or another sweep: `inspose sweep experiments/table? .. --list --summary README.md`.

    Hours are counted from the operations of networks of full size, which takes long.
    """
    if not with_hours:
        monkeypatch.setattr(hours, "hours", lambda _: None)

    def compared(readme):
        return readme if with_hours else re.sub(r"\| [0-9.]+ \|$", "|  |", readme, flags=re.M)

    of_the_paper = []
    for planned in sweeps:
        folder, readme = planned.folder, compared((planned.folder / tables.README).read_text())
        with jax.numpy_dtype_promotion("standard"):  # `modern` computes in bfloat16, which is not strict
            table = runs.table(planned)
        assert tables.with_table(readme, tables.as_markdown(planned.sweep, table)) == readme
        assert tables.as_csv(table) == (folder / tables.CSV).read_text(), folder
        if folder.name.startswith("table"):
            of_the_paper.append((folder, planned.sweep, table))
    summary = EXPERIMENTS.parent / "README.md"
    text = summary.read_text()
    assert tables.with_table(text, tables.as_summary(summary, of_the_paper)) == text
    assert text.count("](experiments/table") == 19, "the rows of the paper's Tables 1 to 5"
