"""Reports: one page without outside references, the same numbers in three forms, and two models side by side."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from mllm_iqa.eval.paired import compare_models
from mllm_iqa.eval.parts import load_tasks
from mllm_iqa.eval.predictions import read_predictions
from mllm_iqa.eval.report.charts import svg
from mllm_iqa.eval.task import Models

from mllm_iqa.cli import main
from mllm_iqa.errors import DataError

Run = Callable[..., Path]


@pytest.fixture
def page(predicted: Run, seeing: Callable[..., Models], rated_set: Path, tmp_path: Path) -> Path:
    predicted(
        load_tasks("assessment")[0], seeing(name="<b>bold</b> 1"), rated_set, "run/predictions.jsonl", thumbnails=True
    )
    assert main(["eval", "report", str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--title", "A & B"]) == 0
    return tmp_path / "out" / "report.html"


def test_the_page_stands_alone(page: Path) -> None:
    html = page.read_text()
    assert "<title>A &amp; B</title>" in html
    assert "<b>bold</b>" not in html and "&lt;b&gt;bold&lt;/b&gt;" in html  # what a model is called is no markup
    sources = re.findall(r'(?:src|href|xlink:href)="([^"#]{1,60})', html)
    assert sources and all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "<script" not in html and "@import" not in html
    assert html.count("<svg") >= 3  # scatter, by distortion, ranges
    assert "data:image/jpeg;base64," in html
    assert read_predictions(page.parent.parent / "run").sha256 in html


def test_the_three_forms_agree(page: Path) -> None:
    data = json.loads(page.with_suffix(".json").read_text())
    srcc = data["tasks"][0]["sections"][0]["figures"][0]
    assert srcc["name"] == "SRCC" and srcc["figure"]["value"] == pytest.approx(1)
    assert "| SRCC | 1.000 |" in page.with_suffix(".md").read_text()
    assert {"python", "system", "cpus", "packages"} <= set(data["environment"])


@pytest.mark.parametrize("value", [None, 0.5])
def test_undefined_bars_are_drawn_as_such(value: float | None) -> None:
    data = {"label": "SRCC", "labels": ["a<b", "c"], "values": [value, 0.2], "low": [None, 0.1], "high": [None, 0.3]}
    drawn = svg({"kind": "bars", "data": data})
    assert drawn.startswith("<svg") and "a&lt;b" in drawn
    assert ("undefined" in drawn) == (value is None)
    assert svg({"kind": "bars", "data": data}) == drawn


def test_two_models_side_by_side(
    predicted: Run, seeing: Callable[..., Models], rated_set: Path, tmp_path: Path
) -> None:
    (task,) = load_tasks("assessment")
    predicted(task, seeing(1), rated_set, "one/predictions.jsonl", thumbnails=True)
    predicted(task, seeing(-1, name="reversed 1"), rated_set, "two/predictions.jsonl", thumbnails=True)
    out = tmp_path / "out"
    assert main(["eval", "compare", str(tmp_path / "one"), str(tmp_path / "two"), "--out", str(out)]) == 0
    (row, _) = json.loads((out / "versus.json").read_text())["tasks"][0]["rows"]
    assert row["name"] == "SRCC"
    assert row["difference"]["value"] == pytest.approx(2)
    # Four groups: 2 of 2^4 exchanges are as extreme, so p is near 1/8 and cannot be small.
    assert 0.05 < row["difference"]["p"] < 0.25
    html = (out / "versus.html").read_text()
    assert "seeing 1 against reversed 1" in html and "Where they differ most" in html


def test_only_the_same_items_are_compared(
    predicted: Run, seeing: Callable[..., Models], rated_set: Path, raw_choices: Path
) -> None:
    one = read_predictions(predicted(load_tasks("assessment")[0], seeing(), rated_set, "a.jsonl"))
    other = read_predictions(predicted(load_tasks("perception")[0], seeing(), raw_choices, "b.jsonl"))
    with pytest.raises(DataError, match="differ in task"):
        compare_models(one, other)
    (letter, _words, _generated) = compare_models(other, other)
    assert letter.difference["value"] == 0 and letter.mcnemar_p == 1


@pytest.mark.browser
def test_a_browser_shows_the_page_offline(page: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs chromium")
    shot = tmp_path / "shot.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1000,1400"]
    # No name resolves: whatever the page wanted from outside would be missing.
    options += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [browser, *options, f"--screenshot={shot}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    pixels = np.asarray(PIL.Image.open(shot).convert("RGB")).astype(int)
    assert pixels.shape == (1400, 1000, 3)
    assert (pixels[..., 2] - pixels[..., 0] > 60).mean() > 0.001  # the blue points and bars of charts
