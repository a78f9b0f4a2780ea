"""Signals, thresholds and verdicts; features of a real engine; what a score says of its own trust."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mllm_iqa import Assistant
from mllm_iqa.backends.fake import FakeBackend
from mllm_iqa.backends.features import features_of
from mllm_iqa.checkpoints import read_card, write_card
from mllm_iqa.errors import CheckpointError
from mllm_iqa.images import load_image
from mllm_iqa.tables import flat_row
from mllm_iqa.trust import (
    FILE_NAME,
    SIGNALS,
    TrustLimits,
    feature_distance,
    feature_space,
    flatness,
    level_entropy,
    read_limits,
    shared_thresholds,
    signals,
    verdicts,
    write_limits,
)

NANO = Path(__file__).parents[1] / "mllm_iqa" / "models" / "nano"


def pixels(seed: int, height: int = 64, width: int = 96) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def limits(**changes: object) -> TrustLimits:
    values = {"model": "tiny 0", "weights": "", "prompt": "rate.v1", "fitted_on": "nothing", "features": None}
    return TrustLimits.model_validate({**values, "thresholds": {"outside mass": 0.0}, **changes})


def test_entropy_by_hand() -> None:
    assert level_entropy(np.array([1.0, 0, 0, 0, 0])) == 0
    assert level_entropy(np.full(5, 0.2)) == pytest.approx(np.log(5))
    assert level_entropy(np.array([[0.5, 0.5, 0, 0, 0]])) == pytest.approx([np.log(2)])


def test_a_distance_is_about_one_for_the_photographs_and_grows_in_every_direction() -> None:
    rng = np.random.default_rng(0)
    scale = np.linspace(0.1, 2, 32)
    features = np.stack([rng.normal(size=(400, 32)) * scale, np.ones((400, 32))], axis=1)
    space = feature_space(features, directions=8)
    usual = feature_distance(features, space)
    # Along 8 directions the mean square is 1, beside them 1 too: the root mean square of the sum is sqrt(2).
    assert np.sqrt((usual**2).mean()) == pytest.approx(np.sqrt(2), rel=0.01)
    for axis in range(32):
        off = np.repeat(features[:1], 2, axis=0)
        off[:, 0, axis] += [30, -30]  # far beyond the widest spread, 2
        assert feature_distance(off, space).min() > 2 * usual.max()


def test_a_flat_picture_is_the_flattest() -> None:
    varied, flat = np.ones((1, 2, 4)), np.stack([[np.ones(4), np.full(4, 0.01)]])
    assert flatness(flat)[0] == pytest.approx(100) and flatness(varied)[0] == 1


def test_thresholds_flag_about_the_share_that_was_asked_for() -> None:
    rng = np.random.default_rng(0)
    found = {"outside mass": rng.uniform(size=400), "level entropy": rng.normal(size=400)}
    thresholds = shared_thresholds(found, 0.05)
    hit = np.any([found[name] >= thresholds[name] for name in found], axis=0)
    assert 0.04 <= hit.mean() <= 0.05
    own = [(found[name] >= thresholds[name]).mean() for name in found]
    assert own[0] == pytest.approx(own[1], abs=0.003)  # an equal share each


def test_a_verdict_names_value_threshold_and_reason_the_most_unusual_first() -> None:
    found = {"outside mass": np.array([0.1, 0.5]), "level entropy": np.array([0.2, 1.5])}
    usual, odd = verdicts(found, {"outside mass": 0.4, "level entropy": 0.6, "flatness": 1.0})
    assert usual.trusted and usual.reasons == () and usual.checked == ("outside mass", "level entropy")
    assert not odd.trusted and [d.signal for d in odd.reasons] == ["level entropy", "outside mass"]
    assert (odd.reasons[0].value, odd.reasons[0].threshold) == (1.5, 0.6)
    assert str(odd).startswith("distrust this score: the model hardly decides between the levels (1.5, usual below 0.6")


def test_signals_without_features_or_further_questions_are_left_out() -> None:
    probs = np.full((2, 5), 0.2)
    assert set(signals(outside=np.zeros(2), probs=probs, features=None, space=None)) == {
        "outside mass",
        "level entropy",
    }
    asked = signals(
        outside=np.zeros(2), probs=probs, features=None, space=None, mos_by_question=np.array([[1, 3.0], [2, 2]])
    )
    assert list(asked["prompt disagreement"]) == [2, 0]


def test_an_engine_without_features_gives_none() -> None:
    assert features_of(FakeBackend(), [load_image(pixels(0))]) is None
    assert Assistant(FakeBackend()).score(pixels(0), explain=False).trust is None


def test_limits_of_other_weights_count_for_nothing_and_broken_ones_are_refused(tmp_path: Path) -> None:
    write_limits(tmp_path, limits(weights="abc"))
    assert read_limits(tmp_path, weights="abc") == limits(weights="abc")
    assert read_limits(tmp_path, weights="other") is None
    (tmp_path / FILE_NAME).write_text('{"thresholds": 1}')
    with pytest.raises(CheckpointError, match="not valid thresholds"):
        read_limits(tmp_path, weights="abc")
    with pytest.raises(ValueError, match="unknown signals: beauty"):
        limits(thresholds={"beauty": 1.0})


@pytest.fixture(scope="module")
def doubting(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Assistant:
    """A real engine at toy size whose thresholds nothing stays below."""
    folder = tmp_path_factory.mktemp("doubting") / "tiny"
    shutil.copytree(tiny_checkpoint, folder)
    card = read_card(folder)
    assert card is not None
    plain = Assistant.load(str(folder), device="cpu")
    features = features_of(plain.backend, [load_image(pixels(i), max_pixels=plain.max_pixels) for i in range(6)])
    assert features is not None
    space = feature_space(features, directions=3)
    write_limits(folder, limits(weights=card.weights, features=space, thresholds=dict.fromkeys(SIGNALS, 0.0)))
    return Assistant.load(str(folder), device="cpu")


def test_features_are_those_of_the_pass_and_do_not_depend_on_the_batch(doubting: Assistant) -> None:
    pictures = [load_image(pixels(i), max_pixels=doubting.max_pixels) for i in range(3)]
    together = features_of(doubting.backend, pictures)
    assert together is not None and together.shape == (3, 2, 64)
    for i, picture in enumerate(pictures):
        doubting.backend.forget()  # type: ignore[attr-defined]
        alone = features_of(doubting.backend, [picture])
        assert alone is not None
        np.testing.assert_allclose(alone[0], together[i], atol=1e-4)  # other sums in another order


def test_a_score_says_what_was_checked_and_why_it_is_doubted(doubting: Assistant) -> None:
    score = doubting.score(pixels(0), explain=False)
    assert score.trust is not None and not score.trust.trusted
    assert score.trust.checked == ("outside mass", "level entropy", "feature distance", "flatness")
    assert "distrust this score" in str(score)
    assert {d["signal"] for d in json.loads(str(flat_row(score)["distrust"]))} == set(score.trust.checked)
    assert flat_row(score)["trusted"] is False
    again = doubting.asking_again().score(pixels(0), explain=False)
    assert again.trust is not None and again.trust.checked == tuple(SIGNALS)
    assert again.mos == pytest.approx(score.mos)  # asked again, the score is still that of the first wording
    assert doubting.score(pixels(0), reference=pixels(1), explain=False).trust is None


def test_a_score_needs_no_further_encoding_for_its_features(
    doubting: Assistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mllm_iqa.backends.vision import PictureCache

    encoded: list[int] = []
    whole = PictureCache._of
    monkeypatch.setattr(PictureCache, "_of", lambda self, p: encoded.append(len(p)) or whole(self, p))
    doubting.score(pixels(77), explain=False)
    assert encoded == [1]


def test_thresholds_are_kept_beside_the_card_and_survive_its_rewriting(tmp_path: Path) -> None:
    shutil.copy(NANO / "card.json", tmp_path)
    card = read_card(tmp_path)
    assert card is not None
    write_limits(tmp_path, limits(model="nano", weights=card.weights))
    write_card(tmp_path, card.model_copy(update={"version": "x"}))
    again = read_card(tmp_path)
    assert again is not None and again.trust is not None and again.trust.model == "nano"
    assert "trust" not in json.loads((tmp_path / "card.json").read_text())


def test_the_shipped_thresholds_are_those_of_the_shipped_weights() -> None:
    card = read_card(NANO)
    assert card is not None
    assert card.trust is not None, "run `mllm-iqa eval trust ... --into-model`: nano's weights or card have changed"
    assert (card.trust.model, card.trust.prompt) == (f"{card.name} {card.version}", "rate.v1")
    assert set(card.trust.thresholds) == set(SIGNALS)
    assert card.trust.features is not None


def test_the_shipped_model_doubts_noise_and_not_a_photograph() -> None:
    nano = Assistant.load("nano", device="cpu")
    noise = nano.score(pixels(0, 256, 256), explain=False)
    assert noise.trust is not None and not noise.trust.trusted
    assert "feature distance" in [doubt.signal for doubt in noise.trust.reasons]
    cat = nano.score(Path(__file__).parents[1] / "mllm_iqa" / "examples" / "cat.jpg", explain=False)
    assert cat.trust is not None and cat.trust.trusted
