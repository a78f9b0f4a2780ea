"""Measuring on held-out pictures: every figure from a predictions file made by hand, and runs that go on."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mllm_iqa.data_build.heldout import SCHEMA
from mllm_iqa.eval.heldout import (
    compare_figures,
    figures,
    interval_multiplier,
    photo_items,
    predict,
    printable,
    record,
    synthetic_items,
)
from mllm_iqa.eval.report.explanations import write_explanations

from mllm_iqa import Assistant
from mllm_iqa.agreement import Figure
from mllm_iqa.backends.base import Conversation
from mllm_iqa.backends.fake import FakeBackend
from mllm_iqa.checkpoints import Card, read_card, write_card
from mllm_iqa.cli import main
from mllm_iqa.errors import DataError
from mllm_iqa.levels import LEVELS
from mllm_iqa.taxonomy import FAMILIES, FAMILY_OF, KINDS_BY_FAMILY

Row = dict[str, Any]


# A predictions file by hand


def result(mos: float, findings: list[tuple[str, int]], level: str = "fair", text: str | None = None) -> Row:
    """What `Score.to_dict` gives, as far as figures look at it."""
    said = f"The quality of the image is {level}." if text is None else text
    return {
        "mos": mos,
        "std": 0.5,
        "interval": {"low": mos - 0.75, "high": mos + 0.75},
        "levels": {word: 0.6 if word == level else 0.1 for word in LEVELS},
        "distortions": [{"kind": k, "family": FAMILY_OF[k], "severity": s} for k, s in findings],
        "explanation": said,
        "model": "by hand",
    }


FAILED: Row = {"name": "", "error": "made up"}


def synthetic(family: str, source: str, severity: int, said: Row) -> Row:
    return {
        "set": "synthetic",
        "source": source,
        "family": family,
        "distortion": f"{family} of a sort",
        "severity": severity,
        "result": said,
    }


def photo(path: str, mos: float, subset: str, said: Row) -> Row:
    return {"set": "photo", "path": path, "mos": mos, "subset": subset, "split": "val", "result": said}


def ladder(family: str) -> list[Row]:
    """The five severities of one picture, judged well, but for what is said of five of the families."""
    kind = KINDS_BY_FAMILY[family][0]
    rows = []
    for severity in range(1, 6):
        mos, findings = 5.0 - 0.5 * severity, [(kind, severity)]
        if family == "blur":
            mos = 1.0 + 0.5 * severity  # reversed
        elif family == "noise":
            mos = [4.0, 4.0, 3.0, 2.0, 1.0][severity - 1]  # a tie
        elif family == "compression":
            findings = [("gaussian blur", 1), (kind, severity)]  # found, but second
        elif family == "quantization":
            findings = []  # missed
        elif family == "darken":
            findings = [(kind, min(5, severity + 1))]  # one too severe, but for the last
        elif family == "pixelate":
            findings = [(kind, 1)]  # always slight
        rows.append(synthetic(family, f"{family}.jpg", severity, result(mos, findings)))
    return rows


def write(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf8")
    return path


PHOTOS = [
    # Predicted 1, 2, 3, 4 for 2, 1, 4, 3: SRCC = PLCC = .6 (see test_metrics.py), every error 1.
    photo("1.jpg", 2.0, "ss01", result(1.0, [])),
    photo("2.jpg", 1.0, "ss01", result(2.0, [])),
    photo("3.jpg", 4.0, "ss01", result(3.0, [])),
    photo("4.jpg", 3.0, "ss01", result(4.0, [])),
    # In the other subset reversed: 4, 3.5, 3 for 1, 1.5, 2.
    photo("5.jpg", 1.0, "ss02", result(4.0, [])),
    photo("6.jpg", 1.5, "ss02", result(3.5, [])),
    photo("7.jpg", 2.0, "ss02", result(3.0, [])),
    photo("8.jpg", 2.0, "ss02", FAILED),
]


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    rows = [row for family in FAMILIES for row in ladder(family)]
    rows.append(synthetic("blur", "other.jpg", 3, FAILED))
    rows += [
        synthetic("none", "blur.jpg", 0, result(4.5, [], "good")),
        synthetic("none", "noise.jpg", 0, result(4.5, [("jitter", 1)], "good")),
        synthetic("none", "other.jpg", 0, FAILED),
    ]
    return figures(write(tmp_path_factory.mktemp("by-hand") / "predictions.jsonl", rows + PHOTOS))


@pytest.mark.parametrize(
    ("name", "share", "n", "total"),
    [
        # Twelve families of five; compression and quantization are not named first; one more picture failed.
        ("family top-1", 50 / 60, 60, 61),
        ("family among findings", 55 / 60, 60, 61),
        # Of the 55 found, darken is exact at severity 5 alone and pixelate at 1 alone.
        ("severity exact", 47 / 55, 55, 61),
        # Pixelate, always 1, is within one at 1 and 2.
        ("severity within one", 52 / 55, 55, 61),
        # Severities 1-3, 2-4 and 3-5 of twelve ladders; blur is the wrong way round.
        ("pairs two severities apart", 33 / 36, 36, 36),
        ("clean called clean", 1 / 2, 2, 3),
        # A slight finding is no alarm.
        ("clean with a finding of severity 2 or more", 0, 2, 3),
    ],
)
def test_shares_by_hand(values: dict[str, Any], name: str, share: float, n: int, total: int) -> None:
    figure = values[name]
    assert figure.value == pytest.approx(share)
    assert (figure.n, figure.total) == (n, total)
    assert np.isnan(figure.low) if n < 5 else figure.low <= figure.value <= figure.high  # too few to resample


def test_pairs_of_different_pictures_by_hand(tmp_path: Path) -> None:
    # a: 4, 3, 2 at severities 1, 3, 5; b: 3.5 and 2.5 at 1 and 3. Pairs: a1-b3 right, b1-a3 right, b3-a5 right; a1-a3
    # and a3-a5 are of one picture, and c, of another distortion, has no partner.
    rows = [
        *(synthetic("noise", "a.jpg", s, result(m, [])) for s, m in ((1, 4.0), (3, 3.0), (5, 2.0))),
        *(synthetic("noise", "b.jpg", s, result(m, [])) for s, m in ((1, 3.5), (3, 2.5))),
        synthetic("blur", "c.jpg", 3, result(5.0, [])),
    ]
    name = "pairs of different pictures two severities apart"
    figure = figures(write(tmp_path / "right.jsonl", rows))[name]
    assert (figure.value, figure.n, figure.total) == (1, 3, 3)
    rows[4]["result"]["mos"] = 4.0  # b at 3 ties with a at 1, which is no win
    figure = figures(write(tmp_path / "tie.jsonl", rows))[name]
    assert (figure.value, figure.n) == (pytest.approx(2 / 3), 3)


def test_ladders_by_hand(values: dict[str, Any]) -> None:
    # Ten ladders in order: 1. Blur reversed: -1. Noise with one tie: 9.5 / sqrt(95) = .97468 (see test_metrics.py).
    mean = (10 - 1 + 0.97468) / 12
    assert values["ladder SRCC, mean over families"] == round(mean, 3) == 0.831
    within = values["SRCC of mos and severity by family"]
    assert within == {f: {"blur": -1.0, "noise": 0.975}.get(f, 1.0) for f in FAMILIES}
    assert values["SRCC of mos and severity within a family, mean"] == 0.831


def test_families_by_hand(values: dict[str, Any]) -> None:
    assert values["family top-1 by family"] == {f: float(f not in ("compression", "quantization")) for f in FAMILIES}


def test_photographs_by_hand(values: dict[str, Any]) -> None:
    # Predicted 1, 2, 3, 4, 4, 3.5, 3 for 2, 1, 4, 3, 1, 1.5, 2. Ranks 1, 2, 3.5, 6.5, 6.5, 5, 3.5 and
    # 4.5, 1.5, 7, 6, 1.5, 3, 4.5; deviations from 4: -3, -2, -.5, 2.5, 2.5, 1, -.5 and .5, -2.5, 3, 2, -2.5, -1, .5.
    # Products -1.5 + 5 - 1.5 + 5 - 6.25 - 1 - .25 = -.5; squares 27 and 27: -.5 / 27 = -.0185
    overall = values["photographs SRCC"]
    assert overall.value == pytest.approx(-0.5 / 27)
    assert (overall.n, overall.total) == (7, 8)
    assert values["photographs SRCC by subset"] == {"ss01": 0.6, "ss02": -1.0}
    # Errors 1, 1, 1, 1, 3, 2, 1: squares sum to 18.
    assert values["photographs RMSE"] == round(math.sqrt(18 / 7), 3)
    # No error is within .75.
    assert values["interval coverage"].value == 0
    # Sums 20.5 and 14.5, products 43.25, squares 67.25 and 37.25:
    # (43.25 - 20.5 * 14.5 / 7) / sqrt((67.25 - 20.5^2 / 7) (37.25 - 14.5^2 / 7)) = .7857 / 7.2143
    assert values["photographs PLCC"].value == pytest.approx(0.1089, abs=1e-4)


def test_a_reversed_predictor_has_negative_figures_through_the_whole_file(tmp_path: Path) -> None:
    rows = [photo(f"{n}.jpg", 1 + n / 4, "ss01", result(5 - n / 4, [])) for n in range(16)]
    found = figures(write(tmp_path / "reversed.jsonl", rows))
    assert found["photographs SRCC"].value == pytest.approx(-1)
    assert found["photographs PLCC"].value == pytest.approx(-1)


@pytest.mark.parametrize(
    ("text", "consistent"),
    [
        ("The quality of the image is fair. It shows jitter (slight).", True),
        ("The quality of the image is fair. Viewers would notice it.", True),
        ("The quality of the image is fair. It shows jitter (slight). Edges are slightly frayed.", True),
        ("The quality of the image is fair. Edges are frayed and grainy, as if pixels had been shuffled.", False),
        ("The quality of the image is fair. It is a good picture.", False),  # another level
        ("The quality of the image is fair. It shows gaussian blur (slight).", False),  # a kind that was not found
        ("The quality of the image is fair. Some posterization can be seen.", False),  # one of a single word
        ("The quality of the image is fair. It shows JPEG compression (slight).", False),
        ("It shows jitter (slight).", False),  # not the level
    ],
)
def test_consistency_of_text_and_number(text: str, consistent: bool, tmp_path: Path) -> None:
    rows = [photo("1.jpg", 3.0, "ss01", result(3.0, [("jitter", 1)], "fair", text))]
    assert figures(write(tmp_path / "one.jsonl", rows))["explanations consistent"].value == float(consistent)


def test_consistency_counts_failures_in_its_total(values: dict[str, Any]) -> None:
    # 60 + 2 + 7 scored, and three failed; every text by hand is consistent.
    figure = values["explanations consistent"]
    assert (figure.value, figure.n, figure.total) == (1, 69, 72)


def test_a_model_that_finds_nothing_is_measured_too(tmp_path: Path) -> None:
    rows = [synthetic(f, "a.jpg", s, result(3.0, [])) for f in FAMILIES for s in range(1, 6)]
    found = figures(write(tmp_path / "blind.jsonl", rows + PHOTOS))
    assert found["family top-1"].value == 0
    assert math.isnan(found["severity exact"].value)
    assert (found["severity exact"].n, found["severity exact"].total) == (0, 60)
    assert found["pairs two severities apart"].value == 0  # a tie is no win
    assert math.isnan(found["ladder SRCC, mean over families"])
    assert math.isnan(found["clean called clean"].value)
    # What is undefined is null in JSON, which knows no NaN.
    text = json.dumps(printable(found), allow_nan=False)
    assert json.loads(text)["severity exact"] == {"value": None, "low": None, "high": None, "n": 0, "total": 60}


def test_printable_leaves_numbers_alone() -> None:
    nested = {"a": Figure(0.5, 0.25, 0.75, 3, 4), "b": {"c": float("nan"), "d": 2}, "e": "text"}
    assert printable(nested) == {
        "a": {"value": 0.5, "low": 0.25, "high": 0.75, "n": 3, "total": 4},
        "b": {"c": None, "d": 2},
        "e": "text",
    }


# The interval


def ratio_rows(ratios: list[float]) -> list[Row]:
    """Photographs whose error is so many standard deviations (of .5)."""
    return [photo(f"{n}.jpg", 3.0 + 0.5 * r, "ss01", result(3.0, [])) for n, r in enumerate(ratios)]


def test_the_multiplier_by_hand() -> None:
    # 40 photographs with errors of 1, 2, ..., 40 standard deviations; 20 of them calibrate.
    # The ceil(21 * .9) = 19th smallest of these is the second largest.
    order = np.random.default_rng(0).permutation(40)
    mine, others = sorted(order[:20] + 1), order[20:] + 1
    multiplier, covered, half = interval_multiplier(ratio_rows([n + 1.0 for n in range(40)]))
    assert half == 20
    assert multiplier == pytest.approx(mine[-2])
    assert covered == pytest.approx(np.mean(others <= mine[-2]))


@pytest.mark.parametrize("count", [4, 10, 11])
def test_a_few_photographs_give_the_largest_error(count: int) -> None:
    # ceil((n + 1) * .9) is n or more for every half of up to nine.
    order = np.random.default_rng(0).permutation(count)
    multiplier, _, half = interval_multiplier(ratio_rows([n + 1.0 for n in range(count)]))
    assert half == count // 2
    assert multiplier == pytest.approx(max(order[:half]) + 1)


def test_errors_of_one_size_are_all_covered() -> None:
    multiplier, covered, half = interval_multiplier(ratio_rows([1.5] * 10))
    assert (multiplier, covered, half) == (pytest.approx(1.5), 1.0, 5)


@pytest.mark.parametrize("count", [0, 1])
def test_an_interval_of_too_few_photographs_is_refused(count: int) -> None:
    with pytest.raises(DataError, match=f"at least two scored photographs, got {count}"):
        interval_multiplier(ratio_rows([1.5] * count))


def test_figures_and_calibration_go_into_the_card(tmp_path: Path, values: dict[str, Any]) -> None:
    card = Card(
        name="tiny",
        version="1",
        licence="none",
        base_model=None,
        languages=("en",),
        max_pixels=1024,
        prompts=("rate.v1",),
        training_data=(),
        recipe="",
        results={},
        sha256={},
    )
    write_card(tmp_path, card)
    predictions = write(tmp_path / "predictions.jsonl", [*ratio_rows([1.5] * 10), photo("f.jpg", 3.0, "ss01", FAILED)])
    record(tmp_path, predictions, values, "2026-01-02")
    again = read_card(tmp_path)
    assert again is not None
    assert again.interval is not None
    assert (again.interval.multiplier, again.interval.coverage) == (1.5, 0.9)
    assert again.interval.calibrated_on == "5 held-out BIQ2021 photographs; covers 1.000 of 5 others"
    assert again.results["date"] == "2026-01-02"
    assert again.results["photographs RMSE"] == values["photographs RMSE"]
    assert again.results["family top-1"] == values["family top-1"].to_dict()
    # Of the uncalibrated interval, which the card replaces.
    assert "interval coverage" not in again.results


def test_a_folder_without_a_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no card\.json"):
        record(tmp_path, write(tmp_path / "predictions.jsonl", PHOTOS), {}, "2026-01-02")


# Predicting


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A test set of two families with five severities each and a clean picture, and three photographs (one train)."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    rows = []
    for family, severity in [(f, s) for f in ("blur", "noise") for s in range(1, 6)] + [("none", 0)]:
        pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        row = {"height": 40, "width": 48, "source": "a.jpg", "family": family, "kind": "none", "distortion": family}
        rows.append({**row, "severity": severity, "pixels": pixels.tobytes()})
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / "heldout.parquet")
    photos = []
    for n, split in enumerate(("val", "train", "val", "val")):
        path = folder / f"{n}.png"
        PIL.Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
        photos.append({"path": str(path), "mos": 2.0 + n, "dataset": "biq2021", "subset": "ss01", "split": split})
    pq.write_table(pa.Table.from_pylist(photos), folder / "photos.parquet")
    return {"synthetic": folder / "heldout.parquet", "photos": folder / "photos.parquet"}


ROWS = 11 + 3


@pytest.fixture(scope="module")
def whole(data: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The predictions of a run that nothing stopped."""
    out = tmp_path_factory.mktemp("whole") / "predictions.jsonl"
    assert list(run(data, out)) == [8, ROWS]
    return out.read_bytes()


