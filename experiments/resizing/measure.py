"""How far resizing in bytes is from resizing in float32, and a scaled area from a resized mask's, on a COCO folder.

    python experiments/resizing/measure.py IMAGES ANNOTATIONS.json

Every image is resized to each of the six sizes of the released recipe, as it trains on them.  Prints the differences of
the values, and of the persons' areas: the annotated one times the scale, over the pixels of the mask, which is
rasterised at the original size and resized with nearest neighbours.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from pycocotools.coco import COCO

from inspose_jax.data.transforms import resized_size

SHORT_SIDES, LONG_SIDE = (640, 672, 704, 736, 768, 800), 1333


def main(images: str, annotations: str) -> None:
    coco = COCO(annotations)
    number = largest = total = squared = 0.0
    ratios = []
    for entry in coco.loadImgs(coco.getImgIds()):
        image = cv2.imread(str(Path(images) / entry["file_name"]))
        people = coco.loadAnns(coco.getAnnIds(entry["id"], iscrowd=False))
        people = [one for one in people if one["num_keypoints"] and one["area"] > 0]
        masks = [coco.annToMask(one) for one in people]
        for short_side in SHORT_SIDES:
            height, width = resized_size(*image.shape[:2], short_side, LONG_SIDE)
            exact = cv2.resize(image.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
            apart = np.abs(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR) - exact)
            number, largest = number + apart.size, max(largest, float(apart.max()))
            total, squared = total + float(apart.sum()), squared + float((apart**2).sum(dtype=np.float64))
            scale = height * width / (image.shape[0] * image.shape[1])
            for one, mask in zip(people, masks, strict=True):
                counted = int(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST).sum())
                ratios.append(one["area"] * scale / max(counted, 1))
    rms = (squared / number) ** 0.5
    print(f"values, of 255: differ by {largest:.2f} at most, by {total / number:.2f} in the mean, {rms:.2f} rms")
    apart = np.expm1(np.abs(np.log(ratios)))
    print(
        f"areas of {len(ratios) // len(SHORT_SIDES)} people: differ by {np.median(apart):.1%} in the median, by "
        f"{np.quantile(apart, 0.95):.1%} or less in 95 of 100 cases, by {apart.max():.1%} at most; mean ratio "
        f"{np.mean(ratios):.4f}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
