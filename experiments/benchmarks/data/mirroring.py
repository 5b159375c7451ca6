"""Where is mirroring cheaper: on the host, before an image is resized, or on the device, before it is normalised?

    python experiments/benchmarks/data/mirroring.py

Half of 16 images are mirrored, each within its own width.  Processor time, median of nine rounds, in turn.
"""

import statistics
import time
from collections.abc import Callable

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32, UInt8

NUM_IMAGES, ROUNDS = 16, 9
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


def main() -> None:
    """Print the processor time for each image of a batch."""
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


if __name__ == "__main__":
    main()
