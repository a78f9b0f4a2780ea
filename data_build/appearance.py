"""What a picture looks like, in the words of `prompts/appearance`: brightness, contrast and colour, measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mllm_iqa.prompt_files import load_prompt

BRIGHTNESS_WORDS = ("dark", "medium", "bright")
BRIGHTNESS_BOUNDS = (75, 165)
"""Mean luma (0..255) from which the next brightness word holds."""


@dataclass(frozen=True, slots=True)
class Looks:
    """What was measured: mean and standard deviation of the luma (0..255), and colourfulness."""

    brightness: float
    contrast: float
    colorfulness: float

    @property
    def brightness_word(self) -> str:
        """Which of `BRIGHTNESS_WORDS`."""
        return BRIGHTNESS_WORDS[int(np.searchsorted(BRIGHTNESS_BOUNDS, self.brightness, side="right"))]


def looks(pixels: np.ndarray) -> Looks:
    """Measure uint8 RGB (H, W, 3); colourfulness is that of Hasler & Suesstrunk, 2003, eq. 3."""
    x = pixels.astype(np.float32)
    luma = x @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    red_green = x[..., 0] - x[..., 1]
    yellow_blue = 0.5 * (x[..., 0] + x[..., 1]) - x[..., 2]
    spread = np.hypot(red_green.std(), yellow_blue.std())
    colorfulness = spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean())
    return Looks(float(luma.mean()), float(luma.std()), float(colorfulness))


def appearance(pixels: np.ndarray, language: str = "en") -> str:
    """One sentence on a picture, such as "The picture is dark, with flat contrast and muted colors".

    Args:
        pixels: uint8 RGB (H, W, 3).
        language: of the words.

    Returns:
        Brightness from the mean luma (dark < 75 <= medium < 165 <= bright), contrast from its standard deviation
        (flat < 32 <= normal < 72 <= strong), colour from colourfulness (Hasler & Suesstrunk, 2003, eq. 3:
        almost none < 6 <= muted < 22 <= natural < 60 <= vivid).
    """
    seen = looks(pixels)
    contrast = ("flat", "normal", "strong")[int(np.searchsorted((32, 72), seen.contrast, side="right"))]
    color = ("grey", "muted", "natural", "vivid")[int(np.searchsorted((6, 22, 60), seen.colorfulness, side="right"))]
    prompt = load_prompt("appearance.v1", language)
    return prompt.phrase(
        "sentence",
        brightness=prompt.phrase(f"brightness/{seen.brightness_word}"),
        contrast=prompt.phrase(f"contrast/{contrast}"),
        color=prompt.phrase(f"color/{color}"),
    )
