"""PIL images of any mode -> u8[H,W,3] RGB, or one clear line.

Transparency is left out, as OpenCV leaves it out of files: what counts is the colour stored below it.
"""

import warnings

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from inspose_jax.errors import UserError

# Modes that `convert("RGB")` refuses, or warns about, unless they come by way of another.
BY_WAY_OF = {"La": "LA", "P": "RGBA", "PA": "RGBA"}
REMEDY = 'scale it to 0..255 and use `.convert("L")`'


def rgb_of(image: Image.Image, name: str = "the PIL image") -> UInt8[np.ndarray, "H W 3"]:
    """A PIL image of any mode as RGB bytes; 16 bits are scaled to 8, as those of files are.

    Raises UserError, which begins with `name`, for pixels whose range nobody knows: floats, and whole numbers
    (mode I) below 0 or above 65535.  Those of mode I that do not exceed 255 are taken for 8 bits, with a warning.
    """
    if image.mode == "F":
        raise UserError(f"{name}: has floats for pixels (mode F), whose range is not known; {REMEDY}")
    if image.mode == "I" or image.mode.startswith("I;16"):  # `convert` would cut these at 255
        values = np.asarray(image)
        low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
        if low < 0 or high > 65535:
            raise UserError(
                f"{name}: has pixels from {low} to {high} (mode {image.mode}), neither 8 bits nor 16; {REMEDY}"
            )
        is_deep = image.mode != "I" or high > 255
        if high > 0 and not is_deep:
            warnings.warn(
                f"{name}: has no pixel above 255 (mode I) and is taken for 8 bits; if it has 16, use "
                f'`.convert("I;16")`, else `.convert("L")`',
                stacklevel=2,
            )
        return np.repeat((values >> 8 if is_deep else values).astype(np.uint8)[..., None], 3, -1)
    try:
        return np.asarray(image.convert(BY_WAY_OF.get(image.mode, image.mode)).convert("RGB"))
    except ValueError:  # a mode that only Pillow versions to come may have
        raise UserError(f'{name}: its mode {image.mode} has no colours; use `.convert("RGB")`') from None
