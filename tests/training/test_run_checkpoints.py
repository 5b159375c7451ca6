"""The checkpoints of a run: complete, never lost to a fault, and distinguished from those of other runs."""

import contextlib
import errno
import json
import shutil
from dataclasses import replace

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tiny
from small_run import CONFIG, SOURCE, lines

import inspose_jax
from inspose_jax import checkpoints, provenance
from inspose_jax.checkpoints import restoring, seals
from inspose_jax.data import pipeline
from inspose_jax.errors import UserError
from inspose_jax.training import loop
from inspose_jax.training import workdir as run_workdir

# Reading threads of tensorstore 0.1 still call back after a damaged file was reported, when nobody listens any more.
pytestmark = [
    pytest.mark.usefixtures("steps_are_traced_once"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning"),
]


def test_a_checkpoint_is_complete(workdir):
    loaded = checkpoints.load(workdir)
    sealed = json.loads((workdir / "checkpoints/12/checksums.json").read_text())
    assert {name.split("/")[0] for name in sealed} == {"state", "about"}
    assert loaded.step == 12
    assert loaded.config == CONFIG
    shapes = jax.tree.map(np.shape, loaded.variables)
    assert shapes == jax.tree.map(np.shape, tiny.variables())
    one = checkpoints.load(workdir / "checkpoints" / "10")
    assert one.step == 10


def test_the_optimizer_is_read_for_training_only(workdir):
    """It is as large as the parameters, or twice as large, and prediction does not need it."""
    _, state = checkpoints.read(workdir / "checkpoints" / "12")
    assert set(state) == {"step", "params", "batch_stats", "average"}


def test_a_stray_folder_is_not_a_checkpoint(workdir, tmp_path):
    (tmp_path / "checkpoints" / "99").mkdir(parents=True)
    assert checkpoints.steps(tmp_path / "checkpoints") == []
    with pytest.raises(ValueError, match="holds no checkpoint"):
        checkpoints.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        checkpoints.load(tmp_path / "gone")
    # Nor does it prevent a run from resuming and saving lower steps.
    run = shutil.copytree(workdir, tmp_path / "run")
    shutil.rmtree(run / "checkpoints/12")
    (run / "checkpoints/99").mkdir()
    assert loop.train(CONFIG, SOURCE, run, num_steps=12, resume=True) == 12
    assert checkpoints.steps(run / "checkpoints") == [10, 12]
    assert (run / "checkpoints/99.aside").is_dir()


SLOW_FAULTS = [pytest.param(fault, marks=pytest.mark.slow) for fault in ("not to be read", "cut", "about")]


@pytest.mark.parametrize("fault", ["gone", "one bit", *SLOW_FAULTS])
def test_a_damaged_checkpoint_is_skipped_and_the_one_before_leads_to_the_same_result(workdir, tmp_path, fault):
    run = shutil.copytree(workdir, tmp_path / "run")
    newest = run / "checkpoints/12"
    data = max(newest.rglob("d/*"), key=lambda path: path.stat().st_size)
    content = data.read_bytes()
    if fault == "about":
        shutil.rmtree(newest / "about")
    elif fault == "gone":
        data.unlink()
    elif fault == "not to be read":
        data.unlink()
        data.mkdir()  # reading it is an OSError
    else:
        half = len(content) // 2
        data.write_bytes(
            content[:half] + (bytes([content[half] ^ 1]) + content[half + 1 :] if fault == "one bit" else b"")
        )
    with pytest.warns(UserWarning, match=r"checkpoints/12: damaged.*; it is skipped"):
        assert checkpoints.load(run).step == 10
    with pytest.raises(ValueError, match="checkpoints/12: damaged"):
        checkpoints.load(newest)
    with pytest.warns(UserWarning, match="it is skipped"):
        loop.train(CONFIG, SOURCE, run, num_steps=12, resume=True)
    assert lines(run, timing=False) == lines(workdir, timing=False)
    assert checkpoints.steps(run / "checkpoints") == [10, 12]
    same = checkpoints.load(run).variables, checkpoints.load(workdir).variables
    jax.tree.map(np.testing.assert_array_equal, *same)


def failing_reads(monkeypatch, fails):
    """Reading a checkpoint's arrays raises the exception that `fails(folder)` returns, if any, without waiting."""
    real = ocp.Checkpointer.restore

    def restore(self, directory, *arguments, **named):
        if error := fails(directory):
            raise error
        return real(self, directory, *arguments, **named)

    monkeypatch.setattr(ocp.Checkpointer, "restore", restore)
    monkeypatch.setattr(restoring, "AGAIN_AFTER", 0.0)


def test_a_temporary_read_error_loses_nothing(workdir, tmp_path, monkeypatch):
    run, failed = shutil.copytree(workdir, tmp_path / "run"), []

    def once(directory):
        if failed:
            return None
        failed.append(directory)
        return OSError(errno.ESTALE, "Stale file handle", str(directory))

    failing_reads(monkeypatch, once)
    loop.train(CONFIG, SOURCE, run, num_steps=12, resume=True)
    assert "/checkpoints/12/" in str(failed[0])
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["10", "12"]
    assert (run / "metrics.jsonl").read_text() == (workdir / "metrics.jsonl").read_text(), "no step is made again"


def test_a_checkpoint_that_cannot_be_read_is_set_aside_and_never_deleted(workdir, tmp_path, monkeypatch):
    run = shutil.copytree(workdir, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (run / "checkpoints/12").rglob("*") if path.is_file()}
    error = OSError(errno.EIO, "Input/output error")
    failing_reads(monkeypatch, lambda place: error if "/checkpoints/12/" in str(place) else None)
    with pytest.warns(UserWarning, match=r"checkpoints/12: cannot be read at the moment \(Input/output error\); it is"):
        loop.train(CONFIG, SOURCE, run, num_steps=12, resume=True)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["10", "12", "12.aside"]
    aside = (run / "checkpoints/12.aside").rglob("*")
    assert {path.name: path.read_bytes() for path in aside if path.is_file()} == before
    assert lines(run, timing=False) == lines(workdir, timing=False)


@pytest.mark.parametrize("error", [jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: no memory"), TypeError("a bug")])
def test_errors_other_than_damage_are_not_reported_as_damage_and_change_nothing(workdir, tmp_path, monkeypatch, error):
    run = shutil.copytree(workdir, tmp_path / "run")
    failing_reads(monkeypatch, lambda _: error)
    before = sorted(run.rglob("*"))
    for call in (
        lambda: loop.train(CONFIG, SOURCE, run, num_steps=12, resume=True),
        lambda: checkpoints.load(run),
    ):
        with pytest.raises(type(error)) as raised:
            call()
        assert raised.value is error
    assert sorted(run.rglob("*")) == before


def test_a_file_that_is_temporarily_unreadable_is_not_reported_as_damaged(workdir, tmp_path, monkeypatch):
    """Also while the seal is checked."""
    monkeypatch.setattr(restoring, "AGAIN_AFTER", 0.0)

    def refused(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(seals, "checksum", refused)
    with pytest.raises(UserError, match=r"checkpoints/12: cannot be read at the moment \(Permission denied\)"):
        checkpoints.load(workdir / "checkpoints/12")


@pytest.mark.parametrize(("fails", "step"), [("once", 4), ("always", 4), ("always", 6)])
def test_a_best_checkpoint_that_cannot_be_read_is_never_lost(tmp_path, monkeypatch, fails, step):
    """Also if the run resumes at the step that was evaluated last, which is evaluated again."""
    run, scores = tmp_path / "run", iter([0.6, 0.5, 0.5, 0.4])

    def evaluate(variables):
        return loop.Evaluation({"AP": next(scores)}, np.zeros((8, 8, 3), np.uint8))

    loop.train(CONFIG, SOURCE, run, num_steps=12, stop_at=step, extras=loop.Extras(evaluate, eval_every=4))
    real, failed = seals.changed_files, []

    def hiccup(folder):
        if folder.parent.name == "best" and (fails == "always" or not failed):
            failed.append(folder)
            raise OSError(errno.ESTALE, "Stale file handle", str(folder))
        return real(folder)

    monkeypatch.setattr(seals, "changed_files", hiccup)
    monkeypatch.setattr(restoring, "AGAIN_AFTER", 0.0)
    expected = contextlib.nullcontext()
    if fails == "always":
        expected = pytest.warns(
            UserWarning, match=r"best/4: cannot be read at the moment \(Stale.*; it is kept as 4.aside"
        )
    with expected:
        loop.train(CONFIG, SOURCE, run, num_steps=12, stop_at=8, resume=True, extras=loop.Extras(evaluate, 4))
    monkeypatch.undo()
    assert {path.name for path in (run / "best").iterdir()} >= ({"4"} if fails == "once" else {"4.aside"})
    assert checkpoints.load(run / "best" / ("4" if fails == "once" else "4.aside")).step == 4


def test_temporarily_unreadable_checkpoints_do_not_restart_the_run(workdir, monkeypatch):
    failing_reads(monkeypatch, lambda _: OSError(errno.EIO, "Input/output error"))
    with (
        pytest.warns(UserWarning, match="is skipped"),
        pytest.raises(UserError, match=r"no checkpoint can be read; .*\(Input/output error\)\. Try again later$"),
    ):
        checkpoints.load(workdir)


def test_a_checkpoint_of_another_version_names_the_fields_and_the_remedy(workdir, tmp_path):
    run = shutil.copytree(workdir, tmp_path / "run")
    (run / "checkpoints/12/checksums.json").unlink()
    about = run / "checkpoints/12/about/metadata"
    content = json.loads(about.read_text())
    assert content["written_by"] == provenance.about()
    content["written_by"] = {"version": "0.1.9", "commit": "abc1"}
    del content["config"]["model"]["assignment"]["centre_radius"], content["config"]["data"]["flip"]
    content["config"]["schedule"]["gone"] = 1
    about.write_text(json.dumps(content))
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, **content["config"]}))
    versions = json.loads((run / "versions.json").read_text())
    assert versions["inspose-jax"] == inspose_jax.__version__
    (run / "versions.json").write_text(json.dumps({**versions, "inspose-jax": "0.1.9", "commit": "abc1"}))
    line = (
        r"run: config.data: missing fields \['flip'\]; config.model.assignment: missing fields \['centre_radius'\]; "
        r"config.schedule: unknown fields \['gone'\]; it was written by inspose-jax 0.1.9 \(commit abc1\), this is "
        rf"inspose-jax {inspose_jax.__version__}.*: use a checkout of the commit that wrote it"
    )
    with pytest.raises(UserError, match=line):
        checkpoints.load(run)
    with pytest.raises(UserError, match=line):
        loop.train(CONFIG, SOURCE, run, num_steps=12, resume=True)


def test_a_checkpoint_with_an_invalid_config_is_refused(workdir, tmp_path):
    run = shutil.copytree(workdir, tmp_path / "run")
    (run / "checkpoints/12/checksums.json").unlink()  # somebody edited it by hand
    about = run / "checkpoints/12/about/metadata"
    about.write_text(about.read_text().replace('"score_threshold": ', '"score_threshold": 3'))
    with pytest.raises(ValueError, match=r"run: the checkpoint's config is invalid: model.score_threshold is 3"):
        checkpoints.load(run)


def test_checkpoints_that_are_all_damaged_are_an_error(workdir, tmp_path):
    run = shutil.copytree(workdir, tmp_path / "run")
    for step in (10, 12):
        shutil.rmtree(run / f"checkpoints/{step}/about")
    with (
        pytest.warns(UserWarning, match="is skipped"),
        pytest.raises(ValueError, match=r"none of the checkpoints \[10, 12\] can be read"),
    ):
        loop.train(CONFIG, SOURCE, run, num_steps=12, resume=True)


def test_a_checkpoint_of_another_model_is_refused_with_every_difference(workdir, tmp_path):
    run = shutil.copytree(workdir, tmp_path / "run")
    other = replace(CONFIG, model=tiny.model(kp_net=replace(CONFIG.model.kp_net, width=4)))
    for file in (run / "config.json", *run.glob("checkpoints/*/checksums.json")):
        file.unlink()
    about = run_workdir.description(other, tiny.METHOD, 12, SOURCE, None)
    (run / "config.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="a checkpoint of another model") as error:
        loop.train(other, SOURCE, run, num_steps=12, resume=True)
    # 10 x 4 + 4 + 4 x 4 + 4 + 4 x 17 + 17 parameters of a KP-Net where 313 were
    for name in ("params", "average/params", "optimizer/1/inner_states/rest/inner_state/0/mu"):
        for leaf, found, wanted in (("bias", "[313]", "[149]"), ("kernel", "[3, 3, 8, 313]", "[3, 3, 8, 149]")):
            line = f"{name}/instance_heads/theta/conv/{leaf}: float32{wanted} expected, float32{found} found"
            assert line in str(error.value)


def test_a_run_with_another_skeleton_is_refused(workdir):
    strict = replace(CONFIG.model.skeleton, name="strict", oks_sigmas=(0.02,) * 17)
    other = replace(CONFIG, model=tiny.model(skeleton=strict))
    with pytest.raises(ValueError, match=r"was started with other values: model.skeleton coco -> strict\. Use"):
        loop.train(other, SOURCE, workdir, num_steps=12, resume=True)


def test_a_best_checkpoint_of_an_early_version_is_kept_but_not_one_of_other_labels(tmp_path, monkeypatch):
    now = pipeline.full_fingerprint(SOURCE)
    about = run_workdir.description(CONFIG, tiny.METHOD, 12, SOURCE, None)
    (tmp_path / "best/3").mkdir(parents=True)
    for judged_by in (now, pipeline.fingerprint(SOURCE)):
        monkeypatch.setattr(checkpoints, "about_best", lambda _, judged_by=judged_by: {"validation": judged_by})
        run_workdir.open_workdir(tmp_path, about, [], 3, now)
        assert (tmp_path / "best").is_dir()
    with pytest.warns(UserWarning, match="was chosen by other images, labels or test-time fields than now"):
        run_workdir.open_workdir(tmp_path, about, [], 3, "16, other, labels")


def test_a_lost_best_checkpoint_is_saved_again(tmp_path):
    scores = iter([0.5, 0.5, 0.2])

    def evaluate(variables):
        return loop.Evaluation({"AP": next(scores)}, np.zeros((8, 8, 3), np.uint8))

    extras = loop.Extras(evaluate, eval_every=2)
    loop.train(CONFIG, SOURCE, tmp_path / "run", num_steps=12, stop_at=2, extras=extras)
    shutil.rmtree(tmp_path / "run/best/2")  # killed while it was written, say
    loop.train(CONFIG, SOURCE, tmp_path / "run", num_steps=12, stop_at=4, resume=True, extras=extras)
    assert checkpoints.steps(tmp_path / "run/best") == [2]
    assert evaluations(tmp_path / "run") == [(2, 0.5), (4, 0.2)]


def test_a_best_checkpoint_whose_evaluation_was_not_logged_stays(tmp_path):
    """As after a loss of power: the line is lost, the evaluation is made up for, and may come out otherwise."""
    scores = iter([0.5, 0.6, 0.55])

    def evaluate(variables):
        return loop.Evaluation({"AP": next(scores)}, np.zeros((8, 8, 3), np.uint8))

    extras, run = loop.Extras(evaluate, eval_every=2), tmp_path / "run"
    loop.train(CONFIG, SOURCE, run, num_steps=12, stop_at=2, extras=extras)
    kept = [line for line in (run / "metrics.jsonl").read_text().splitlines(keepends=True) if "eval/AP" not in line]
    (run / "metrics.jsonl").write_text("".join(kept))
    loop.train(CONFIG, SOURCE, run, num_steps=12, stop_at=4, resume=True, extras=extras)
    assert evaluations(run) == [(2, 0.6), (4, 0.55)]
    assert checkpoints.steps(run / "best") == [2], "that of step 4 is worse than what step 2 now has"


def evaluations(run):
    """(step, AP) of every evaluation that a run has logged."""
    return [(row["step"], row["eval/AP"]) for row in lines(run) if "eval/AP" in row]
