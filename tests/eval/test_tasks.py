"""Task files: each loads, is described, and its parts exist; wrong ones are refused with a hint."""

from importlib.resources import files
from pathlib import Path

import mllm_iqa.eval
import pytest
from mllm_iqa.eval.parts import ASKS, MEASURES, READERS, load_tasks, task_of
from mllm_iqa.eval.task import TaskSpec, read_spec, task_names

from mllm_iqa.errors import ConfigError, PromptError

README = Path(__file__).resolve().parents[2] / "eval" / "tasks" / "README.md"


@pytest.mark.parametrize("name", task_names())
def test_every_task_loads_and_is_described(name: str) -> None:
    assert load_tasks(name)
    assert f"## {name.removeprefix('synthetic_') if name.startswith('synthetic_') else name}" in README.read_text() or (
        f"`{name}`" in README.read_text()
    )


def test_every_part_is_used_by_a_task() -> None:
    specs = [read_spec(name) for name in task_names()]
    assert {spec.reads for spec in specs} - {""} == set(READERS)
    assert {spec.asks for spec in specs} - {""} == set(ASKS)
    assert {measure for spec in specs for measure in spec.measures} == set(MEASURES)


def test_task_files_are_shipped() -> None:
    assert (files(mllm_iqa.eval) / "tasks" / "synthetic.yaml").is_file()


def spec(**changed: object) -> TaskSpec:
    fields = {"task": "x", "version": 1, "title": "X", "reads": "rated", "asks": "levels", "measures": ("correlation",)}
    return TaskSpec.model_validate(fields | changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"reads": "ratd"}, "did you mean rated"),
        ({"asks": "level"}, "did you mean levels"),
        ({"measures": ("corelation",)}, "did you mean correlation"),
        ({"options": {"severity": {}}}, "options for severity"),
        ({"parts": ("assessment",)}, "is a suite"),
    ],
)
def test_unknown_parts_are_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        task_of(spec(**changed))


def test_unknown_prompts_and_keys_are_refused() -> None:
    with pytest.raises(PromptError, match="no prompt named"):
        task_of(spec(prompts=("rate.v99",)))
    with pytest.raises(ValueError, match="Extra inputs"):
        spec(metric="srcc")
