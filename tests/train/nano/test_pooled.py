"""What is asked of averaged tokens: targets by hand, losses by hand, and that a tower learns to spread tones."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mllm_iqa.train.nano.pooled import (
    KIND_INDEX,
    KINDS_WEIGHT,
    NONE,
    PLANES,
    POOLED,
    TONES,
    TONES_WEIGHT,
    PooledReadOuts,
    kind_targets,
    pooled,
    tone_shares,
)

LUMA, LARGEST, SMALLEST, CHROMA, SATURATION = range(PLANES)


def shares(*pixels: np.ndarray) -> np.ndarray:
    """(B, PLANES, len(TONES)) of whole pictures of one color each, or of given ones."""
    pictures = np.stack([np.broadcast_to(np.asarray(p, np.uint8), (8, 8, 3)) for p in pixels])
    return tone_shares(pictures).numpy().reshape(len(pictures), PLANES, len(TONES))


def test_targets_of_no_one_and_two_findings() -> None:
    target = kind_targets([(), (("jitter", 3),), (("jitter", 3), ("low contrast", 1))])
    assert target.shape == (3, NONE + 1)
    assert target[0, NONE] == 1
    assert target[1, KIND_INDEX["jitter"]] == 1
    assert target[2, KIND_INDEX["jitter"]] == pytest.approx(0.6)
    assert target[2, KIND_INDEX["low contrast"]] == pytest.approx(0.4)
    torch.testing.assert_close(target.sum(dim=1), torch.ones(3))


def test_a_flat_picture_lies_below_every_tone_above_its_own() -> None:
    (gray,) = shares(np.array([100, 100, 100]))
    above = [float(tone > 100) for tone in TONES]
    for plane in (LUMA, LARGEST, SMALLEST):
        assert gray[plane].tolist() == above
    # Without color, chroma and saturation are 0: below every tone.
    assert gray[CHROMA].tolist() == gray[SATURATION].tolist() == [1.0] * len(TONES)


def test_the_planes_of_a_color() -> None:
    (orange,) = shares(np.array([200, 100, 50]))
    # Luma (77*200 + 150*100 + 29*50) / 256 = 124.4, chroma 150, saturation 255 * 150 / 200 = 191.
    for plane, value in ((LUMA, 124), (LARGEST, 200), (SMALLEST, 50), (CHROMA, 150), (SATURATION, 191)):
        assert orange[plane].tolist() == [float(tone > value) for tone in TONES]


def test_a_value_counts_as_below_the_next_tone_only() -> None:
    (edge,) = shares(np.array([16, 16, 16]))
    assert edge[LUMA][TONES.index(16)] == 0
    assert edge[LUMA][TONES.index(32)] == 1


def test_shares_are_those_of_each_picture_alone() -> None:
    half = np.zeros((8, 8, 3), np.uint8)
    half[:4] = 255
    both, (dark,) = shares(half, np.zeros(3)), shares(np.zeros(3))
    assert both[0, LUMA].tolist() == [0.5] * len(TONES)
    assert (both[1] == dark).all()


def test_tokens_of_every_layer_are_averaged_for_each_picture() -> None:
    tokens = [torch.full((3, 2), 1.0), torch.tensor([[2.0, 4.0], [4.0, 8.0]])]
    taps = [[t * 10 for t in tokens], [t * 100 for t in tokens]]
    out = pooled(SimpleNamespace(pooler_output=tokens, deepstack_features=taps))
    assert out.tolist() == [[1, 1, 10, 10, 100, 100], [3, 6, 30, 60, 300, 600]]


@torch.no_grad()
def test_the_losses_by_hand() -> None:
    heads = PooledReadOuts()
    for head in (heads.kinds, heads.tones):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    tones = torch.zeros(2, PLANES * len(TONES))
    tones[1] = 0.5
    kinds = kind_targets([(("jitter", 3),), ()])
    kinds[1] = 0  # a photograph: nobody knows its kinds
    parts = heads.losses(torch.randn(2, POOLED), kinds, tones)
    # A head that says one half is ln 2 away from a share of 0 and right about a share of one half.
    assert float(parts["tones"]) == pytest.approx(TONES_WEIGHT * math.log(2) / 2, rel=1e-5)
    assert float(parts["kinds"]) == pytest.approx(KINDS_WEIGHT * math.log(NONE + 1), rel=1e-5)
    assert set(heads.losses(torch.randn(2, POOLED), torch.zeros(2, NONE + 1), tones)) == {"tones"}
