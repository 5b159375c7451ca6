"""The fixtures in `tests/golden/` are what the oracle says today, and it is judged by its bounds."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed; `make test-torch` has it")

from oracle import compare, make, questions  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def fixtures():
    return make.read_fixtures()


def test_their_inputs_are_those_of_the_seed(fixtures):
    for name, arrays in questions.questions().items():
        for key, array in arrays.items():
            if "source_index" not in key:  # its size is the question
                kept = fixtures[name][key]
                assert kept.shape == array.shape, key
                if not key.startswith("sizes"):  # the last two columns are answers
                    np.testing.assert_array_equal(kept, array, err_msg=key)


def test_their_numbers_are_what_the_oracle_computes(fixtures):
    results = compare.compare(fixtures, make.answer(fixtures))
    assert all(compare.is_within(result) for result in results), compare.table(results)


def test_a_deviation_beyond_its_bound_is_told(fixtures):
    answers = make.answer(fixtures)
    answers["losses"]["normal/loss_cls"] = answers["losses"]["normal/loss_cls"] * (1 + 2e-6)
    answers["targets"]["assign/small/gt_inds/P3"] = answers["targets"]["assign/small/gt_inds/P3"] + 1
    missed = [result.key for result in compare.compare(fixtures, answers) if not compare.is_within(result)]
    assert missed == ["assign/small/gt_inds/P3", "normal/loss_cls"]


def test_it_is_told_if_the_oracle_does_not_reproduce_the_authors_numbers(fixtures, monkeypatch, tmp_path):
    """Then nothing is written."""
    wrong = {**fixtures, "grads": {**fixtures["grads"], "global_norm": np.asarray(1.0)}}
    monkeypatch.setattr(make, "read_folder", lambda _: wrong)
    monkeypatch.setattr(make, "GOLDEN", tmp_path)
    with pytest.raises(SystemExit, match="does not reproduce"):
        make.compare_with_the_authors()
    assert not list(tmp_path.iterdir())
