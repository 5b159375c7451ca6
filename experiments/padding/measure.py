"""How far scores and joints move if images are padded to the config's shapes instead of their own size.

    python experiments/padding/measure.py CHECKPOINT IMAGE.. [SHORT_SIDE LONG_SIDE]

Each person found with own padding is compared with the nearest one found with the shapes.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import inspose_jax
from inspose_jax.data import plan

THRESHOLD = 0.05  # the score above which the released model reports a person


def main(checkpoint: str, *words: str) -> None:
    model = inspose_jax.load(checkpoint)
    paths = [Path(word) for word in words if not word.isdecimal()]
    sides = [int(word) for word in words if word.isdecimal()]
    data = model.config.data
    if sides:
        short, long = sides
        multiple = -(-long // 32) * 32
        data = replace(data, test_short_side=short, long_side=long, shapes=((multiple, multiple),))
    found = {}
    for padding in ("own", "shapes"):
        model.config = replace(model.config, data=replace(data, test_padding=padding))
        found[padding] = [model(path, THRESHOLD) for path in paths]
    number = plan.number_of_shapes([people.image_size for people in found["own"]], replace(data, test_padding="own"))
    scores, joints = [], []
    for own, other in zip(found["own"], found["shapes"], strict=True):
        if len(own) and len(other):
            distance = np.linalg.norm(own.keypoints[:, None] - other.keypoints[None], axis=-1)  # f[N,M,K] pixels
            nearest = distance.mean(-1).argmin(1)
            scores += np.abs(own.scores - other.scores[nearest]).tolist()
            joints += distance[np.arange(len(own)), nearest].ravel().tolist()
    counts = {padding: sum(map(len, people)) for padding, people in found.items()}
    print(
        f"{len(paths)} images, {number} paddings of their own; people: {counts['own']} own, {counts['shapes']} shapes"
    )
    for name, values in (("score", scores), ("joint, pixels of the image", joints)):
        half, most, largest = np.percentile(values, [50, 95, 100])
        print(f"{name}: moved by {half:.3g} (median), {most:.3g} (95 %), {largest:.3g} (largest)")


if __name__ == "__main__":
    main(*sys.argv[1:])
