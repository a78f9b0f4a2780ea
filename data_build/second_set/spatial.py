"""Blur, jitter, sharpening and pixelation, made otherwise: other kernels, linear light, SciPy and Pillow."""

from __future__ import annotations

import numpy as np
import PIL.Image
import PIL.ImageFilter
import scipy.ndimage
import scipy.signal

from ..distortions.ladder import Image
from ..distortions.linear_light import from_linear, to_linear


def gaussian_blur(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Pillow's Gaussian (three boxes) of radius `amount` px."""
    return np.asarray(PIL.Image.fromarray(image).filter(PIL.ImageFilter.GaussianBlur(amount)))


def lens_blur(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """A six-bladed aperture, turned at random, of circumradius `amount` px, on linear light."""
    half = int(np.ceil(amount)) + 1
    fine = np.linspace(-half - 0.4, half + 0.4, 5 * (2 * half + 1))
    y, x = np.meshgrid(fine, fine, indexing="ij")
    turn = rng.uniform(0, np.pi / 3)
    sides = [np.abs(x * np.cos(turn + k * np.pi / 3) + y * np.sin(turn + k * np.pi / 3)) for k in range(3)]
    inside = np.max(sides, axis=0) <= amount * np.cos(np.pi / 6)
    return _in_light(image, inside.reshape(2 * half + 1, 5, 2 * half + 1, 5).mean(axis=(1, 3)))


def motion_blur(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """A hand that shakes: a smooth random path of about `amount` px, passed at even speed, on linear light."""
    steps = max(8, int(8 * amount))
    direction = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.5 / np.sqrt(steps), steps))
    x, y = np.cumsum(np.cos(direction)) * amount / steps, np.cumsum(np.sin(direction)) * amount / steps
    x, y = x - x.mean(), y - y.mean()
    half = int(np.ceil(max(np.abs(x).max(), np.abs(y).max()))) + 1
    kernel, _, _ = np.histogram2d(y, x, bins=2 * half + 1, range=[[-half - 0.5, half + 0.5]] * 2)
    return _in_light(image, scipy.ndimage.gaussian_filter(kernel, 0.4))


def _in_light(image: Image, kernel: np.ndarray) -> Image:
    half = kernel.shape[0] // 2
    light = np.pad(to_linear(image), ((half, half), (half, half), (0, 0)), mode="symmetric")
    blurred = scipy.signal.fftconvolve(light, (kernel / kernel.sum())[..., None], mode="valid", axes=(0, 1))
    return from_linear(np.asarray(blurred, dtype=np.float32))


def zoom_blur(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Mean over 12 zooms from 1 - `amount` / 2 to 1 + `amount` / 2 about a point off the middle, on linear light."""
    height, width = image.shape[:2]
    middle = np.array([height * rng.uniform(0.4, 0.6), width * rng.uniform(0.4, 0.6), 0])
    light, total = to_linear(image), np.zeros(image.shape, np.float32)
    for zoom in np.linspace(1 - amount / 2, 1 + amount / 2, 12):
        scale = np.array([1 / zoom, 1 / zoom, 1])
        total += scipy.ndimage.affine_transform(light, scale, middle * (1 - scale), order=1, mode="reflect")
    return from_linear(total / 12)


def glass_blur(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Patterned glass: a field of shifts, smooth over 2 px, of standard deviation `amount` px, then a blur."""
    field = scipy.ndimage.gaussian_filter(rng.standard_normal((2, *image.shape[:2])), (0, 1.0, 1.0))
    moved = _displaced(image, field * (amount / field.std()), order=1)
    return np.asarray(scipy.ndimage.gaussian_filter(moved, (0.6, 0.6, 0), mode="reflect"))


def jitter(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Every pixel taken from a place that is normally distributed about its own, standard deviation `amount` px."""
    return _displaced(image, rng.standard_normal((2, *image.shape[:2])) * amount, order=0)


def _displaced(image: Image, field: np.ndarray, *, order: int) -> Image:
    y, x = np.meshgrid(*(np.arange(n) for n in image.shape[:2]), indexing="ij")
    places = [y + field[0], x + field[1]]
    moved = [scipy.ndimage.map_coordinates(image[..., c], places, order=order, mode="reflect") for c in range(3)]
    return np.stack(moved, axis=-1)


def oversharpen(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """`amount` times the 8-neighbour Laplacian of luma, taken from every channel."""
    luma = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    kernel = np.ones((3, 3), np.float32) / 8
    kernel[1, 1] = -1
    edges = scipy.ndimage.convolve(luma, kernel, mode="reflect")
    return _bytes(image - amount * edges[..., None])


def pixelate(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Square cells of `amount` px, from a random offset; each shows its middle pixel, softened by a 3x3 mean."""
    height, width = image.shape[:2]
    soft = np.asarray(PIL.Image.fromarray(image).filter(PIL.ImageFilter.BoxBlur(1)))
    top, left = rng.uniform(0, amount, 2)

    def middles(n: int, offset: float) -> np.ndarray:
        cells = np.floor((np.arange(n) + offset) / amount)
        return np.asarray(np.clip(np.round((cells + 0.5) * amount - offset), 0, n - 1), dtype=int)

    return np.ascontiguousarray(soft[middles(height, top)][:, middles(width, left)])


def _bytes(values: np.ndarray) -> Image:
    return np.asarray(np.rint(np.clip(values, 0, 255)), dtype=np.uint8)
