"""The fit of the content correction: its pieces by hand, and the whole on measurements whose truth is known."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from mllm_iqa.data_build import severity_fit
from mllm_iqa.data_build.distortions import DQ495K, apply
from mllm_iqa.data_build.fr_metrics import METRICS
from mllm_iqa.data_build.severity import severity_table
from mllm_iqa.data_build.severity_figures import agreement, falls, spread_of
from mllm_iqa.data_build.severity_fit import NOT_FITTED, content_spread, fit, published_cells, read_kadid
from mllm_iqa.data_build.severity_map import Cells, damage_of_mos
from mllm_iqa.data_build.severity_measure import (
    SAME_PARAMETERS,
    Measured,
    choose_sources,
    measure,
    measure_source,
    read_measured,
)
from mllm_iqa.data_build.sources import Photo

from mllm_iqa.errors import DataError, ImageError

Textured = Callable[..., np.ndarray]
KADID = {
    "gaussian blur": [(4.61, 0.13), (4.38, 0.22), (2.91, 0.43), (1.87, 0.27), (1.30, 0.14)],
    "JPEG": [(4.34, 0.22), (4.25, 0.23), (3.87, 0.31), (1.95, 0.32), (1.35, 0.18)],
}


# Figures by hand


def test_agreement_by_hand() -> None:
    human, kinds = np.array([4.0, 3.0, 2.0, 1.0]), np.array(["a", "a", "b", "b"])
    # Ranks 4 3 2 1 and 3 4 2 1: 1 - 6 (1 + 1) / (4 x 15) = .8. Errors 0, 2, 0, 0: RMSE sqrt(4 / 4) = 1.
    found = agreement(np.array([4.0, 5.0, 2.0, 1.0]), human, kinds)
    assert (found.srcc, found.rmse) == (pytest.approx(0.8), pytest.approx(1.0))
    assert (found.cells, found.kinds) == (4, 2)
    # Kind b alone is without error, kind a alone has sqrt(4 / 2).
    assert (found.rmse_low, found.rmse_high) == (pytest.approx(0), pytest.approx(2**0.5))
    assert agreement(-human, human, kinds).srcc == pytest.approx(-1)  # a reversed predictor is not good
    assert agreement(np.full(4, 2.5), human, kinds).srcc == 0


def test_the_spread_of_a_cell_by_hand() -> None:
    cells = Cells({}, np.array([0, 0, 1, 1, 1]), np.zeros(2), np.array(["a", "b"]))
    # {1, 2}: variance .5. {1, 2, 3}: variance 1.
    assert spread_of(cells, np.array([1.0, 2, 1, 2, 3])) == pytest.approx([0.5**0.5, 1.0])


def test_falls_are_counted_per_source() -> None:
    cells = Cells({}, np.array([0, 1, 2, 3, 4, 0, 1, 2]), np.zeros(5), np.array(["a"] * 5))
    mos = np.array([4.0, 3.0, 3.5, 2.0, 2.0, 4.0, 3.0, 2.0])
    # x: 4 3 3.5 2 2 has a rise and a tie in four pairs; y: 4 3 2 has two pairs, both falls.
    assert falls(["x"] * 5 + ["y"] * 3, cells, mos) == {"pairs": 6, "out_of_order": 2}


def test_the_spread_that_people_show_by_hand() -> None:
    # Halfway between (2.91, .43) and (1.87, .27): .35, less the noise of .13: sqrt(.35^2 - .13^2) = .324962.
    assert content_spread("KADID gaussian blur by sigma", 2.39, KADID) == pytest.approx(0.324962, abs=1e-6)
    assert content_spread("KADID gaussian blur by sigma", 4.61, KADID) == 0
    assert np.isnan(content_spread("TID2013 spatially correlated noise rescaled", 2.0, KADID))


def test_the_table_of_kadid_is_read_and_another_refused(tmp_path: Path) -> None:
    table = tmp_path / "kadid.csv"
    table.write_text(
        "type_id,type,level,n_images,mos_mean,mos_std_over_images\n1,blur,1,81,4.6,0.13\n1,blur,2,81,4,.2\n"
    )
    assert read_kadid(table) == {"blur": [(4.6, 0.13), (4.0, 0.2)]}
    table.write_text("type,mos\nblur,4\n")
    with pytest.raises(DataError, match=r"kadid\.csv: not KADID-10k's means .*expected columns type, level, mos_mean"):
        read_kadid(table)
    with pytest.raises(DataError, match=r"none\.csv: not KADID-10k's means"):
        read_kadid(tmp_path / "none.csv")


# Measurements


def test_severities_of_kadids_parameters_by_hand() -> None:
    severity = {(s.kadid_type, s.level): s.severity for s in SAME_PARAMETERS}
    assert severity["gaussian blur", 2] == pytest.approx(
        (0.5 - 0.3) / 0.7, abs=1e-4
    )  # sigma .5, from .3 at 0 to 1 at 1
    assert severity["JPEG", 4] == pytest.approx(4 + 1 / 3, abs=1e-4)  # quality 7, from 8 at 4 to 5 at 5
    assert severity["white noise (RGB)", 5] == pytest.approx(2)  # variance .01


def test_our_ladder_has_kadids_parameters() -> None:
    image = np.random.default_rng(0).integers(60, 190, (64, 64, 3), dtype=np.uint8)
    for same in SAME_PARAMETERS:
        out = apply(same.distortion, image, same.severity, np.random.default_rng(1))
        if same.kadid_type == "gaussian blur" and same.level < 5:
            sigma = {2: 0.5, 3: 1.0, 4: 2.0}[same.level]
            expected = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
            assert np.abs(out.astype(int) - expected).max() <= 1
        if same.kadid_type == "white noise (RGB)":
            std = (0.001, 0.002, 0.003, 0.005, 0.01)[same.level - 1] ** 0.5
            assert (out.astype(float) - image).std() / 255 == pytest.approx(std, rel=0.03)
        if same.kadid_type == "impulse noise":
            density = {2: 0.005, 3: 0.01, 4: 0.02, 5: 0.03}[same.level]
            assert np.isin(out, (0, 255)).mean() == pytest.approx(density, rel=0.25)


def photo(dataset: str, name: str, split: str = "train", mos: float | None = None) -> Photo:
    return Photo(Path(name), mos, dataset, "ss03", split)  # type: ignore[arg-type]


def test_sources_are_clean_training_photographs_of_both_sets() -> None:
    photos = [photo("biq2021", f"{n}.jpg", mos=4.5) for n in range(9)] + [
        photo("bsds500", f"b{n}.jpg") for n in range(9)
    ]
    unfit = [photo("bsds500", "v.jpg", split="val"), photo("biq2021", "low.jpg", mos=3.0)]
    chosen = choose_sources(photos + unfit, per_set=3)
    assert len({p.name for p in chosen}) == 6
    assert [p.name[0] == "b" for p in chosen] == [False] * 3 + [True] * 3
    assert choose_sources((photos + unfit)[::-1], per_set=3) == chosen
    with pytest.raises(DataError, match=r"biq2021: 9 clean training photographs, 10 are needed"):
        choose_sources(photos + unfit, per_set=10)


@pytest.mark.skipif(
    find_spec("piq") is None, reason="needs piq: pip install --no-deps 'piq>=0.8,<0.9' (the Makefile does)"
)
def test_measurements_of_a_photograph_are_a_function_of_the_seed(tmp_path: Path, textured: Textured) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), textured(320, 320))
    first, again = (list(islice(measure_source(path, 3, seed=5), 2)) for _ in range(2))
    assert first == again
    assert [m.distortions for m in first] == [(("blur.gaussian_blur", 1.0),), (("blur.gaussian_blur", 2.0),)]
    assert all(first[0].distances[m] < first[1].distances[m] for m in METRICS)


def test_a_photograph_of_another_size_is_refused(tmp_path: Path, textured: Textured) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), textured(319, 400))
    with pytest.raises(DataError, match=r"a\.png: 400x319 px; both sides must lie in 320\.\.512"):
        next(measure_source(tmp_path / "a.png", 0, seed=0))


def test_what_was_measured_is_kept_and_what_fails_leaves_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "7-00-a.jsonl"
    row = {"source": "a.png", "distortions": [["blur.jitter", 2.0]], "distances": {"vsi": 0.1}}
    kept.write_text(json.dumps(row) + "\n")
    assert list(measure([Path("a.png")], tmp_path, seed=7)) == [kept]
    assert read_measured([kept]) == [Measured("a.png", (("blur.jitter", 2.0),), {"vsi": 0.1})]
    with pytest.raises(ImageError, match=r"b\.png: cannot be opened"):
        list(measure([tmp_path / "b.png"], tmp_path, seed=7))
    assert [p.name for p in tmp_path.iterdir()] == [kept.name]


# The whole fit


@pytest.fixture(scope="module")
def known() -> list[Measured]:
    """Three sources whose damage is people's times .8, 1 and 1.25, seen by one metric; the others see noise."""
    rng = np.random.default_rng(0)

    def seen(source: str, distortions: tuple[tuple[str, float], ...], z: float) -> Measured:
        noise = {m: float(v) for m, v in zip(METRICS, rng.uniform(0.1, 0.9, len(METRICS)), strict=True)}
        return Measured(source, distortions, noise | {"haarpsi": (z / 3.0) ** 0.5})  # z = 3 d^2

    measured = []
    for source, factor in (("a", 0.8), ("b", 1.0), ("c", 1.25)):
        for name in DQ495K:
            for s in range(1, 6):
                z = float(damage_of_mos(severity_table()[name][s]))
                measured.append(seen(source, ((name, float(s)),), z * factor))
        both = (("blur.gaussian_blur", 2.0), ("compression.jpeg", 3.0))
        z = sum(float(damage_of_mos(severity_table()[n][int(s)])) for n, s in both)
        measured.append(seen(source, both, 0.7 * z * factor))
        for same in SAME_PARAMETERS:
            if not same.severity.is_integer():
                measured.append(seen(source, ((same.distortion, same.severity),), 0.5 * factor))
    return measured


