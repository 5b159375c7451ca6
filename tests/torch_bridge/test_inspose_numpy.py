"""The file that decodes with numpy, on outputs made by hand: who is suppressed, and by whom."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import rival_poses
import tied_candidates
import tiny

from inspose_jax import config, config_json, recipes
from inspose_jax.network import kp_net
from inspose_jax.torch_bridge import inspose_numpy

IMAGE = np.zeros((*tied_candidates.SIZE, 3), np.uint8)  # is neither resized nor padded
SIDES: dict[str, Any] = {"test_short_side": 64, "long_side": 96, "test_padding": "own"}


def people(given: config.Config, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What is found when the network has these outputs."""
    about = config_json.to_dict(replace(given, data=replace(given.data, **SIDES)))
    (found,) = inspose_numpy.InsPose(lambda image: outputs, about).detect(IMAGE, threshold=0.0)
    return found


def no_theta(given: config.Config, num_locations: int) -> dict[str, np.ndarray]:
    """Outputs of KP-Nets whose maps are 0 everywhere, so that every joint lies in the first cell."""
    model = given.model
    parameters = kp_net.num_parameters(model.kp_net, model.skeleton.num_keypoints)
    features = np.zeros((1, model.kp_net.feature_channels, 8, 12), np.float32)
    return {"theta": np.zeros((1, parameters, num_locations), np.float32), "features": features}


@pytest.mark.parametrize("most", tied_candidates.PICKED)
def test_of_equal_candidates_the_first_in_line_wins_as_in_the_released_code(most):
    recipe = recipes.read("released_r50_coco_3x").config
    given = replace(recipe, model=config.replace(tiny.RELEASED, num_per_level=most))
    logits, coarse = tied_candidates.heads(17)
    found = people(
        given,
        {
            **no_theta(given, len(logits)),
            "logits": logits[None, None],
            "coarse": coarse.reshape(1, len(logits), -1).swapaxes(1, 2),
            "offsets": np.zeros((1, 34, 16, 24), np.float32),
        },
    )
    levels = inspose_numpy.locations_of_levels([3, 4, 5, 6, 7], tied_candidates.SIZE)
    np.testing.assert_array_equal(found["locations"], np.concatenate(levels)[tied_candidates.PICKED[most]])
    np.testing.assert_allclose(found["scores"], tied_candidates.SCORES, rtol=1e-6)


def test_of_two_poses_that_collapsed_to_one_point_one_is_kept():
    """Their boxes have no area, and so no IoU, unless they are made a pixel wide."""
    given = replace(tiny.CONFIG, model=tiny.model(nms_threshold=0.5))
    logits = np.full(8 * 12 + 4 * 6, -9, np.float32)
    logits[[10, 50]] = 1, 2
    found = people(given, {**no_theta(given, len(logits)), "logits": logits[None, None]})
    np.testing.assert_array_equal(found["locations"], [[0, 4, 2]])
    np.testing.assert_array_equal(found["keypoints"], np.full((1, 17, 2), 4))  # the middle of the first cell


@pytest.mark.parametrize("suppression", rival_poses.SUPPRESSIONS)
def test_every_suppression_keeps_what_a_plain_loop_keeps(suppression):
    for keypoints, scores, expected in rival_poses.cases(suppression):
        order, candidates, boxes = rival_poses.best_first(keypoints, scores)
        kept, left = inspose_numpy.suppressed(rival_poses.settings(suppression), candidates, boxes, scores[order])
        assert order[kept].tolist() == [index for index, _ in expected]
        np.testing.assert_allclose(left, [score for _, score in expected], rtol=1e-5)
