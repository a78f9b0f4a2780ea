"""Finding out which metrics run here."""

import json
from pathlib import Path

import pytest
from mllm_iqa.eval.baselines import probing
from mllm_iqa.eval.baselines.probing import Availability, availability, known


def test_what_cannot_run_is_listed_with_its_reason(tmp_path: Path) -> None:
    found = availability(["deqa"], cache=tmp_path / "c" / "baselines.json")
    assert found["deqa"].runs is False
    assert "code of its own" in found["deqa"].reason


def test_findings_are_kept_until_a_library_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "baselines.json"
    row = {"name": "psnr", "runs": False, "reason": "kept"}
    cache.write_text(json.dumps({"versions": probing.versions(), "found": [row]}))
    assert availability(["psnr"], cache=cache) == {"psnr": Availability("psnr", False, "kept")}
    monkeypatch.setattr(probing, "versions", lambda: {"torch": "another"})
    assert known(cache) == {}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"versions": 1}'])
def test_a_broken_cache_is_no_cache(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    assert known(tmp_path / "c.json") == {}
    assert known(tmp_path / "none.json") == {}


def test_a_crash_is_the_answer_for_one_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing.sys, "executable", "/bin/false")
    found = availability(["deqa", "psnr"], cache=tmp_path / "c.json")
    assert [f.runs for f in found.values()] == [False, False]
    assert "crashed" in found["psnr"].reason