def test_the_fit_finds_what_is_known(known: list[Measured]) -> None:
    kadid = {same.kadid_type: KADID["gaussian blur"] for same in SAME_PARAMETERS}
    result = fit(known, kadid)
    json.dumps(result, allow_nan=False)  # plain and finite
    (term,) = result["map"]
    assert (term["metric"], term["weight"], term["power"]) == (
        "haarpsi",
        pytest.approx(3, abs=0.2),
        pytest.approx(2, abs=0.2),
    )
    assert result["agreement"]["map"]["leave_one_kind_out"]["srcc"] > 0.99
    assert result["agreement"]["map"]["leave_one_kind_out"]["cells"] == 5 * (31 - len(NOT_FITTED))
    assert result["agreement"]["gmsd"]["leave_one_kind_out"]["srcc"] < 0.5
    # The median source is b: typical damage is people's own, as far as the map is the true one.
    human = damage_of_mos(np.array(severity_table()["compression.jpeg"][1:]))
    assert result["typical_damage"]["compression.jpeg"] == pytest.approx(human, rel=0.1)
    assert result["pair_factor"] == pytest.approx(0.7, abs=0.05)
    # The slope makes the spread half of people's.
    content = result["content"]
    if result["slope"] < 1:
        assert content["spread_corrected"] == pytest.approx(0.5 * content["spread_of_people"], rel=0.01)
    assert content["order_corrected"] == {"pairs": 3 * 35 * 4, "out_of_order": 0}


