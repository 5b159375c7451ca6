"""Outputs to poses: thresholds, Eq. 2 and 3, ranking, and that padding never yields a person."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rival_poses
import tiny

from inspose_jax import config, decode
from inspose_jax.network import kp_net, per_person
from inspose_jax.network.per_person import Peak, PerPerson
from inspose_jax.skeletons import COCO
from inspose_jax.structures import Outputs

NUM_LOCATIONS = 8 * 8 + 4 * 4


def fixed_peaks(num_candidates, theta, *_):
    """A network with a given answer: theta holds each joint's cell, followed by the softmax peaks."""
    return Peak(theta[:, :17].astype(jnp.int32), jnp.log(theta[:, 17:]), jnp.zeros((len(theta), 17)))


def unasked(*_):
    """Decoding asks for peaks only."""


FIXED = PerPerson(34, unasked, unasked, fixed_peaks, unasked)


def outputs(people: dict[int, tuple[float, np.ndarray, float]]) -> Outputs:
    """Outputs of one image in which some locations have (logit, cells, softmax peak); the rest is background."""
    logits, theta = np.full((1, NUM_LOCATIONS), -9.0, np.float32), np.ones((1, NUM_LOCATIONS, 34), np.float32)
    for location, (logit, cells, peak) in people.items():
        logits[0, location] = logit
        theta[0, location] = np.concatenate([cells, np.full(17, peak)])
    controller = tiny.controller(jnp.asarray(theta), tiny.grid())
    return Outputs(jnp.asarray(logits), controller, jnp.zeros((1, 8, 8, 8)), None, None)


def poses(out, model=tiny.MODEL, size=(64, 64)):
    found = decode.decode(out, jnp.array([size], jnp.int32), tiny.grid(model), model.decoding, FIXED, COCO.oks_sigmas)
    return jax.tree.map(lambda x: np.asarray(x[0]), found)


DIAGONAL = np.array([i % 8 * 9 for i in range(17)])  # cells (0, 0), (1, 1), ..
CORNER = np.array([i % 4 + 3 * 8 * (i % 2) for i in range(17)])


def test_a_pose_is_read_from_its_cells_and_scored_by_its_class():
    found = poses(outputs({20: (2.0, DIAGONAL, 0.5)}))
    assert found.is_person.tolist() == [True] + [False] * 7
    np.testing.assert_allclose(found.scores[0], 0.880797, rtol=1e-5)
    np.testing.assert_allclose(found.keypoint_scores[0], 0.5, rtol=1e-6)
    np.testing.assert_array_equal(found.keypoints[0, :3], [[4, 4], [12, 12], [20, 20]])  # (c + .5) * 8


def test_with_a_box_head_boxes_decide_who_is_suppressed():
    two = outputs({20: (2.0, DIAGONAL, 0.5), 43: (1.0, DIAGONAL, 0.5)})  # locations (36, 20) and (28, 44)
    assert poses(two).is_person.sum() == 1, "the same pose twice"
    sides = np.full((1, NUM_LOCATIONS, 4), 3.0, np.float32)
    found = poses(two._replace(sides=jnp.asarray(sides)))
    assert found.is_person.sum() == 2, "their boxes are apart"
    np.testing.assert_array_equal(found.boxes[:2], [[33, 17, 39, 23], [25, 41, 31, 47]])
    apart = outputs({20: (2.0, DIAGONAL, 0.5), 43: (1.0, CORNER, 0.5)})
    assert poses(apart).is_person.sum() == 2
    sides[0, 20], sides[0, 43] = [36, 20, 28, 44], [28, 44, 36, 20]  # the whole image, from either location
    assert poses(apart._replace(sides=jnp.asarray(sides))).is_person.sum() == 1


def test_the_disk_offset_of_the_cell_shifts_the_joint_x_before_y():
    offsets = np.zeros((1, 8, 8, 34), np.float32)
    offsets[0, 2, 2, 4:6] = 0.25, 0.75  # joint 2, at cell (row 2, column 2)
    found = poses(outputs({20: (2.0, DIAGONAL, 0.5)})._replace(disk_offsets=jnp.asarray(offsets)))
    np.testing.assert_array_equal(found.keypoints[0, 2], [(2 + 0.25) * 8, (2 + 0.75) * 8])
    np.testing.assert_array_equal(found.keypoints[0, 1], [8, 8])


def test_locations_at_or_below_the_score_threshold_are_dropped():
    assert not poses(outputs({20: (-2.2, DIAGONAL, 0.5)})).is_person.any()  # sigmoid .0998
    assert poses(outputs({20: (-2.1, DIAGONAL, 0.5)})).is_person.sum() == 1  # .109


def test_of_overlapping_poses_the_best_is_kept():
    found = poses(outputs({20: (1.0, DIAGONAL, 0.9), 21: (2.0, DIAGONAL, 0.1), 3: (0.0, CORNER, 0.5)}))
    assert found.is_person.sum() == 2
    np.testing.assert_allclose(found.scores[:2], [0.880797, 0.5], rtol=1e-5)


def test_of_two_poses_that_collapsed_to_one_point_one_is_kept():
    point = np.full(17, 9)
    found = poses(outputs({20: (1.0, point, 0.9), 21: (2.0, point, 0.1)}))
    assert found.location[found.is_person].tolist() == [21]


