"""Calibrating severities: the fit by hand, what is read from a model, and the card it goes into."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mllm_iqa.eval.severity import fit, mean_severities, record_severity

from mllm_iqa import Assistant
from mllm_iqa.backends.base import Conversation
from mllm_iqa.backends.fake import FakeBackend
from mllm_iqa.checkpoints import Card, SeverityCard, read_card, write_card
from mllm_iqa.errors import DataError
from mllm_iqa.levels import SEVERITIES


def test_the_fit_by_hand() -> None:
    # On the line severity = 2 * mean - 1.
    card = fit([(1, 1.0), (3, 2.0), (5, 3.0)])
    assert (card.offset, card.gain) == (-1.0, 2.0)
    assert card.calibrated_on == "3 distorted pictures of training sources"
    # Least squares through (2, 2), (2, 4) and (4, 4): slope .5 at mean 8/3 and severity 10/3.
    card = fit([(2, 2.0), (4, 2.0), (4, 4.0)])
    assert (card.offset, card.gain) == (2.0, 0.5)


@pytest.mark.parametrize("pairs", [[], [(1, 1.0)], [(1, 2.5), (5, 2.5)]])
def test_too_little_to_fit_is_refused(pairs: list[tuple[int, float]]) -> None:
    with pytest.raises(DataError, match=f"cannot be calibrated on {len(pairs)} pictures"):
        fit(pairs)


class Sees(FakeBackend):
    """Names noise in every picture but the darkest, and rates it by brightness: slight or catastrophic, half and half
    between.
    """

    def continuation_logprobs(self, conversations: Sequence[Conversation], candidates: Sequence[str]) -> np.ndarray:
        (conversation,) = conversations
        brightness = float(conversation.pictures[0].pixels.mean()) / 255
        if any(candidate.strip(" ()") in SEVERITIES for candidate in candidates):
            probs = np.array([1 - brightness, 0, 0, 0, brightness])
        else:
            chosen = "gaussian noise" if brightness > 0.1 else "no visible distortion"
            probs = np.array([float(chosen in candidate) for candidate in candidates])
        with np.errstate(divide="ignore"):
            return np.log(probs)[None]


def test_only_pictures_whose_family_was_found_count(tmp_path: Path) -> None:
    rows = [(255, "noise", 5), (51, "noise", 2), (0, "noise", 1), (255, "blur", 3), (255, "none", 0)]
    table = [
        {
            "pixels": np.full((32, 32, 3), grey, np.uint8).tobytes(),
            "height": 32,
            "width": 32,
            "family": family,
            "severity": severity,
        }
        for grey, family, severity in rows
    ]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "set.parquet")
    found = list(mean_severities(Assistant(Sees()), tmp_path / "set.parquet"))
    assert found == [(5, pytest.approx(5.0)), (2, pytest.approx(0.8 * 1 + 0.2 * 5))]


def test_the_card_keeps_the_calibration(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no card"):
        record_severity(tmp_path, SeverityCard(offset=0, gain=1, calibrated_on="x"))
    card = Card(
        name="x",
        version="1",
        licence="",
        base_model=None,
        languages=("en",),
        max_pixels=1024,
        prompts=(),
        training_data=(),
        recipe="",
        results={"kept": 1},
        sha256={},
    )
    write_card(tmp_path, card)
    calibration = SeverityCard(offset=-0.5, gain=1.25, calibrated_on="x")
    assert record_severity(tmp_path, calibration) == card.model_copy(update={"severity": calibration})
    assert read_card(tmp_path) == card.model_copy(update={"severity": calibration})
