"""Blur: kernels, and whether the coded values or something like light is averaged, are drawn."""

from __future__ import annotations

import cv2
import numpy as np

from ..distortions.ladder import Image, to_uint8, to_unit

_BORDER = cv2.BORDER_REFLECT_101


def _averaged(image: Image, kernel: np.ndarray, gamma: float) -> Image:
    """Filtered by a kernel (scaled to sum 1) in values to the power `gamma`."""
    light = cv2.filter2D(to_unit(image) ** gamma, -1, kernel / kernel.sum(), borderType=_BORDER)
    return to_uint8(np.maximum(light, 0) ** (1 / gamma))


def _gamma(rng: np.random.Generator) -> float:
    return (1.0, float(rng.uniform(1, 2.4)))[rng.integers(2)]


def gaussian(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """A Gaussian of sigma `amount` px, up to twice as wide along one axis of any direction."""
    stretch, angle, gamma = rng.uniform(1, 2), rng.uniform(0, np.pi), _gamma(rng)
    half = int(np.ceil(3 * amount * stretch)) + 1
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return _averaged(image, np.exp(-0.5 * ((along / stretch) ** 2 + across**2) / amount**2), gamma)


def boxes(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Two or three boxes of `amount` px, one after the other."""
    times, gamma = int(rng.integers(2, 4)), _gamma(rng)
    whole = int(np.ceil(amount)) // 2 * 2 + 1
    edge = (amount - (whole - 2)) / 2 if whole > 1 else amount
    line = np.ones(whole)
    line[[0, -1]] = np.clip(edge, 0.05, 1)
    kernel: np.ndarray = line
    for _ in range(times - 1):
        kernel = np.convolve(kernel, line)
    return _averaged(image, np.outer(kernel, kernel), gamma)


def aperture(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """A disk, a ring or a polygon of five, seven or eight blades, of radius `amount` px."""
    blades, turn, hole, gamma = rng.choice((0, 5, 7, 8)), rng.uniform(0, 6.3), rng.uniform(0, 0.6), _gamma(rng)
    has_hole = rng.random() < 0.3
    half = int(np.ceil(amount)) + 1
    fine = (np.arange(4 * (2 * half + 1)) + 0.5) / 4 - half - 0.5
    y, x = np.meshgrid(fine, fine, indexing="ij")
    radius = np.hypot(x, y)
    limit = np.full_like(radius, amount)
    if blades:
        sector = np.mod(np.arctan2(y, x) + turn, 2 * np.pi / blades) - np.pi / blades
        limit = amount * np.cos(np.pi / blades) / np.cos(sector)
    inside = (radius <= limit) & (~has_hole | (radius >= hole * amount))
    cells = 2 * half + 1
    return _averaged(image, inside.reshape(cells, 4, cells, 4).mean(axis=(1, 3)) + 1e-9, gamma)


def curved_motion(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """A path `amount` px long, straight or bent, passed at a speed that changes."""
    angle, bend, rate, gamma = rng.uniform(0, 2 * np.pi), rng.uniform(-0.4, 0.4), rng.uniform(0.6, 1.6), _gamma(rng)
    if rng.random() < 0.4:
        bend = 0.0
    at = np.linspace(0, 1, max(16, int(8 * amount))) ** rate - 0.5
    along, across = amount * at, amount * bend * (at**2 - 1 / 12)
    x, y = along * np.cos(angle) - across * np.sin(angle), along * np.sin(angle) + across * np.cos(angle)
    half = int(np.ceil(max(np.abs(x).max(), np.abs(y).max()))) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (1 - np.abs(x - x0 - dx)) * (1 - np.abs(y - y0 - dy))
            np.add.at(kernel, (half + y0 + dy, half + x0 + dx), weight)
    return _averaged(image, kernel, gamma)


def radial(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Mean of many zooms by up to 1 + `amount`, about a point near the middle, nearer ones maybe weighing more."""
    height, width = image.shape[:2]
    middle = (width * rng.uniform(0.35, 0.65), height * rng.uniform(0.35, 0.65))
    fading, gamma = rng.uniform(0, 1.5), _gamma(rng)
    light, weights = to_unit(image) ** gamma, np.exp(-fading * np.linspace(0, 1, 14))
    total = np.zeros(image.shape, np.float32)
    for zoom, weight in zip(1 + amount * np.linspace(0, 1, 14), weights / weights.sum(), strict=True):
        matrix = cv2.getRotationMatrix2D(middle, 0, float(zoom))
        total += np.float32(weight) * cv2.warpAffine(light, matrix, (width, height), borderMode=_BORDER)
    return to_uint8(np.maximum(total, 0) ** (1 / gamma))


def _moved(image: Image, dx: np.ndarray, dy: np.ndarray, interpolation: int) -> Image:
    x, y = np.meshgrid(np.arange(image.shape[1], dtype=np.float32), np.arange(image.shape[0], dtype=np.float32))
    return cv2.remap(image, x + dx, y + dy, interpolation, borderMode=_BORDER)


def glass(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Shifts of standard deviation `amount` px that neighbours within 0.6 to 2 px share, then maybe a blur."""
    smooth, sigma = rng.uniform(0.6, 2), rng.uniform(0.4, 1.2)
    field = rng.standard_normal((*image.shape[:2], 2), dtype=np.float32)
    smoothed = cv2.GaussianBlur(field, (0, 0), smooth)
    smoothed = smoothed * np.float32(amount / smoothed.std())
    moved = _moved(image, smoothed[..., 0], smoothed[..., 1], cv2.INTER_LINEAR)
    return cv2.GaussianBlur(moved, (0, 0), sigma, borderType=_BORDER)


def scatter(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Every pixel taken from anywhere in a disk of radius `amount` px, or shifted along one axis only."""
    angle = rng.uniform(0, 2 * np.pi, image.shape[:2])
    radius = amount * np.sqrt(rng.random(image.shape[:2]))
    dx, dy = (np.asarray(radius * f(angle), dtype=np.float32) for f in (np.cos, np.sin))
    axes = rng.choice(3, p=(0.6, 0.2, 0.2))
    interpolation = (cv2.INTER_NEAREST, cv2.INTER_LINEAR)[rng.integers(2)]
    return _moved(image, dx * np.float32(axes != 2), dy * np.float32(axes != 1), interpolation)
