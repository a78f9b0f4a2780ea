"""The losses, each against numbers derived by hand, and their gradients against finite differences."""

import math

import pytest
import torch
from mllm_iqa.train.losses import fidelity, kl_to_soft_label, ordinal, same_group_pairs, text_cross_entropy


def log(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64).log()


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


# KL to a soft label


def test_kl_by_hand() -> None:
    # Row 1: .5 ln(.5 / .25) twice = ln 2. Row 2: 1 ln(1 / .125) = 3 ln 2. Mean: 2 ln 2.
    logprobs = log([0.25, 0.25, 0.5], [0.125, 0.5, 0.375])
    target = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    assert float(kl_to_soft_label(logprobs, target)) == pytest.approx(2 * math.log(2), rel=1e-12)


def test_kl_is_zero_for_equals_and_positive_otherwise() -> None:
    target = torch.tensor([[0.1, 0.2, 0.7]], dtype=torch.float64)
    assert float(kl_to_soft_label(target.log(), target)) == pytest.approx(0, abs=1e-15)
    assert float(kl_to_soft_label(log([0.11, 0.2, 0.69]), target)) > 1e-4
    assert float(kl_to_soft_label(log([0.2, 0.1, 0.7]), target)) > 1e-2


def test_kl_counts_mass_put_anywhere_else() -> None:
    # The same odds between the two right answers, but half of the mass elsewhere: ln 2 more.
    target = torch.tensor([[0.25, 0.75, 0.0, 0.0]], dtype=torch.float64)
    assert float(kl_to_soft_label(log([0.125, 0.375, 0.2, 0.3]), target)) == pytest.approx(math.log(2), rel=1e-12)


def test_kl_of_a_word_ruled_out_and_not_wanted_is_no_nan() -> None:
    logprobs = torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64).log().requires_grad_()
    loss = kl_to_soft_label(logprobs, torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-15)
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [[-0.5, -0.5, 0.0]]  # d/dx of -target * x


def test_kl_gradient() -> None:
    torch.manual_seed(0)
    scores = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    target = torch.softmax(torch.randn(4, 6, dtype=torch.float64), dim=-1)
    target[0] = torch.tensor([0.5, 0.5, 0, 0, 0, 0])
    assert torch.autograd.gradcheck(lambda x: kl_to_soft_label(torch.log_softmax(x, -1), target), scores)


@pytest.mark.parametrize("shape", [(2, 5), (3, 4), (1, 4), (4,)])
def test_kl_of_different_shapes_is_refused(shape: tuple[int, ...]) -> None:
    # (1, 4) and (4,) would broadcast silently.
    with pytest.raises(ValueError, match=r"logprobs \(2, 4\) and target .* differ in shape"):
        kl_to_soft_label(torch.zeros(2, 4), torch.zeros(shape))


# Fidelity

HALF = math.sqrt(0.5)


def test_fidelity_by_hand() -> None:
    # Predicted: spread sqrt(.5 + .5 + 1) = sqrt 2 and gap sqrt 2, so p_hat = Phi(1) = .841345.
    # Human: no gap, so p = .5. 1 - sqrt(.5 * .841345) - sqrt(.5 * .158655) = 1 - .648593 - .281652 = .069755
    loss = fidelity(tensor(3 + math.sqrt(2), 3), tensor(HALF, HALF), tensor(2, 2), 1.0)
    assert float(loss) == pytest.approx(0.069755, abs=3e-6)


def test_fidelity_with_a_human_gap_by_hand() -> None:
    # Predicted: no gap, p_hat = .5. Human: gap 1 with std .5, 1 / (sqrt 2 * .5) = sqrt 2, p = Phi(1.414214) =
    # .921350. 1 - sqrt(.5 * .921350) - sqrt(.5 * .078650) = 1 - .678731 - .198305 = .122964
    loss = fidelity(tensor(3, 3), tensor(HALF, HALF), tensor(3, 2), 0.5)
    assert float(loss) == pytest.approx(0.122964, abs=3e-6)


def test_fidelity_is_the_mean_over_pairs() -> None:
    mos, std, human = tensor(4.1, 2.0, 3.3, 1.5), tensor(0.3, 0.9, 0.6, 0.5), tensor(3.9, 2.5, 2.4, 1.1)
    pairs = [(a, b) for a in range(4) for b in range(a + 1, 4)]
    single = [float(fidelity(mos[list(p)], std[list(p)], human[list(p)], 0.5)) for p in pairs]
    assert float(fidelity(mos, std, human, 0.5)) == pytest.approx(sum(single) / 6, rel=1e-12)


