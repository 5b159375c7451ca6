"""Where is mirroring cheaper: on the host, before or after resizing, or on the device, before an image is normalised?

    python experiments/benchmarks/data/mirroring.py

Half of 16 images are mirrored, each within its own width.  Processor time, median of nine rounds, in turn.  Then, for
images of several sizes, resizing alone, and with mirroring before it and after it; median of 40 rounds, in turn.
"""

import statistics
import time
from collections.abc import Callable

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32, UInt8

from inspose_jax.data import transforms
from inspose_jax.skeletons import COCO
from inspose_jax.structures import unlabelled

NUM_IMAGES, ROUNDS = 16, 9
ORDERS = (((480, 640), (800, 1067)), ((1080, 1920), (750, 1333)), ((3000, 4000), (800, 1067)))  # from, to
STORED, PADDED, WIDTH = (480, 640), (800, 1344), 1066  # sizes in pixels; a stored image becomes 800 x 1066


@jax.jit
def normalised(image: UInt8[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
    """What a step does with the bytes of a batch, in short."""
    return image.astype(jnp.float32) / 255


@jax.jit
def mirrored_too(
    image: UInt8[Array, "B H W 3"], width: Int32[Array, " B"], is_mirrored: Bool[Array, " B"]
) -> Float[Array, "B H W 3"]:
    """The same, after some images were mirrored within their widths."""
    column = jnp.arange(image.shape[2])
    is_moved = is_mirrored[:, None] & (column < width[:, None])
    source = jnp.where(is_moved, width[:, None] - 1 - column, column)
    return normalised(jnp.take_along_axis(image, source[:, None, :, None], 2))


def resize_and_mirror(stored: tuple[int, int], size: tuple[int, int]) -> None:
    """Print how long an image takes to be resized into a frame of a batch, and mirrored before or after that."""
    rng = np.random.default_rng(0)
    sample = unlabelled(rng.integers(0, 255, (*stored, 3), np.uint8), 0, COCO.num_keypoints)
    frames = np.zeros((8, 832, 1344, 3), np.uint8)[:, : size[0], : size[1]]  # several, as in a batch
    works: dict[str, Callable[[np.ndarray], object]] = {
        "resize": lambda frame: transforms.resize(sample, size, frame),
        "mirror, then resize": lambda frame: transforms.resize(transforms.flip(sample, COCO), size, frame),
        "resize, then mirror": lambda frame: transforms.flip(transforms.resize(sample, size, frame), COCO, frame),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for round_ in range(40):
        for name, work in works.items():
            begin = time.process_time()
            work(frames[round_ % len(frames)])
            times[name].append(time.process_time() - begin)
    shown = ", ".join(f"{name} {1000 * statistics.median(values):.2f} ms" for name, values in times.items())
    print(f"{stored[0]} x {stored[1]} to {size[0]} x {size[1]}: {shown}")


def main() -> None:
    """Print the processor time for each image of a batch, and for images of several sizes."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 255, (NUM_IMAGES, *STORED, 3), np.uint8)
    batch = jax.device_put(rng.integers(0, 255, (NUM_IMAGES, *PADDED, 3), np.uint8))
    width, is_mirrored = jnp.full(NUM_IMAGES, WIDTH, jnp.int32), jnp.arange(NUM_IMAGES) % 2 == 0
    works: dict[str, Callable[[], object]] = {
        "on the device: normalise": lambda: normalised(batch).block_until_ready(),
        "on the device: mirror and normalise": lambda: mirrored_too(batch, width, is_mirrored).block_until_ready(),
        "on the host: mirror before resizing": lambda: [cv2.flip(image, 1) for image in stored[::2]],
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for round_ in range(1 + ROUNDS):
        for name, work in works.items():
            begin = time.process_time()
            work()
            if round_:  # the first one compiles
                times[name].append((time.process_time() - begin) / NUM_IMAGES)
    for name, values in times.items():
        print(f"{name:40} {1000 * statistics.median(values):6.2f} ms/image")
    for stored_size, size in ORDERS:
        resize_and_mirror(stored_size, size)


if __name__ == "__main__":
    main()
