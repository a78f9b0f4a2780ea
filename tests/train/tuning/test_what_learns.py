"""Parts and LoRA targets are found in every architecture by what they do."""

from collections.abc import Callable

import pytest
from mllm_iqa.train.parts import part_of
from mllm_iqa.train.tuning.what_learns import target_modules, train_only

from mllm_iqa.backends.huggingface import HuggingFaceBackend
from mllm_iqa.errors import ConfigError

FAMILIES = ("qwen3_vl", "qwen2_5_vl", "llava", "idefics3", "internvl")
TARGETS = ("language attention", "language mlp", "projector", "vision")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_target_is_found_once_and_nothing_else_is(family: str, load: Callable[[str], HuggingFaceBackend]) -> None:
    model = load(family).model
    found = {target: set(target_modules(model, [target])) for target in TARGETS}
    everything = set(target_modules(model, TARGETS))
    assert sum(map(len, found.values())) == len(everything)
    assert all(found.values())
    # Two layers of four attention and three other matrices.
    assert (len(found["language attention"]), len(found["language mlp"])) == (8, 6)
    assert not any("lm_head" in name or "embed_tokens" in name for name in everything)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_frozen_stays_frozen(family: str, load: Callable[[str], HuggingFaceBackend]) -> None:
    model = load(family).model
    train_only(model, ["projector"])
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learning
    assert {part_of(name) for name in learning} == {"projector"}
    train_only(model, ["language", "projector", "vision"])
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("model.language_model.layers.3.self_attn.q_proj", "language attention"),
        ("model.text_model.layers.3.mlp.down_proj", "language mlp"),
        ("model.visual.blocks.0.attn.qkv", "vision"),
        ("model.visual.merger.linear_fc1", "projector"),
        ("model.visual.deepstack_merger_list.0.linear_fc2", "projector"),
        ("model.vision_tower.encoder.layers.0.self_attn.k_proj", "vision"),
        ("model.connector.modality_projection.proj", "projector"),
        ("lm_head", "output layer"),
        ("model.language_model.norm", "language norms"),
        ("model.image_newline", "other"),
    ],
)
def test_a_layer_is_told_by_its_name(name: str, target: str | None) -> None:
    assert part_of(name) == target


def test_a_part_that_is_not_there_is_named_with_those_that_are(load: Callable[[str], HuggingFaceBackend]) -> None:
    language = load("llava").model.model.language_model
    with pytest.raises(ConfigError, match="has no layers for 'vision'; it has:"):
        target_modules(language, ["vision"])
