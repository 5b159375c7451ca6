"""Commands on a disk that is full, then read-only: run by `test_bad_input.py` in a mount namespace of its own.

The current folder has a run `run`, a drawn dataset `drawn`, a recipe `small.py`, and an empty folder `disk`.
"""

import contextlib
import io
import shlex
import subprocess
from pathlib import Path

from inspose_jax import cli

CALLS = (
    "data draw --out disk/a/new --count 40",
    "predict --checkpoint run drawn/images --threshold 0 --json disk/p.json",
    "predict --checkpoint run drawn/images --threshold 0 --out disk/out",
    "eval --checkpoint run --images drawn/images --annotations drawn/annotations.json --out disk/scores",
    "train small.py --images drawn/images --annotations drawn/annotations.json --workdir disk/run --steps 1",
)


def call(command: str) -> tuple[int, str]:
    """Exit code and last line of error."""
    error = io.StringIO()
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
        try:
            cli.main(shlex.split(command))
        except SystemExit as ending:
            return int(ending.code or 0), error.getvalue().splitlines()[-1].replace(f"{Path.cwd()}/", "")
    return 0, ""


def main(disk: Path) -> None:
    """Mount, fill, run and compare."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], check=True)
    (disk / "filler").write_bytes(bytes(64 * 1024))
    for state, reason in (("rw", "No space left on device"), ("ro", "Read-only file system")):
        subprocess.run(["mount", "-o", f"remount,{state}", disk], check=True)
        for command in CALLS:
            code, line = call(command)
            assert code == 2, (command, line)
            assert line.startswith("inspose: error: disk"), line
            assert reason in line, line
            assert [path.name for path in disk.rglob("*")] == ["filler"], command


if __name__ == "__main__":
    main(Path("disk"))
