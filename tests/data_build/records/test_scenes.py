"""A shard of records: balanced, true to what was drawn, and a function of its material, seed and number alone."""

from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest
from mllm_iqa.data_build.records.look_alikes import alike
from mllm_iqa.data_build.records.material import Material
from mllm_iqa.data_build.records.mix import MIX, askable, quotas
from mllm_iqa.data_build.records.scenes import Shard, shard_records
from mllm_iqa.data_build.records.schema import Record
from mllm_iqa.data_build.records.words import Words

from mllm_iqa.levels import LEVELS, VALUES, level_of_mos
from mllm_iqa.taxonomy import FAMILY_OF


def question(record: Record) -> str:
    return record.messages[0].text


def reply(record: Record) -> str:
    return record.messages[-1].text


def of(records: list[Record], task: str) -> list[Record]:
    found = [record for record in records if record.task == task]
    assert found
    return found


def words(language: str) -> Words:
    return Words(language, np.random.default_rng(0))


# What every record is


def test_every_task_is_asked_as_often_as_planned(records: list[Record]) -> None:
    assert len(records) == 240
    total = sum(q.weight for q in MIX)
    by_task: Counter[str] = Counter()
    for q in MIX:
        by_task[q.name.partition("/")[0]] += q.weight
    asked = Counter(record.task for record in records)
    assert set(asked) == set(by_task)
    # Largest remainders round each of a task's questions by less than one record.
    questions = Counter(q.name.partition("/")[0] for q in MIX)
    for task, weight in by_task.items():
        assert abs(asked[task] - 240 * weight / total) < questions[task]


def test_a_record_shows_its_pictures_before_its_question(records: list[Record]) -> None:
    assert len({record.id for record in records}) == len(records)
    for record in records:
        user, assistant = record.messages
        assert (user.role, assistant.role) == ("user", "assistant")
        assert [part.type for part in user.content] == ["image"] * len(record.images) + ["text"]
        assert [part.type for part in assistant.content] == ["text"]
        assert len(record.images) == len(record.groups) == len(record.sources) >= 1
        assert record.prompts
        assert reply(record) == reply(record).strip() != ""


def test_pictures_decode_at_the_size_of_their_source(records: list[Record]) -> None:
    for record in records[:40]:
        for image in record.images:
            assert image.path is None and image.bytes is not None
            assert cv2.imdecode(np.frombuffer(image.bytes, np.uint8), cv2.IMREAD_COLOR).shape == (64, 64, 3)


def test_the_spoken_word_is_the_likeliest_candidate(records: list[Record]) -> None:
    labelled = [record for record in records if record.read_at >= 0]
    assert {record.task for record in labelled} >= {"rate", "severity", "compare", "steps", "assess", "choice"}
    for record in labelled:
        assert sum(record.probs) == pytest.approx(1)
        assert len(record.probs) == len(record.candidates) == len(set(record.candidates))
        spoken = [c for c in record.candidates if reply(record)[record.read_at :].startswith(c)]
        assert len(spoken) == 1, "candidates must not begin each other"
        place = record.candidates.index(spoken[0])
        if len(record.probs) == len(VALUES) and record.task.startswith("rate"):
            # The level nearest to the label's MOS; at a MOS of 1.5 another may be as probable.
            distance = np.abs(np.array(VALUES) - np.dot(record.probs, VALUES))
            assert distance[place] == pytest.approx(distance.min(), abs=1e-6)
        else:  # shared evenly between two words at a gap at the bound of "about equal"
            assert record.probs[place] >= max(record.probs) - 0.05


def test_each_language_is_spoken_alone(records: list[Record]) -> None:
    for record in records:
        text = question(record) + reply(record)
        chinese = any("\u4e00" <= c <= "\u9fff" for c in text)
        assert chinese == (record.language == "zh"), text
        if record.language == "zh":
            for name in ("JPEG2000", "JPEG", "WebP", "AVIF"):
                text = text.replace(name, "")
            assert not [c for c in text if "a" <= c <= "z"], text


# What is said is so


def test_a_level_has_the_mos_as_its_mean(records: list[Record]) -> None:
    for record in records:
        if record.task in ("rate", "rate_reference", "assess", "assess_reference", "steps"):
            assert record.answer.mos is not None
            assert float(np.array(record.probs) @ VALUES) == pytest.approx(record.answer.mos)
            level = words(record.language).level(level_of_mos(record.answer.mos))
            assert reply(record)[record.read_at :].strip().startswith(level)


def test_where_a_score_comes_from_is_said(records: list[Record]) -> None:
    photos = [r for r in of(records, "rate") if r.sources[0].startswith("made/scored")]
    by_std = {r.answer.std: r.answer.policy for r in photos}
    assert by_std.get(None) == "assumed std"
    assert by_std.get(0.4, "raters") == "raters"
    synthetic = [r for r in of(records, "rate") if r.sources[0].startswith("made/clean")]
    assert {r.answer.policy for r in synthetic} == {"pseudo"}


def test_named_kinds_are_those_that_were_drawn(records: list[Record]) -> None:
    for task in ("distortion_one", "distortion_choice"):
        for record in of(records, task):
            assert record.answer.findings
            kind = words(record.language).kind(record.answer.findings[0].kind)
            assert kind.lower() in reply(record).lower()
    for record in of(records, "distortion_two"):
        assert record.answer.findings is not None and len(record.answer.findings) == 2
        for finding in record.answer.findings:
            assert words(record.language).kind(finding.kind).lower() in reply(record).lower()


