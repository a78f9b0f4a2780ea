"""The optimisation loop on a model of a few weights: schedule, groups, log, resuming, refusing to go on."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mllm_iqa.train.nano.loop import (
    LoopPlan,
    StepLoss,
    cosine_with_warmup,
    optimise,
    optimizers_of,
    parameter_groups,
    save_state,
)
from torch import nn

from mllm_iqa.errors import ConfigError, DataError

PLAN = LoopPlan(steps=14, learning_rate=0.05, warmup=3, save_every=5)
SETTINGS: dict[str, object] = {"seed": 0}


class Interrupted(Exception):
    """Stands for whatever ends a process in the middle of a step."""


def new_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 1))


def make_batch(number: int) -> tuple[int, torch.Tensor]:
    """Batch `number` is a function of its number alone."""
    return number, torch.randn(6, 4, generator=torch.Generator().manual_seed(number))


def loss_on(model: nn.Module, fails: Callable[[int], None] = lambda step: None) -> StepLoss:
    def loss_of(batch: tuple[int, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
        number, x = batch
        fails(number)
        loss = (model(x)[:, 0] - x.sum(dim=1)).square().mean()
        return loss, {"squared": float(loss.detach())}

    return loss_of


def train(folder: Path, fails: Callable[[int], None] = lambda step: None, plan: LoopPlan = PLAN) -> nn.Module:
    model = new_model()
    optimise(model, parameter_groups(model, plan), make_batch, loss_on(model, fails), plan, folder, SETTINGS)
    return model


def test_a_state_of_other_settings_is_refused(tmp_path: Path) -> None:
    train(tmp_path)
    before = (tmp_path / "state.pt").read_bytes()
    with pytest.raises(ConfigError, match=r"holds a run whose steps was 14, not 20; name another output folder"):
        train(tmp_path, plan=replace(PLAN, steps=20))
    model = new_model()
    with pytest.raises(ConfigError, match="holds a run whose seed was 0, not 1"):
        optimise(model, parameter_groups(model, PLAN), make_batch, loss_on(model), PLAN, tmp_path, {"seed": 1})
    assert (tmp_path / "state.pt").read_bytes() == before
    train(tmp_path, plan=replace(PLAN, save_every=3))  # how often it is saved changes nothing


def state_of(folder: Path) -> dict[str, object]:
    state: dict[str, object] = torch.load(folder / "state.pt", weights_only=True)
    return state


def assert_same_state(folder: Path, other: Path) -> None:
    """To the last bit."""
    state, expected = state_of(folder), state_of(other)
    assert state.pop("run") == expected.pop("run")
    torch.testing.assert_close(state, expected, rtol=0, atol=0)


def log_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text("utf8").splitlines()]


# The schedule


@pytest.mark.parametrize(
    ("step", "share"),
    [
        (0, 0.25),  # warm-up over 4 steps: 1/4, 2/4, 3/4, 4/4 of the peak
        (1, 0.5),
        (3, 1.0),
        (4, 1.0),  # the cosine starts at its top: .02 + .98 * .5 * (1 + cos 0)
        (8, 0.02 + 0.98 * 0.853553),  # a quarter of 16 steps: (1 + cos(pi/4)) / 2 = .853553
        (12, 0.51),  # half way: .02 + .98 * .5
        (20, 0.02),  # at the end: 2 %
    ],
)
def test_learning_rate_by_hand(step: int, share: float) -> None:
    plan = LoopPlan(steps=20, learning_rate=3e-4, warmup=4)
    assert cosine_with_warmup(step, plan) == pytest.approx(3e-4 * share, rel=1e-6)


def test_without_warm_up_the_first_step_has_the_peak() -> None:
    assert cosine_with_warmup(0, LoopPlan(steps=10, learning_rate=0.1, warmup=0)) == pytest.approx(0.1)


def test_a_run_that_is_all_warm_up_divides_by_nothing() -> None:
    plan = LoopPlan(steps=4, learning_rate=0.1, warmup=4)
    assert [cosine_with_warmup(s, plan) for s in range(4)] == pytest.approx([0.025, 0.05, 0.075, 0.1])


def test_the_rate_rises_then_falls() -> None:
    plan = LoopPlan(steps=100, learning_rate=1.0, warmup=10)
    rates = [cosine_with_warmup(s, plan) for s in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < min(rates) <= max(rates) == 1.0


# Parameter groups


def test_vectors_have_no_weight_decay_and_slow_parts_their_own_rate() -> None:
    model = new_model()
    names = {id(p): n for n, p in model.named_parameters()}
    model[0].bias.requires_grad_(False)  # type: ignore[union-attr]
    groups = parameter_groups(model, PLAN, slow=("0.", "1."), factor=0.1)
    found = {names[id(p)]: (g["weight_decay"], g["rate"]) for g in groups for p in g["params"]}
    assert found == {
        "0.weight": (0.05, 0.1),
        "1.weight": (0.0, 0.1),
        "1.bias": (0.0, 0.1),
        "2.weight": (0.05, 1.0),
        "2.bias": (0.0, 1.0),
    }
    assert sum(len(g["params"]) for g in groups) == len(found)


def test_without_slow_parts_all_have_the_full_rate() -> None:
    assert {g["rate"] for g in parameter_groups(new_model(), PLAN, factor=0.1)} == {1.0}


def test_a_rate_of_zero_freezes_its_group(tmp_path: Path) -> None:
    model, before = new_model(), new_model().state_dict()
    optimise(model, parameter_groups(model, PLAN, ("0.",), 0.0), make_batch, loss_on(model), PLAN, tmp_path, SETTINGS)
    moved = {name: not torch.equal(value, before[name]) for name, value in model.state_dict().items()}
    assert moved == {name: not name.startswith("0.") for name in before}


# Muon


class Small(nn.Module):
    """A model with every sort of parameter that Muon has to tell apart."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed_tokens = nn.Embedding(6, 4)
        self.patch_embed = nn.Conv2d(3, 4, 2)
        self.hidden = nn.Linear(4, 4)
        self.lm_head = nn.Linear(4, 6, bias=False)


