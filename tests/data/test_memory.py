"""Memory is used again, but never while any array, of numpy or of jax, still refers to it."""

from dataclasses import replace

import jax
import numpy as np
import pytest
import tiny

from inspose_jax.config import Machine
from inspose_jax.data import pipeline
from inspose_jax.data.drawn.people import DrawnPeople
from inspose_jax.data.memory import Memory
from inspose_jax.skeletons import COCO

SHAPE = (2, 8, 8, 3)


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_once_its_array_is_gone():
    memory = Memory()
    first = memory.array(SHAPE)
    at = address(first)
    assert (first.shape, first.dtype, first.flags.writeable) == (SHAPE, np.uint8, True)
    other = memory.array(SHAPE)
    assert not np.shares_memory(first, other)
    del first
    assert address(memory.array(SHAPE)) == at
    assert address(memory.array((3, 8, 5, 3))) == at  # a smaller array has room in it


@pytest.mark.parametrize("part", [lambda x: x[1:, ::2], lambda x: x.reshape(-1)[5:], lambda x: memoryview(x)])
def test_a_part_of_an_array_keeps_its_memory(part):
    memory = Memory()
    array = memory.array(SHAPE)
    array[:] = 7
    kept = part(array)
    del array
    memory.array(SHAPE)[:] = 9
    assert (np.asarray(kept) == 7).all()
    del kept
    assert len(memory.unused) == 2


def test_too_small_a_block_is_given_up():
    memory, large = Memory(), (5, 9, 9, 3)
    memory.array((1, 4, 4, 3))
    assert memory.array(large).shape == large
    assert [len(block) for block in memory.unused] == [5 * 9 * 9 * 3]


@pytest.mark.parametrize("is_shared", [True, False])
def test_an_array_of_a_device_keeps_the_memory_that_it_shares_or_is_still_to_copy(is_shared):
    """On a CPU, jax refers to numpy's memory if that begins at a multiple of 64 bytes, and copies it elsewhere."""
    memory, number = Memory(), 1 << 25
    array = memory.array((number + 65,))
    begin = -address(array) % 64 + (not is_shared)
    array[:] = 7
    part = array[begin : begin + number]
    on_device = jax.device_put(part, jax.devices()[0])
    del array
    memory.array((number + 65,))[:] = 9
    assert (np.asarray(on_device) == 7).all()
    assert (on_device.unsafe_buffer_pointer() == address(part)) == is_shared
    del part
    memory.array((number + 65,))[:] = 9
    assert (np.asarray(on_device) == 7).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_that_are_kept_stay_as_they_are_and_others_use_the_same_memory(threads):
    """Of 60 batches a dozen are kept; the others need no more memory than threads and the queue hold."""
    source = pipeline.InMemory(DrawnPeople(tiny.CONFIG.data.scene, "train", 0, 9))
    config = replace(tiny.CONFIG, machine=Machine(num_threads=threads))
    plan = pipeline.make_plan(source, config, train=True, batch_size=4)
    kept, seen = {}, set()
    for step, batch in enumerate(pipeline.batches(source, plan, config, 0, 60)):
        seen.add(address(batch.image))
        if step % 5 == 0:
            kept[step] = batch._replace(image=batch.image[1:])
        del batch
    assert len(seen) <= len(kept) + 3 * threads + 1
    for step, batch in kept.items():
        np.testing.assert_array_equal(batch.image, pipeline.load_batch(source, plan[step], config).image[1:])


def test_what_an_earlier_batch_left_does_not_show_in_the_padding_or_in_blank_images():
    memory = Memory()
    white = pipeline.Images([np.full((64, 64, 3), 255, np.uint8)] * 3, COCO)
    wide = pipeline.Images([np.full((20, 64, 3), 9, np.uint8), np.full((64, 30, 3), 9, np.uint8)], COCO)
    for source, index in ((white, [0, 1, 2]), (wide, [0, 1, -1])):
        step = pipeline.make_plan(source, tiny.CONFIG, train=False, batch_size=3)[0]
        batch = pipeline.load_batch(source, step._replace(index=np.int32(index)), tiny.CONFIG, memory=memory)
        at, images, sizes = address(batch.image), batch.image.copy(), batch.size
        del batch
        assert at == address(memory.array((3, 64, 64, 3)))
    assert sizes.tolist() == [[20, 64], [64, 30], [0, 0]]
    assert (images > 0).sum(axis=(1, 2, 3)).tolist() == [20 * 64 * 3, 64 * 30 * 3, 0]
