"""Pictures the data tests make for themselves."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def textured() -> Callable[..., np.ndarray]:
    """A function (height, width, seed=0) -> uint8 RGB with fine and coarse detail of its own in every channel."""

    def make(height: int, width: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        image = np.full((height, width, 3), 120.0, np.float32)
        for sigma, strength in ((1.5, 18.0), (12.0, 30.0)):
            field = rng.standard_normal((height, width, 3), dtype=np.float32)
            field = cv2.GaussianBlur(field, (0, 0), sigma)
            image += strength * field / field.std()
        return np.clip(image, 0, 255).astype(np.uint8)

    return make
