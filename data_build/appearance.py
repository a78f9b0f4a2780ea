"""What a picture looks like, in the words of `prompts/appearance`: brightness, contrast and colour, measured."""

from __future__ import annotations

import numpy as np

from mllm_iqa.prompt_files import load_prompt


def appearance(pixels: np.ndarray) -> str:
    """One sentence on a picture, such as "The picture is dark, with flat contrast and muted colors".

    Args:
        pixels: uint8 RGB (H, W, 3).

    Returns:
        Brightness from the mean luma (dark < 75 <= medium < 165 <= bright), contrast from its standard deviation
        (flat < 32 <= normal < 72 <= strong), colour from colourfulness (Hasler & Suesstrunk, 2003, eq. 3:
        almost none < 6 <= muted < 22 <= natural < 60 <= vivid).
    """
    x = pixels.astype(np.float32)
    luma = x @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    red_green = x[..., 0] - x[..., 1]
    yellow_blue = 0.5 * (x[..., 0] + x[..., 1]) - x[..., 2]
    spread = np.hypot(red_green.std(), yellow_blue.std())
    colorfulness = spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean())
    brightness = ("dark", "medium", "bright")[int(np.searchsorted((75, 165), luma.mean(), side="right"))]
    contrast = ("flat", "normal", "strong")[int(np.searchsorted((32, 72), luma.std(), side="right"))]
    color = ("grey", "muted", "natural", "vivid")[int(np.searchsorted((6, 22, 60), colorfulness, side="right"))]
    prompt = load_prompt("appearance.v1")
    return prompt.phrase(
        "sentence",
        brightness=prompt.phrase(f"brightness/{brightness}"),
        contrast=prompt.phrase(f"contrast/{contrast}"),
        color=prompt.phrase(f"color/{color}"),
    )
