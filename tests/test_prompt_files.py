"""Prompt files: each one loads and says what it is, errors name what there is, and no sentence gives itself away."""

import re
import string
from itertools import chain
from pathlib import Path

import pytest
from pydantic import ValidationError

import mllm_iqa.prompt_files as prompt_files
from mllm_iqa.errors import PromptError
from mllm_iqa.levels import LEVELS, SEVERITIES
from mllm_iqa.prompt_files import WRITTEN_LANGUAGES, Prompt, findings_text, load_prompt, prompt_names
from mllm_iqa.scoring import contradictions
from mllm_iqa.taxonomy import FAMILIES, FURTHER_KINDS, KINDS

FILES = [(name, language) for language in WRITTEN_LANGUAGES for name in prompt_names(language)]

# Fields a template may have; `Assistant`, `data_build.instructions` and `data_build.records` fill them.
FIELDS = {"level", "kind", "severity", "findings", "finding", "family", "appearance", "brightness", "contrast", "color"}
FIELDS |= {"sentence", "question", "options", "option", "letter", "first", "second", "region", "box", "count", "items"}
FIELDS |= {"number", "kinds", "severities", "effects", "before", "item"}
FIELDS |= {"golden", "text", "mark", "good", "bad"}  # `eval.asking`
FIELDS |= {"word"}  # of the frames of `typed`


def fields_of(text: str) -> list[str]:
    return sorted(field for _, field, _, _ in string.Formatter().parse(text) if field is not None)


@pytest.mark.parametrize("name", prompt_names("zh"))
def test_every_language_has_the_same_phrases_with_the_same_fields(name: str) -> None:
    english, chinese = load_prompt(name), load_prompt(name, "zh")
    assert (english.task, english.version, english.images) == (chinese.task, chinese.version, chinese.images)
    assert set(english.phrases) == set(chinese.phrases)
    for key, wordings in english.phrases.items():
        fields = {field for wording in wordings for field in fields_of(wording)}
        assert {field for wording in chinese.wordings(key) for field in fields_of(wording)} == fields, key


@pytest.mark.parametrize("name", prompt_names("zh"))
def test_chinese_files_are_written_in_chinese(name: str) -> None:
    prompt = load_prompt(name, "zh")
    for text in [*prompt.questions, *chain(*prompt.phrases.values())]:
        words = "".join(part for part, *_ in string.Formatter().parse(text))
        words = re.sub(r"\[.*?\]", "", words)  # the form of a box is the same in every language
        assert not set(words.replace("WebP", "")) & set(string.ascii_lowercase), text
        assert not set(words) & set(",;?!()"), f"a half-width mark in {text}"


def test_every_task_has_a_file() -> None:
    # Those that the assistant and nano use, then those that only instruction records use.
    names = (
        "appearance.v1 chat.v1 compare.v1 compare_reference.v1 distortion.v1 effects.v1 judge.v1 presence.v1 rate.v1"
    )
    records = "effects.v2 presence.v2 rate.v2 vocabulary.v1 short.v1 distortion_one.v1 distortion_two.v1"
    records += (
        " distortion_choice.v1 severity.v1 where.v1 assess.v1 assess_reference.v1 rank.v1 steps.v1 choice.v1 refusal.v1"
    )
    published = {"rate_qsit.v1", "rate_visualquality.v1", "rate_qinsight.v1"}  # of other people's checkpoints
    evaluation = "choice_text.v1 describe.v1 judge_description.v1 stimulus.v1"
    own = {*names.split(), "rate.v1", "rate_reference.v1", "reason.v1", *records.split(), *evaluation.split()}
    own |= {"rate_video.v1"}  # `mllm_iqa.video`, of models made for several frames
    own |= {"typed.v2", "typed.v3"}  # how people ask, in training alone: that of the shipped `nano`, and of a next one
    assert set(prompt_names()) == own | published
    # What records do not use has no Chinese: off-topic questions, and what newer versions replace.
    assert set(prompt_names()) - set(prompt_names("zh")) == {
        "chat.v1",
        "effects.v1",
        "judge.v1",
        "presence.v1",
        "rate.v1",
        "rate_video.v1",
        "typed.v2",
        "typed.v3",
        *published,
        *evaluation.split(),
    }
    assert set(prompt_names("zh")) <= set(prompt_names())


@pytest.mark.parametrize(("name", "language"), FILES)
def test_every_file_loads_and_calls_itself_by_its_name(name: str, language: str) -> None:
    prompt = load_prompt(name, language)
    assert prompt.name == name == f"{prompt.task}.v{prompt.version}"
    assert prompt.language == language
    assert 1 <= prompt.images <= 5
    assert prompt.question == prompt.questions[0]
    assert len(set(prompt.questions)) == len(prompt.questions)


@pytest.mark.parametrize(("name", "language"), FILES)
def test_every_wording_can_be_filled_in(name: str, language: str) -> None:
    prompt = load_prompt(name, language)
    for text in [prompt.system, *prompt.questions, prompt.answer_prefix, *chain(*prompt.phrases.values())]:
        assert text == text.rstrip()  # a space belongs to the word after it
        assert {field for _, field, _, _ in string.Formatter().parse(text) if field is not None} <= FIELDS
    assert all(prompt.phrases.values())


def test_the_rating_prompt_is_that_of_the_q_align_family() -> None:
    rate = load_prompt("rate.v1")
    assert (rate.question, rate.answer_prefix) == (
        "How would you rate the quality of this image?",
        "The quality of the image is",
    )
    assert rate.phrase("level", level="good") == " good"


