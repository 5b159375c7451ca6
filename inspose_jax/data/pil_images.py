"""PIL images of any mode -> u8[H,W,3] RGB, or a one-line error.

The alpha channel is dropped, leaving the colours stored below it, just as OpenCV does when it reads files.
"""

import warnings

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from inspose_jax.errors import UserError

# Modes that `convert("RGB")` refuses or warns about unless they are first converted to another mode.
BY_WAY_OF = {"La": "LA", "P": "RGBA", "PA": "RGBA"}
REMEDY = 'scale it to 0..255 and use `.convert("L")`'


def to_rgb(image: Image.Image, name: str = "the PIL image") -> UInt8[np.ndarray, "H W 3"]:
    """Convert a PIL image of any mode to RGB bytes; 16 bits are scaled to 8, as when reading files.

    Raises UserError, which begins with `name`, for pixels of unknown range: floats, and integers (mode I) below 0 or
    above 65535.  If no pixel of mode I exceeds 255, the image is taken for 8 bits, with a warning.
    """
    if image.mode == "F":
        raise UserError(f"{name}: has float pixels (mode F), whose range is unknown; {REMEDY}")
    if image.mode == "I" or image.mode.startswith("I;16"):  # `convert` would clip these at 255
        values = np.asarray(image)
        low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
        if low < 0 or high > 65535:
            raise UserError(
                f"{name}: has pixels from {low} to {high} (mode {image.mode}), neither 8 bits nor 16; {REMEDY}"
            )
        is_deep = image.mode != "I" or high > 255
        if high > 0 and not is_deep:
            warnings.warn(
                f"{name}: has no pixel above 255 (mode I) and is taken to have 8 bits; if it has 16, use "
                f'`.convert("I;16")`, else `.convert("L")`',
                stacklevel=2,
            )
        return np.repeat((values >> 8 if is_deep else values).astype(np.uint8)[..., None], 3, -1)
    try:
        return np.asarray(image.convert(BY_WAY_OF.get(image.mode, image.mode)).convert("RGB"))
    except ValueError:  # a mode that a future version of Pillow may add
        raise UserError(f'{name}: its mode {image.mode} has no colours; use `.convert("RGB")`') from None
