"""Compare the oracle with the authors' numbers and write `tests/golden/`: python -m tests.oracle.make

It needs torch 2.13.0, numpy and pillow, and a minute.  Where there is a folder with the numbers of the authors' own
code (INSPOSE_REFERENCE_DATA, or `shared` beside the checkout), the oracle must first reproduce them within the bounds
of `compare.py`; the largest deviations are written to `tests/golden/report.md`.  Where there is none, that file stays.
A second run writes the same numbers, but for the last digits on another machine.
"""

import os
import re
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # of the tests' own modules

import packed

from .answers import OF_FILE, Arrays, Files
from .compare import compare, is_within, table
from .questions import questions

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden"
REFERENCE = Path(os.environ.get("INSPOSE_REFERENCE_DATA", HERE.parents[1] / ".." / "shared")) / "golden"
# What is not kept of a file's answers, and what is kept as float32: otherwise they would be twice as large.
LEFT_OUT = {
    "forward_eval": r"a/theta/P3|a/dcn_offset/P[4-7]|b/(?!f64/|P|logits|coarse|F_kp).*"
    r"|[ab]/f64/(?!logits|coarse|F_kp).*|[ab]/f64/coarse/P3",
    "forward_train": r"(?!P|cls_star/|ctr_star/|logits|F_kp).*",
    "losses": r".*/(stored|correct)/rec/.*|.*rec/(pos_|gt_inds).*",
}
NARROW = {"forward_train": r".*", "losses": r".*rec/(hm|offset)_target", "grads": r"grad/.*", "ops": r"draw/.*"}
REPORT = """# The torch oracle against the authors' numbers

Written by `python -m tests.oracle.make`: every array that the oracle in `tests/oracle/` computes of the numbers that
the authors' own code gave for a small model, and the largest deviation of those under one bound.  All but the rows that
say so were computed in float64.  PyTorch {torch}, on a CPU.

{table}"""


def read_folder(folder: Path) -> dict[str, Arrays]:
    """The files of numbers in the authors' folder."""
    found = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as file:
            found[path.stem] = {key: file[key] for key in file.files}
    return found


def read_fixtures(folder: Path = GOLDEN) -> dict[str, Arrays]:
    """Our own files of numbers."""
    return {path.stem: packed.load(path) for path in sorted(folder.glob("*.npz"))}


def answer(files: Files) -> dict[str, Arrays]:
    """All answers of the oracle to the inputs in some files."""
    return {name: function(files) for name, function in OF_FILE.items()}


def compare_with_the_authors() -> None:
    """Write the report; raises SystemExit if a bound is missed."""
    reference = read_folder(REFERENCE)
    results = compare(reference, answer(reference))
    report = table(results)
    print(report)
    if not all(is_within(result) for result in results):
        raise SystemExit("the oracle does not reproduce the authors' numbers; nothing is written")
    (GOLDEN / "report.md").write_text(REPORT.format(torch=torch.__version__.partition("+")[0], table=report))


def write_fixtures() -> None:
    """Write the fixtures, whose inputs are answered by the oracle."""
    files = questions()
    files["forward_eval"] = {f"{name}/img": OF_FILE["pipeline"](files)[f"{name}/test/input"][None] for name in "ab"}
    for name, asked in files.items():
        answers = OF_FILE[name](files) if name in OF_FILE else {}
        kept = {key: array for key, array in answers.items() if not re.fullmatch(LEFT_OUT.get(name, ""), key)}
        for key in kept:
            if kept[key].dtype == np.float64 and re.fullmatch(NARROW.get(name, ""), key):
                kept[key] = kept[key].astype(np.float32)
        packed.save(GOLDEN / f"{name}.npz", {**asked, **kept})
        print(f"{name}.npz: {(GOLDEN / f'{name}.npz').stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Compare, then write."""
    torch.set_num_threads(1)
    GOLDEN.mkdir(exist_ok=True)
    if REFERENCE.is_dir():
        compare_with_the_authors()
    write_fixtures()


if __name__ == "__main__":
    main()
