"""Memory for the images of batches, used again as soon as no array refers to it.

A batch of full size takes 50 MB.  New memory costs as much as labels do, since the system fills its pages with zeros
when they are first written.
"""

import math
import weakref
from collections import deque

import numpy as np
from jaxtyping import UInt8


class Memory:
    """Blocks of memory of which any thread may take one; there are never more than arrays were alive at one time.

    A block returns when the last array that refers to it is gone: a slice, or an array of a device that shares the
    host's memory, keep it just as the array itself does.
    """

    def __init__(self):
        self.unused: deque[memoryview] = deque()  # its `append` and `pop` are atomic, so that threads need no lock

    def array(self, shape: tuple[int, ...]) -> UInt8[np.ndarray, "..."]:
        """An array u8 of a shape; what it contains is arbitrary."""
        size = math.prod(shape)
        block = self.taken()
        if block is None or len(block) < size:  # too small a block is given up, so that all become as large as needed
            block = np.empty(size, np.uint8).data  # a memoryview: were it an array, slices would refer to that alone
        whole = np.frombuffer(block, np.uint8)
        # Not when the interpreter ends, since arrays may then still be in use.
        weakref.finalize(whole, self.unused.append, block).atexit = False
        return whole[:size].reshape(shape)

    def taken(self) -> memoryview | None:
        """The block that was used last, which the processor's caches may still hold; None if all are in use."""
        try:
            return self.unused.pop()
        except IndexError:
            return None
