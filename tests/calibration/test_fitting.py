"""From labels to a calibration: directions, reports, files, and refusals."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mllm_iqa import Assistant
from mllm_iqa.backends.fake import FakeBackend
from mllm_iqa.calibration import Calibration, calibrate, load_calibration, save_calibration
from mllm_iqa.calibration.fitting import Judged, Settings
from mllm_iqa.calibration.store import calibrations_folder, known_names
from mllm_iqa.errors import BackendError, CalibrationError, ConfigError, DataError

SETTINGS = Settings("mine")


def judged(n: int, seed: int = 0, *, noise: float = 0.3) -> tuple[Judged, np.ndarray]:
    """A model and what its labels on 1..5 are: its MOS and some noise."""
    rng = np.random.default_rng(seed)
    mos = rng.uniform(1.2, 4.8, n)
    labels = mos + noise * rng.normal(size=n)
    return Judged("FAKE", "", "rate.v1", mos, np.full(n, 0.7)), labels


@pytest.mark.parametrize("n", [30, 250])
def test_a_scale_of_any_range_and_direction_is_learned_and_covered(n: int) -> None:
    model, labels = judged(n)
    for scale, offset in ((25.0, -25.0), (-25.0, 125.0)):
        made = calibrate(model, list(offset + scale * labels), SETTINGS)
        assert made.scale.higher_is_better is (scale > 0)
        assert "as read from the labels" in made.notes[0]
        fresh, truth = judged(400, seed=1)
        wanted = offset + scale * truth
        values = np.array([made.value(m) for m in fresh.mos])
        assert np.sqrt(np.mean((values - wanted) ** 2)) < 1.15 * 0.3 * 25  # the noise, and a little
        inside = [
            low <= w <= high for m, w in zip(fresh.mos, wanted, strict=True) for low, high in [made.bounds(m, 0.7)]
        ]  # type: ignore[operator]
        assert np.mean(inside) > 0.84
        assert made.report is not None
        figure = made.report["RMSE change"]
        assert isinstance(figure, dict) and (figure["n"], figure["total"]) == (n, n)


def test_a_strictly_monotone_map_keeps_the_ranks_of_a_model() -> None:
    model, labels = judged(60, noise=2.0)
    made = calibrate(model, list(labels), SETTINGS)
    values = np.array([made.value(m) for m in np.sort(model.mos)])
    assert (np.diff(values) > 0).all()


def test_a_direction_against_the_labels_is_refused_and_an_unclear_one_asked_for() -> None:
    model, labels = judged(60)
    with pytest.raises(DataError, match="--lower-is-better, yet the labels rise where the MOS says higher"):
        calibrate(model, list(labels), replace(SETTINGS, higher_is_better=False))
    noise = list(np.random.default_rng(5).normal(size=60))
    with pytest.raises(DataError, match="state --higher-is-better or --lower-is-better"):
        calibrate(model, noise, SETTINGS)
    made = calibrate(model, noise, replace(SETTINGS, higher_is_better=True))
    assert "hardly follows these labels" in made.notes[0]


def test_few_labels_say_what_they_cannot_promise() -> None:
    model, labels = judged(8, noise=0.05)
    made = calibrate(model, list(labels), SETTINGS)
    assert made.report is None and made.shape == "line"
    assert "8 labels are under 20" in made.notes[-1]
    assert "8 labels are too few for any 90% interval (at least 9)" in made.interval.promise
    assert made.bounds(3.0, 0.7) == (None, None)
    stated = calibrate(model, list(labels), replace(SETTINGS, limits=(0.0, 6.0)))
    assert stated.bounds(3.0, 0.7) == (0.0, 6.0)
    assert calibrate(model, list(labels), replace(SETTINGS, coverage=0.8)).bounds(3.0, 0.7) != (None, None)


def test_values_stay_within_stated_ends() -> None:
    model, labels = judged(40)
    made = calibrate(model, list(np.clip((labels - 1) / 4, 0, 1)), replace(SETTINGS, limits=(0.0, 1.0)))
    assert 0 <= made.value(1.0) < made.value(5.0) <= 1
    low, high = made.bounds(5.0, 0.7)
    assert low is not None and low < 1 and high == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"coverage": 1.0}, "--coverage"),
        ({"held_out": 0.9}, "--held-out"),
        ({"limits": (9.0, 0.0)}, "--range takes the lower end first"),
        ({"shape": "step"}, "no map of the shape 'step'"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, object], said: str) -> None:
    model, labels = judged(30)
    with pytest.raises(ConfigError, match=said):
        calibrate(model, list(labels), replace(SETTINGS, **change))  # type: ignore[arg-type]


def test_a_constant_model_is_refused() -> None:
    model = Judged("m", "", "rate.v1", np.full(30, 3.0), None)
    with pytest.raises(DataError, match=r"every labeled picture the same MOS, 3\.00"):
        calibrate(model, list(np.arange(30.0)), SETTINGS)


def test_a_file_gives_the_same_calibration_back(tmp_path: Path) -> None:
    model, labels = judged(30)
    made = calibrate(model, list(labels), SETTINGS)
    path = save_calibration(made, tmp_path / "a" / "mine.json")
    assert load_calibration(path) == made
    assert load_calibration(str(path)).bounds(2.5, 0.5) == made.bounds(2.5, 0.5)
    assert path.stat().st_size < 40_000


def test_names_live_in_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    model, labels = judged(30)
    made = calibrate(model, list(labels), SETTINGS)
    assert save_calibration(made, "mine") == calibrations_folder() / "mine.json"
    assert known_names() == ["mine"] and load_calibration("mine") == made
    with pytest.raises(CalibrationError, match=r"no calibration named 'mind'; did you mean mine\?"):
        load_calibration("mind")
    with pytest.raises(CalibrationError, match="no name of a calibration"):
        load_calibration("a b")
    with pytest.raises(CalibrationError, match="no such calibration"):
        load_calibration(tmp_path / "gone.json")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": 2}', "[" * 100_000])
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(CalibrationError, match="not a calibration"):
        load_calibration(tmp_path / "x.json")


def test_a_map_against_its_scale_is_refused() -> None:
    model, labels = judged(30)
    made = calibrate(model, list(labels), SETTINGS).model_dump()
    with pytest.raises(ValueError, match="not strictly monotone"):
        Calibration.model_validate({**made, "values": made["values"][::-1]})


def test_an_assistant_scores_on_the_scale_and_refuses_other_models() -> None:
    model, labels = judged(30)
    made = calibrate(model, list(labels), SETTINGS)
    fake = Assistant(FakeBackend())
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    score = fake.calibrated(made).score(pixels, explain=False)
    assert score.calibrated is not None
    assert score.calibrated.value == made.value(score.mos)
    assert (score.calibrated.low, score.calibrated.high) == made.bounds(score.mos, score.std)
    assert score.calibrated.calibration == "mine" and "on the scale 'mine'" in str(score)
    assert replace(score, calibrated=None) == fake.score(pixels, explain=False)  # nothing else changed
    (many,) = fake.calibrated(made).score_many([pixels], explain=False)
    assert many == score
    with pytest.raises(CalibrationError, match="fitted with the model FAKE and says nothing of other 1"):
        made.check_model("other 1", "")
    with pytest.raises(CalibrationError, match="other weights of FAKE"):
        made.check_model("FAKE", "abc")
    with pytest.raises(CalibrationError, match=r"fitted with the prompt rate\.v1"):
        fake.calibrated(made).score(pixels, reference=pixels)
    with pytest.raises((CalibrationError, BackendError)):
        fake.calibrated(made).use_adapter(None)
