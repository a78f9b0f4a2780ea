"""The guarded objective: each term answers its own way of gaming."""

import pytest
import torch

from mllm_iqa.errors import ConfigError
from mllm_iqa.guarded import Guard, GuardedScore, total_variation


def brightness(x: torch.Tensor) -> torch.Tensor:
    """A score that is easy to game."""
    return 1 + 4 * x.mean(dim=(1, 2, 3))


def start() -> torch.Tensor:
    return torch.full((2, 3, 64, 64), 0.5)


def test_the_start_costs_nothing() -> None:
    objective = GuardedScore(brightness, start())(start())
    assert objective.mos.tolist() == pytest.approx([3.0, 3.0])
    assert objective.value.tolist() == objective.mos.tolist()


def test_distance_beyond_the_radius_costs_quadratically() -> None:
    guard = Guard(fidelity=2.0, free_radius=0.02, total_variation=0, views=0)
    objective = GuardedScore(brightness, start(), guard=guard)(start() + 0.12)
    # The root-mean-square distance is 0.12, 0.10 beyond the radius: 2 * (0.10 / 0.1)^2 = 2 MOS.
    assert objective.fidelity_cost.tolist() == pytest.approx([2.0, 2.0], abs=1e-4)
    assert objective.value.tolist() == pytest.approx([1 + 4 * 0.62 - 2.0] * 2, abs=1e-4)
    assert GuardedScore(brightness, start(), guard=guard)(start() + 0.019).fidelity_cost.tolist() == [0, 0]


def test_added_variation_costs_and_removed_variation_does_not() -> None:
    stripes = start()
    stripes[..., ::2] += 0.005
    stripes[..., 1::2] -= 0.005
    assert total_variation(stripes).tolist() == pytest.approx([0.01, 0.01], rel=1e-4)
    guard = Guard(fidelity=0, total_variation=0.5, views=0)
    # 0.01 more than the start's variation of 0: 0.5 * 0.01 / 0.01.
    assert GuardedScore(brightness, start(), guard=guard)(stripes).variation_cost.tolist() == pytest.approx([0.5] * 2)
    assert GuardedScore(brightness, stripes, guard=guard)(start()).variation_cost.tolist() == [0, 0]


def test_views_catch_a_pattern_tuned_to_the_grid() -> None:
    pattern = torch.zeros(1, 1, 64, 64)
    pattern[..., ::2, ::2] = 1.0

    def tuned(x: torch.Tensor) -> torch.Tensor:
        if x.shape[-2:] != (64, 64):
            return x.new_zeros(len(x))
        return (x * pattern).mean(dim=(1, 2, 3))

    x = pattern.expand(1, 3, -1, -1).clone()
    bare = GuardedScore(tuned, x, guard=Guard(views=0))(x).mos.item()
    assert bare == pytest.approx(0.25)
    assert GuardedScore(tuned, x, guard=Guard(views=8))(x).mos.item() < 0.5 * bare


def test_the_same_seed_gives_the_same_views() -> None:
    x = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(1))

    def corner(y: torch.Tensor) -> torch.Tensor:
        return y[:, 0, 0, 0]

    def value(seed: int) -> float:
        return GuardedScore(corner, x, guard=Guard(seed=seed))(x).value.item()

    assert value(3) == value(3)
    assert value(3) != value(4)


def test_gradients_pull_back_to_the_start() -> None:
    x = (start() + 0.3).requires_grad_()
    GuardedScore(lambda y: y.new_zeros(len(y)), start())(x).value.sum().backward()
    assert x.grad is not None and (x.grad < 0).all()


def test_wrong_shapes_and_strengths_are_refused() -> None:
    with pytest.raises(ConfigError, match="must not be negative"):
        Guard(fidelity=-1)
    with pytest.raises(ConfigError, match="shape"):
        GuardedScore(brightness, start())(start()[:1])
