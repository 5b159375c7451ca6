"""Do the fast tests and the quick demo pass with the oldest version of every package that pyproject.toml promises?

By hand, `python3.11 tests/oldest.py`: an environment in a temporary folder gets all of them at once, which takes a
minute, and pip refuses where they do not fit together.  Python 3.12 takes the same versions; for newer ones not all of
them were built.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
ACCELERATORS = ("cuda12", "cuda13", "tpu")  # the same jax, with gigabytes of drivers
WITH_TORCH = ("onnx",)  # what the tests that need torch try


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def ranges() -> list[str]:
    """All requirements of the package, its tests and its extras without torch, from pyproject.toml."""
    extras = project()["optional-dependencies"]
    tried = [name for name in extras if name not in ACCELERATORS + WITH_TORCH]
    return project()["dependencies"] + [one for name in tried for one in extras[name]]


def oldest() -> list[str]:
    """`package==version` for the lower bound of every range; a range without one cannot be tested."""
    found = [re.fullmatch(r"([\w-]+)>=([\w.]+)(,<[\w.]+)?", one) for one in ranges()]
    return [f"{one[1]}=={one[2]}" for one in found if one]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        requirements, venv = Path(folder, "oldest.txt"), Path(folder, "venv")
        requirements.write_text("\n".join(oldest()))
        variables = [f"PYTHON={sys.executable}", f"VENV={venv}", f"REQUIREMENTS={requirements}", "CONSTRAINTS="]
        for command in (
            ["make", "setup", *variables],
            [venv / "bin" / "python", "-m", "pip", "check"],
            ["make", "test", *variables],
            [venv / "bin" / "inspose", "demo", "--quick", "--out", Path(folder, "quick")],
        ):
            subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
