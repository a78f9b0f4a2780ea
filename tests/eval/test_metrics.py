"""Metrics against values derived by hand, and against SciPy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mllm_iqa.eval.metrics.consistency import inconsistent
from mllm_iqa.eval.metrics.correlation import FORMS, Form, fit_logistic, krcc, plcc_fitted, rmse
from mllm_iqa.eval.metrics.distribution import earth_movers, js_divergence, kl_divergence
from mllm_iqa.eval.metrics.labels import confusion, ordinal_errors, partial_credit
from mllm_iqa.eval.metrics.pairs import most_probable, rank_agreement, two_afc
from mllm_iqa.eval.metrics.ranges import srcc_in_ranges, weighted_mean
from mllm_iqa.eval.metrics.regions import box_mask, mask_f1, mask_iou
from mllm_iqa.eval.metrics.reliability import expected_calibration_error, reliability_bins
from mllm_iqa.eval.metrics.significance import mcnemar, paired_difference
from scipy.stats import kendalltau, pearsonr, wasserstein_distance

from mllm_iqa.agreement import plcc, srcc
from mllm_iqa.levels import LEVELS, VALUES


def test_krcc_by_hand_and_against_scipy() -> None:
    # 1,2,3,4 against 1,3,2,4: six pairs, one discordant: (5 - 1) / 6.
    assert krcc(np.array([1, 2, 3, 4]), np.array([1, 3, 2, 4])) == pytest.approx(4 / 6)
    # Reversed: every pair discordant.
    assert krcc(np.array([4, 3, 2, 1]), np.array([1, 2, 3, 4])) == -1
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, 40), rng.integers(0, 6, 40)  # many ties
    assert krcc(x, y) == pytest.approx(kendalltau(x, y).statistic)


@pytest.mark.parametrize("metric", [krcc, srcc, plcc])
def test_degenerate_input_is_nan(metric: object) -> None:
    assert callable(metric)
    for x, y in (([1, 1, 1, 1], [1, 2, 3, 4]), ([1, 2, 3, 4], [2, 2, 2, 2]), ([1, 2], [1, 2]), ([], [])):
        assert math.isnan(metric(np.array(x, dtype=float), np.array(y, dtype=float)))


def test_rmse_by_hand() -> None:
    # Errors 1 and 2: sqrt((1 + 4) / 2).
    assert rmse(np.array([2.0, 5.0]), np.array([1.0, 3.0])) == pytest.approx(math.sqrt(2.5))
    assert math.isnan(rmse(np.array([]), np.array([])))


@pytest.mark.parametrize("form", FORMS)
def test_a_logistic_relation_is_fitted_exactly(form: Form) -> None:
    x = np.linspace(-3, 3, 60)
    y = 1 + 4 / (1 + np.exp(-2 * (x - 0.5)))
    fit = fit_logistic(x, y, form=form)
    assert fit.failure == ""
    assert fit.mapped(x) == pytest.approx(y, abs=1e-3)
    assert plcc_fitted(x, y, fit) == pytest.approx(1.0, abs=1e-6)
    assert plcc(x, y) < 0.99  # the raw figure does not profit


@pytest.mark.parametrize("form", FORMS)
def test_the_fit_never_falls_and_never_lowers_plcc_much(form: Form) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=80)
    y = 3 + np.tanh(x) + 0.3 * rng.normal(size=80)
    fit = fit_logistic(x, y, form=form)
    assert (np.diff(fit.mapped(np.sort(x))) >= -1e-12).all()
    assert plcc_fitted(x, y, fit) >= pearsonr(x, y)[0] - 1e-3


@pytest.mark.parametrize("form", FORMS)
def test_a_reversed_predictor_gets_no_curve(form: Form) -> None:
    x = np.linspace(1, 5, 30)
    fit = fit_logistic(-x, x, form=form)
    assert "reversed" in fit.failure
    assert math.isnan(plcc_fitted(-x, x, fit))
    assert np.isnan(fit.mapped(x)).all()


def test_fits_that_cannot_be_say_why() -> None:
    assert "more than 4" in fit_logistic(np.arange(4.0), np.arange(4.0)).failure
    assert "more than 5" in fit_logistic(np.arange(5.0), np.arange(5.0), form="5-parameter").failure
    assert "constant" in fit_logistic(np.ones(9), np.arange(9.0)).failure
    assert "constant" in fit_logistic(np.arange(9.0), np.ones(9)).failure


def share(values: np.ndarray, chosen: np.ndarray) -> float:
    return float(values[chosen].mean())


def test_paired_difference_by_hand() -> None:
    first, second = np.ones(20), np.zeros(20)
    found = paired_difference(first, second, [str(n) for n in range(20)], share, total=25)
    assert (found.first, found.second, found.value, found.low, found.high) == (1, 0, 1, 1, 1)
    # Only all-kept or all-exchanged arrangements are as extreme (2 of 2^20): none in 1000 rounds, the observed counts.
    assert found.p == pytest.approx(1 / 1001)
    assert (found.n, found.total) == (20, 25)
    same = paired_difference(first, first, [str(n) for n in range(20)], share, total=20)
    assert same.value == 0 and same.p == 1


def test_one_group_alone_proves_nothing() -> None:
    # All twenty pictures of one reference: exchanging the group as a whole always gives as large a difference.
    found = paired_difference(np.ones(20), np.zeros(20), ["one"] * 20, share, total=20)
    assert found.p == 1


def test_paired_difference_is_antisymmetric_and_nan_without_items() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.random(30), rng.random(30)
    groups = [str(n // 3) for n in range(30)]
    one, other = (paired_difference(x, y, groups, share, total=30) for x, y in ((a, b), (b, a)))
    assert one.value == pytest.approx(-other.value)
    assert (one.low, one.high) == (pytest.approx(-other.high), pytest.approx(-other.low))
    assert one.p == pytest.approx(other.p)
    assert math.isnan(paired_difference(np.array([]), np.array([]), [], share, total=3).p)


def test_mcnemar_by_hand() -> None:
    # Three items only the first has right, none only the second: 2 * (1/2)^3.
    assert mcnemar([True] * 3 + [True], [False] * 3 + [True]) == pytest.approx(0.25)
    assert mcnemar([True, False], [True, False]) == 1


@pytest.mark.parametrize(
    ("predicted", "truth", "credit"),
    [
        ({"blur"}, {"blur"}, 1.0),
        ({"blur"}, {"blur", "noise"}, 1 / 2),
        ({"blur", "noise"}, {"blur"}, 1 / 2),
        ({"blur", "noise"}, {"noise", "blur"}, 1.0),
        ({"blur", "noise", "haze"}, {"blur", "noise"}, 2 / 3),
        ({"haze"}, {"blur", "noise"}, 0.0),
        (set(), {"blur"}, 0.0),
        (set(), set(), 1.0),
    ],
)
def test_partial_credit(predicted: set[str], truth: set[str], credit: float) -> None:
    assert partial_credit(predicted, truth) == pytest.approx(credit)
    assert partial_credit(truth, predicted) == pytest.approx(credit)


def test_ordinal_errors_and_confusion_by_hand() -> None:
    assert ordinal_errors([1, 5, 3], [2, 3, 3]).tolist() == [-1, 2, 0]
    counts = confusion(["a", "b", "b"], ["a", "a", "b"], ["a", "b"])
    assert counts.tolist() == [[1, 1], [0, 1]]  # rows true, columns said
    with pytest.raises(ValueError, match="'c' is none of the labels"):
        confusion(["c"], ["a"], ["a", "b"])


def test_two_afc_counts_a_tie_as_half() -> None:
    assert (two_afc("a", 0.8), two_afc("b", 0.8), two_afc("tie", 0.8)) == (0.8, pytest.approx(0.2), 0.5)
    assert two_afc("tie", 1.0) == 0.5


def test_equal_probabilities_are_a_tie() -> None:
    assert most_probable({"a": 0.4, "b": 0.4, "tie": 0.2}) == "tie"
    assert most_probable({"a": 0.4, "b": 0.5, "tie": 0.1}) == "b"
    assert most_probable({"a": 0.3, "b": 0.2, "tie": 0.5}, ("a", "b")) == "a"


def test_rank_agreement_by_hand() -> None:
    assert rank_agreement([3.0, 2.0, 1.0], [30, 20, 10]) == 1
    assert rank_agreement([3.0, 1.0, 2.0], [30, 20, 10]) == pytest.approx(1 / 3)  # two of three pairs agree
    assert math.isnan(rank_agreement([1.0, 1.0, 1.0], [3, 2, 1]))


DISTRIBUTION = st.lists(st.floats(0.01, 1), min_size=5, max_size=5).map(lambda v: np.array([v]) / sum(v))


@given(DISTRIBUTION, DISTRIBUTION)
@settings(max_examples=40, deadline=None)
def test_distribution_metrics_keep_their_properties(p: np.ndarray, q: np.ndarray) -> None:
    assert kl_divergence(p, q)[0] >= -1e-12
    assert kl_divergence(p, p)[0] == pytest.approx(0, abs=1e-12)
    assert js_divergence(p, q)[0] == pytest.approx(js_divergence(q, p)[0], abs=1e-9)
    assert -1e-9 <= js_divergence(p, q)[0] <= 1
    assert earth_movers(p, q)[0] == pytest.approx(wasserstein_distance(VALUES, VALUES, p[0], q[0]), abs=1e-9)


def test_distribution_metrics_by_hand() -> None:
    good = np.array([[0, 1.0, 0, 0, 0]])
    half = np.array([[0, 0.5, 0.5, 0, 0]])
    bad = np.array([[0, 0, 0, 0, 1.0]])
    assert kl_divergence(good, half)[0] == pytest.approx(math.log(2))  # 1 * ln(1 / 0.5)
    assert math.isinf(kl_divergence(half, good)[0])
    assert js_divergence(good, bad)[0] == pytest.approx(1)  # no overlap: one bit
    assert earth_movers(good, bad)[0] == pytest.approx(3)  # all mass from 4 to 1
    assert earth_movers(good, half)[0] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="sum to 1"):
        kl_divergence(good * 2, half)


def test_reliability_by_hand() -> None:
    bins = reliability_bins([0.95, 0.95, 1.0, 0.15], [True, True, False, False])
    assert [(one.low, one.n) for one in bins] == [(0.1, 1), (0.9, 3)]
    assert bins[1].stated == pytest.approx(2.9 / 3) and bins[1].right == pytest.approx(2 / 3)
    # (1 * |0.15 - 0| + 3 * |2.9/3 - 2/3|) / 4 = (0.15 + 0.9) / 4.
    assert expected_calibration_error(bins) == pytest.approx(1.05 / 4)
    assert math.isnan(expected_calibration_error(()))
    with pytest.raises(ValueError, match="lie in"):
        reliability_bins([1.2], [True])


def test_overlap_by_hand() -> None:
    a, b = box_mask((0, 0, 500, 1000)), box_mask((250, 0, 750, 1000))
    # Intersection a quarter, union three quarters of the picture.
    assert mask_iou(a, b) == pytest.approx(1 / 3)
    assert mask_f1(a, b) == pytest.approx(0.5)
    empty = np.zeros((4, 4), dtype=bool)
    assert mask_iou(empty, empty) == mask_f1(empty, empty) == 1
    with pytest.raises(ValueError, match="one shape"):
        mask_iou(a, empty)


def test_ranges_show_what_the_whole_hides() -> None:
    truth = np.linspace(1, 5, 41)
    blind = np.floor(truth) + 0.01 * np.sin(37 * truth)  # right about the range, noise inside
    assert srcc(blind, truth) > 0.9
    ranges = srcc_in_ranges(blind, truth, width=1.0)
    assert [(one.low, one.high) for one in ranges] == [(1, 2), (2, 3), (3, 4), (4, 5)]
    assert sum(one.n for one in ranges) == 41  # 5.0 belongs to the last
    assert abs(weighted_mean(ranges)) < 0.6
    assert math.isnan(weighted_mean(srcc_in_ranges(truth[:2], truth[:2], width=1.0)))
    with pytest.raises(ValueError, match="positive"):
        srcc_in_ranges(truth, truth, width=0)


def test_a_text_of_another_level_is_inconsistent() -> None:
    result = {"levels": {w: float(w == "poor") for w in LEVELS}, "distortions": [], "explanation": "It is poor."}
    assert not inconsistent(result)
    assert inconsistent(result | {"explanation": "It is excellent."})
    assert inconsistent(result | {"explanation": "It is poor because of gaussian blur."})
