"""Every command and every line of Python on the page about large runs runs, on the FAKE model."""

import re
import shlex
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from PIL import Image

from mllm_iqa.cli import app, main

PAGE = (Path(__file__).parents[1] / "docs" / "large-runs.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, flags=re.DOTALL)
COMMANDS = [line[2:] for kind, text in BLOCKS if kind == "console" for line in text.splitlines()]
INDENTED = re.findall(r"^ {4}mllm-iqa ((?:.*\\\n)*.*)", PAGE, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the page speaks of."""
    folder = tmp_path_factory.mktemp("large")
    (folder / "photos").mkdir()
    (folder / "shards").mkdir()
    rng = np.random.default_rng(0)
    names = [f"photos/{n}.png" for n in range(3)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(folder / name)
    with tarfile.open(folder / "shards" / "0.tar", "w") as archive:
        archive.add(folder / names[0], "0.png")
    pq.write_table(pa.table({"path": names}), folder / "table.parquet")
    (folder / "names.txt").write_text("\n".join(names) + "\n")
    return folder


def test_the_page_has_commands() -> None:
    assert len([command for command in COMMANDS if command.startswith("mllm-iqa score")]) >= 4
    assert len(INDENTED) == 1


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("mllm-iqa ") and "--engine ray" not in c])
def test_a_command_runs(here: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.chdir(here)
    arguments = [str(next(Path().glob(a))) if "*" in a else a for a in shlex.split(command)[1:]]  # as a shell would
    again = [*arguments, "--model", "fake", "--device", "cpu"]
    assert main(again) == 0
    assert main(again) == 0
    folder = Path(arguments[arguments.index("--run") + 1])
    assert (folder / "_summary.json").is_file()


def test_the_python_runs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    assert main(["score", "photos", "--run", "runs/photos", "--model", "fake", "--device", "cpu"]) == 0
    for kind, text in BLOCKS:
        if kind == "python":
            names: dict[str, pa.Table] = {}
            exec(compile(text, "large-runs.md", "exec"), names)
            assert names["table"].num_rows == 3


@pytest.mark.parametrize(
    "command", [*INDENTED, *(c.removeprefix("mllm-iqa ") for c in COMMANDS if "--engine ray" in c)]
)
def test_the_options_of_a_command_for_a_cluster_exist(command: str) -> None:
    given = {word for word in shlex.split(command.replace("\\\n", " ")) if word.startswith("--")}
    assert {"--engine", "--run"} <= given
    score = typer.main.get_command(app).commands["score"]  # type: ignore[attr-defined]
    assert given <= {option for parameter in score.params for option in parameter.opts}
