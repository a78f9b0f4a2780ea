"""Pictures small enough to stand inside a page or a file of predictions."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image


def small_jpeg(pixels: np.ndarray, width: int, height: int, *, quality: int) -> str:
    """Base64 of a picture as JPEG, reduced to fit into `width` by `height` px where it is larger.

    Args:
        pixels: uint8 RGB (H, W, 3).
        width: of the box, in px.
        height: of the box, in px.
        quality: of the JPEG, 1 to 95.
    """
    small = Image.fromarray(pixels)
    small.thumbnail((width, height), Image.Resampling.LANCZOS)
    coded = io.BytesIO()
    small.save(coded, "JPEG", quality=quality)
    return base64.b64encode(coded.getvalue()).decode("ascii")