def run(data: dict[str, Path], out: Path) -> Iterator[int]:
    return predict(Assistant(FakeBackend()), data["synthetic"], data["photos"], out)


def test_every_picture_is_a_row_in_order(data: dict[str, Path], whole: bytes) -> None:
    rows = [json.loads(line) for line in whole.splitlines()]
    assert [r["set"] for r in rows] == ["synthetic"] * 11 + ["photo"] * 3
    assert [r["severity"] for r in rows[:11]] == [1, 2, 3, 4, 5] * 2 + [0]
    assert [(Path(r["path"]).name, r["mos"]) for r in rows[11:]] == [("0.png", 2.0), ("2.png", 4.0), ("3.png", 5.0)]
    alone = Assistant(FakeBackend()).score(synthetic_items(data["synthetic"])[3]["pixels"])
    assert rows[3]["result"] == json.loads(json.dumps(alone.to_dict()))
    assert all("pixels" not in r for r in rows)


def test_a_run_that_was_stopped_goes_on_and_ends_with_the_same_bytes(
    data: dict[str, Path], whole: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "predictions.jsonl"
    begun = run(data, out)
    assert next(begun) == 8
    begun.close()  # type: ignore[attr-defined]
    assert len(out.read_bytes().splitlines()) == 8
    assert list(run(data, out)) == [ROWS]
    assert out.read_bytes() == whole
    # A run that is done has nothing to do.
    assert list(run(data, out)) == []
    assert out.read_bytes() == whole


@pytest.mark.parametrize("cut", [1, 5, 200])
def test_a_row_that_was_cut_off_is_written_again(cut: int, data: dict[str, Path], whole: bytes, tmp_path: Path) -> None:
    out = tmp_path / "predictions.jsonl"
    end = sum(len(line) for line in whole.splitlines(keepends=True)[:5])
    out.write_bytes(whole[: end - cut])
    list(run(data, out))
    assert out.read_bytes() == whole


class OtherBackend(FakeBackend):
    name = "another model"


def test_predictions_of_another_model_are_not_taken_for_its_own(
    data: dict[str, Path], whole: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "predictions.jsonl"
    out.write_bytes(whole)
    with pytest.raises(DataError, match="made with model FAKE, not another model; name another folder"):
        list(predict(Assistant(OtherBackend()), data["synthetic"], data["photos"], out))
    assert out.read_bytes() == whole


def test_predictions_of_other_weights_or_another_test_set_are_not_taken_over(
    data: dict[str, Path], whole: bytes, blank_card: Card, tmp_path: Path
) -> None:
    out = tmp_path / "predictions.jsonl"
    out.write_bytes(whole)
    retrained = blank_card.model_copy(update={"sha256": {"model.safetensors": "f" * 64}})
    with pytest.raises(DataError, match="made with weights , not ffff"):
        list(predict(Assistant(FakeBackend(), card=retrained), data["synthetic"], data["photos"], out))
    redrawn = tmp_path / "heldout.parquet"
    pq.write_table(pq.read_table(data["synthetic"]).slice(1), redrawn)
    with pytest.raises(DataError, match="made with test set "):
        list(predict(Assistant(FakeBackend()), redrawn, data["photos"], out))
    assert out.read_bytes() == whole


def test_a_photograph_that_is_gone_is_a_row_with_its_error(data: dict[str, Path], tmp_path: Path) -> None:
    rows = pq.read_table(data["photos"]).to_pylist()
    rows[2]["path"] = str(tmp_path / "gone.png")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "photos.parquet")
    out = tmp_path / "predictions.jsonl"
    list(predict(Assistant(FakeBackend()), data["synthetic"], tmp_path / "photos.parquet", out))
    made = [json.loads(line) for line in out.read_text("utf8").splitlines()]
    assert len(made) == ROWS
    assert "gone.png" in made[12]["result"]["error"]
    assert "mos" not in made[12]["result"]
    assert all("mos" in r["result"] for n, r in enumerate(made) if n != 12)
    assert (figures(out)["photographs SRCC"].n, figures(out)["photographs SRCC"].total) == (2, 3)


def test_missing_files_are_named_with_the_command(data: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.parquet: not found; `mllm-iqa data heldout` writes it"):
        synthetic_items(tmp_path / "absent.parquet")
    with pytest.raises(DataError, match=r"absent\.parquet: not found; `mllm-iqa data bank` writes it"):
        photo_items(tmp_path / "absent.parquet")


# Comparing


class Brightest(FakeBackend):
    """Prefers the picture with the larger mean, whatever stands first; undecided within `margin`."""

    margin = 0.0

    def continuation_logprobs(self, conversations: Any, candidates: Any) -> np.ndarray:
        def row(conversation: Conversation) -> list[float]:
            first, second = (float(p.pixels.mean()) for p in conversation.pictures)
            if abs(first - second) < self.margin:
                return [math.log(p) for p in (0.1, 0.1, 0.8)]
            probs = [0.8, 0.1, 0.1] if first > second else [0.1, 0.8, 0.1]
            return [math.log(p) for p in probs]

        return np.array([row(c) for c in conversations])


def test_comparisons_by_hand(tmp_path: Path) -> None:
    # Two pictures a family; "darken" gets darker with severity, "brighten" brighter. Preferring brightness is right
    # on every pair of the first and wrong on every pair of the second.
    rows = []
    for family, step in (("darken", -20), ("brighten", 20)):
        for source, offset in (("a.jpg", 0), ("b.jpg", 3)):
            for severity in range(1, 6):
                pixels = np.full((32, 32, 3), 125 + offset + step * (severity - 3), np.uint8)
                row = {"height": 32, "width": 32, "source": source, "family": family, "kind": "", "distortion": family}
                rows.append({**row, "severity": severity, "pixels": pixels.tobytes()})
    path = tmp_path / "heldout.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
    found = compare_figures(Assistant(Brightest()), path)
    # Same picture: 2 families x 2 sources x 3 pairs. Different pictures: in the order of the file, 2 families x 3.
    assert found["comparison, same picture two severities apart"].value == 0.5
    assert found["comparison, same picture two severities apart"].n == 12
    assert found["comparison, different pictures two severities apart"].value == 0.5
    assert found["about equal, same picture"].value == found["order flips, same picture"].value == 0
    undecided = Brightest()
    undecided.margin = 38.5  # versions of one picture are 40 apart; of different ones 43 when darkened, else 37
    equal = compare_figures(Assistant(undecided), path)
    assert equal["about equal, same picture"].value == 0
    assert equal["about equal, different pictures"].value == 0.5
    fewer = compare_figures(Assistant(Brightest()), path, pairs=4)
    assert fewer["comparison, same picture two severities apart"].n == 4


# mllm-iqa eval


def test_the_command_writes_predictions_and_figures(
    data: dict[str, Path], whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "out"
    command = ["eval", "heldout", str(data["synthetic"]), str(data["photos"]), str(out), "--model", "fake"]
    assert main(command) == 0
    shown, err = capsys.readouterr()
    assert err == ""
    assert (out / "predictions.jsonl").read_bytes() == whole
    written = json.loads((out / "figures.json").read_text("utf8"), parse_constant=lambda name: pytest.fail(name))
    assert {line.split(": ")[0] for line in shown.splitlines()} == set(written)
    assert (written["family top-1"]["n"], written["family top-1"]["total"]) == (10, 10)
    assert "comparison, same picture two severities apart" in written
    assert main([*command, "--no-compare"]) == 0
    assert "comparison, same picture two severities apart" not in json.loads((out / "figures.json").read_text("utf8"))


def test_a_missing_test_set_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    absent = str(tmp_path / "absent.parquet")
    assert main(["eval", "heldout", absent, absent, str(tmp_path / "out"), "--model", "fake"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"mllm-iqa: error: {absent}: not found; `mllm-iqa data heldout` writes it\n"


# The page to read


def test_the_page_shows_every_picture_beside_its_number_and_text(
    data: dict[str, Path], whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in whole.splitlines()]
    rows[-1]["result"]["explanation"] += ' <b onload="x">bold</b> | and a bar'
    rows[-2]["result"] = FAILED
    predictions, out = write(tmp_path / "predictions.jsonl", rows), tmp_path / "page"
    command = ["eval", "explanations", str(predictions), str(data["synthetic"]), str(out), "--count", "60"]
    assert main(command) == 0
    assert [Path(line).name for line in capsys.readouterr().out.split()] == [
        "explanations.html",
        "explanations.json",
        "explanations.md",
    ]
    cases = json.loads((out / "explanations.json").read_text("utf8"))["cases"]
    assert len(cases) == ROWS - 1, "all that were scored; a set smaller than asked for is shown whole"
    assert {case["name"] for case in cases if case["truth"].startswith("photograph")} == {"0.png", "3.png"}
    page = (out / "explanations.html").read_text("utf8")
    assert page.count("data:image/jpeg;base64,") == len(cases)
    assert "&lt;b onload=" in page and "<b onload" not in page
    table = [line for line in (out / "explanations.md").read_text("utf8").splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(cases)
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 5 for line in table)
    for case in cases:
        assert case["explanation"] and case["low"] <= case["mos"] <= case["high"]
    first = (out / "explanations.json").read_bytes()
    assert main([*command[:-1], "6"]) == 0
    few = json.loads((out / "explanations.json").read_text("utf8"))["cases"]
    assert sum(case["truth"].startswith("photograph") for case in few) == 2 and len(few) == 6
    assert (out / "explanations.json").read_bytes() != first


def test_a_text_that_contradicts_its_number_is_marked(data: dict[str, Path], whole: bytes, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in whole.splitlines()]
    good = json.loads(json.dumps(rows))
    for row in rows:
        row["result"]["explanation"] = "Nothing is said of it."
    for name, given, count in (("good", good, ROWS), ("bad", rows, 0)):
        write_explanations(write(tmp_path / f"{name}.jsonl", given), data["synthetic"], tmp_path / name)
        assert json.loads((tmp_path / name / "explanations.json").read_text("utf8"))["consistent"] == count
    assert "contradicts" not in (tmp_path / "good" / "explanations.html").read_text("utf8")
    assert (tmp_path / "bad" / "explanations.html").read_text("utf8").count("contradicts") == ROWS


def test_a_page_of_another_test_set_is_refused(data: dict[str, Path], whole: bytes, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in whole.splitlines()]
    predictions = write(tmp_path / "predictions.jsonl", [rows[-1], *rows[1:]])
    with pytest.raises(DataError, match="not the test set"):
        write_explanations(predictions, data["synthetic"], tmp_path / "out")
