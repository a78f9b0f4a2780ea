"""Ranking many pictures and folders from the command line, on the FAKE model."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mllm_iqa.assistant import Assistant
from mllm_iqa.backends.fake import FakeBackend
from mllm_iqa.cli import main
from mllm_iqa.comparing import outcome_store
from mllm_iqa.rank_pictures import rank_pictures


class Counting(FakeBackend):
    """Counts the orders it was asked about; can be made to stop."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.asked = 0
        self._stop_after = stop_after

    def continuation_logprobs(self, conversations, candidates):  # type: ignore[no-untyped-def]
        if self.asked >= self._stop_after:
            raise KeyboardInterrupt
        self.asked += len(conversations)
        return super().continuation_logprobs(conversations, candidates)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Forty small pictures in photos/, the current folder above it."""
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    names = [f"photos/{n:02}.png" for n in range(40)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return names


def ranked(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Any]:
    assert main(["rank", *arguments, "--model", "fake", "--format", "json"]) == status
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def strengths(result: dict[str, Any]) -> dict[str, float]:
    return {row["image"]["name"]: row["strength"] for row in result["images"]}


def test_a_folder_is_ranked_within_a_budget_whatever_the_order(
    photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = ranked(capsys, "photos", "--comparisons", "60")
    assert (whole["comparisons"], whole["possible"], len(whole["images"])) == (60, 780, 40)
    shuffled = random.Random(1).sample(photos, len(photos))
    again = ranked(capsys, *shuffled, "--comparisons", "60")
    assert strengths(again) == strengths(whole)  # bit for bit: the same pairs were chosen
    assert again["order_flips"] == whole["order_flips"]
    assert again["cycles"]["intransitive"] == whole["cycles"]["intransitive"]


def test_without_a_budget_large_folders_have_one(photos: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert ranked(capsys, "photos")["comparisons"] == 496
    assert ranked(capsys, *photos[:5])["comparisons"] == 10


def test_scores_first_compares_other_pairs(photos: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    plain, steered = (ranked(capsys, "photos", "--comparisons", "60", "--start", s) for s in ("none", "scores"))
    assert strengths(plain) != strengths(steered)


def test_a_copy_shares_its_original_s_place(photos: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy("photos/00.png", "photos/copy.png")
    result = ranked(capsys, "photos/00.png", "photos/copy.png", "photos/01.png")
    ranks = {row["image"]["name"]: row["rank"] for row in result["images"]}
    assert ranks["photos/00.png"] == ranks["photos/copy.png"] != ranks["photos/01.png"]
    assert (result["comparisons"], result["possible"]) == (1, 1)


def test_a_broken_picture_is_reported_and_the_rest_ranked(
    photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("photos/broken.png").write_text("no picture")
    result = ranked(capsys, "photos/00.png", "photos/broken.png", "photos/01.png", status=1)
    assert len(result["images"]) == 2
    assert result["failures"][0]["name"] == "photos/broken.png"


def test_what_was_compared_before_a_kill_is_not_compared_again(photos: list[str], tmp_path: Path) -> None:
    whole = Counting()
    expected = rank_pictures(Assistant(whole), photos, comparisons=100)
    with outcome_store(tmp_path / "rows.sqlite") as store, pytest.raises(KeyboardInterrupt):
        rank_pictures(Assistant(Counting(stop_after=80)), photos, comparisons=100, store=store)
    rest = Counting()
    with outcome_store(tmp_path / "rows.sqlite") as store:
        resumed = rank_pictures(Assistant(rest), photos, comparisons=100, store=store)
    assert resumed == expected
    assert (whole.asked, rest.asked) == (200, 120)


def test_a_kept_run_goes_on_and_refuses_another_model(photos: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    first = ranked(capsys, "photos", "--comparisons", "60", "--run", "kept")
    assert ranked(capsys, "photos", "--comparisons", "60", "--run", "kept") == first
    more = ranked(capsys, "photos", "--comparisons", "90", "--run", "kept")
    assert more["comparisons"] == 90
    assert main(["rank", "photos", "--run", "kept", "--model", "nano"]) == 2
    assert "holds a run whose" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photos", "--comparisons", "19"], "19 comparisons are too few to compare each of 40 once; give at least 20"),
        (["photos/00.png"], "a ranking takes 2 to 2000 pictures, got 1"),
        (["photos", "--anchors", "none.csv"], "there is no such file"),
        (["photos", "--anchors", "package", "--comparisons", "50"], "leave --comparisons and --start out"),
        (["photos", "photos"], "two or more different ones"),
    ],
)
def test_what_cannot_be_ranked_is_refused_in_one_line(
    photos: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["rank", *arguments, "--model", "fake"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.fixture
def codecs(photos: list[str]) -> list[str]:
    """Three folders with pictures of the same names in other formats; one lacks a picture and has one more."""
    for codec, extension in (("a", "png"), ("b", "webp"), ("c", "bmp")):
        for n in range(6):
            target = Path(codec) / "sub" / f"{n}.{extension}"
            target.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng([n, ord(codec)]).integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(noise).save(target)
    Path("c/sub/3.bmp").unlink()
    shutil.copy("photos/00.png", "c/alone.png")
    return ["a", "b", "c"]


def test_folders_meet_over_names_alone(codecs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    result = ranked(capsys, *codecs)
    by_name = {row["folder"]: row for row in result["folders"]}
    assert (result["names"], result["comparisons"], result["possible"]) == (6, 16, 16)  # 5 names of 3, one of 2 folders
    assert by_name["c"]["missing"] == ["sub/3"]
    assert by_name["a"]["missing"] == ["alone"]
    assert sum(row["won"] for row in by_name.values()) == sum(row["lost"] for row in by_name.values())
    turned = ranked(capsys, *codecs[::-1])
    assert {r["folder"]: r["strength"] for r in turned["folders"]} == {f: r["strength"] for f, r in by_name.items()}
    assert main(["rank", *codecs, "--model", "fake"]) == 0
    assert "c lacks sub/3" in capsys.readouterr().out


def test_two_pictures_of_one_name_are_refused(codecs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy("photos/00.png", "a/sub/0.webp")
    assert main(["rank", *codecs, "--model", "fake"]) == 2
    assert "have one name but for their extensions" in capsys.readouterr().err