def test_fidelity_is_zero_when_both_say_the_same() -> None:
    # Human std sqrt(.75) gives spread sqrt 2 * sqrt .75 = sqrt 1.5; predicted std .5 gives sqrt(.25 + .25 + 1).
    mos = tensor(4.5, 3.0, 1.2)
    std = tensor(0.5, 0.5, 0.5)
    assert float(fidelity(mos, std, mos, math.sqrt(0.75))) == pytest.approx(0, abs=1e-12)
    # A shift of all predictions changes no gap.
    assert float(fidelity(mos - 0.2, std, mos, math.sqrt(0.75))) == pytest.approx(0, abs=1e-12)
    assert float(fidelity(mos * 0.5, std, mos, math.sqrt(0.75))) > 0.01


def test_fidelity_does_not_care_which_picture_comes_first() -> None:
    mos, std, human = tensor(4.1, 2.0, 3.3), tensor(0.3, 0.9, 0.6), tensor(3.9, 2.5, 2.4)
    for order in ([1, 0, 2], [2, 1, 0], [2, 0, 1]):
        swapped = fidelity(mos[order], std[order], human[order], 0.5)
        assert float(swapped) == pytest.approx(float(fidelity(mos, std, human, 0.5)), rel=1e-12)


def test_fidelity_prefers_the_right_order() -> None:
    human, std = tensor(4.5, 3.0, 1.5), tensor(0.4, 0.4, 0.4)
    right, tied, wrong = (float(fidelity(m, std, human, 0.5)) for m in (human, human * 0 + 3, human.flip(0)))
    assert 0 <= right < tied < wrong <= 1


def test_fidelity_gradient() -> None:
    mos = torch.tensor([4.1, 2.0, 3.3, 3.2], dtype=torch.float64, requires_grad=True)
    std = torch.tensor([0.3, 0.9, 0.6, 0.5], dtype=torch.float64, requires_grad=True)
    human = tensor(3.9, 2.5, 2.4, 3.1)
    assert torch.autograd.gradcheck(lambda m, s: fidelity(m, s, human, 0.5), (mos, std))


@pytest.mark.parametrize("human", [[5.0, 1.0], [1.0, 5.0]])
def test_the_widest_human_gap_gives_a_finite_gradient(human: list[float]) -> None:
    # In float32 Phi(4 / (sqrt 2 * .5)) = Phi(5.66) is exactly 1 and its root's gradient 0 / 0.
    mos = torch.tensor([3.5, 3.0], requires_grad=True)
    fidelity(mos, torch.tensor([0.6, 0.6]), torch.tensor(human), 0.5).backward()
    assert mos.grad is not None
    assert torch.isfinite(mos.grad).all()
    # Descent moves the first towards its human side.
    assert (float(mos.grad[0]) < 0) == (human[0] > human[1])


@pytest.mark.parametrize("count", [0, 1])
def test_fidelity_of_less_than_a_pair_is_zero(count: int) -> None:
    mos = torch.full((count,), 3.0, requires_grad=True)
    loss = fidelity(mos, torch.ones(count), torch.full((count,), 2.0), 0.5)
    loss.backward()
    assert loss.shape == ()
    assert float(loss.detach()) == 0
    assert mos.grad is not None
    assert mos.grad.tolist() == [0.0] * count


@pytest.mark.parametrize(("std", "human"), [((2,), (3,)), ((3,), (2,)), ((1,), (3,)), ((3,), (3, 1))])
def test_fidelity_of_different_shapes_is_refused(std: tuple[int, ...], human: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one common shape"):
        fidelity(torch.zeros(3), torch.ones(std), torch.zeros(human), 0.5)


# Text cross-entropy


def test_text_by_hand() -> None:
    # Row 1: ln 2 and ln 4, mean 1.5 ln 2. Row 2: one token, ln 8 = 3 ln 2. Mean of the rows: 2.25 ln 2.
    logits = torch.stack([log([0.5, 0.25, 0.25], [0.25, 0.5, 0.25]), log([0.125, 0.5, 0.375], [1 / 3, 1 / 3, 1 / 3])])
    labels = torch.tensor([[0, 2], [0, -100]])
    assert float(text_cross_entropy(logits, labels)) == pytest.approx(2.25 * math.log(2), rel=1e-12)


def test_text_of_a_batch_is_the_mean_of_its_rows() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 4, 5, dtype=torch.float64), torch.randint(5, (3, 4))
    labels[0, 1:] = -100
    rows = [float(text_cross_entropy(logits[i : i + 1], labels[i : i + 1])) for i in range(3)]
    assert float(text_cross_entropy(logits, labels)) == pytest.approx(sum(rows) / 3, rel=1e-12)