def test_only_single_distortions_at_whole_severities_are_cells(known: list[Measured]) -> None:
    cells, steps, sources = published_cells(known)
    assert len(steps) == len(cells.human) == 175
    assert len(sources) == len(cells.cell) == 3 * 175


def test_the_figures_in_the_docs_are_those_of_the_stored_fit() -> None:
    data_build = Path(severity_fit.__file__).parent
    stored = json.loads((data_build / "severity_fit.json").read_text(encoding="utf-8"))
    docs = (Path(__file__).resolve().parents[2] / "docs" / "SEVERITY.md").read_text(encoding="utf-8")
    for figures in stored["agreement"].values():
        fitted, left_out = figures["fit"], figures["leave_one_kind_out"]
        ends = [
            f"{left_out[k]:.2f} [{left_out[k + '_low']:.2f}, {left_out[k + '_high']:.2f}]" for k in ("srcc", "rmse")
        ]
        assert f"| {fitted['srcc']:.2f} | {fitted['rmse']:.2f} | {ends[0]} | {ends[1]} |" in docs
    assert f"{left_out['cells']} cells" in docs and f"of {left_out['kinds']} kinds" in docs
    content = stored["content"]
    for key in ("spread_of_people", "spread_of_metrics_alone", "spread_corrected", "largest_spread_corrected"):
        assert f"{content[key]:.2f}" in docs