def test_no_is_said_of_what_is_not_there_nor_looks_like_it(records: list[Record]) -> None:
    for record in of(records, "presence"):
        speaker = words(record.language)
        families = {f.family for f in record.answer.findings or ()}
        asked = {family for family in set(FAMILY_OF.values()) if speaker.family(family) in question(record)}
        if record.answer.yes:
            assert asked & families
        else:
            assert not any(alike(a, b) for a in asked for b in families if speaker.family(a) != speaker.family(b))


def test_the_letter_names_the_right_option(records: list[Record]) -> None:
    for record in of(records, "choice"):
        answer = record.answer
        assert answer.choice == reply(record)
        right = answer.options["ABCD".index(answer.choice or "")]
        assert f"{answer.choice}. {right}" in question(record)
        speaker = words(record.language)
        if answer.question_type == "yes-no":
            assert right == speaker.prompt("choice.v1").phrase("yes" if answer.yes else "no")
        elif answer.question_type == "what" and answer.region is None:
            assert answer.findings and right == speaker.capital(speaker.kind(answer.findings[0].kind))
        elif answer.mos is not None:
            assert right == speaker.capital(speaker.level(level_of_mos(answer.mos)))


def test_the_winner_has_the_higher_score(records: list[Record]) -> None:
    for record in [*of(records, "compare"), *of(records, "compare_reference")]:
        if record.answer.policy == "preference":
            # 0.8 prefer the first of the pair, wherever it is shown.
            assert sorted(record.probs) == [0.0, pytest.approx(0.2), 0.8]
            continue
        first, second = record.answer.mos_each
        gap = first - second
        assert record.answer.winner == ("tie" if abs(gap) < 0.25 else "a" if gap > 0 else "b")


def test_a_ranking_falls_from_the_best_to_the_worst(records: list[Record]) -> None:
    for record in of(records, "rank"):
        scores = [record.answer.mos_each[place] for place in record.answer.ranking]
        assert 3 <= len(scores) == len(record.images) <= 5
        assert scores == sorted(scores, reverse=True)
        said = [int(c) - 1 for c in reply(record) if c.isdigit()]
        assert said == list(record.answer.ranking)


def test_a_box_holds_the_damage_and_the_words_fit_it(records: list[Record]) -> None:
    for record in of(records, "where"):
        left, top, right, bottom = record.answer.box
        assert 0 <= left < right <= 1000 and 0 <= top < bottom <= 1000
        prompt = words(record.language).prompt("where.v1")
        assert any(prompt.phrase(f"{form}/{record.answer.region}") in reply(record) for form in ("part", "short"))


# Balance


def spread(counts: Counter[object]) -> int:
    return max(counts.values()) - min(counts.values())


def test_letters_answers_winners_and_languages_are_balanced(records: list[Record]) -> None:
    for size in (2, 3, 4):
        places = Counter(r.answer.choice for r in of(records, "choice") if len(r.answer.options) == size)
        assert len(places) <= size
        # Options of the question distortion_choice take their places in the same turns, so four may be off by more.
        assert spread(places) <= (1 if size < 4 else 4)
    assert spread(Counter(r.answer.yes for r in of(records, "presence"))) <= 1
    compared = [*of(records, "compare"), *of(records, "compare_reference")]
    assert abs(sum((r.answer.winner == "a") - (r.answer.winner == "b") for r in compared)) <= 1
    assert 0.1 < sum(r.answer.winner == "tie" for r in compared) / len(compared) < 0.4
    for task in {record.task for record in records}:
        named = [q for q in MIX if q.name.partition("/")[0] == task]
        assert spread(Counter([r.language for r in of(records, task)])) <= len(named)


def test_levels_families_and_severities_are_balanced(records: list[Record]) -> None:
    levels = Counter(level_of_mos(r.answer.mos) for r in records if r.answer.mos is not None)
    assert set(levels) == set(LEVELS)
    assert max(levels.values()) <= 2 * min(levels.values())
    findings = [f for r in records for f in r.answer.findings or ()]
    assert set(Counter(f.family for f in findings)) == set(FAMILY_OF.values())
    severities = Counter(f.severity for f in findings)
    assert max(severities.values()) <= 2 * min(severities.values())


# Reproducible


def test_a_shard_is_a_function_of_material_seed_and_number(material: Material) -> None:
    small = Shard("train", 0, 12, 7, ("en", "zh"), 512)
    first = shard_records(material, small)
    assert shard_records(material, small) == first
    texts = [question(r) for r in first]
    for other in (replace(small, number=1), replace(small, seed=8), replace(small, split="val")):
        assert [question(r) for r in shard_records(material, other)] != texts


def test_only_what_there_is_material_for_is_asked(material: Material) -> None:
    assert {q.needs for q in askable(Material(clean=material.clean))} == {"clean"}
    assert {q.needs for q in askable(Material(scored=material.scored[:3]))} == {"scored"}
    assert askable(Material()) == ()
    records = shard_records(Material(scored=material.scored), Shard("test", 0, 9, 0, ("en",), 512))
    assert {r.language for r in records} == {"en"}
    assert all(source.startswith("made/scored") for r in records for source in r.sources[-1:])


def test_quotas_add_up() -> None:
    # Weights 6, 6, 6, 4, 3 of 25 and 10 records: 2.4, 2.4, 2.4, 1.6, 1.2 -> the 0.6 first, then the first of the 0.4.
    assert quotas(MIX[:5], 10) == [3, 2, 2, 2, 1]
    assert sum(quotas(MIX, 7)) == 7
