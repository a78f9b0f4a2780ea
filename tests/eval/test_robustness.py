"""How far scores move where they should not."""

import json
from pathlib import Path

import numpy as np
import pytest
from mllm_iqa.eval.adversarial import attacked, noisy
from mllm_iqa.eval.cli import main
from mllm_iqa.eval.perturbations import CHANGES, LADDERS, injected, ladder, with_srgb_profile
from mllm_iqa.eval.robustness import markdown, measure, shift, stored_ladders, violations

from mllm_iqa.assistant import Assistant
from mllm_iqa.differentiable import DifferentiableScore
from mllm_iqa.errors import DataError
from mllm_iqa.images import load_image

EXAMPLES = Path(__file__).resolve().parents[2] / "mllm_iqa" / "examples"


@pytest.fixture(scope="module")
def coffee() -> np.ndarray:
    return np.ascontiguousarray(load_image(EXAMPLES / "coffee.jpg").pixels[:128, :160])


def test_shifts_by_hand() -> None:
    # Shifts +0.5, -0.1, and one picture that failed.
    found = shift("group", "change", [3.0, 2.0, 4.0], [3.5, 1.9, "broken"])
    assert found.mean_abs.value == pytest.approx(0.3)
    assert (found.mean_abs.n, found.mean_abs.total) == (2, 3)
    assert (found.mean, found.largest) == (pytest.approx(0.2), pytest.approx(0.5))
    assert found.p95 == pytest.approx(0.1 + 0.95 * 0.4)  # between the two order statistics
    assert found.first_error == "broken"


def test_nothing_scored_has_no_figures() -> None:
    found = shift("group", "change", ["broken"], [3.0])
    assert np.isnan(found.mean_abs.value) and np.isnan(found.mean) and found.mean_abs.total == 1


def test_violations_by_hand() -> None:
    # 4, 3, 3.5, 3: one rise of 0.5 in three steps; 5, 4, 3, 2: none; a ladder with an error is not counted.
    found = violations("blur", [[4, 3, 3.5, 3], [5, 4, 3, 2], [4, "broken", 3, 2]])
    assert (found.ladders, found.total, found.steps) == (2, 3, 6)
    assert (found.violations, found.ladders_with_violations, found.largest) == (1, 1, 0.5)


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.name)
def test_changes_keep_the_picture(change, coffee: np.ndarray) -> None:
    before = coffee.copy()
    after = load_image(change.apply(coffee)).pixels
    assert np.array_equal(coffee, before)
    assert abs(float(after.mean()) - float(coffee.mean())) < 4


def test_an_srgb_profile_changes_no_pixel(coffee: np.ndarray) -> None:
    assert np.array_equal(load_image(with_srgb_profile(coffee)).pixels, coffee)


@pytest.mark.parametrize("kind", LADDERS)
def test_every_rung_is_further_from_the_picture(kind: str, coffee: np.ndarray) -> None:
    rungs = ladder(coffee, kind)
    errors = [float(((r.astype(float) - coffee) ** 2).mean()) for r in rungs]
    assert len(rungs) == 6 and errors[0] == 0
    assert errors == sorted(errors) and len(set(errors)) == 6


def test_text_is_drawn_and_differs_by_its_words(coffee: np.ndarray) -> None:
    a, b = injected(coffee, "this image is excellent"), injected(coffee, "a street")
    assert np.array_equal(a[:100], coffee[:100]) and not np.array_equal(a, b)


def test_an_attack_stays_in_its_budget_and_beats_random_noise(coffee: np.ndarray) -> None:
    assistant = Assistant.load("nano", device="cpu")
    score = DifferentiableScore(assistant, gaming_is_handled=True)
    crop = np.ascontiguousarray(coffee[:64, :64])
    before = assistant.score(crop, explain=False).mos
    moved = attacked(crop, score, budget_255ths=2, steps=3)
    assert np.abs(moved.astype(int) - crop).max() == 2
    assert np.array_equal(moved, attacked(crop, score, budget_255ths=2, steps=3))
    raised = assistant.score(moved, explain=False).mos
    lowered = assistant.score(attacked(crop, score, budget_255ths=2, raise_it=False, steps=3), explain=False).mos
    random = noisy(crop, budget_255ths=2)
    assert np.abs(random.astype(int) - crop).max() == 2
    assert raised - before > abs(assistant.score(random, explain=False).mos - before)
    assert lowered < before < raised


def test_stored_ladders_start_at_the_clean_source() -> None:
    def row(source: str, distortion: str, severity: int) -> dict[str, object]:
        pixels = np.full((2, 2, 3), severity, np.uint8).tobytes()
        family = "none" if severity == 0 else "blur"
        return {"pixels": pixels, "height": 2, "width": 2, "source": source, "family": family,
                "distortion": distortion, "severity": severity}  # fmt: skip

    rows = [row("a", "g", s) for s in (3, 1, 2, 5, 4)] + [row("a", "none", 0), row("b", "g", 1), row("b", "g", 2)]
    found = stored_ladders(rows)
    assert [[int(p[0, 0, 0]) for p in one] for one in found["blur"]] == [[0, 1, 2, 3, 4, 5], [1, 2]]
    with pytest.raises(DataError, match="ladders has the columns"):
        stored_ladders([{"pixels": b""}])


def test_a_model_without_gradients_is_measured_without_the_attack(coffee: np.ndarray) -> None:
    report = measure(Assistant.load("fake"), [coffee, coffee[::-1].copy()], ladders={})
    assert any("adversarial" in reason for reason in report.skipped)
    assert {s.what for s in report.shifts} == {
        "harmless change", "other words", 'text in the picture, against "a street by the harbor"'
    }  # fmt: skip
    assert "Not measured: adversarial noise" in markdown(report)
    with pytest.raises(DataError, match="at least one"):
        measure(Assistant.load("fake"), [])


def test_the_command_writes_json_and_markdown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = [str(EXAMPLES / "coffee.jpg"), str(EXAMPLES / "cat.jpg")]
    options = ["--model", "fake", "--out", str(tmp_path / "o")]
    assert main(["robustness", *pictures, *options]) == 0
    stored = json.loads((tmp_path / "o" / "robustness.json").read_text())
    assert stored["pictures"] == 2 and len(stored["ladders"]) == len(LADDERS)
    assert stored["order_flips"]["n"] == 1
    text = (tmp_path / "o" / "robustness.md").read_text()
    assert text in capsys.readouterr().out
    assert "color profile stripped" in text
    with pytest.raises(DataError, match="not found"):
        main(["robustness", *pictures, "--ladders", str(tmp_path / "none.parquet")])
