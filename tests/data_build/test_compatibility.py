"""Pairs of distortions: the table covers every family once, contradicts nobody, and leaves both of a pair visible."""

from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
from mllm_iqa.data_build.distortions import DISTORTIONS, apply
from mllm_iqa.data_build.distortions.compatibility import LATER, compatible, families_compatible, in_order

import mllm_iqa
from mllm_iqa.images import load_image
from mllm_iqa.taxonomy import FAMILY_OF

ORDER = tuple(LATER)


def test_the_table_is_about_every_family_and_only_later_ones() -> None:
    assert set(ORDER) == set(FAMILY_OF.values())
    for family, later in LATER.items():
        assert len(set(later)) == len(later)
        assert all(ORDER.index(other) > ORDER.index(family) for other in later), family


def test_compatible_is_symmetric_and_nothing_goes_with_its_own_family() -> None:
    for first, second in permutations(DISTORTIONS, 2):
        assert compatible(first, second) == compatible(second, first)
        assert not (compatible(first, second) and DISTORTIONS[first].family == DISTORTIONS[second].family)
    assert not any(families_compatible(family, family) for family in ORDER)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("brighten", "darken"),
        ("contrast strengthen", "contrast weaken"),
        ("saturate strengthen", "saturate weaken"),
        ("blur", "oversharpen"),
        ("noise", "oversmooth"),
        ("haze", "contrast weaken"),
        ("pixelate", "upscale"),
    ],
)
def test_contradictory_and_lookalike_pairs_are_excluded(first: str, second: str) -> None:
    assert not families_compatible(first, second)


def test_order_is_that_of_light_becoming_a_file() -> None:
    chain = ["air.haze", "blur.jitter", "sensor.low_light_noise", "compression.avif", "transmission.shifted_rows"]
    for shuffled in permutations(chain):
        assert in_order(shuffled) == chain
    # The published pairs of the bank: light, color, optics, sensor, file.
    assert in_order(["compression.jpeg", "saturation.weaken_hsv", "exposure.darken_gamma_rgb"]) == [
        "exposure.darken_gamma_rgb",
        "saturation.weaken_hsv",
        "compression.jpeg",
    ]
    assert in_order([]) == []


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown distortion 'blur'; known: blur\.gaussian_blur"):
        compatible("blur", "noise.gaussian_noise")
    with pytest.raises(ValueError, match="unknown distortion 'x'"):
        in_order(["blur.jitter", "x"])
    with pytest.raises(ValueError, match="unknown family 'x'; known: haze"):
        families_compatible("noise", "x")


def test_both_of_a_pair_leave_a_trace() -> None:
    """Moderate damage of each kind, alone and in pairs, on a photograph: neither may vanish under the other."""
    pixels = load_image(Path(mllm_iqa.__file__).parent / "examples" / "cat.jpg").pixels
    image = np.ascontiguousarray(pixels[120:184, 160:240])
    kinds = {d.kind: name for name, d in reversed(DISTORTIONS.items()) if name != "compression.jpeg_mild"}
    alone = {name: apply(name, image, 3, np.random.default_rng(1)) for name in kinds.values()}

    def apart(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.abs(a.astype(int) - b).mean())

    lost = []
    for pair in combinations(kinds.values(), 2):
        first, second = in_order(pair)
        if compatible(first, second):
            both = apply(second, alone[first], 3, np.random.default_rng(1))
            traces = (
                apart(both, alone[second]) / apart(alone[first], image),
                apart(both, alone[first]) / apart(alone[second], image),
            )
            if min(traces) < 0.15:
                lost.append((first, second, traces))
    assert lost == []
