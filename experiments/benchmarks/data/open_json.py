"""Time and peak memory of opening a COCO folder, beside `json.load` of its annotation file alone.

    python experiments/benchmarks/data/open_json.py FOLDER [REPEATS]

Each measurement is a process of its own, alternating between the two; the import of the package is not counted, and
the memory is the peak of the process less what it had before.  Prints the medians and their ratios.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from inspose_jax.data import sources
from inspose_jax.data.coco import CocoFolder

ANNOTATIONS = "annotations/person_keypoints_train2017.json"


def peak() -> float:
    """The largest memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(what: str, folder: Path) -> None:
    before, begin, begin_cpu = peak(), time.perf_counter(), time.process_time()
    if what == "json":
        with (folder / ANNOTATIONS).open() as file:
            kept = json.load(file)
    else:
        found = sources.read(folder, "train")
        kept = CocoFolder.of(found.dataset, found.name, 0.5)
        del found
    spent = {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - begin_cpu, "MB": peak() - before}
    print(json.dumps({**spent, "length": len(kept)}))


def main(folder: Path, repeats: int) -> None:
    found: dict[str, list[dict]] = {"json": [], "inspose": []}
    for _ in range(repeats):
        for what, results in found.items():
            done = subprocess.run([sys.executable, __file__, what, folder], check=True, capture_output=True, text=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
    for what, results in found.items():
        for one in results:
            print(what, ", ".join(f"{field} {value:.2f}" for field, value in one.items()))
    for field in ("seconds", "cpu", "MB"):
        values = {what: statistics.median(one[field] for one in results) for what, results in found.items()}
        ratio = values["inspose"] / values["json"]
        print(f"{field}: json.load {values['json']:.2f}, opening the folder {values['inspose']:.2f}, ratio {ratio:.2f}")


if __name__ == "__main__":
    if sys.argv[1] in ("json", "inspose"):
        measure(sys.argv[1], Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
