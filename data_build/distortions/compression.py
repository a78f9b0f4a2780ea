"""Compression: JPEG and WebP and AVIF by quality, JPEG 2000 by target PSNR.

Severities 1..5 of `jpeg` and `jpeg2000` are those of DQ-495K; `jpeg_mild` covers what lies before them.
"""

from __future__ import annotations

import io

import cv2
import numpy as np
import PIL.features
import PIL.Image

from mllm_iqa.errors import MissingDependencyError

from .ladder import Image, at


def _jpeg(image: Image, quality: int) -> Image:
    """Coded and decoded as JPEG: libjpeg's quality scale, 4:2:0 chroma."""
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if done else None
    if decoded is None:
        raise ValueError(f"JPEG coding failed for an image of shape {image.shape}")
    return np.ascontiguousarray(decoded[..., ::-1])


def _modern(image: Image, name: str, **options: int) -> Image:
    """Coded and decoded by Pillow as WebP or AVIF.

    Raises:
        MissingDependencyError: this build of Pillow lacks the codec.
    """
    if not PIL.features.check(name.lower()):
        raise MissingDependencyError(
            f"{name} compression needs a Pillow built with {name}, and Pillow {PIL.__version__} here is not; "
            "the wheels of pillow>=11.3 are: pip install 'pillow>=11.3'"
        )
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, name, **options)
    return np.array(PIL.Image.open(buffer).convert("RGB"))


def jpeg(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """JPEG at quality 25, 18, 12, 8, 5 (libjpeg scale, 4:2:0 chroma)."""
    return _jpeg(image, round(at(severity, (90, 25, 18, 12, 8, 5))))


def jpeg_mild(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """JPEG at quality 85, 70, 55, 42, 30: what cameras and web sites write, all of it milder than `jpeg` at 1."""
    return _jpeg(image, round(at(severity, (95, 85, 70, 55, 42, 30))))


def jpeg2000(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """JPEG 2000 at a target PSNR of 29, 27.5, 26, 24.5, 23 dB."""
    psnr = at(severity, (38, 29, 27.5, 26, 24.5, 23))
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "JPEG2000", quality_mode="dB", quality_layers=[psnr], irreversible=True)
    return np.array(PIL.Image.open(buffer).convert("RGB"))


def webp(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Lossy WebP at quality 30, 15, 8, 3, 0."""
    return _modern(image, "WEBP", quality=round(at(severity, (80, 30, 15, 8, 3, 0))), method=2)


def avif(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """AVIF at quality 34, 24, 16, 8, 0, coded at the encoder's fastest speed on one thread."""
    return _modern(image, "AVIF", quality=round(at(severity, (75, 34, 24, 16, 8, 0))), speed=10, max_threads=1)
