"""Time and peak memory of opening a COCO folder, beside `json.load` of its annotation file alone.

    python experiments/benchmarks/data/open_json.py FOLDER [REPEATS]

Each measurement is a process of its own, in turn; the import of the package is not counted, and the memory is the peak
of the process less what it had before.  Prints the medians and their ratios.  The images may be empty files, since the
first batch is planned, but not loaded.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from inspose_jax import recipes
from inspose_jax.data import pipeline, sources
from inspose_jax.data.coco import CocoFolder

ANNOTATIONS = "annotations/person_keypoints_train2017.json"


def load(folder: Path) -> object:
    """What opening is compared with."""
    with (folder / ANNOTATIONS).open() as file:
        return json.load(file)


def opened(folder: Path, with_masks: bool = False) -> CocoFolder:
    """The folder as training opens it."""
    found = sources.read(folder, "train")
    return CocoFolder.of(found.dataset, found.name, 0.5, with_masks)


def planned(folder: Path) -> object:
    """The folder and the first batch, of which images are still to be read."""
    source = opened(folder)
    plan = pipeline.make_plan(source, recipes.read("r50_coco_36e").config, train=True)
    return source, plan, plan[0]


WAYS = {
    "json.load": load,
    "opening": opened,
    "opening with masks": lambda folder: opened(folder, with_masks=True),
    "opening and planning": planned,
}


def peak() -> float:
    """The largest memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(way: str, folder: Path) -> None:
    """Print the cost of one way, in this process."""
    before, begin, begin_cpu = peak(), time.perf_counter(), time.process_time()
    kept = WAYS[way](folder)
    spent = {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - begin_cpu, "MB": peak() - before}
    assert kept
    print(json.dumps(spent))


def main(folder: Path, repeats: int) -> None:
    """Measure every way in turn, and print the medians beside those of `json.load`."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way, results in found.items():
            done = subprocess.run([sys.executable, __file__, way, folder], check=True, capture_output=True, text=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
    first = found["json.load"]
    for way, results in found.items():
        for field in first[0]:
            value, beside = (statistics.median(one[field] for one in ones) for ones in (results, first))
            print(f"{way:22} {field:8} {value:8.2f}   {value / beside:.2f}")


if __name__ == "__main__":
    if sys.argv[1] in WAYS:
        measure(sys.argv[1], Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