MUON = replace(PLAN, optimizer="muon")


def test_muon_is_for_hidden_matrices_alone() -> None:
    model = Small()
    names = {id(p): n for n, p in model.named_parameters()}
    adamw, muon = optimizers_of(parameter_groups(model, MUON), MUON)
    assert [names[id(p)] for g in muon.param_groups for p in g["params"]] == ["hidden.weight"]
    rest = {names[id(p)] for g in adamw.param_groups for p in g["params"]}
    assert rest == set(names.values()) - {"hidden.weight"}
    assert isinstance(muon, torch.optim.Muon)
    (alone,) = optimizers_of(parameter_groups(model, PLAN), PLAN)
    assert isinstance(alone, torch.optim.AdamW)
    assert {names[id(p)] for g in alone.param_groups for p in g["params"]} == set(names.values())


def test_an_older_torch_without_muon_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(ConfigError, match=r"muon needs torch 2\.9 or newer"):
        optimizers_of(parameter_groups(Small(), MUON), MUON)
    optimizers_of(parameter_groups(Small(), PLAN), PLAN)


def test_a_step_of_muon_is_as_long_in_every_direction_and_as_one_of_adamw() -> None:
    model = nn.Linear(64, 64, bias=False)
    before = model.weight.detach().clone()
    groups = parameter_groups(model, replace(MUON, weight_decay=0.0))
    (muon,) = optimizers_of(groups, replace(MUON, learning_rate=1e-3))
    torch.manual_seed(1)
    model.weight.grad = torch.randn(64, 2) @ torch.randn(2, 64) + 0.3 * torch.randn(64, 64)
    muon.step()
    step = model.weight.detach() - before
    long, *_, short = torch.linalg.svdvals(model.weight.grad).tolist()
    assert long / short > 50
    lengths = torch.linalg.svdvals(step)[:-4]  # five iterations do not raise the very smallest
    assert float(lengths.max() / lengths.min()) < 3
    assert float(step.square().mean().sqrt()) == pytest.approx(0.2e-3, rel=0.3)  # AdamW's typical root mean square


