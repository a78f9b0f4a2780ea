"""The table of metrics."""

import pytest
from mllm_iqa.eval.baselines.catalogue import BASELINES, Library, Weights, baseline

from mllm_iqa.errors import ConfigError

NAMED = {
    "psnr ssim ms_ssim vif fsim vsi gmsd lpips dists mad nlpd afine ahiq topiq_fr ckdn": True,
    "niqe brisque ilniqe piqe nrqm pi nima cnniqa dbcnn hyperiqa paq2piq musiq maniqa tres clipiqa clipiqa_plus liqe "
    "arniqa topiq_nr unique qalign deqa compare2score qrealign": False,
}


@pytest.mark.parametrize(("names", "full_reference"), NAMED.items())
def test_the_metrics_of_the_field_are_there(names: str, full_reference: bool) -> None:
    assert [n for n in names.split() if baseline(n).full_reference is not full_reference] == []


def test_every_entry_says_what_it_needs() -> None:
    for metric in BASELINES.values():
        assert metric.range.count(",") == 1, metric.name
        assert bool(metric.source) == (metric.weights is not Weights.none), metric.name
        assert bool(metric.reason) == (metric.library is Library.none), metric.name
        assert bool(metric.call) == (metric.library is not Library.none), metric.name


def test_at_least_eight_need_no_download() -> None:
    assert sum(m.weights is not Weights.download for m in BASELINES.values()) >= 8


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean brisque"):
        baseline("brisqe")
