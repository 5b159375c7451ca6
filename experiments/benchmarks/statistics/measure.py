"""COCO's ten statistics of made-up results of the size of val2017, by hotcoco and by pycocotools.

    python experiments/benchmarks/statistics/measure.py [IMAGES [PEOPLE [TIMES]]]

5,000 images with 20 people each and 20 results each, whose joints are those of the people, moved at random.  The time
is that of `coco_ap.keypoint_ap`, the whole of what `eval` does after the last image.
"""

import sys
import time
from typing import Any

import numpy as np

from inspose_jax.evaluation import coco_ap
from inspose_jax.skeletons import COCO


def made_up(num_images: int, num_people: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The content of a COCO file, and results for it."""
    rng = np.random.default_rng(0)
    images = [{"id": i + 1, "height": 480, "width": 640} for i in range(num_images)]
    people, results = [], []
    for image in images:
        for _ in range(num_people):
            side, place = float(rng.choice([30.0, 60.0, 150.0])), rng.uniform(0, 400, 2)
            joints = np.concatenate([place + rng.uniform(0, side, (17, 2)), rng.integers(0, 3, (17, 1))], 1)
            about = {"image_id": image["id"], "category_id": 1}
            people.append(
                {
                    **about,
                    "id": len(people) + 1,
                    "keypoints": (joints * (joints[:, 2:] > 0)).round(2).ravel().tolist(),
                    "num_keypoints": int((joints[:, 2] > 0).sum()),
                    "area": side**2,
                    "bbox": [*place.tolist(), side, side],
                    "iscrowd": 0,
                }
            )
            moved = joints + rng.normal(0, side / 20, joints.shape)
            results.append({**about, "keypoints": moved.ravel().tolist(), "score": float(rng.random())})
    return {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}, results


def timed(times: int, *case: Any) -> tuple[dict[str, float], str]:
    """The statistics, and how long they took in each of several times, as text."""
    statistics, seconds, cpu = {}, [], []
    for _ in range(times):
        begin = time.perf_counter(), time.process_time()
        statistics = coco_ap.keypoint_ap(*case)
        seconds.append(time.perf_counter() - begin[0])
        cpu.append(time.process_time() - begin[1])
    spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
    return statistics, f"median {np.median(seconds):.2f} s ({spread}), CPU time {np.median(cpu):.2f} s"


def main(num_images: int = 5000, num_people: int = 20, times: int = 5) -> None:
    case = (*made_up(num_images, num_people), COCO)
    name = coco_ap.library()[0]
    statistics, took = timed(times, *case)
    print(f"{name}: {took}", flush=True)
    sys.modules["hotcoco"] = None  # pyright: ignore[reportArgumentType]  # importing it fails from now on
    others, took = timed(1, *case)
    print(f"{coco_ap.library()[0]}: {took}")
    print(f"equal to the last bit: {statistics == others}")
    print(coco_ap.table(statistics))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
