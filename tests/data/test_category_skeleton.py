"""The skeleton that a category's names define: pairs by name, limbs, and a sigma for joints that nobody measured."""

import numpy as np
import pytest

from inspose_jax import skeletons
from inspose_jax.data import category_skeleton
from inspose_jax.errors import UserError
from inspose_jax.skeletons import COCO


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (COCO.keypoint_names, COCO.flip_pairs),
        (("nose", "left_ear", "right_ear"), ((1, 2),)),
        (("right ear", "Left Ear", "tail"), ((0, 1),)),
        (("l_ear", "r_ear"), ((0, 1),)),
        (("L-ear", "R-ear"), ((0, 1),)),
        (("LEar", "REar", "LEye", "REye"), ((0, 1), (2, 3))),
        (("earLeft", "earRight"), ((0, 1),)),
        (("ear_l", "ear_r", "L_F_Paw", "R_F_Paw"), ((0, 1), (2, 3))),
        (("leftear", "rightear"), ((0, 1),)),
        (("front_left_paw", "back_left_paw", "front_right_paw", "back_right_paw"), ((0, 2), (1, 3))),
        (("left_hand_1", "left_hand_2", "right_hand_1", "right_hand_2"), ((0, 2), (1, 3))),
        (("lf_hoof", "rf_hoof", "lh_hoof", "rh_hoof", "paw_fl", "paw_fr"), ((0, 1), (2, 3), (4, 5))),
        (("TL", "TR", "BR", "BL"), ((0, 1), (2, 3))),
        (("lr", "rr", "ll"), ()),  # left rear, or a side that is written twice
        (("left_ear", "right_eye", "tail", "bright"), ()),
        (("left_ear", "Left ear", "right_ear"), ()),  # which of the two it is cannot be told
        (("head", "tail", "linear", "rear"), ()),
    ],
)
def test_joints_whose_names_differ_only_in_their_side_are_pairs(names, pairs):
    assert category_skeleton.flip_pairs(tuple(names)) == pairs


def test_limbs_are_counted_from_one_and_what_names_no_joints_is_left_out():
    assert category_skeleton.limbs_of([[1, 2], [3, 2]], 3) == (((0, 1), (2, 1)), [])
    limbs, (remark,) = category_skeleton.limbs_of([[1, 2], [3, 4], [2, 2], "x", [1]], 3)
    assert limbs == ((0, 1),)
    assert remark == "4 entries of `skeleton` name no two of the joints and are left out"
    limbs, (remark,) = category_skeleton.limbs_of([[0, 1], [1, 2]], 3)
    assert limbs == ((0, 1), (1, 2))
    assert "counts joints from 0" in remark
    assert category_skeleton.limbs_of(None, 3) == category_skeleton.limbs_of([], 3) == ((), [])
    assert category_skeleton.limbs_of({"a": 1}, 3)[0] == ()


def test_a_skeleton_is_valid_and_says_what_it_assumes():
    category = {"id": 4, "name": "horse", "keypoints": ["nose", "left_ear", "right_ear"], "skeleton": [[1, 2]]}
    made, remarks = category_skeleton.skeleton_of(category, "a.json: horse")
    assert skeletons.fault(made) == ""
    assert (made.name, made.limbs, made.flip_pairs) == ("horse", ((0, 1),), ((1, 2),))
    assert made.oks_sigmas == (0.067,) * 3
    assert np.mean(COCO.oks_sigmas) == pytest.approx(0.067, abs=5e-4)
    assert remarks == (
        "in a mirrored image left_ear and right_ear change places, but not nose",
        "OKS takes 0.067, the mean of COCO's sigmas, for every joint",
    )
    _, (first, _) = category_skeleton.skeleton_of({"keypoints": ["a", "b"]}, "a.json")
    assert first == "no joint has a name with left or right, so that none change places in a mirrored image"
    own, (*_, last) = category_skeleton.skeleton_of({**category, "sigmas": [0.02, 0.1, 1]}, "a.json")
    assert (own.oks_sigmas, last) == ((0.02, 0.1, 1.0), "OKS takes the file's own sigmas")
    for without in (None, []):
        category_skeleton.check_sigmas({**category, "sigmas": without}, "a.json")
        assert category_skeleton.skeleton_of({**category, "sigmas": without}, "a.json")[0] == made
    for wrong in ([0.1, 0.1], [0.1, 0.1, 0], [0.1, 0.1, -1], [0.1, 0.1, True], [0.1, 0.1, "1"], 0.1, "0.1"):
        with pytest.raises(UserError, match=r"a\.json: horse: sigmas must be 3 positive numbers, one a joint"):
            category_skeleton.check_sigmas({**category, "sigmas": wrong}, "a.json: horse")
    with pytest.raises(UserError, match=r'a\.json: horse names the joint "nose" twice'):
        category_skeleton.skeleton_of({"keypoints": ["nose", "nose"]}, "a.json: horse")
    assert skeletons.fault(category_skeleton.numbered(5)) == ""
