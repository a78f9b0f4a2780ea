"""Compression: JPEG by quality, JPEG 2000 by target PSNR. Severities 1..5 as in DQ-495K."""

from __future__ import annotations

import io

import cv2
import numpy as np
import PIL.Image

from .ladder import Image, at


def jpeg(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """JPEG at quality 25, 18, 12, 8, 5 (libjpeg scale, 4:2:0 chroma)."""
    quality = round(at(severity, (90, 25, 18, 12, 8, 5)))
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if done else None
    if decoded is None:
        raise ValueError(f"JPEG coding failed for an image of shape {image.shape}")
    return np.ascontiguousarray(decoded[..., ::-1])


def jpeg2000(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """JPEG 2000 at a target PSNR of 29, 27.5, 26, 24.5, 23 dB."""
    psnr = at(severity, (38, 29, 27.5, 26, 24.5, 23))
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "JPEG2000", quality_mode="dB", quality_layers=[psnr], irreversible=True)
    return np.array(PIL.Image.open(buffer).convert("RGB"))
