"""Blur: gaussian, lens, motion, zoom, glass, jitter. Parameters at severities 1..5 are those of DQ-495K."""

from __future__ import annotations

import cv2
import numpy as np

from .ladder import Image, at


def _filter(image: Image, kernel: np.ndarray) -> Image:
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)


def _remap(image: Image, dx: np.ndarray, dy: np.ndarray, interpolation: int) -> Image:
    height, width = image.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(
        image,
        x + dx.astype(np.float32),
        y + dy.astype(np.float32),
        interpolation,
        borderMode=cv2.BORDER_REFLECT_101,
    )


def gaussian_blur(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Isotropic Gaussian blur, sigma 1, 2, 3, 4, 5 px."""
    sigma = at(severity, (0.3, 1, 2, 3, 4, 5))
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)


def lens_blur(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Out-of-focus blur: an anti-aliased disk of radius 2, 3, 4, 6, 8 px."""
    radius = at(severity, (0.6, 2, 3, 4, 6, 8))
    half = int(np.ceil(radius)) + 1
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    kernel = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
    return _filter(image, kernel / kernel.sum())


def motion_blur(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """One-sided Gaussian streak at a random angle; (length, sigma) 5,3; 10,5; 15,7; 15,9; 20,12 px."""
    length = at(severity, (1.5, 5, 10, 15, 15, 20))
    sigma = at(severity, (0.8, 3, 5, 7, 9, 12))
    angle = rng.uniform(0, 2 * np.pi)
    half = int(np.ceil(length)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    for t in np.arange(0, length + 1e-6, 0.25):
        x, y = half + t * np.cos(angle), half + t * np.sin(angle)
        x0, y0 = int(x), int(y)
        fx, fy = x - x0, y - y0
        weights = np.outer([1 - fy, fy], [1 - fx, fx])
        kernel[y0 : y0 + 2, x0 : x0 + 2] += np.exp(-0.5 * (t / sigma) ** 2) * weights
    return _filter(image, kernel / kernel.sum())


def zoom_blur(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Mean of pictures zoomed about the centre from 1 to 1.03, 1.06, 1.10, 1.15, 1.21 in steps of 0.02."""
    end = at(severity, (1.0, 1.03, 1.06, 1.10, 1.15, 1.21))
    height, width = image.shape[:2]
    total = image.astype(np.float32)
    zooms = np.arange(1.02, end + 0.01, 0.02)
    zooms = np.append(zooms[zooms < end - 1e-6], end)
    for zoom in zooms:
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0, float(zoom))
        total += cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(np.rint(total / (1 + len(zooms))), dtype=np.uint8)


def glass_blur(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Blur, local pixel shuffling, blur; (sigma, shift, rounds) .7,1,1; .9,2,1; 1.2,2,2; 1.4,3,2; 1.6,4,2."""
    sigma = at(severity, (0.4, 0.7, 0.9, 1.2, 1.4, 1.6))
    shift = max(1, round(at(severity, (1, 1, 2, 2, 3, 4))))
    out = cv2.GaussianBlur(image, (0, 0), sigma)
    for _ in range(round(at(severity, (1, 1, 1, 2, 2, 2)))):
        offsets = rng.integers(-shift, shift + 1, size=(2, *image.shape[:2]))
        out = _remap(out, offsets[0], offsets[1], cv2.INTER_NEAREST)
    return cv2.GaussianBlur(out, (0, 0), sigma)


def jitter(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Every pixel displaced independently by up to 1, 2, 3, 4, 5 px in x and y."""
    shift = at(severity, (0.2, 1, 2, 3, 4, 5))
    offsets = rng.uniform(-shift, shift, size=(2, *image.shape[:2]))
    return _remap(image, offsets[0], offsets[1], cv2.INTER_LINEAR)
