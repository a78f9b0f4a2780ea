"""Sections from rows made by hand: every figure derived beside its assertion; failed rows count in every total."""

import math
from typing import Any

import pytest
from mllm_iqa.eval.measures.common import distinct
from mllm_iqa.eval.measures.comparisons import comparisons, imperfect
from mllm_iqa.eval.measures.consistency import consistency
from mllm_iqa.eval.measures.descriptions import descriptions
from mllm_iqa.eval.measures.distributions import distribution
from mllm_iqa.eval.measures.findings import identification
from mllm_iqa.eval.measures.localisation import localisation
from mllm_iqa.eval.measures.rankings import rankings
from mllm_iqa.eval.measures.severities import severity
from mllm_iqa.eval.metrics.texts import quality_terms, rouge_l, term_f1
from mllm_iqa.eval.results import Section

from mllm_iqa.levels import LEVELS
from mllm_iqa.taxonomy import FAMILY_OF

Row = dict[str, Any]


def row(n: int, truth: Row, answer: Row | None, **tags: str) -> Row:
    known: Row = {"error": "made up"} if answer is None else {"answer": answer}
    return {"id": str(n), "group": f"g{n}", "tags": tags, "ask": {}, "truth": truth, **known}


def figures(section: Section) -> dict[str, float]:
    return {named.name: named.figure.value for named in section.figures}


def finding(kind: str, severity: int = 3) -> Row:
    return {"kind": kind, "family": FAMILY_OF[kind], "severity": severity, "probability": 0.8}


def test_identification() -> None:
    rows = [
        row(0, {"findings": [finding("gaussian blur")]}, {"distortions": [finding("lens blur")]}, count="1"),
        row(
            1,
            {"findings": [finding("gaussian blur"), finding("gaussian noise")]},
            {"distortions": [finding("gaussian noise")]},
            count="2",
        ),
        row(2, {"findings": []}, {"distortions": []}, count="0"),
        row(3, {"findings": [finding("haze")]}, {"distortions": []}, count="1"),
        row(4, {"findings": [finding("haze")]}, None, count="1"),
        row(5, {"findings": None}, {"distortions": []}),
    ]
    section = identification(rows, {})
    found = figures(section)
    assert found["family, partial credit"] == pytest.approx((1 + 0.5 + 1 + 0) / 4)
    assert found["kind, partial credit"] == pytest.approx((0 + 0.5 + 1 + 0) / 4)
    assert found["family, partial credit, two distortions"] == 0.5
    assert found["clean called clean"] == 1
    assert found["main family is one of those there"] == pytest.approx(3 / 4)
    first = section.figures[0].figure
    assert (first.n, first.total) == (4, 5)  # the failed one counts in the total, the unknown one nowhere
    matrix = section.charts[0].data
    assert matrix["labels"] == ["blur", "haze", "none"]
    assert matrix["counts"] == [[1, 0, 0], [0, 0, 1], [0, 0, 1]]


def test_severity() -> None:
    said = [(1, 1), (3, 2), (5, 1)]
    rows = [
        row(n, {"severity": true}, {"severity": s, "probabilities": [float(i + 1 == s) for i in range(5)]})
        for n, (s, true) in enumerate(said)
    ]
    found = figures(severity([*rows, row(9, {"severity": 1}, None)], {}))
    assert found["exact"] == pytest.approx(1 / 3)
    assert found["within one step"] == pytest.approx(2 / 3)
    assert found["mean absolute error, steps"] == pytest.approx((0 + 1 + 4) / 3)
    assert found["mean error, said - true, steps"] == pytest.approx(5 / 3)
    assert found["calibration error"] == pytest.approx(2 / 3)  # sure of all, right once


def pair(n: int, share: float, a: float, b: float, tie: float, *, flip: bool = False) -> Row:
    probabilities = {"a": a, "b": b, "tie": tie}
    winner = max(probabilities, key=lambda key: probabilities[key])
    answer = {"winner": winner, "probabilities": probabilities, "order_flip": flip}
    return row(n, {"prefers_first": share, "gap": 0.3}, answer)


def test_comparisons() -> None:
    rows = [
        pair(0, 0.9, 0.8, 0.1, 0.1),  # right: 0.9
        pair(1, 0.2, 0.7, 0.2, 0.1, flip=True),  # wrong: 0.2
        pair(2, 0.8, 0.3, 0.2, 0.5),  # tie said: 0.5, and "a" if it must choose
        pair(3, 0.5, 0.1, 0.1, 0.8),  # a tie, said so: 0.5
        row(4, {"prefers_first": 1.0}, None),
    ]
    section = comparisons(rows, {})
    found = figures(section)
    assert found["2AFC, ties count half"] == pytest.approx((0.9 + 0.2 + 0.5 + 0.5) / 4)
    assert found["three-way accuracy"] == pytest.approx(2 / 4)
    assert found["accuracy where one is better"] == pytest.approx(1 / 3)
    assert found["the same, tie not allowed as an answer"] == pytest.approx(2 / 3)
    assert found["the two orders disagree"] == pytest.approx(1 / 4)
    assert found["ties found"] == 1
    decided = next(named.figure for named in section.figures if named.name == "accuracy where one is better")
    assert (decided.n, decided.total) == (3, 4)


