"""The released model's own operations against those of the released code (`ops.npz`)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspose_jax.network.deformable import deformable_conv
from inspose_jax.network.fpn import enlarge
from inspose_jax.network.upsample import bicubic_x2, bilinear_x2
from inspose_jax.soft_nms import soft_nms


def assert_close(found, expected, tolerance: float) -> None:
    """Equal to within `tolerance` of the largest magnitude expected."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(np.abs(expected).max(), 1e-30))


def nhwc(x):
    return np.asarray(x).transpose(0, 2, 3, 1)


def value_and_pullback(function, cotangent, *inputs):
    """What a function yields, and the gradient of its product with `cotangent`, compiled as one program."""

    @jax.jit
    def both(cotangent, *inputs):
        value, back = jax.vjp(function, *inputs)
        return value, back(cotangent)

    return both(jnp.asarray(cotangent), *inputs)


def points_of(offset):
    """f[B,18,h,w] offsets (dy, dx) of the taps from a regular grid -> f[B,h,w,9,2] points x, y."""
    number, _, height, width = offset.shape
    y, x = jnp.mgrid[:height, :width].astype(offset.dtype)
    step = jnp.arange(-1, 2).astype(offset.dtype)
    base_y, base_x = jnp.repeat(step, 3), jnp.tile(step, 3)
    offset = offset.reshape(number, 9, 2, height, width).transpose(0, 3, 4, 1, 2)
    return jnp.stack([x[..., None] + base_x + offset[..., 1], y[..., None] + base_y + offset[..., 0]], -1)


@pytest.mark.parametrize("case", "abcdefg")
def test_deformable_convolution_and_its_gradients(golden, case):
    ops = golden("ops")
    one = {name: ops[f"dcn/{case}/{name}"].astype(np.float64) for name in ("input", "offset", "weight", "grad_out")}

    def convolved(x, offset, weight):
        kernel = weight.transpose(2, 3, 1, 0).reshape(9, x.shape[1], -1)
        return deformable_conv(x.transpose(0, 2, 3, 1), points_of(offset), kernel).transpose(0, 3, 1, 2)

    with jax.enable_x64(True):
        inputs = [jnp.asarray(one[name]) for name in ("input", "offset", "weight")]
        found, gradients = value_and_pullback(convolved, one["grad_out"], *inputs)
        assert_close(found, ops[f"dcn/{case}/out"], 1e-9)
        for name, gradient in zip(("input", "offset", "weight"), gradients, strict=True):
            assert_close(gradient, ops[f"dcn/{case}/grad_{name}"], 1e-9)


@pytest.mark.parametrize("case", "abcde")
def test_maps_of_twice_the_size(golden, case):
    ops = golden("ops")
    x = nhwc(ops[f"bicubic2/{case}/input"])
    assert_close(jax.jit(bicubic_x2)(jnp.asarray(x)), nhwc(ops[f"bicubic2/{case}/out_f32"]), 1e-6)
    with jax.enable_x64(True):
        x = jnp.asarray(x.astype(np.float64))
        assert_close(jax.jit(bicubic_x2)(x), nhwc(ops[f"bicubic2/{case}/out"]), 1e-12)
        found, (gradient,) = value_and_pullback(bilinear_x2, nhwc(ops[f"bilinear2/{case}/grad_out"]), x)
        assert_close(found, nhwc(ops[f"bilinear2/{case}/out"]), 1e-12)
        assert_close(gradient, nhwc(ops[f"bilinear2/{case}/grad_input"]), 1e-12)


@pytest.mark.parametrize("case", range(7))
def test_the_pyramid_repeats_the_cells_that_the_release_repeats(golden, case):
    ops = golden("ops")
    height, width = ops[f"nearest/{case}/in_size"].tolist()
    expected = ops[f"nearest/{case}/source_index"]
    cells = jnp.arange(height * width, dtype=jnp.float32).reshape(1, height, width, 1)
    np.testing.assert_array_equal(enlarge(cells, *expected.shape)[0, ..., 0], expected)


CASES = ("random", "ties", "duplicates", "zero_area", "crowded", "all_equal", "exact_threshold", "one")


@pytest.mark.parametrize("case", CASES)
def test_soft_nms_keeps_the_same_boxes_in_the_same_order(golden, case):
    ops = golden("ops")
    boxes, scores, kept = (ops[f"softnms/{case}/{name}"] for name in ("boxes", "scores", "kept"))
    # Behind the boxes that count stand others, as in decoding.
    line = np.concatenate([boxes, np.tile(boxes[:1], (40 - len(boxes), 1))])
    found = jax.jit(soft_nms, static_argnums=(3, 4, 5))(
        jnp.asarray(line), jnp.asarray(np.resize(scores, 40)), jnp.int32(len(boxes)), 0.3, 0.001, 100
    )
    assert int(found.number) == len(kept)
    np.testing.assert_array_equal(found.index[: len(kept)], kept)
    np.testing.assert_allclose(found.scores[: len(kept)], ops[f"softnms/{case}/kept_scores"], rtol=1e-6)
    first = soft_nms(jnp.asarray(boxes), jnp.asarray(scores), jnp.int32(len(boxes)), 0.3, 0.001, 3)
    np.testing.assert_array_equal(first.index[: min(3, len(kept))], kept[:3])
