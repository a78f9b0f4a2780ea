"""The user's own scale and the doubts about a score on cards, and the choice of a scale on the page."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gradio")

from mllm_iqa.serve.ui.cards import entry_card
from mllm_iqa.serve.ui.entries import Scored
from mllm_iqa.serve.ui.handlers import Handlers
from mllm_iqa.serve.ui.intake import Limits
from mllm_iqa.serve.ui.strings import CHINESE, ENGLISH, Strings

from mllm_iqa import Assistant
from mllm_iqa.backends.fake import FakeBackend
from mllm_iqa.calibration import Calibration, calibrate
from mllm_iqa.calibration.fitting import Judged, Settings
from mllm_iqa.trust import SIGNALS
from mllm_iqa.types import Calibrated, Doubt, Trust

from .conftest import EVIL, checked, make_held, make_score

DOUBTED = Trust(False, tuple(Doubt(name, 2.5, 1.25, text) for name, text in SIGNALS.items()), tuple(SIGNALS))


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def card(strings: Strings, **changes: Any) -> str:
    return checked(entry_card(Scored("score", (make_held(),), (make_score(**changes),)), strings, name="e"))


@pytest.mark.parametrize("strings", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_every_doubt_has_words_value_and_threshold(strings: Strings) -> None:
    html = card(strings, trust=DOUBTED)
    assert html.count("<li>") - card(strings).count("<li>") == len(SIGNALS)
    assert strings.distrust in words(html) and "2.5" in html and "1.25" in html
    assert strings.distrust not in words(card(strings, trust=Trust(True, (), tuple(SIGNALS))))
    assert strings.distrust not in words(card(strings))


def test_the_own_scale_stands_beside_the_mos_and_is_escaped() -> None:
    known = Calibrated(71.25, 55.5, 88.0, 0.9, False, True, EVIL, 40)
    said = words(html := card(ENGLISH, calibrated=known))
    assert "71.25 on the scale" in said and "90% interval 55.5 to 88" in said
    assert "lower is better" in said and "outside the range of the labeled pictures" in said
    assert "<img src=x" not in html
    endless = Calibrated(3.0, None, None, 0.9, True, False, "lab", 6)
    assert "too few labels for an interval" in words(card(ENGLISH, calibrated=endless))


def made(model: str = "FAKE") -> Calibration:
    rng = np.random.default_rng(0)
    mos = rng.uniform(1.2, 4.8, 30)
    return calibrate(Judged(model, "", "rate.v1", mos, None), list(20 * mos + rng.normal(size=30)), Settings("lab"))


def test_the_chosen_scale_reaches_the_scores() -> None:
    do = Handlers(lambda _: Assistant(FakeBackend()), ("fake",), False, Limits(), {"lab": made()})
    assert do.scales(ENGLISH) == [("the model's own, 1 to 5", ""), ("lab", "lab")]
    for scale, name in (("lab", "lab"), ("", None)):
        *_, (_, _, entries) = do.runner("score")((make_held(),), (), "en", "fake", "", scale)
        known = entries[-1].results[0].calibrated
        assert (None if known is None else known.calibration) == name


def test_a_scale_of_another_model_is_refused_in_words() -> None:
    do = Handlers(lambda _: Assistant(FakeBackend()), ("fake",), False, Limits(), {"lab": made("nano 99")})
    *_, (html, _, entries) = do.runner("score")((make_held(),), (), "en", "fake", "", "lab")
    assert "fitted with the model nano 99" in entries[-1].detail and "nano 99" in html
