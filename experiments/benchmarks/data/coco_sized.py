"""Write a keypoint JSON of COCO train2017's size: 118,287 images, 262,465 people with polygons, of made-up numbers.

    python experiments/benchmarks/data/coco_sized.py OUT_FOLDER

Counts, sizes and digits are those of COCO's file (149,813 people have joints, a polygon has about 40 numbers), so that
reading it costs about what reading COCO's costs.  The images are empty files, since opening a dataset decodes none.
"""

import json
import sys
from pathlib import Path

import numpy as np

from inspose_jax.skeletons import COCO

NUM_IMAGES, NUM_PEOPLE, NUM_WITH_JOINTS, NUM_CROWDS = 118_287, 262_465, 149_813, 3_500


def images(rng: np.random.Generator) -> list[dict]:
    ids = np.sort(rng.choice(581_930, NUM_IMAGES, replace=False)).tolist()
    return [
        {
            "license": 1 + number % 8,
            "file_name": f"{image_id:012d}.jpg",
            "coco_url": f"http://images.cocodataset.org/train2017/{image_id:012d}.jpg",
            "height": 480 if number % 3 else 640,
            "width": 640 if number % 3 else 480,
            "date_captured": "2013-11-14 16:28:13",
            "flickr_url": f"http://farm4.staticflickr.com/3153/{2970773875 + number}_164f0c0b83_z.jpg",
            "id": image_id,
        }
        for number, image_id in enumerate(ids)
    ]


def person(rng: np.random.Generator, number: int, image_id: int) -> dict:
    points = rng.integers(3, 36) * 2
    polygon = (rng.random(points) * 48_000).astype(int) / 100
    joints = np.zeros((17, 3), int)
    if number < NUM_WITH_JOINTS:
        joints[:, :2] = rng.integers(1, 480, (17, 2))
        joints[:, 2] = rng.integers(0, 3, 17)
        joints[joints[:, 2] == 0] = 0
        joints[0] = 5, 5, 2
    x, y, width, height = (rng.random(4) * 24_000 + 100).astype(int) / 100
    is_crowd = number >= NUM_PEOPLE - NUM_CROWDS
    counts = rng.integers(1, 900, 300).tolist()
    return {
        "segmentation": {"counts": counts, "size": [640, 480]} if is_crowd else [polygon.tolist()],
        "num_keypoints": int((joints[:, 2] > 0).sum()),
        "area": round(width * height * 0.53, 4),
        "iscrowd": int(is_crowd),
        "keypoints": joints.ravel().tolist(),
        "image_id": image_id,
        "bbox": [x, y, width, height],
        "category_id": 1,
        "id": 183_000 + number,
    }


def main(out: Path) -> None:
    rng = np.random.default_rng(0)
    listed = images(rng)
    ids = [image["id"] for image in listed]
    chosen = rng.choice(64_115, NUM_PEOPLE)  # so many images of train2017 have people
    people = [person(rng, number, ids[i]) for number, i in enumerate(chosen.tolist())]
    category = {
        "supercategory": "person",
        "id": 1,
        "name": "person",
        "keypoints": list(COCO.keypoint_names),
        "skeleton": [[a + 1, b + 1] for a, b in COCO.limbs],
    }
    (out / "annotations").mkdir(parents=True)
    (out / "train2017").mkdir()
    for image in listed:
        (out / "train2017" / image["file_name"]).touch()
    content = {"info": {}, "licenses": [], "images": listed, "annotations": people, "categories": [category]}
    with (out / "annotations" / "person_keypoints_train2017.json").open("w") as file:
        json.dump(content, file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
