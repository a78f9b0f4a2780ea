"""Results that cross a boundary: frozen, plain when turned into JSON, readable when printed."""

import dataclasses
import json
from typing import Any

import pytest

from mllm_iqa.types import Comparison, Failure, Finding, ImageInfo, Interval, Score

INFO = ImageInfo("a.jpg", 640, 480, 640, 480, ("EXIF orientation applied",))
OTHER = ImageInfo("b.jpg", 320, 240, 320, 240)
FINDING = Finding("gaussian blur", "blur", 3, 0.914, (0.0, 0.0, 0.5, 1.0))
NOISE = Finding("impulse noise", "noise", 1, 0.5)
LEVELS = {"excellent": 0.05, "good": 0.15, "fair": 0.5, "poor": 0.2, "bad": 0.1}

SCORE = Score(
    mos=2.85,
    std=0.96,
    interval=Interval(1.9, 3.8, 0.9, "calibrated on 20 pictures"),
    levels=LEVELS,
    outside_mass=0.001,
    distortions=(FINDING, NOISE),
    explanation="Edges are soft.",
    confidence=0.75,
    image=INFO,
    model="nano",
    prompt="rate.v1",
)
COMPARISON = Comparison(
    winner="b",
    probability=0.8,
    probabilities={"a": 0.1, "b": 0.8, "tie": 0.1},
    order_flip=False,
    explanation="The second is sharper.",
    confidence=0.6,
    a=INFO,
    b=OTHER,
    reference=None,
    distortions_a=(FINDING,),
    distortions_b=(),
    model="nano",
    prompt="compare.v1",
)
FAILURE = Failure("c.jpg", "not an image")


@pytest.mark.parametrize("result", [SCORE, COMPARISON, FAILURE], ids=lambda r: type(r).__name__)
def test_to_dict_survives_json_and_holds_every_field(result: Any) -> None:
    plain = result.to_dict()
    back = json.loads(json.dumps(plain, allow_nan=False))
    assert list(back) == list(plain)
    assert {f.name for f in dataclasses.fields(result)} <= set(back)


def test_score_to_dict_by_value() -> None:
    back = json.loads(json.dumps(SCORE.to_dict()))
    assert back["level"] == "fair"
    assert back["mos"] == 2.85
    assert back["levels"] == LEVELS
    assert back["interval"] == {"low": 1.9, "high": 3.8, "coverage": 0.9, "source": "calibrated on 20 pictures"}
    assert back["distortions"][0] == {
        "kind": "gaussian blur",
        "family": "blur",
        "severity": 3,
        "probability": 0.914,
        "region": [0.0, 0.0, 0.5, 1.0],
    }
    assert back["image"]["notes"] == ["EXIF orientation applied"]


@pytest.mark.parametrize(
    ("result", "field"),
    [(SCORE, "mos"), (COMPARISON, "winner"), (FAILURE, "error"), (FINDING, "kind"), (INFO, "name")],
    ids=lambda x: x if isinstance(x, str) else type(x).__name__,
)
def test_results_cannot_be_changed(result: Any, field: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(result, field, "other")
    assert not hasattr(result, "__dict__")


def test_the_level_is_the_most_probable_word() -> None:
    assert SCORE.level == "fair"
    tied = dataclasses.replace(SCORE, levels={"bad": 0.4, "poor": 0.0, "fair": 0.2, "good": 0.4, "excellent": 0.0})
    assert tied.level == "good"  # of equals, the better one, in whatever order they stand


def test_severity_words() -> None:
    words = [dataclasses.replace(FINDING, severity=s).severity_word for s in range(1, 6)]
    assert words == ["slight", "moderate", "obvious", "serious", "catastrophic"]


def test_a_score_reads_well() -> None:
    assert str(SCORE).splitlines() == [
        "a.jpg: MOS 2.85 (fair), 90% interval 1.90-3.80",
        "distortions: gaussian blur (obvious, p=0.91); impulse noise (slight, p=0.50)",
        "Edges are soft. (confidence 0.75)",
    ]


def test_a_clean_score_says_so_and_an_unasked_one_says_nothing() -> None:
    bare = dataclasses.replace(SCORE, distortions=None, explanation=None, confidence=None)
    assert str(bare) == "a.jpg: MOS 2.85 (fair), 90% interval 1.90-3.80"
    clean = dataclasses.replace(bare, distortions=())
    assert str(clean).splitlines()[1:] == ["distortions: none found"]


def test_a_comparison_reads_well() -> None:
    assert str(COMPARISON).splitlines() == [
        "b.jpg is better (probability 0.80; order agrees)",
        "The second is sharper. (confidence 0.60)",
    ]
    tie = dataclasses.replace(COMPARISON, winner="tie", order_flip=True, explanation=None, confidence=None)
    assert str(tie) == "about equal (probability 0.80; order flips)"
    assert str(dataclasses.replace(COMPARISON, winner="a")).startswith("a.jpg is better")


def test_a_failure_reads_well() -> None:
    assert str(FAILURE) == "c.jpg: error: not an image"
    assert FAILURE.to_dict() == {"name": "c.jpg", "error": "not an image"}
