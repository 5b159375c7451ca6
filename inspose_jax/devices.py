"""Check that the requested jax devices are available, before reading any file that could be blamed for the error."""

import jax
import numpy as np

from inspose_jax.errors import UserError


def check() -> None:
    """Initialise jax's devices and put a number on one; raises UserError with jax's reason if there is no such device.

    The error that jax raises when the device's memory is full, RESOURCE_EXHAUSTED, passes through unchanged.
    """
    try:
        jax.block_until_ready(jax.device_put(np.zeros((), np.float32)))
    # jax 0.10 fails with an empty assertion if the only requested platform has no plugin.
    except (RuntimeError, AssertionError) as error:
        if "RESOURCE_EXHAUSTED" in str(error):  # the device exists, but its memory is full
            raise
        asked = jax.config.jax_platforms or "any device"  # pyright: ignore[reportAttributeAccessIssue]
        reason = str(error).partition("\n")[0][:200] or "its plugin is not installed"
        raise UserError(
            f"{asked}: no such device is available ({reason}); check that it is free and that JAX's plugin for it is "
            f"installed, or set JAX_PLATFORMS=cpu"
        ) from error
