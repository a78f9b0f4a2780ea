"""The command line from arguments to exit status, run in this process on the FAKE model."""

import csv
import io
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from mllm_iqa import cli
from mllm_iqa.cli import main
from mllm_iqa.errors import BackendError, CheckpointError, MissingDependencyError
from mllm_iqa.extras import EXTRA_OF, missing
from mllm_iqa.levels import LEVELS
from mllm_iqa.tables import COLUMNS, WRITERS

REPO = Path(__file__).resolve().parents[1]
GOOD = ["a.png", "sub/with space.jpg", "sub/ünï 图.png"]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the three pictures of `GOOD` in the folder photos/."""
    rng = np.random.default_rng(0)
    for name in GOOD:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def broken(photos: Path) -> Path:
    """One more file in photos/, second in order: text under a picture's name."""
    (photos / "photos" / "broken.jpg").write_text("not a picture")
    return photos


def fake(*arguments: str) -> int:
    return main([arguments[0], *arguments[1:], "--model", "fake"])


def rows_of(out: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.splitlines()]


# --- score ---------------------------------------------------------------------------------------------------------


def test_scores_are_rows_in_order_under_the_path_given(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fake("score", "photos", "--format", "jsonl") == 0
    out, err = capsys.readouterr()
    rows = rows_of(out)
    assert [row["name"] for row in rows] == [f"photos/{name}" for name in GOOD]
    assert {row["model"] for row in rows} == {"FAKE"}
    assert all(row["error"] is None and 1 <= float(str(row["mos"])) <= 5 and row["explanation"] for row in rows)
    assert err.splitlines()[-1] == "3/3 scored"


def test_the_same_pictures_get_the_same_scores_whatever_the_batch(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outs = []
    for batch_size in ("1", "2", "8"):
        assert fake("score", "photos", "--format", "json", "--batch-size", batch_size) == 0
        outs.append(capsys.readouterr().out)
    assert outs[0] == outs[1] == outs[2]
    mos = {row["mos"] for row in json.loads(outs[0])}
    assert len(mos) == 3  # and different pictures get different ones


def test_one_bad_file_is_an_error_row_and_exit_status_1(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fake("score", "photos", "--format", "jsonl") == 1
    out, err = capsys.readouterr()
    rows = rows_of(out)
    assert [row["name"] for row in rows] == [f"photos/{name}" for name in [GOOD[0], "broken.jpg", *GOOD[1:]]]
    assert [row["error"] is None for row in rows] == [True, False, True, True]
    assert set(rows[1]) == {"name", "error"}
    assert str(rows[1]["error"]).startswith("is not a complete picture in a known format")
    assert err.splitlines()[-2:] == ["3/4 scored", f"failed: photos/broken.jpg: {rows[1]['error']}"]


def test_a_neighbouring_failure_changes_no_score(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake("score", "photos", "--format", "jsonl")
    with_failure = [row for row in rows_of(capsys.readouterr().out) if row["error"] is None]
    (broken / "photos" / "broken.jpg").unlink()
    fake("score", "photos", "--format", "jsonl")
    assert rows_of(capsys.readouterr().out) == with_failure


def test_failures_can_be_allowed(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fake("score", "photos", "--allow-failures") == 0
    out, err = capsys.readouterr()
    assert "3/4 scored" in out
    assert "failed: photos/broken.jpg" in err


@pytest.mark.parametrize("format", sorted(WRITERS))
def test_every_format_reads_back_to_the_same_scores(
    broken: Path, format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fake("score", "photos", "--format", "jsonl") == 1
    expected = [(row["name"], row.get("mos")) for row in rows_of(capsys.readouterr().out)]
    path = broken / f"out.{format}"
    assert fake("score", "photos", "--format", format, "--output", str(path)) == 1
    assert capsys.readouterr().out == ""
    match format:
        case "json":
            rows = json.loads(path.read_text("utf-8"))
        case "jsonl":
            rows = rows_of(path.read_text("utf-8"))
        case "csv":
            rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))
        case _:
            rows = pyarrow.parquet.read_table(path).to_pylist()
    found = [(row["name"], float(row["mos"]) if row.get("mos") else None) for row in rows]
    assert found == expected
    if format in ("csv", "parquet"):
        assert list(rows[0]) == list(COLUMNS)


@pytest.mark.parametrize(
    ("name", "arguments", "start"),
    [
        ("r.CSV", [], "name,mos,"),
        ("r.jsonl", [], '{"name": '),
        ("r.txt", [], "photos/a.png\nMOS "),
        ("r.csv", ["--format", "json"], "[\n"),
    ],
)
def test_the_extension_of_the_output_chooses_the_format_unless_it_is_given(
    photos: Path, name: str, arguments: list[str], start: str
) -> None:
    assert fake("score", "photos/a.png", "--output", name, *arguments) == 0
    assert (photos / name).read_text("utf-8").startswith(start)


def test_the_table_is_plain_and_whole_where_stdout_is_no_terminal(
    broken: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    long = "photos/" + "long " * 30 + "name.png"
    (broken / "photos" / GOOD[0]).rename(broken / long)
    assert fake("score", "photos") == 1
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].split() == ["picture", "MOS", "interval", "level", "distortions"]
    by_name = {
        name: line for name in (long, "photos/broken.jpg", f"photos/{GOOD[1]}") for line in lines if name in line
    }
    assert len(by_name) == 3
    assert "error: is not a complete picture" in out
    assert lines[-1].startswith("3/4 scored; model FAKE, prompt ")
    assert "\x1b" not in out and "…" not in out
    assert [line for line in lines if line != line.rstrip()] == []


def test_a_single_picture_is_shown_in_full(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fake("score", f"photos/{GOOD[2]}", "--format", "json") == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert fake("score", f"photos/{GOOD[2]}") == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == f"photos/{GOOD[2]}"
    assert lines[1].startswith(f"MOS {row['mos']:.2f} of 5 ({row['level']}), 90% interval ")
    for level, line in zip(LEVELS, lines[2:7], strict=True):
        assert line.split()[:2] == [level, f"{row['levels'][level]:.3f}"]
        assert line.count("█") == round(30 * row["levels"][level])
    assert row["explanation"] in out
    for finding in row["distortions"]:
        assert finding["kind"] in out
    assert "64x48 pixels" in out
    assert f"model FAKE, prompt {row['prompt']}" in out


def test_without_explanation_there_is_none(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fake("score", "photos", "--no-explain", "--format", "jsonl") == 0
    rows = rows_of(capsys.readouterr().out)
    assert {(row["explanation"], row["confidence"]) for row in rows} == {(None, None)}
    assert fake("score", "photos/a.png", "--no-explain") == 0
    assert "confidence" not in capsys.readouterr().out


def test_a_table_can_be_written_to_a_file(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fake("score", "photos") == 0
    shown = capsys.readouterr().out
    assert fake("score", "photos", "--output", "table.txt") == 0
    assert (photos / "table.txt").read_text("utf-8") == shown


def test_a_reference_goes_with_one_picture(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fake("score", "photos/a.png", "--reference", f"photos/{GOOD[1]}", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "photos/a.png"
    assert fake("score", "photos", "--reference", "photos/a.png") == 2
    assert capsys.readouterr().err.startswith("mllm-iqa: error: --reference goes with a single picture, and 3 ")


def test_a_broken_picture_fails_and_a_broken_reference_is_wrong_input(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fake("score", "photos/broken.jpg", "--reference", "photos/a.png", "--format", "json") == 1
    assert json.loads(capsys.readouterr().out)[0]["name"] == "photos/broken.jpg"
    assert fake("score", "photos/a.png", "--reference", "photos/broken.jpg", "--format", "json") == 2
    out, err = capsys.readouterr()
    assert (out, err.startswith("mllm-iqa: error: photos/broken.jpg: ")) == ("", True)
    assert fake("score", "photos/broken.jpg", "--reference", "photos/broken.jpg") == 2


def test_a_folder_without_pictures_beside_others_is_passed_over(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "empty").mkdir()
    assert fake("score", "empty", "photos/a.png", "--format", "json") == 0
    out, err = capsys.readouterr()
    assert [row["name"] for row in json.loads(out)] == ["photos/a.png"]
    assert err.startswith("passed over: empty: the folder holds no picture")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["missing.jpg", "photos"], "missing.jpg: there is no such file or folder"),
        (["empty"], "empty: the folder holds no picture"),
        (["*.nothing"], "*.nothing: nothing matches the pattern"),
        (["photos", "--output", "empty"], "--output empty is a folder"),
        (["photos", "--output", "no/such.csv"], "--output no/such.csv: there is no folder"),
        (["photos", "--output", "photos/a.png", "--format", "csv"], "--output photos/a.png is one of the pictures"),
        (
            ["photos", "--output", "out.tsv"],
            "--output out.tsv: .tsv names no format; add --format, one of table, json,",
        ),
        (["photos", "--output", "x" * 300], f"--output {'x' * 300}"),
        (["photos", "--format", "parquet"], "Parquet is a binary format; name its file with --output"),
    ],
)
def test_wrong_input_is_one_line_and_exit_status_2(
    photos: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    (photos / "empty").mkdir()
    before = (photos / "photos" / "a.png").read_bytes()
    assert fake("score", *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"mllm-iqa: error: {reason}")
    assert err.count("\n") == 1
    assert (photos / "photos" / "a.png").read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["score"],
        ["score", "x.png", "--format", "xml"],
        ["score", "x.png", "--batch-size", "0"],
        ["score", "x.png", "--no-such-option"],
        ["compare", "x.png"],
        ["chat"],
        ["no-such-command"],
        [],
    ],
)
def test_wrong_usage_is_exit_status_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(arguments) == 2
    assert "Usage: mllm-iqa" in "".join(capsys.readouterr())


def test_an_unknown_model_is_wrong_input(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "photos/a.png", "--model", "./no-such-model"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("mllm-iqa: error: ")
    assert "no-such-model" in err


def test_a_language_the_model_does_not_know_is_wrong_input(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fake("score", "photos", "--language", "tlh") == 2
    out, err = capsys.readouterr()
    assert (out, err.startswith("mllm-iqa: error: "), "'tlh'" in err) == ("", True, True)


def test_an_error_of_several_lines_is_printed_as_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mllm_iqa.assistant import Assistant

    def refuse(model, **options):  # type: ignore[no-untyped-def]
        raise CheckpointError("first\n  second\x1b[0m\n")

    monkeypatch.setattr(Assistant, "load", refuse)
    assert fake("score", str(REPO / "tests" / "test_cli.py")) == 2
    assert capsys.readouterr().err == "mllm-iqa: error: first second\\x1b[0m\n"


def test_control_characters_in_a_name_do_not_reach_the_terminal(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.rename(b"photos/a.png", b"photos/a\x1b[31m\xff.png")
    assert fake("score", "photos") == 0
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    assert "photos/a\\x1b[31m\\udcff.png" in captured.out
    assert fake("score", "photos", "--format", "jsonl") == 0


def test_an_engine_that_breaks_down_on_the_way_keeps_the_rows_before(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mllm_iqa.assistant import Assistant

    whole = Assistant.score_many

    def until_the_second(self, images, **options):  # type: ignore[no-untyped-def]
        yield next(iter(whole(self, images, **options)))
        raise BackendError("out of memory")

    monkeypatch.setattr(Assistant, "score_many", until_the_second)
    assert fake("score", "photos", "--format", "jsonl", "--output", "r.jsonl") == 1
    assert len((photos / "r.jsonl").read_text("utf-8").splitlines()) == 1
    assert capsys.readouterr().err == "mllm-iqa: error: after 1 of 3 pictures: out of memory\n"
    assert fake("score", "photos", "--format", "csv", "--output", "r.csv") == 1
    assert not (photos / "r.csv").exists()


def test_a_bug_shows_its_traceback(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mllm_iqa.assistant import Assistant

    def lose_one(self, images, **options):  # type: ignore[no-untyped-def]
        return iter(())

    monkeypatch.setattr(Assistant, "score_many", lose_one)
    with pytest.raises(ValueError, match="shorter"):  # fewer results than pictures is never passed over
        fake("score", "photos")


def test_an_interruption_is_quiet(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mllm_iqa.assistant import Assistant

    def interrupt(self, images, **options):  # type: ignore[no-untyped-def]
        raise KeyboardInterrupt

    monkeypatch.setattr(Assistant, "score_many", interrupt)
    assert fake("score", "photos", "--output", "r.csv", "--format", "csv") == 130
    assert capsys.readouterr() == ("", "")
    assert sorted(os.listdir(photos)) == ["photos"]


# --- compare and chat ----------------------------------------------------------------------------------------------


def test_compare_names_the_winner(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = f"photos/{GOOD[0]}", f"photos/{GOOD[1]}"
    assert fake("compare", a, b, "--format", "json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["a"]["name"], result["b"]["name"], result["reference"]) == (a, b, None)
    assert sum(result["probabilities"].values()) == pytest.approx(1)
    assert result["model"] == "FAKE"
    assert fake("compare", a, b) == 0
    first = capsys.readouterr().out.splitlines()[0]
    expected = {"a": f"{a} is better", "b": f"{b} is better", "tie": "about equal"}[result["winner"]]
    assert first.startswith(f"{expected} (probability {result['probability']:.2f}; the two orders ")


def test_compare_takes_a_reference(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, c = (f"photos/{name}" for name in GOOD)
    assert fake("compare", a, b, "--reference", c, "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["reference"]["name"] == c


def test_rank_orders_the_pictures(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [f"photos/{name}" for name in GOOD]
    assert fake("rank", *paths, "--format", "json") == 0
    ranking = json.loads(capsys.readouterr().out)
    assert [paths[row["index"]] for row in ranking["images"]] == [row["image"]["name"] for row in ranking["images"]]
    assert [row["rank"] for row in ranking["images"]] == [1, 2, 3]
    assert fake("rank", *paths) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["rank", "picture", "strength", "+-"]
    assert [line[6:].startswith(row["image"]["name"]) for line, row in zip(lines[1:4], ranking["images"], strict=True)]
    assert lines[-1] == "model FAKE, prompt compare.v1"
    assert fake("rank", paths[0]) == 2
    assert "a ranking takes 2 to 2000 pictures, got 1" in capsys.readouterr().err


@pytest.mark.parametrize("bad", ["missing.png", "photos/broken.jpg"])
def test_compare_and_chat_refuse_what_they_cannot_read(
    broken: Path, capsys: pytest.CaptureFixture[str], bad: str
) -> None:
    assert fake("compare", "photos/a.png", bad) == 2
    assert capsys.readouterr().err.startswith(f"mllm-iqa: error: {bad}: ")
    assert fake("chat", "photos/a.png", bad) == 2
    assert capsys.readouterr().err.startswith(f"mllm-iqa: error: {bad}: ")


def chat(monkeypatch: pytest.MonkeyPatch, lines: list[str], *images: str) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    return fake("chat", *images)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[str, str]]]:
    """What the model is asked in each turn; it answers "reply N" in two pieces."""
    from mllm_iqa.assistant import Assistant

    turns: list[list[tuple[str, str]]] = []

    def answer(self, images, messages):  # type: ignore[no-untyped-def]
        turns.append([(message["role"], message["content"]) for message in messages])
        yield "reply "
        if messages[-1]["content"] == "fail":
            raise BackendError("no answer")
        yield str(len(turns))

    monkeypatch.setattr(Assistant, "chat", answer)
    return turns


def test_chat_answers_each_line_and_remembers(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, asked: list[object]
) -> None:
    assert chat(monkeypatch, ["Is it sharp?", "", "Why?", "/reset", "Noise?", "/quit", "Unheard."], "photos/a.png") == 0
    assert capsys.readouterr() == ("reply 1\nreply 2\nreply 3\n", "")
    first = [("user", "Is it sharp?")]
    assert asked == [first, [*first, ("assistant", "reply 1"), ("user", "Why?")], [("user", "Noise?")]]


def test_chat_forgets_a_failed_turn_and_exits_with_1(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, asked: list[object]
) -> None:
    assert chat(monkeypatch, ["fail", "next"], "photos/a.png") == 1
    assert capsys.readouterr() == ("reply \nreply 2\n", "mllm-iqa: error: no answer\n")
    assert asked[1] == [("user", "next")]


def test_chat_really_answers(photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert chat(monkeypatch, ["What is wrong with it?"], "photos/a.png") == 0
    assert capsys.readouterr().out.strip() != ""


def test_chat_scores_and_compares(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = f"photos/{GOOD[0]}", f"photos/{GOOD[1]}"
    assert chat(monkeypatch, ["/score", "/compare"], a, b) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{a}\nMOS ")
    assert f"\n{b}\nMOS " in out
    assert "the two orders" in out
    assert chat(monkeypatch, ["/compare", "/dance"], a) == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors[0] == "mllm-iqa: error: /compare needs two pictures, and this chat is about 1"
    assert errors[1].startswith("mllm-iqa: error: unknown command /dance; there are /score, ")


# --- the other commands --------------------------------------------------------------------------------------------


def test_models_lists_the_registry(capsys: pytest.CaptureFixture[str]) -> None:
    from mllm_iqa.registry import MODELS

    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[0] == "name"
    assert [line.split()[0] for line in lines[1:]] == [entry.name for entry in MODELS.values()]
    assert main(["models", "--format", "json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == [entry.name for entry in MODELS.values()]


def test_doctor_reports_and_its_exit_status_is_whether_nano_scores(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor", "--format", "json"])
    report = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in report["checks"]}
    assert status == (0 if report["nano_works"] else 1)
    assert report["nano_works"] == (rows["nano files"]["status"] == rows["nano scores"]["status"] == "ok")
    assert [rows[name]["status"] for name in ("python", "torch", "transformers")] == ["ok"] * 3


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    expected = tomllib.loads((REPO / "pyproject.toml").read_text("utf8"))["project"]["version"]
    assert capsys.readouterr() == (f"{expected}\n", "")


@pytest.fixture
def feature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module in the place of the `train` command, to be filled by the test."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(cli.FEATURES, "train", ("stand_in_feature:main", ""))
    monkeypatch.delitem(sys.modules, "stand_in_feature", raising=False)
    return tmp_path / "stand_in_feature.py"


def test_a_command_of_another_folder_gets_its_arguments_untouched(
    feature: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    feature.write_text("def main(argv):\n    print(argv)\n    return 7\n")
    arguments = ["run", "--lr", "1e-3", "--help", "-x", "--", "--version", "--a=b"]
    assert main(["train", *arguments]) == 7
    assert capsys.readouterr().out == f"{arguments}\n"
    assert main(["train"]) == 7


@pytest.mark.parametrize(
    ("end", "status"), [("sys.exit()", 0), ("sys.exit(2)", 2), ("raise KeyboardInterrupt", 130), ("return 0", 0)]
)
def test_a_command_of_another_folder_ends_as_it_likes(feature: Path, end: str, status: int) -> None:
    feature.write_text(f"import sys\ndef main(argv):\n    {end}\n")
    assert main(["train"]) == status


def test_a_missing_optional_package_names_its_extra(
    feature: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXTRA_OF, "no_such_package", "train")
    feature.write_text("import no_such_package.deep\n")
    assert main(["train"]) == 2
    err = capsys.readouterr().err
    assert err == "mllm-iqa: error: this needs no_such_package; install it with: pip install 'mllm-iqa[train]'\n"


def test_a_missing_module_of_our_own_is_a_bug(feature: Path) -> None:
    feature.write_text("import mllm_iqa.no_such_module\n")
    with pytest.raises(ModuleNotFoundError):
        main(["train"])


def test_every_extra_exists() -> None:
    extras = tomllib.loads((REPO / "pyproject.toml").read_text("utf8"))["project"]["optional-dependencies"]
    assert set(EXTRA_OF.values()) <= set(extras)
    assert isinstance(missing(ModuleNotFoundError(name="peft.tuners")), MissingDependencyError)
    assert missing(ModuleNotFoundError("no name")) is None


def test_the_commands_of_other_folders_are_reached() -> None:
    assert {name: target.partition(":")[0] for name, (target, _) in cli.FEATURES.items()} == {
        "train": "mllm_iqa.train.cli",
        "data": "mllm_iqa.data_build.cli",
        "eval": "mllm_iqa.eval.cli",
        "serve": "mllm_iqa.serve.cli",
    }


def test_the_formats_offered_are_the_formats_written() -> None:
    assert {format.value for format in cli.ScoreFormat} == {"table", *WRITERS}


def test_a_pipe_is_utf8_whatever_the_locale(photos: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mllm_iqa", "score", f"photos/{GOOD[2]}", "missing 图.png", "--model", "fake"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"},
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.decode() == "mllm-iqa: error: missing 图.png: there is no such file or folder\n"


@pytest.mark.parametrize("unbuffered", ["", "1"])  # the pipe breaks at the end, or at the first word
def test_a_reader_that_stops_reading_is_no_crash(unbuffered: str) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as closed_pipe:
        done = subprocess.run(
            [sys.executable, "-m", "mllm_iqa", "models"],
            stdout=closed_pipe,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            timeout=120,
        )
    assert (done.returncode, done.stderr) == (1, b"")
