"""Every command against bad input: one line that says what, where and the remedy, exit code 2, nothing left behind."""

import contextlib
import ctypes
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import bad_input
import faults
import pytest

from inspose_jax import cli, predictor

EVALUATE = f"{bad_input.EVAL} {bad_input.IMAGES} {bad_input.LABELS} --out out"
PAGE = Path(__file__).parents[1] / "docs" / "bad_input.md"


@pytest.fixture
def workspace(place, tmp_path, monkeypatch) -> Path:
    """A current folder with `run` and `drawn`."""
    (tmp_path / "run").symlink_to(place / "run")
    shutil.copytree(place / "drawn", tmp_path / "drawn")
    (tmp_path / "small.py").write_text(faults.SMALL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextlib.contextmanager
def bound_by_permissions() -> Iterator[None]:
    """Remove root's two capabilities to read and write everything; for other users, nothing changes."""

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    libc, header = ctypes.CDLL(None), Header(0x20080522, 0)
    if not hasattr(libc, "capset"):
        pytest.skip("run as root on a system without capabilities: permissions bind nobody")
    before = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice 32 of them
    assert libc.capget(ctypes.byref(header), before) == 0
    fewer = type(before)(*before)
    fewer[0] &= ~(1 << 1 | 1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(ctypes.byref(header), fewer) == 0
    try:
        yield
    finally:
        assert libc.capset(ctypes.byref(header), before) == 0


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every path in a folder, with what its file holds."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def call(capsys: pytest.CaptureFixture, command: str) -> tuple[int, str, list[str]]:
    """Exit code, output and error lines of a command, with paths relative to the current folder."""
    capsys.readouterr()
    code = 0
    try:
        cli.main(shlex.split(command))
    except SystemExit as ending:
        code = ending.code
    out, error = capsys.readouterr()
    return code, out, error.replace(f"{Path.cwd()}/", "").splitlines()


def matches(line: str, pattern: str) -> bool:
    """Whether a line is the pattern, in which … stands for any text."""
    return re.fullmatch(".+".join(map(re.escape, pattern.split("…"))), line) is not None


@pytest.mark.filterwarnings("ignore:.*(it is skipped|joints of its own)")  # may be said before the error
@pytest.mark.parametrize(
    "case", [case for cases in bad_input.CASES.values() for case in cases], ids=lambda case: case.wrong
)
def test_bad_input_gives_one_line_and_leaves_nothing_behind(case, workspace, capsys):
    case.prepare(workspace)
    before = contents(workspace)
    with bound_by_permissions() if case.needs_rights else contextlib.nullcontext():
        code, _, lines = call(capsys, case.command)
    *progress, line = lines
    assert code == 2
    assert matches(line, f"inspose: error: {case.line}"), line
    assert all("%|" in bar or not bar for bar in progress)  # a progress bar ends its own line
    assert contents(workspace) == before


def test_the_page_lists_the_tested_cases():
    assert PAGE.read_text() == bad_input.page(), "python tests/bad_input.py > docs/bad_input.md"


@pytest.mark.filterwarnings("always::UserWarning")  # some inputs give a warning
@pytest.mark.parametrize("one", bad_input.WORKS, ids=lambda one: one.what)
def test_unusual_input_works(one, workspace, capsys):
    one.prepare(workspace)
    code, out, lines = call(capsys, one.command)
    assert code == 0, lines
    assert matches(" ".join(out.split()), one.output), out


def test_ctrl_c_is_one_line_and_leaves_nothing(tmp_path):
    # A shell makes background processes and their children ignore Ctrl-C.
    heeds = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"{heeds}; from inspose_jax import cli; cli.main()"
    arguments = ["data", "draw", "--out", str(tmp_path / "a/b"), "--count", "1000000"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    while not any(tmp_path.rglob("*.jpg")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.splitlines()[-1] == "inspose: stopped"
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["predict --checkpoint run drawn/images --json p.json --out out", EVALUATE])
def test_ctrl_c_in_the_middle_leaves_nothing_half_written(workspace, capsys, monkeypatch, command):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    before = contents(workspace)
    monkeypatch.setattr(predictor.Predictor, "find", interrupt)
    code, _, lines = call(capsys, command)
    assert (code, lines[-1]) == (130, "inspose: stopped")
    assert contents(workspace) == before


def test_a_full_and_a_read_only_disk_are_reported(workspace):
    """In a mount namespace of its own, which needs no privileges if the system allows it."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no disk can be mounted here: `unshare -rm` is not allowed")
    (workspace / "disk").mkdir()
    command = ["unshare", "-rm", sys.executable, Path(__file__).with_name("full_disk.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
