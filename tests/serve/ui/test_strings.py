from __future__ import annotations

import string
from dataclasses import fields

import pytest

pytest.importorskip("gradio")

from mllm_iqa.serve.ui.strings import STRINGS, Strings, kind_name, level_name, severity_name

from mllm_iqa.levels import LEVELS, SEVERITIES
from mllm_iqa.taxonomy import FAMILY_OF

NAMES = [field.name for field in fields(Strings)]


def holes(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("name", NAMES)
def test_both_languages_say_it_with_the_same_holes(name: str) -> None:
    english, chinese = (getattr(STRINGS[code], name) for code in ("en", "zh"))
    assert english.strip() and chinese.strip()
    assert holes(english) == holes(chinese)


def test_every_string_is_used() -> None:
    from importlib.resources import files

    sources = [f for f in files("mllm_iqa.serve.ui").iterdir() if f.name.endswith(".py")]
    words = {"english.py", "chinese.py", "wording.py"}
    code = "\n".join(f.read_text(encoding="utf-8") for f in sources if f.name not in words)
    assert [name for name in NAMES if f".{name}" not in code and f'"{name}"' not in code] == []


def test_chinese_is_chinese() -> None:
    latin = {"code", "other_language", "export_json", "export_html", "mos"}
    for name in set(NAMES) - latin:
        assert any("\u4e00" <= c <= "\u9fff" for c in getattr(STRINGS["zh"], name)), name


@pytest.mark.parametrize("language", ["en", "zh"])
def test_names_of_the_vocabulary(language: str) -> None:
    assert len({level_name(level, language) for level in LEVELS}) == 5
    assert len({severity_name(n, language) for n in range(1, 1 + len(SEVERITIES))}) == 5
    assert all(kind_name(kind, language) for kind in FAMILY_OF)


def test_a_kind_of_another_model_keeps_its_name() -> None:
    assert kind_name("moire", "zh") == "moire"
