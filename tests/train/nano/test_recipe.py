"""Recipes: the shipped one, every mistake named at once, and `mllm-iqa train` on what is not there."""

from importlib.resources import files
from pathlib import Path

import pytest
from mllm_iqa.train.nano.instruct import CROPS_FIRST, WHOLE_PICTURES
from mllm_iqa.train.nano.loop import LoopPlan
from mllm_iqa.train.nano.recipe import StagePlan
from mllm_iqa.train.recipe import read_recipe

from mllm_iqa.cli import main
from mllm_iqa.errors import ConfigError

SHIPPED = Path(str(files("mllm_iqa") / ".." / "train" / "recipes" / "nano.yaml")).resolve()

RECIPE = """
name: tiny
version: "1"
bank: {folder}/bank
teacher: {folder}/teacher.npz
output: {folder}/out
max_pixels: 65536
vision: {{steps: 2, learning_rate: 1.0e-3, warmup: 1}}
instruct: {{steps: 3, learning_rate: 2.0e-3, warmup: 0, save_every: 7, bf16: true, weight_decay: 0.0}}
whole: {{steps: 4, learning_rate: 5.0e-4, warmup: 2}}
"""


def write(folder: Path, text: str = RECIPE) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(text.format(folder=folder), "utf8")
    return path


def test_the_shipped_recipe_is_valid() -> None:
    recipe = read_recipe(SHIPPED)
    assert recipe.name == "nano"
    for stage in (recipe.vision, recipe.instruct, recipe.whole):
        assert stage is not None
        assert stage.warmup < stage.steps


def test_a_recipe_is_read_with_its_defaults(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path))
    assert (recipe.bank, recipe.output) == (tmp_path / "bank", tmp_path / "out")
    assert (recipe.seed, recipe.threads, recipe.assumed_std, recipe.max_pixels) == (0, 0, 0.5, 65536)
    assert recipe.vision == StagePlan(steps=2, learning_rate=1e-3, warmup=1)
    assert recipe.start == ()
    assert recipe.instruct is not None
    assert recipe.instruct.loop_plan() == LoopPlan(
        steps=3, learning_rate=2e-3, warmup=0, weight_decay=0.0, save_every=7, bf16=True
    )


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("bank:", "bnak:", "bnak: unknown key, did you mean bank?"),
        ("{{steps: 2, ", "{{step: 2, ", "vision.step: unknown key, did you mean steps?"),
        ("name: tiny", "name: tiny\nzzz: 1", "zzz: unknown key"),
        ("steps: 2", "steps: 0", "vision.steps: Input should be greater than 0"),
        ("steps: 4", "steps: 0", "whole.steps: Input should be greater than 0"),
        ("name: tiny", "name: tiny\nstart: nano", "either start, or both vision and instruct, must be given"),
        ("vision: {{", "whole: {{", "either start, or both vision and instruct, must be given"),
        ("steps: 3", "steps: many", "instruct.steps: Input should be a valid integer"),
        ("learning_rate: 1.0e-3", "learning_rate: -1", "vision.learning_rate: Input should be greater than 0"),
        ("max_pixels: 65536\n", "", "max_pixels: Field required"),
        ("max_pixels: 65536", "max_pixels: 10", "max_pixels: Input should be greater than or equal to 1024"),
        ("warmup: 1", "warmup: -1", "vision.warmup: Input should be greater than or equal to 0"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, right: str, wrong: str, message: str) -> None:
    assert RECIPE.count(right) == 1
    path = write(tmp_path, RECIPE.replace(right, wrong))
    with pytest.raises(ConfigError) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_an_unlike_key_gets_no_suggestion(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"zzz: unknown key$"):
        read_recipe(write(tmp_path, RECIPE + "zzz: 1\n"))


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    text = RECIPE.replace("seed", "sede").replace("bank:", "bnak:").replace("steps: 2", "steps: 0")
    with pytest.raises(ConfigError) as caught:
        read_recipe(write(tmp_path, text.replace("warmup: 0", "wramup: 0")))
    mistakes = str(caught.value).removeprefix(f"{tmp_path / 'tiny.yaml'}: ").split("; ")
    assert sorted(mistakes) == [
        "bank: Field required",
        "bnak: unknown key, did you mean bank?",
        "instruct.warmup: Field required",
        "instruct.wramup: unknown key, did you mean warmup?",
        "vision.steps: Input should be greater than 0",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "recipe: Input should be a valid dictionary"),
        ("- 1\n- 2\n", "recipe: Input should be a valid dictionary"),
        ("name: [", "not YAML"),
        ("!!python/object/apply:os.getcwd []", "not YAML"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, "utf8")
    with pytest.raises(ConfigError, match=message) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)


def test_a_recipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: no such recipe"):
        read_recipe(tmp_path / "absent.yaml")


# mllm-iqa train


def test_a_missing_bank_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path)
    assert main(["train", str(path), "--check"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"mllm-iqa: error: {path}: not found: {tmp_path}/bank/instruct-train-photos.parquet, ")
    assert err.endswith(" more (`mllm-iqa data bank` writes the bank)\n")
    assert not (tmp_path / "out").exists()


def test_a_run_on_a_missing_bank_is_refused_before_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(write(tmp_path))]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def write_bank(folder: Path) -> None:
    """Files of the names the recipe reads, and nothing in them."""
    folder.mkdir()
    shards = [f"train-{size}-0000.parquet" for what, size, *_ in CROPS_FIRST + WHOLE_PICTURES if what == "synthetic"]
    for name in [*shards, *(f"instruct-{s}" for s in shards), "photos.parquet", "instruct-train-photos.parquet"]:
        (folder / name).touch()


def test_a_check_of_a_whole_recipe_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path)
    write_bank(tmp_path / "bank")
    assert main(["train", str(path), "--check"]) == 2
    assert capsys.readouterr().err == (
        f"mllm-iqa: error: {path}: the teacher's weights are not at {tmp_path}/teacher.npz\n"
    )
    (tmp_path / "teacher.npz").touch()
    assert main(["train", str(path), "--check"]) == 0
    assert capsys.readouterr() == (f"{path}: valid\n", "")
    assert not (tmp_path / "out").exists()


def test_a_start_that_is_no_checkpoint_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for line in RECIPE.splitlines() if not line.startswith(("vision", "instruct"))]
    path = write(tmp_path, "\n".join([*lines, "start: {folder}/absent", ""]))
    write_bank(tmp_path / "bank")
    assert main(["train", str(path), "--check"]) == 2
    assert capsys.readouterr().err == f"mllm-iqa: error: {path}: {tmp_path}/absent is not a checkpoint folder\n"


@pytest.mark.parametrize(
    ("text", "part"), [("name: [", "not YAML"), ("bnak: x", "bnak: unknown key, did you mean bank?")]
)
def test_mistakes_are_one_line_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, part: str
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, "utf8")
    assert main(["train", str(path), "--check"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert part in err


def test_train_needs_a_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 2
    assert "Missing argument" in capsys.readouterr().err
