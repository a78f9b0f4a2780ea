"""What a severity is worth: the table against the distortions and the human means, the arithmetic by hand."""

import csv
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mllm_iqa.data_build.distortions import DQ495K
from mllm_iqa.data_build.severity import CLEAN_MOS, pseudo_mos, severity_table

from mllm_iqa.errors import DataError

BLUR, JPEG = "blur.gaussian_blur", "compression.jpeg"


def test_the_table_covers_the_published_distortions_exactly() -> None:
    assert list(severity_table()) == list(DQ495K)


@pytest.mark.parametrize("name", DQ495K)
def test_more_severe_is_worse_and_on_the_scale(name: str) -> None:
    row = severity_table()[name]
    assert len(row) == 6
    assert row[0] == CLEAN_MOS == 4.6
    assert all(a > b for a, b in pairwise(row)), row
    assert min(row) >= 1


def test_a_clean_picture_keeps_its_mos() -> None:
    assert pseudo_mos([]) == 4.6
    assert pseudo_mos([], clean_mos=3.5) == 3.5
    assert pseudo_mos([(BLUR, 0)]) == pytest.approx(4.6, abs=1e-12)


def test_published_severities_give_the_table() -> None:
    for name, row in severity_table().items():
        for severity, mos in enumerate(row):
            assert pseudo_mos([(name, severity)]) == pytest.approx(mos, abs=1e-12)


def test_interpolation_by_hand() -> None:
    # Gaussian blur: 4.6 clean, 2.91 at 1, 1.87 at 2.
    assert pseudo_mos([(BLUR, 0.5)]) == pytest.approx((4.6 + 2.91) / 2)
    assert pseudo_mos([(BLUR, 1.25)]) == pytest.approx(2.91 - 0.25 * (2.91 - 1.87))  # 2.65


def test_composition_by_hand() -> None:
    # Blur 1 leaves (2.91 - 1) / 3.6 of the quality, JPEG 2 leaves (3.20 - 1) / 3.6 of that:
    # 1 + 3.6 * .530556 * .611111 = 1 + 1.91 * 2.2 / 3.6 = 2.167222
    both = pseudo_mos([(BLUR, 1), (JPEG, 2)])
    assert both == pytest.approx(1 + 1.91 * 2.2 / 3.6)
    assert both == pytest.approx(pseudo_mos([(JPEG, 2), (BLUR, 1)]))
    # From a picture at 3.4 instead: 1 + 2.4 * .530556 = 2.273333
    assert pseudo_mos([(BLUR, 1)], clean_mos=3.4) == pytest.approx(1 + 2.4 * 1.91 / 3.6)


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.sampled_from(DQ495K), min_size=1, max_size=3),
    severity=st.floats(0, 5),
    clean=st.floats(1, 5),
)
def test_the_result_is_on_the_scale_and_never_better_than_before(
    names: list[str], severity: float, clean: float
) -> None:
    mos = pseudo_mos([(name, severity) for name in names], clean)
    assert 1 <= mos <= clean + 1e-12
    assert mos <= pseudo_mos([(names[0], severity)], clean) + 1e-12


@pytest.mark.parametrize("severity", [-0.01, 5.01, math.nan])
def test_a_severity_off_the_scale_is_refused_by_name(severity: float) -> None:
    with pytest.raises(DataError, match=r"'compression\.jpeg' must lie in \[0, 5\]"):
        pseudo_mos([(BLUR, 1), (JPEG, severity)])


def test_an_unknown_distortion_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"'compression\.webp'"):
        pseudo_mos([("compression.webp", 1)])


# (distortion, our severity, KADID type, KADID level, the parameter both have)
SAME_PARAMETER = [
    (BLUR, 1, "gaussian blur", 3, "sigma 1"),
    (BLUR, 2, "gaussian blur", 4, "sigma 2"),
    (BLUR, 5, "gaussian blur", 5, "sigma 5"),
    ("blur.lens_blur", 1, "lens blur", 2, "radius 2"),
    ("blur.lens_blur", 3, "lens blur", 3, "radius 4"),
    ("blur.lens_blur", 4, "lens blur", 4, "radius 6"),
    ("blur.lens_blur", 5, "lens blur", 5, "radius 8"),
    ("noise.impulse_noise", 1, "impulse noise", 3, "density .01"),
    ("noise.impulse_noise", 2, "impulse noise", 5, "density .03"),
    ("noise.gaussian_noise", 2, "white noise (RGB)", 5, "variance .01"),
    ("noise.speckle_noise", 1, "multiplicative noise", 4, "variance .02"),
]


@pytest.fixture(scope="session")
def kadid() -> dict[tuple[str, int], float]:
    path = Path(__file__).resolve().parents[3] / "shared" / "reference" / "kadid10k_mos_by_type_and_level.csv"
    if not path.is_file():
        pytest.skip("KADID's means by type and level are not here (../shared/reference)")
    with path.open(newline="", encoding="utf-8") as f:
        return {(row["type"], int(row["level"])): float(row["mos_mean"]) for row in csv.DictReader(f)}


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "severity", "kind", "level"),
    [row[:4] for row in SAME_PARAMETER],
    ids=[f"{r[0]}-{r[4]}" for r in SAME_PARAMETER],
)
def test_the_same_parameter_has_the_human_mean(
    kadid: dict[tuple[str, int], float], name: str, severity: int, kind: str, level: int
) -> None:
    assert pseudo_mos([(name, severity)]) == pytest.approx(kadid[kind, level], abs=0.006)  # rounded to two places


@pytest.mark.data
def test_a_clean_picture_is_worth_the_mildest_human_means(kadid: dict[tuple[str, int], float]) -> None:
    mildest = sorted(kadid.values())[-5:]
    assert pytest.approx(float(np.mean(mildest)), abs=0.05) == CLEAN_MOS