def test_poses_can_be_ranked_by_class_times_mean_peak():
    out = outputs({20: (1.0, DIAGONAL, 0.9), 3: (2.0, CORNER, 0.1)})
    assert poses(out).class_scores.argmax() == 0
    found = poses(out, tiny.model(pose_score="class_times_peak"))
    np.testing.assert_allclose(found.scores[:2], [0.731059 * 0.9, 0.880797 * 0.1], rtol=1e-5)
    np.testing.assert_allclose(found.class_scores[:2], [0.731059, 0.880797], rtol=1e-5)


def test_locations_in_the_padding_are_never_decoded():
    column = 5  # its centre is at x = 44
    assert not poses(outputs({column: (5.0, DIAGONAL, 0.5)}), size=(64, 44)).is_person.any()
    assert poses(outputs({column: (5.0, DIAGONAL, 0.5)}), size=(64, 45)).is_person.any()


def test_no_more_than_num_poses_are_kept_best_first():
    cells = {i: (3.0 - 0.1 * i, np.full(17, i), 0.5) for i in range(12)}  # twelve people, each in its own cell
    found = poses(outputs(cells))
    assert found.is_person.all()
    assert len(found.scores) == tiny.MODEL.decoding.num_poses
    np.testing.assert_allclose(found.scores, jax.nn.sigmoid(3.0 - 0.1 * np.arange(8)), rtol=1e-5)


def test_three_candidates_need_one_chunk_and_no_candidates_none():
    computed, sizes = [], kp_net.layer_sizes(tiny.MODEL.kp_net, 17)

    def keypoint_map(theta, features, relative):
        jax.debug.callback(lambda: computed.append(1))  # once per chunk
        return kp_net.keypoint_map(theta, features, relative, sizes)

    net = per_person.lift(keypoint_map, 313)
    logits = jnp.full((2, NUM_LOCATIONS), -9.0).at[0, 10:13].set(2.0)
    theta, features = jnp.ones((2, NUM_LOCATIONS, 313)), jnp.ones((2, 8, 8, 8))
    size = jnp.full((2, 2), 64, jnp.int32)
    out = Outputs(logits, tiny.controller(theta, tiny.grid()), features, None, None)
    jax.block_until_ready(decode.decode(out, size, tiny.grid(), tiny.MODEL.decoding, net, COCO.oks_sigmas))
    jax.effects_barrier()
    assert len(computed) == 1


def test_eight_images_need_no_memory_for_more_maps_than_one():
    side, num_locations = 32, 32 * 32 + 16 * 16
    net, grid = kp_net.make(tiny.MODEL.kp_net, 17), tiny.grid(size=(8 * side, 8 * side))

    def memory_bytes(number):  # bytes of intermediate values
        def made():
            controller = tiny.controller(jnp.zeros((number, num_locations, 313)), grid)
            return Outputs(
                jnp.zeros((number, num_locations)), controller, jnp.zeros((number, side, side, 8)), None, None
            )

        out = jax.eval_shape(made)
        size = jax.ShapeDtypeStruct((number, 2), jnp.int32)
        poses = jax.jit(lambda out, size: decode.decode(out, size, grid, tiny.MODEL.decoding, net, COCO.oks_sigmas))
        lowered = poses.lower(out, size)
        with tiny.as_users_compile():
            return lowered.compile().memory_analysis().temp_size_in_bytes

    maps = per_person.CANDIDATES_AT_ONCE * 4 * 17 * side * side
    assert memory_bytes(1) > maps
    assert memory_bytes(8) - memory_bytes(1) < maps


@pytest.mark.parametrize("suppression", rival_poses.SUPPRESSIONS)
def test_every_suppression_keeps_what_a_plain_loop_keeps(suppression):
    decoding = config.Decoding(suppression=suppression, **rival_poses.LIMITS)

    @jax.jit
    def find(keypoints, scores):
        peaks, location = jnp.ones((len(scores), 17)), jnp.arange(len(scores))
        return decode.best_poses(keypoints, peaks, None, scores, location, decoding, COCO.oks_sigmas)

    for keypoints, scores, expected in rival_poses.cases(suppression):
        found = jax.tree.map(np.asarray, find(jnp.asarray(keypoints), jnp.asarray(scores)))
        assert found.location[found.is_person].tolist() == [index for index, _ in expected]
        np.testing.assert_allclose(found.scores[found.is_person], [score for _, score in expected], rtol=1e-5)
        np.testing.assert_array_equal(found.keypoints[found.is_person], keypoints[[index for index, _ in expected]])


def test_oks_suppression_keeps_people_apart_whose_boxes_overlap():
    mirrored = DIAGONAL[::-1].copy()  # the same box, other joints
    two = outputs({20: (2.0, DIAGONAL, 0.5), 43: (1.0, mirrored, 0.5)})
    assert poses(two).is_person.sum() == 1
    assert poses(two, tiny.model(suppression="oks")).is_person.sum() == 2
    assert poses(two, tiny.model(suppression="soft")).is_person.sum() == 1, "a whole overlap leaves no score"