def test_muon_learns_and_resumes_to_the_same_weights(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", plan=MUON)

    def fails(step: int) -> None:
        if step == 8:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(tmp_path / "cut", fails, MUON)
    resumed = train(tmp_path / "cut", plan=MUON)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    losses = [json.loads(line)["loss"] for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert sum(losses[-4:]) < sum(losses[:4])
    with pytest.raises(ConfigError, match="holds a run whose optimizer was muon, not adamw"):
        train(tmp_path / "whole")


# Running


def test_the_loss_falls_and_every_step_is_logged(tmp_path: Path) -> None:
    train(tmp_path)
    log = log_of(tmp_path)
    assert [row["step"] for row in log] == list(range(14))
    assert [row["lr"] for row in log] == pytest.approx([cosine_with_warmup(s, PLAN) for s in range(14)], abs=1e-6)
    assert all(row["loss"] == row["squared"] > 0 and row["grad_norm"] > 0 and row["seconds"] >= 0 for row in log)
    assert sum(row["loss"] for row in log[-4:]) < sum(row["loss"] for row in log[:4])


def test_the_checkpoint_is_the_trained_model(tmp_path: Path) -> None:
    model = train(tmp_path)
    state = state_of(tmp_path)
    assert state["step"] == PLAN.steps
    saved = state["model"]
    assert isinstance(saved, dict)
    assert all(torch.equal(saved[name], value) for name, value in model.state_dict().items())
    assert [p.name for p in tmp_path.glob("*.partial")] == []


@pytest.mark.parametrize("killed_at", [2, 5, 7, 13])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path: Path, killed_at: int) -> None:
    seen: list[int] = []

    def fails(step: int) -> None:
        seen.append(step)
        if step == killed_at and seen.count(step) == 1:
            raise Interrupted

    train(tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(tmp_path / "killed", fails)
    train(tmp_path / "killed", fails)
    # It goes on after the last multiple of 5 steps, with the batch that comes next there.
    resumed_at = killed_at // 5 * 5
    assert seen == [*range(killed_at + 1), *range(resumed_at, 14)]
    assert [row["step"] for row in log_of(tmp_path / "killed")] == list(range(14))
    assert_same_state(tmp_path / "killed", tmp_path / "whole")


def test_a_finished_run_does_nothing_more(tmp_path: Path) -> None:
    train(tmp_path)
    content = (tmp_path / "state.pt").read_bytes()

    def fails(step: int) -> None:
        raise AssertionError(f"step {step} was run again")

    model = train(tmp_path, fails)
    assert (tmp_path / "state.pt").read_bytes() == content
    saved = state_of(tmp_path)["model"]
    torch.testing.assert_close(dict(model.state_dict()), dict(saved), rtol=0, atol=0)  # type: ignore[call-overload]


def test_a_save_that_was_cut_short_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(tmp_path, lambda step: stop_at(step, 6))
    (tmp_path / "state.partial").write_bytes(b"half a checkpo")
    train(tmp_path)
    train(tmp_path / "whole")
    assert_same_state(tmp_path, tmp_path / "whole")


def stop_at(step: int, last: int) -> None:
    if step == last:
        raise Interrupted


def test_saving_keeps_the_old_file_when_writing_fails(tmp_path: Path) -> None:
    model = new_model()
    optimizer = torch.optim.AdamW(model.parameters())
    path = tmp_path / "state.pt"
    save_state(path, model, [optimizer], 1, {})
    model.register_buffer("unwritable", UnwritableTensor(torch.zeros(2)))
    with pytest.raises(Interrupted):
        save_state(path, model, [optimizer], 2, {})
    assert state_of(tmp_path)["step"] == 1


class UnwritableTensor(torch.Tensor):
    """Fails in the middle of being written, as a full disk does."""

    @staticmethod
    def __new__(cls, data: torch.Tensor) -> "UnwritableTensor":
        made: UnwritableTensor = torch.Tensor._make_subclass(cls, data)
        return made

    def __reduce_ex__(self, protocol: object) -> object:
        raise Interrupted


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_naming_the_step(tmp_path: Path, value: float) -> None:
    model = new_model()

    def loss_of(batch: tuple[int, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
        loss, parts = loss_on(model)(batch)
        return (loss * value, {"levels": value}) if batch[0] == 7 else (loss, parts)

    with pytest.raises(DataError, match=r"loss of step 7 is (nan|inf); parts: \{'levels'"):
        optimise(model, parameter_groups(model, PLAN), make_batch, loss_of, PLAN, tmp_path, SETTINGS)
    assert state_of(tmp_path)["step"] == 5
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_an_error_while_making_a_batch_reaches_the_caller(tmp_path: Path) -> None:
    def broken(number: int) -> tuple[int, torch.Tensor]:
        if number == 4:
            raise DataError("photo.jpg: missing")
        return make_batch(number)

    model = new_model()
    with pytest.raises(DataError, match=r"photo\.jpg: missing"):
        optimise(model, parameter_groups(model, PLAN), broken, loss_on(model), PLAN, tmp_path, SETTINGS)
    assert [row["step"] for row in log_of(tmp_path)] == [0, 1, 2, 3]