def test_text_without_a_token_to_learn_is_zero() -> None:
    logits = torch.randn(2, 3, 4, requires_grad=True)
    loss = text_cross_entropy(logits, torch.full((2, 3), -100))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) == 0


def test_text_gradient() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[1, -100, 3], [0, 0, -100]])
    assert torch.autograd.gradcheck(lambda x: text_cross_entropy(x, labels), logits)


@pytest.mark.parametrize("shape", [(2, 4), (1, 3), (3,)])
def test_text_of_different_shapes_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="differ in rows or positions"):
        text_cross_entropy(torch.zeros(2, 3, 4), torch.zeros(shape, dtype=torch.long))


# Ordinal


def test_ordinal_by_hand() -> None:
    # All on the first of three against all on the third: cumulative (1, 1, 1) and (0, 0, 1): 1 + 1 + 0 = 2.
    # Against all on the second: (1, 1, 1) and (0, 1, 1): 1. Mean: 1.5.
    probs = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    target = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    assert float(ordinal(probs, target)) == pytest.approx(1.5)


def test_ordinal_charges_more_for_what_lies_further_off_and_nothing_for_the_same() -> None:
    target = torch.eye(5)[:1]
    far = [float(ordinal(torch.eye(5)[k : k + 1], target)) for k in range(5)]
    assert far == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert float(ordinal(torch.zeros(0, 5), torch.zeros(0, 5))) == 0


def test_ordinal_gradient() -> None:
    torch.manual_seed(0)
    scores = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    target = torch.softmax(torch.randn(3, 5, dtype=torch.float64), -1)
    assert torch.autograd.gradcheck(lambda x: ordinal(torch.softmax(x, -1), target), scores)


def test_ordinal_of_different_shapes_is_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        ordinal(torch.zeros(2, 5), torch.zeros(1, 5))


# Fidelity of several data sets


def test_fidelity_compares_within_a_data_set_alone() -> None:
    mos, std, human = tensor(4.1, 2.0, 3.3, 1.5), tensor(0.3, 0.9, 0.6, 0.5), tensor(3.9, 2.5, 2.4, 1.1)
    groups = torch.tensor([0, 1, 0, 1])
    pairs = [float(fidelity(mos[p], std[p], human[p], 0.5)) for p in ([0, 2], [1, 3])]
    assert float(fidelity(mos, std, human, 0.5, groups=groups)) == pytest.approx(sum(pairs) / 2, rel=1e-12)
    assert same_group_pairs(groups).tolist() == [[0, 1], [2, 3]]


def test_fidelity_without_a_pair_of_one_data_set_is_zero() -> None:
    mos = torch.tensor([4.0, 2.0], requires_grad=True)
    loss = fidelity(mos, torch.ones(2), torch.tensor([1.0, 5.0]), 0.5, groups=torch.tensor([0, 1]))
    loss.backward()
    assert float(loss.detach()) == 0
    assert mos.grad is not None
    assert mos.grad.tolist() == [0, 0]


def test_fidelity_with_a_spread_for_each_picture_by_hand() -> None:
    # Predicted: no gap, p_hat = .5. Human: gap 1, sqrt(.36 + .64) = 1, p = Phi(1) = .841345.
    # 1 - sqrt(.5 * .841345) - sqrt(.5 * .158655) = .069755, as when the two change places.
    loss = fidelity(tensor(3, 3), tensor(HALF, HALF), tensor(3, 2), tensor(0.6, 0.8))
    assert float(loss) == pytest.approx(0.069755, abs=3e-6)
    same = fidelity(tensor(3.5, 3), tensor(HALF, HALF), tensor(3, 2), tensor(0.5, 0.5))
    assert float(same) == pytest.approx(float(fidelity(tensor(3.5, 3), tensor(HALF, HALF), tensor(3, 2), 0.5)))
