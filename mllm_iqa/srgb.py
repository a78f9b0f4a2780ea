"""Any mode, depth and colour profile to 8-bit sRGB, with a note on every change."""

from __future__ import annotations

import io
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageCms

from .errors import ImageError

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_SRGB_TOLERANCE = 2  # a profile that moves no probe colour by more than this many of 255 steps is sRGB under some name


def to_srgb(image: Image.Image, background: tuple[int, int, int], notes: list[str]) -> Image.Image:
    """Any mode to RGB: depth first, then colour space, then alpha, so that compositing happens in sRGB."""
    alpha = None
    colour = image
    if image.mode[0] in "IF":
        colour = Image.fromarray(eight_bit(_checked_wide(image), notes))
    elif image.has_transparency_data:
        straight = image.convert("LA") if image.mode == "La" else image
        layered = straight.convert("LA" if image.mode in ("1", "L", "LA", "La") else "RGBA")
        alpha = layered.getchannel("A")
        colour = layered.convert("L" if layered.mode == "LA" else "RGB")
    elif image.mode == "1":
        colour = image.convert("L")
    elif image.mode not in ("L", "RGB", "CMYK"):
        colour = image.convert("RGB")
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        notes.append(f"converted from {image.mode} to RGB")
    rgb = _from_profile(colour, image.info.get("icc_profile"), notes).convert("RGB")
    if alpha is None or alpha.getextrema() == (255, 255):
        return rgb
    notes.append("transparency composited over RGB ({}, {}, {})".format(*background))
    canvas = Image.new("RGB", rgb.size, background)
    canvas.paste(rgb, mask=alpha)
    return canvas


def _from_profile(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """`image` (L, RGB or CMYK) from its embedded ICC profile to sRGB; unchanged without a usable or different one."""
    if not profile:
        return image
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if image.mode == "L" and embedded.profile.xcolor_space.strip() == "RGB":
            image = image.convert("RGB")
        transform = ImageCms.buildTransform(
            embedded,
            ImageCms.createProfile("sRGB"),
            image.mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        if image.mode != "CMYK" and _is_identity(transform, image.mode):
            return image
        converted = transform.apply(image)
    except (ImageCms.PyCMSError, OSError, ValueError, ImportError):
        notes.append("embedded colour profile is unusable and was ignored")
        return image
    notes.append("embedded colour profile converted to sRGB")
    return converted


def _is_identity(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether `transform` leaves a grid of probe colours where they are; profile names cannot be relied on."""
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    axes = 3 if mode == "RGB" else 1
    grid = np.stack(np.meshgrid(*[steps] * axes), axis=-1).reshape(1, -1, axes)
    probe = Image.fromarray(grid if mode == "RGB" else grid[..., 0])
    moved = np.asarray(transform.apply(probe), dtype=np.int16) - np.asarray(probe.convert("RGB"), dtype=np.int16)
    return bool(np.abs(moved).max() <= _SRGB_TOLERANCE)


def _checked_wide(image: Image.Image) -> Array:
    """The values of an I;16, I or F image, as something `eight_bit` takes."""
    values = np.asarray(image)
    if image.mode != "I":
        return values
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(f"32-bit integer values {low}..{high} leave the 16-bit range 0..65535")
    return values.astype(np.uint16)


def eight_bit(values: Array, notes: list[str]) -> Array:
    """Bool, uint8, uint16 over its full range, or floating-point in [0, 1], rounded to the nearest of 0..255."""
    kind, size = values.dtype.kind, values.dtype.itemsize
    if (kind, size) == ("u", 1):
        return values
    if kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if (kind, size) == ("u", 2):
        notes.append("16-bit values scaled to 8 bits")
        quotient, remainder = np.divmod(values, np.uint16(257))  # 65535 = 257 * 255
        return (quotient + (remainder > 128)).astype(np.uint8)
    if kind != "f":
        raise ImageError(f"values of type {values.dtype}; expected uint8, uint16, bool, or floating-point in [0, 1]")
    low, high = float(values.min()), float(values.max())  # NaN if any value is
    if not (low >= 0.0 and high <= 1.0):
        raise ImageError(f"floating-point values {low:g}..{high:g} must be finite and in [0, 1]")
    notes.append("floating-point values scaled to 8 bits")
    wide: Array = values.astype(np.float32) if size < 4 else values
    scaled: Array = np.rint(wide * 255.0).astype(np.uint8)
    return scaled
