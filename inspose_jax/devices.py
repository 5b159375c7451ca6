"""Whether the devices that jax was asked for can be had: known before anything is read, so that no file is blamed."""

import jax
import numpy as np

from inspose_jax.errors import UserError


def check() -> None:
    """Start jax's devices and put a number on one; UserError where there is none such, with jax's reason.

    What jax raises where the device is full, RESOURCE_EXHAUSTED, stays as it is.
    """
    try:
        jax.block_until_ready(jax.device_put(np.zeros((), np.float32)))
    # jax 0.10 ends in an assertion without a word where the only platform asked for has no plugin.
    except (RuntimeError, AssertionError) as error:
        if "RESOURCE_EXHAUSTED" in str(error):  # it is there, and full
            raise
        asked = jax.config.jax_platforms or "any device"  # pyright: ignore[reportAttributeAccessIssue]
        reason = str(error).partition("\n")[0][:200] or "its plugin is not installed"
        raise UserError(
            f"{asked}: no such device can be had ({reason}); see that it is free and that jax's plugin for it is "
            f"installed, or set JAX_PLATFORMS=cpu"
        ) from error
