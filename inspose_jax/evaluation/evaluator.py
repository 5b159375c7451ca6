"""A data set through the predictor: every picture once, at the test size, no threshold -> COCO results."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from jax.experimental import multihost_utils
from tqdm import tqdm

from inspose_jax.data import pipeline
from inspose_jax.errors import UserError
from inspose_jax.predictor import Predictor, coco_results

Found = dict[int, list[dict[str, Any]]]  # a picture's index in the source -> its COCO results


def find_all(
    predictor: Predictor, source: pipeline.Source, process: int = 0, num_processes: int = 1
) -> list[dict[str, Any]]:
    """COCO results of everybody in every picture of a source, in its order; pictures are taken as they are stored.

    Of several processes each looks at its share, on devices of its own, and all end with the same list.  Only the
    results are kept.  What is wrong with a picture is a ValueError or OSError in all of them.
    """

    def share() -> Found:
        return find_share(predictor, source, process, num_processes)

    found = share() if num_processes == 1 else gather(share)
    return [result for i in sorted(found) for result in found[i]]


def find_share(predictor: Predictor, source: pipeline.Source, process: int, num_processes: int) -> Found:
    """What one of `num_processes` finds: the pictures of every so many steps of the plan."""
    offset = predictor.config.data.joint_pixel_offset
    found = {}
    total = -(-len(source) // num_processes)
    bar = tqdm(desc="evaluating", total=total, unit="picture", dynamic_ncols=True, disable=process > 0)
    with bar:
        for i, poses in predictor.find(source, process, num_processes):
            found[i] = coco_results(poses, int(source.image_ids[i]), offset)
            bar.update()
    return found


def gather(share: Callable[[], Found]) -> Found:
    """The shares of all processes, in each of them; a fault of one becomes a fault of all, so that nobody waits."""
    mine, fault = {}, None
    try:
        mine = share()
    except Exception as error:  # also one of our own bugs: the others would wait for it
        fault = error
    is_users = isinstance(fault, UserError | OSError)
    told = fault and [str(fault) or type(fault).__name__, is_users]
    content = np.frombuffer(json.dumps([told, list(mine.items())]).encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.array([len(content)]))[:, 0]
    contents = multihost_utils.process_allgather(np.pad(content, (0, lengths.max() - len(content))))
    shares = [json.loads(row[:length].tobytes()) for row, length in zip(contents, lengths, strict=True)]
    if fault is not None:
        raise fault
    for text, is_users in (told for told, _ in shares if told):
        raise UserError(text) if is_users else RuntimeError(f"another process has failed with {text}")
    return {i: results for _, found in shares for i, results in found}