def test_a_phrase_is_the_first_of_its_wordings_filled_in() -> None:
    effects = load_prompt("effects.v1")
    assert effects.phrase("gaussian blur/mild") == effects.wordings("gaussian blur/mild")[0]
    assert load_prompt("distortion.v1").phrase("kind", kind="lens blur") == " lens blur"


def test_a_prompt_is_read_once_and_cannot_be_changed() -> None:
    assert load_prompt("rate.v1") is load_prompt("rate.v1")
    with pytest.raises(ValidationError):
        load_prompt("rate.v1").version = 2  # type: ignore[misc]


# Errors


def test_an_unknown_prompt_names_those_there_are() -> None:
    with pytest.raises(PromptError, match=r"no prompt named 'rate\.v99'; available: .*rate\.v1"):
        load_prompt("rate.v99")


def test_an_unknown_phrase_names_those_there_are() -> None:
    with pytest.raises(PromptError, match=r"prompt rate\.v1 has no phrase 'lvl'; it has: level, end"):
        load_prompt("rate.v1").phrase("lvl")


def test_an_unknown_language_names_those_there_are() -> None:
    with pytest.raises(PromptError, match="no prompts in language 'tlh'; available: en, zh"):
        load_prompt("rate.v1", "tlh")


WHOLE = 'task: t\nversion: 1\nlanguage: en\nimages: 1\nquestions: ["Q"]\nanswer_prefix: ""\nphrases: {}\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("task: [", "while parsing"),
        ("just words", "valid dictionary"),
        (WHOLE.replace("images: 1\n", ""), "images"),
        (WHOLE + "colour: red\n", "colour"),
        (WHOLE.replace("version: 1", "version: 2"), r"calls itself t\.v2"),
        (WHOLE.replace("phrases: {}", "phrases: {a: not a list}"), r"phrases\.a"),
    ],
    ids=["not-yaml", "not-a-mapping", "missing-key", "unknown-key", "other-version", "phrase-without-list"],
)
def test_a_broken_file_is_a_prompt_error(
    text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.v1.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(prompt_files, "files", lambda _: tmp_path)
    with pytest.raises(PromptError, match=rf"prompt file t\.v1\.yaml.*(?s:.*){reason}"):
        load_prompt.__wrapped__("t.v1")


def test_a_whole_file_loads_from_the_same_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.v1.yaml").write_text(WHOLE, encoding="utf-8")
    monkeypatch.setattr(prompt_files, "files", lambda _: tmp_path)
    assert load_prompt.__wrapped__("t.v1") == Prompt(
        task="t", version=1, language="en", images=1, questions=("Q",), answer_prefix="", phrases={}
    )


# Findings in words


@pytest.mark.parametrize(
    ("findings", "text"),
    [
        ([], "no visible distortion"),
        ([("lens blur", "serious")], "lens blur (serious)"),
        (
            [("JPEG compression", "slight"), ("low contrast", "obvious")],
            "JPEG compression (slight) and low contrast (obvious)",
        ),
    ],
)
def test_findings_in_words(findings: list[tuple[str, str]], text: str) -> None:
    assert findings_text(findings) == text
    assert findings_text(findings, load_prompt("distortion.v1")) == text


# What may stand in a sentence of an explanation


def test_every_kind_has_effects_when_mild_and_when_strong() -> None:
    phrases = load_prompt("effects.v1").phrases
    assert set(phrases) == {f"{kind}/{degree}" for kind in KINDS for degree in ("mild", "strong")}
    assert len({*chain(*phrases.values())}) == sum(map(len, phrases.values()))


def test_version_2_of_the_effects_adds_the_further_kinds_and_changes_nothing() -> None:
    before, phrases = load_prompt("effects.v1").phrases, load_prompt("effects.v2").phrases
    added = {f"{kind}/{degree}" for kind in FURTHER_KINDS for degree in ("mild", "strong")}
    assert phrases == before | {key: phrases[key] for key in added}
    assert len({*chain(*phrases.values())}) == sum(map(len, phrases.values()))
    named = {kind: s for kind in FURTHER_KINDS for s in chain(*phrases.values()) if kind.lower() in s.lower()}
    assert named == {}


def test_every_level_has_a_meaning_and_every_family_a_word() -> None:
    assert set(LEVELS) <= set(load_prompt("reason.v1").phrases)
    assert {f"family/{family}" for family in FAMILIES} <= set(load_prompt("presence.v1").phrases)


# `consistent_text` leaves this one out of every explanation: as a word, "slight" is a severity.
LEFT_OUT = {"Slight ringing surrounds sharp edges."}


def test_no_effect_or_appearance_names_a_level_a_kind_or_a_severity() -> None:
    sentences = {*chain(*load_prompt("effects.v2").phrases.values(), *load_prompt("appearance.v1").phrases.values())}
    assert {s for s in sentences if contradictions(s, level="", kinds=())} == LEFT_OUT
    assert all(set(contradictions(s, level="", kinds=())) <= set(SEVERITIES) for s in LEFT_OUT)


@pytest.mark.parametrize("level", LEVELS)
def test_what_a_level_means_names_no_other_level(level: str) -> None:
    for sentence in load_prompt("reason.v1").wordings(level):
        assert contradictions(sentence, level, kinds=()) == []