def test_imperfect_references() -> None:
    def against(n: int, label: str, winner: str, score: float) -> Row:
        answer = {"winner": winner, "order_flip": False, "score": score, "reference_score": 3.0}
        return row(n, {"label": label}, answer, label=label)

    found = figures(
        imperfect(
            [against(0, "better", "a", 2.0), against(1, "similar", "tie", 3.0), against(2, "worse", "a", 1.0)], {}
        )
    )
    assert found["three-way accuracy"] == pytest.approx(2 / 3)
    assert found["better than the reference, found"] == 1
    assert found["two-way accuracy by score"] == pytest.approx(1 / 2)


def test_rankings() -> None:
    truth = {"mos_each": [5.0, 3.0, 1.0]}
    rows = [
        row(0, truth, {"strengths": [0.9, 0.5, 0.1], "scores": [1.0, 2.0, 3.0], "order_flips": 3}),
        row(1, truth, {"strengths": [0.9, 0.1, 0.5], "scores": [3.0, 2.0, 1.0], "order_flips": 0}),
    ]
    found = figures(rankings(rows, {}))
    assert found["Kendall's tau per set, by comparisons"] == pytest.approx((1 + 1 / 3) / 2)
    assert found["Kendall's tau per set, by scores"] == pytest.approx(0)
    assert found["best one found, by comparisons"] == 1
    assert found["whole order right, by comparisons"] == 0.5
    assert found["the two orders of a pair disagree"] == 0.5  # three of three, none of three


def test_localisation_counts_a_missing_box_as_no_overlap() -> None:
    truth = {"region": "left", "box": [0, 0, 500, 1000]}
    rows = [
        row(0, truth, {"part": "left", "box": [0, 0, 500, 1000]}),
        row(1, truth, {"part": "right", "problem": "no box"}),
    ]
    found = figures(localisation(rows, {}))
    assert found["part in words"] == 0.5
    assert found["box, mean IoU"] == 0.5
    assert found["no box that can be read"] == 0.5


def test_distributions_of_votes_and_of_mean_and_spread() -> None:
    levels = dict(zip(LEVELS, (0.0, 1.0, 0.0, 0.0, 0.0), strict=True))
    votes = row(0, {"mos": 4.0, "distribution": [0.0, 0.0, 0.0, 1.0, 0.0]}, {"levels": levels, "std": 0.0})
    found = figures(distribution([votes], {}))
    assert found["KL(human || predicted), nats"] == pytest.approx(0)  # votes come lowest value first
    assert found["earth mover's distance, MOS units"] == pytest.approx(0)
    spread = row(1, {"mos": 3.0, "std": 0.5}, {"levels": {w: 0.2 for w in LEVELS}, "std": 1.4})
    figure = distribution([spread, row(2, {"mos": 3.0}, {"levels": levels, "std": 0.0})], {}).figures[1].figure
    assert (figure.n, figure.total) == (1, 2)
    assert 0 < figure.value < 1
    assert "no item" in distribution([row(3, {"mos": 3.0}, {"levels": levels, "std": 0.0})], {}).note


def test_descriptions_without_and_with_a_judge() -> None:
    plain = row(0, {"description": "It is poor with obvious gaussian blur."}, {"text": "It is poor."})
    found = figures(descriptions([plain], {}))
    # Said {poor}; golden {poor, obvious, gaussian blur}: F1 = 2 * 1 / (1 + 3).
    assert found["quality terms, F1"] == pytest.approx(0.5)
    assert "completeness, mark of the judge, 0 to 2" not in found
    marked = {**plain, "answer": {"text": "It is poor.", "marks": {"completeness": 1.5}}}
    assert figures(descriptions([marked], {}))["completeness, mark of the judge, 0 to 2"] == 1.5


def test_texts() -> None:
    # Longest common subsequence "the is blurry": 3 of 4 and 4 words: 2 * 3 / 8.
    assert rouge_l("The image is blurry", "the picture is blurry") == pytest.approx(0.75)
    assert rouge_l("", "x") == 0
    assert quality_terms("Serious gaussian blur; a blurry, poor picture.") == {"serious", "gaussian blur", "poor"}
    assert term_f1("nothing", "at all") == 1


def test_consistency_counts_only_explained_rows() -> None:
    answer = {"levels": {w: float(w == "good") for w in LEVELS}, "distortions": []}
    rows = [
        row(0, {}, answer | {"explanation": "The quality is good."}),
        row(1, {}, answer | {"explanation": "The quality is bad."}),
        row(2, {}, answer | {"explanation": None}),
    ]
    section = consistency(rows, {})
    assert figures(section)["explanations that contradict their result"] == 0.5
    assert [case.id for case in section.worst] == ["1"]


@pytest.mark.parametrize(
    "measure", [identification, severity, comparisons, imperfect, rankings, localisation, descriptions, consistency]
)
def test_nothing_but_failures_gives_undefined_figures(measure: Any) -> None:
    truth = {"findings": [], "severity": 1, "prefers_first": 1.0, "label": "better", "mos_each": [1.0, 2.0]}
    section = measure([row(0, truth | {"region": "left", "box": [0, 0, 1, 1], "description": ""}, None)], {})
    assert section.figures
    assert all(math.isnan(named.figure.value) and named.figure.n == 0 for named in section.figures)


def test_a_picture_is_shown_once_among_cases() -> None:
    pictures = [{"pixels_sha256": digest} for digest in ("a", "a", "b", "c")]
    rows = [{**row(i, {}, {}), "pictures": [picture]} for i, picture in enumerate(pictures)]
    assert distinct(rows, [0, 1, 2, 3], 2) == [0, 2]
    assert distinct(rows, [3, 1, 0], 3) == [3, 1]
    assert distinct([row(0, {}, {}), row(1, {}, {})], [1, 0], 2) == [1, 0]  # without pictures every row is its own
