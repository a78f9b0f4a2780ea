"""`mllm-iqa calibrate` and `score --calibration`, from a table to results, as a user runs them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mllm_iqa import Assistant
from mllm_iqa.cli import main


@pytest.fixture
def labeled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """30 pictures and a table that follows the engine without a model, on a scale 0..100 where lower is better."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    fake = Assistant.load("fake")
    rng = np.random.default_rng(0)
    with (tmp_path / "scores.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "dmos"])
        for i in range(30):
            pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{i}.png")
            mos = fake.score(pixels, explain=False).mos
            writer.writerow([f"{i}.png", round(125 - 25 * mos + float(rng.normal()), 3)])
    return tmp_path


def test_from_labels_to_scores(labeled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "scores.csv", "--name", "lab", "--range", "0", "100", "--model", "fake"]) == 0
    said = capsys.readouterr().out
    assert "lower is better, as read from the labels" in said
    assert "RMSE after" in said and "30/30" in said
    assert main(["score", "0.png", "1.png", "--calibration", "lab", "--model", "fake", "--format", "csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    wanted = list(csv.DictReader((labeled / "scores.csv").read_text().splitlines()))
    for row, label in zip(rows, wanted, strict=False):
        assert abs(float(row["calibrated"]) - float(label["dmos"])) < 4
        assert float(row["calibrated_low"]) <= float(row["calibrated"]) <= float(row["calibrated_high"])
        assert (row["calibration"], row["trusted"]) == ("lab", "")
    assert main(["score", "0.png", "--calibration", "lab", "--model", "fake"]) == 0
    assert "on the scale 'lab'" in capsys.readouterr().out


def test_to_a_path_and_as_json(labeled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "scores.csv", "--output", "own.json", "--format", "json", "--model", "fake"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["name"], made["n"], made["file"]) == ("own", 30, "own.json")
    assert main(["score", "0.png", "--calibration", "own.json", "--model", "fake", "--format", "jsonl"]) == 0
    assert json.loads(capsys.readouterr().out)["calibrated"]["calibration"] == "own"


def test_a_run_in_parts_is_not_gone_on_with_under_another_calibration(
    labeled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score = ["score", "0.png", "1.png", "--run", "run", "--calibration", "own.json", "--model", "fake"]
    make = ["calibrate", "scores.csv", "--output", "own.json", "--model", "fake"]
    assert (main(make), main(score), main(score)) == (0, 0, 0)
    assert (main([*make, "--coverage", "0.8"]), main(score)) == (0, 2)
    assert "calibration" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[:4], "3 labeled pictures are too few"),
        (lambda rows: [rows[0], *(f"{i}.png,5" for i in range(30))], "every score is 5"),
        (lambda rows: [*rows, "gone.png,5"], "1 of 31 pictures are not there"),
        (lambda rows: [*rows[:-1], "29.png,nan"], "is not a number"),
        (lambda rows: [*rows, "0.png,99"], "one picture has two scores"),
    ],
)
def test_bad_labels_get_one_line_and_nothing_is_written(
    labeled: Path, capsys: pytest.CaptureFixture[str], change: object, said: str
) -> None:
    rows = (labeled / "scores.csv").read_text().split()
    (labeled / "scores.csv").write_text("\n".join(change(rows)) + "\n")  # type: ignore[operator]
    assert main(["calibrate", "scores.csv", "--output", "own.json", "--model", "fake"]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 and err[0].startswith("mllm-iqa: error: ") and said in err[0]
    assert not (labeled / "own.json").exists()


def test_another_model_is_refused_in_one_line(labeled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "scores.csv", "--output", "own.json", "--model", "fake"]) == 0
    changed = json.loads((labeled / "own.json").read_text()) | {"model": "nano 99"}
    (labeled / "own.json").write_text(json.dumps(changed))
    capsys.readouterr()
    assert main(["score", "0.png", "--calibration", "own.json", "--model", "fake"]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 and "was fitted with the model nano 99 and says nothing of FAKE" in err[0]


def test_a_picture_that_cannot_be_judged_stops_it(labeled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (labeled / "3.png").write_text("no picture")
    assert main(["calibrate", "scores.csv", "--output", "own.json", "--model", "fake"]) == 2
    assert "3.png: cannot be judged" in capsys.readouterr().err
