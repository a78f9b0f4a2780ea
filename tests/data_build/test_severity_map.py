"""The map from distances to MOS: its shape, its arithmetic by hand, and that its fit finds what made the data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mllm_iqa.data_build.severity_map import (
    Cells,
    Term,
    damage,
    damage_of_mos,
    fit_terms,
    leave_one_kind_out,
    mos_of_damage,
)

TERMS = (Term("haarpsi", 1.5, 0.8), Term("mdsi", 3.0, 2.0))


def test_damage_by_hand() -> None:
    # 1.5 x .25^.8 + 3 x .4^2 = 1.5 x .329877 + .48 = .974816
    assert damage({"haarpsi": 0.25, "mdsi": 0.4}, TERMS) == pytest.approx(0.974816, abs=1e-6)
    assert mos_of_damage(np.log(2)) == pytest.approx(2.8)  # half of the 3.6 above 1
    assert mos_of_damage(0.0) == 4.6


@given(st.floats(0, 20), st.floats(0, 20))
def test_more_damage_is_worse_and_on_the_scale(a: float, b: float) -> None:
    worse, better = mos_of_damage(max(a, b)), mos_of_damage(min(a, b))
    assert 1 < worse <= better <= 4.6
    assert damage_of_mos(mos_of_damage(min(a, 10))) == pytest.approx(min(a, 10), abs=1e-8)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_more_distance_is_more_damage(a: float, b: float, other: float) -> None:
    near, far = sorted((a, b))
    assert damage({"haarpsi": near, "mdsi": other}, TERMS) <= damage({"haarpsi": far, "mdsi": other}, TERMS)


@pytest.fixture
def cells() -> Cells:
    """Twenty cells of three pictures, five of each of four kinds, whose human means are what `TERMS` makes of them."""
    rng = np.random.default_rng(0)
    distances = {"haarpsi": rng.uniform(0.01, 0.9, 60), "mdsi": rng.uniform(0.02, 0.5, 60)}
    cell, kinds = np.repeat(np.arange(20), 3), np.repeat(["a", "b", "c", "d"], 5)
    blank = Cells(distances, cell, np.zeros(20), kinds)
    return Cells(distances, cell, blank.predict(TERMS), kinds)


def test_means_are_of_cells(cells: Cells) -> None:
    assert cells.mean(np.arange(60.0)).tolist() == [3 * c + 1 for c in range(20)]


def test_the_fit_finds_what_made_the_data(cells: Cells) -> None:
    found = fit_terms(cells, ("haarpsi", "mdsi"), np.ones(20, bool))
    assert [t.metric for t in found] == ["haarpsi", "mdsi"]
    assert [(t.weight, t.power) for t in found] == [
        pytest.approx((true.weight, true.power), rel=1e-3) for true in TERMS
    ]


def test_the_fit_looks_at_what_is_kept_only(cells: Cells) -> None:
    keep = np.arange(20) < 15
    wrong = Cells(cells.distances, cells.cell, np.where(keep, cells.human, 1.1), cells.kinds)
    assert fit_terms(wrong, ("haarpsi", "mdsi"), keep) == fit_terms(cells, ("haarpsi", "mdsi"), keep)


def test_a_kind_left_out_is_not_seen(cells: Cells) -> None:
    keep = np.ones(20, bool)
    other = Cells(cells.distances, cells.cell, np.where(cells.kinds == "b", 1.5, cells.human), cells.kinds)
    before, after = (leave_one_kind_out(c, ("haarpsi",), keep) for c in (cells, other))
    assert after[5:10].tolist() == before[5:10].tolist()  # b's own predictions never depended on b
    assert (np.abs(after - before)[keep & (cells.kinds != "b")] > 1e-3).all()


def test_cells_not_kept_are_not_predicted(cells: Cells) -> None:
    predicted = leave_one_kind_out(cells, ("haarpsi",), np.arange(20) >= 5)
    assert np.isnan(predicted).tolist() == [True] * 5 + [False] * 15
