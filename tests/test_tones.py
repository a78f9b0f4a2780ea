"""The tones of a picture as text: by hand, beside numpy's quantiles, and where a model reads them."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from mllm_iqa.backends.base import Conversation
from mllm_iqa.backends.chat_template import reads_tones, template_text
from mllm_iqa.backends.huggingface import HuggingFaceBackend
from mllm_iqa.images import load_image
from mllm_iqa.tones import CLIPPED, QUANTILES, tones_of, tones_text

EXAMPLES = Path(__file__).parents[1] / "mllm_iqa" / "examples"


def numbers(pixels: np.ndarray) -> dict[str, int]:
    text = tones_text(pixels)
    assert re.fullmatch(r"([a-z][0-9]{2}){26}\n", text)
    return {letter: int(value) for letter, value in re.findall(r"([a-z])([0-9]{2})", text)}


def flat(*color: int) -> np.ndarray:
    return np.full((40, 50, 3), color, dtype=np.uint8)


def test_one_color_by_hand() -> None:
    # Luma 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124; chroma 150; saturation 150 / 200. Nothing is clipped.
    found = numbers(flat(200, 100, 50))
    expected = dict.fromkeys("abcde", 124) | dict.fromkeys("fghij", 200) | dict.fromkeys("klmno", 50)
    expected |= dict.fromkeys("pqr", 150) | dict.fromkeys("stuv", 255 * 150 // 200)
    assert {k: found[k] for k in expected} == {k: 1 + round(v / 255 * 98) for k, v in expected.items()}
    assert [found[k] for k in "wxyz"] == [1, 1, 1, 1]
    assert len(QUANTILES) + len(CLIPPED) == 26


@pytest.mark.parametrize(
    ("color", "clipped"),
    [((255, 255, 255), (99, 99, 1, 1)), ((0, 0, 0), (1, 1, 99, 99)), ((255, 0, 90), (1, 99, 1, 99))],
)
def test_clipped_pixels_by_hand(color: tuple[int, int, int], clipped: tuple[int, ...]) -> None:
    assert tuple(numbers(flat(*color))[k] for k in "wxyz") == clipped


def test_a_share_is_told_by_its_logarithm() -> None:
    pixels = np.full((100, 200, 3), 128, dtype=np.uint8)
    shares = []
    for count in (0, 20, 200, 2000, 20000):  # of 20,000 pixels
        pixels.reshape(-1, 3)[:count] = 255
        shares.append(numbers(pixels)["w"])
    # None, and then ten times as many each: 98 / 5 higher.
    assert shares == [1, 1 + round(98 * 2 / 5), 1 + round(98 * 3 / 5), 1 + round(98 * 4 / 5), 99]


def test_quantiles_are_those_of_the_slightly_blurred_picture() -> None:
    pixels = load_image(EXAMPLES / "cat.jpg").pixels
    x = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1.2))).astype(float)
    chroma = x.max(axis=2) - x.min(axis=2)
    planes = {
        "luma": x @ [0.299, 0.587, 0.114],
        "largest channel": x.max(axis=2),
        "smallest channel": x.min(axis=2),
        "chroma": chroma,
        "saturation": 255 * chroma / np.maximum(x.max(axis=2), 1),
    }
    expected = [1 + 98 * np.quantile(planes[what], q) / 255 for what, q in QUANTILES]
    # Values are whole 255ths before they are counted, and whole 98ths after: half of each may be lost.
    np.testing.assert_allclose(list(numbers(pixels).values())[:22], expected, atol=0.5 + 98 / 255)


def test_tones_follow_exposure_contrast_and_saturation() -> None:
    pixels = load_image(EXAMPLES / "coffee.jpg").pixels.astype(float)
    mean = pixels.mean(axis=2, keepdims=True)

    def changed(x: np.ndarray) -> dict[str, int]:
        return numbers(x.clip(0, 255).round().astype(np.uint8))

    plain, bright = changed(pixels), changed(pixels + 30)
    flatter, grey = changed(128 + (pixels - 128) * 0.7), changed(mean + (pixels - mean) * 0.6)
    assert bright["c"] - plain["c"] == pytest.approx(30 / 255 * 98, abs=3) and bright["x"] > plain["x"]
    assert plain["e"] - plain["a"] > flatter["e"] - flatter["a"] + 20
    assert plain["p"] > grey["p"] + 5 and abs(plain["c"] - grey["c"]) < 8


def test_every_picture_of_one_size_has_as_many_tokens(tiny_checkpoint: Path) -> None:
    """Pictures of one size share a pass only then."""
    backend = HuggingFaceBackend.load(str(tiny_checkpoint), device="cpu")
    rng = np.random.default_rng(0)
    shown = [rng.integers(0, high + 1, (64, 64, 3), dtype=np.uint8) for high in (0, 1, 9, 30, 120, 254, 255)]
    shown += [flat(255, 255, 255)[:40, :40], flat(0, 255, 3)[:40, :40]]
    lengths = {len(backend.tokenizer(tones_text(pixels), add_special_tokens=False)["input_ids"]) for pixels in shown}
    assert lengths == {3 * 26 + 1}


def test_tones_follow_their_picture_where_a_model_reads_them(tiny_checkpoint: Path) -> None:
    backend = HuggingFaceBackend.load(str(tiny_checkpoint), device="cpu")
    a, b = load_image(flat(10, 20, 30)), load_image(flat(200, 100, 50))
    assert tones_of(a) == tones_text(a.pixels) != tones_of(b)
    text = backend.text_of(Conversation.ask([a, b], "Which?", "The"))
    picture = "<|vision_start|><|image_pad|><|vision_end|>"
    assert f"{picture}{tones_of(a)}{picture}{tones_of(b)}Which?" in text

    class Plain:
        """Another model's template, which has no place for them."""

        chat_template = "'text'"

        def apply_chat_template(self, messages: list[dict[str, object]], **options: object) -> str:
            return str(messages)

    assert not reads_tones(Plain())
    assert "tones" not in template_text(Plain(), Conversation.ask([a], "Which?"))
