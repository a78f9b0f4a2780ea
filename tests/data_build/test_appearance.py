"""What a picture looks like in words, on pictures whose brightness, contrast and colour follow from a line of maths."""

import numpy as np
import pytest
from mllm_iqa.data_build.appearance import appearance

from mllm_iqa.prompt_files import load_prompt

Color = tuple[int, int, int]


def two_tone(first: Color, second: Color) -> np.ndarray:
    """Left half of one colour, right half of another, so that mean and standard deviation are exact."""
    image = np.empty((8, 8, 3), np.uint8)
    image[:, :4], image[:, 4:] = first, second
    return image


def flat(color: Color) -> np.ndarray:
    return two_tone(color, color)


@pytest.mark.parametrize(
    ("grey", "word"), [(0, "dark"), (74, "dark"), (76, "medium"), (164, "medium"), (166, "bright"), (255, "bright")]
)
def test_brightness_is_the_mean_luma(grey: int, word: str) -> None:
    phrase = load_prompt("appearance.v1").phrase(f"brightness/{word}")
    assert appearance(flat((grey, grey, grey))).startswith(f"The picture is {phrase}, with ")


def test_brightness_weighs_green_most() -> None:
    # Luma .299 R + .587 G + .114 B: pure red 76.2, green 149.7, blue 29.1.
    words = [appearance(flat(c)).split(",")[0] for c in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    assert words == [
        "The picture is of medium brightness",
        "The picture is of medium brightness",
        "The picture is dark",
    ]


@pytest.mark.parametrize(
    ("half_gap", "word"), [(0, "flat"), (31, "flat"), (33, "normal"), (71, "normal"), (73, "strong"), (120, "strong")]
)
def test_contrast_is_the_standard_deviation_of_luma(half_gap: int, word: str) -> None:
    # Two equal halves at 125 +- d: the standard deviation is d.
    low, high = 125 - half_gap, 125 + half_gap
    phrase = load_prompt("appearance.v1").phrase(f"contrast/{word}")
    assert f"with {phrase} and" in appearance(two_tone((low,) * 3, (high,) * 3))


@pytest.mark.parametrize(
    ("color", "word"),
    [
        ((120, 120, 120), "grey"),  # R - G = 0, (R + G) / 2 - B = 0: colourfulness 0
        ((130, 120, 110), "grey"),  # 10 and 15: .3 sqrt(325) = 5.4
        ((140, 120, 100), "muted"),  # 20 and 30: .3 sqrt(1300) = 10.8
        ((160, 120, 80), "muted"),  # 40 and 60: .3 sqrt(5200) = 21.6
        ((162, 120, 78), "natural"),  # 42 and 63: .3 sqrt(5733) = 22.7
        ((200, 120, 60), "natural"),  # 80 and 100: .3 sqrt(16400) = 38.4
        ((255, 60, 0), "vivid"),  # 195 and 157.5: .3 sqrt(62831) = 75.2
    ],
)
def test_color_is_colorfulness(color: Color, word: str) -> None:
    phrase = load_prompt("appearance.v1").phrase(f"color/{word}")
    assert appearance(flat(color)).endswith(f"and {phrase}.")


def test_the_spread_of_colors_counts_too() -> None:
    # R - G is +-70 and (R + G) / 2 - B is +-5, both with mean 0, so colourfulness is sqrt(70^2 + 5^2) = 70.2 > 60.
    assert appearance(two_tone((155, 85, 115), (85, 155, 125))).endswith("and vivid colors.")


def test_the_whole_sentence() -> None:
    assert appearance(flat((40, 40, 40))) == "The picture is dark, with flat contrast and almost no color."


def test_the_order_of_pixels_does_not_matter() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    shuffled = np.random.default_rng(1).permutation(image.reshape(-1, 3)).reshape(image.shape)
    assert appearance(image) == appearance(shuffled) == appearance(image[::-1, ::-1])
