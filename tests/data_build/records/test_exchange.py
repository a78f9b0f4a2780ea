"""Records as other projects' JSON: what a format can hold survives the way there and back."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mllm_iqa.data_build.records.asked import level_label
from mllm_iqa.data_build.records.exchange import Format, fits, from_item, to_item
from mllm_iqa.data_build.records.files import read_records, write_records
from mllm_iqa.data_build.records.schema import Answer, Image, Message, Part, Record
from mllm_iqa.data_build.records.transfer import Exported, export_records, import_records
from mllm_iqa.data_build.records.words import level_candidates

from mllm_iqa.errors import ConfigError, DataError
from mllm_iqa.levels import level_of_mos

TEXT = st.text(min_size=1, max_size=40).filter(lambda text: "<image>" not in text and "<|image|>" not in text)
FILES = st.from_regex(r"[a-z]{1,8}\.jpg", fullmatch=True)


@st.composite
def conversations(draw: st.DrawFn, pictures: int | None = None) -> Record:
    """A record of one or more turns; pictures stand anywhere in what the user says."""
    count = draw(st.integers(0, 3)) if pictures is None else pictures
    parts = draw(st.permutations([*[None] * count, *draw(st.lists(TEXT, min_size=1, max_size=1))]))
    user = tuple(Part("image") if text is None else Part("text", text) for text in parts)
    messages = [Message("user", user)]
    for role in draw(st.sampled_from([("assistant",), ("assistant", "user", "assistant")])):
        messages.append(Message(role, (Part("text", draw(TEXT)),)))
    if draw(st.booleans()):
        messages.insert(0, Message("system", (Part("text", draw(TEXT)),)))
    files = tuple(draw(FILES) for _ in range(count))
    return record_of(draw(TEXT), tuple(messages), files)


def record_of(id: str, messages: tuple[Message, ...], files: tuple[str, ...]) -> Record:
    return Record(
        id=id,
        task="conversation",
        prompts=(),
        language="en",
        length="long",
        images=tuple(Image(None, file) for file in files),
        messages=messages,
        answer=Answer(),
        groups=tuple(f"set/{file}" for file in files),
        sources=tuple(f"set/{file}" for file in files),
        split="train",
        seed=0,
    )


@st.composite
def ratings(draw: st.DrawFn) -> Record:
    """A rating in either language with a soft label, std known or not."""
    mos = draw(st.floats(1, 5))
    std = draw(st.none() | st.floats(0.1, 1.5))
    language = draw(st.sampled_from(["en", "zh"]))
    prefix = {"en": "The quality of the image is", "zh": "这张图像的质量"}[language]
    candidates = level_candidates("rate.v2", language)
    levels = ("excellent", "good", "fair", "poor", "bad")
    label = level_label(mos, std)
    reply = prefix + candidates[levels.index(level_of_mos(mos))] + draw(st.sampled_from([".", "。", ""]))
    user = Message("user", (Part("image"), Part("text", draw(TEXT))))
    plain = record_of(draw(TEXT), (user, Message("assistant", (Part("text", reply),))), (draw(FILES),))
    return replace(
        plain,
        task="rate",
        language=language,
        answer=Answer(policy=label.policy, mos=mos, std=std),
        read_at=len(prefix),
        candidates=candidates,
        probs=label.probs,
    )


def there_and_back(record: Record, format: Format) -> Record:
    files = [image.path or "" for image in record.images]
    item = json.loads(json.dumps(to_item(record, files, format)))
    return from_item(item, format, dataset="set", number=0, split="train")


def conversation_of(record: Record) -> tuple[object, ...]:
    return record.id, record.images, record.messages, record.groups, record.split


@settings(max_examples=60, deadline=None)
@given(conversations())
def test_llava_keeps_every_conversation(record: Record) -> None:
    assert conversation_of(there_and_back(record, Format.llava)) == conversation_of(record)


@settings(max_examples=30, deadline=None)
@given(conversations(pictures=1))
def test_q_instruct_keeps_conversations_about_one_picture(record: Record) -> None:
    assert conversation_of(there_and_back(record, Format.q_instruct)) == conversation_of(record)


@settings(max_examples=40, deadline=None)
@given(ratings())
def test_deqa_keeps_a_rating_and_its_soft_label(record: Record) -> None:
    assert there_and_back(record, Format.deqa) == record


@settings(max_examples=40, deadline=None)
@given(ratings())
def test_q_align_keeps_a_rating_and_its_score(record: Record) -> None:
    back = there_and_back(record, Format.q_align)
    assert conversation_of(back) == conversation_of(record)
    assert (back.task, back.answer.mos, back.read_at) == ("rate", record.answer.mos, record.read_at)
    # It holds no label: the two levels next to the score stand for it.
    assert back.answer.policy == "two levels"
    assert sum(value * p for value, p in zip((5, 4, 3, 2, 1), back.probs, strict=True)) == pytest.approx(
        back.answer.mos
    )


def test_the_objects_look_as_those_projects_write_them() -> None:
    user = Message("user", (Part("image"), Part("text", "How good?")))
    record = record_of(
        "a", (user, Message("assistant", (Part("text", "The quality of the image is good."),))), ("1.jpg",)
    )
    rated = replace(record, task="rate", answer=Answer("raters", mos=3.9, std=0.5), probs=(0.2, 0.5, 0.3, 0.0, 0.0))
    turns = [{"from": "human", "value": "<image>\nHow good?"}]
    turns.append({"from": "gpt", "value": "The quality of the image is good."})
    assert to_item(record, ["1.jpg"], Format.llava) == {"id": "a", "image": "1.jpg", "conversations": turns}
    turns[0]["value"] = "How good?\n<|image|>"
    assert to_item(rated, ["1.jpg"], Format.q_align) == {
        "id": "a",
        "image": "1.jpg",
        "conversations": turns,
        "gt_score": 3.9,
    }
    deqa = to_item(rated, ["1.jpg"], Format.deqa)
    assert (deqa["gt_score_norm"], deqa["std_norm"], deqa["level_probs"]) == (3.9, 0.5, [0.2, 0.5, 0.3, 0.0, 0.0])


def test_a_label_that_misses_one_is_computed_anew() -> None:
    item = {"image": "1.jpg", "gt_score_norm": 3.0, "std_norm": 0.6, "level_probs": [0.21, 0.21, 0.21, 0.21, 0.21]}
    item["conversations"] = [
        {"from": "human", "value": "?\n<|image|>"},
        {"from": "gpt", "value": "The quality of the image is fair."},
    ]
    record = from_item(item, Format.deqa, dataset="set", number=4, split="val")
    assert record.probs == level_label(3.0, 0.6).probs
    assert (record.id, record.answer.policy, record.split) == ("set-4", "raters", "val")


def test_what_a_format_cannot_hold_does_not_fit() -> None:
    user = Message("user", (Part("image"), Part("image"), Part("text", "Which?")))
    record = record_of("a", (user, Message("assistant", (Part("text", "The first."),))), ("1.jpg", "2.jpg"))
    assert [fits(record, format) for format in Format] == [True, False, False, False]
    with pytest.raises(DataError, match="a: q-instruct cannot hold a record of task conversation about 2 pictures"):
        to_item(record, ["1.jpg", "2.jpg"], Format.q_instruct)
    marked = replace(record, messages=(user, Message("assistant", (Part("text", "Not <image>."),))))
    with pytest.raises(DataError, match="a: its words hold '<image>', which llava reads as a picture"):
        to_item(marked, ["1.jpg", "2.jpg"], Format.llava)


TURN = {"from": "human", "value": "<image>\n?"}


@pytest.mark.parametrize(
    ("item", "format", "reason"),
    [
        ({"image": 3, "conversations": [TURN]}, Format.llava, "`image` must be a path"),
        ({"image": "1.jpg"}, Format.llava, "expected a list `conversations`"),
        ({"image": "1.jpg", "conversations": [{"from": "bot", "value": ""}]}, Format.llava, "a turn must have `from`"),
        ({"image": ["1.jpg", "2.jpg"], "conversations": [TURN]}, Format.llava, "names 2 pictures.*marks of 1"),
        (
            {"image": "1.jpg", "conversations": [{"from": "human", "value": "<|image|>"}], "gt_score": 80},
            Format.q_align,
            "`gt_score` must be a MOS from 1 to 5, got 80",
        ),
    ],
)
def test_a_broken_object_is_named(item: dict[str, object], format: Format, reason: str) -> None:
    with pytest.raises(DataError, match=rf"set, item 2: .*{reason}"):
        from_item(item, format, dataset="set", number=2, split="train")


# Files


def test_files_there_and_back(records: list[Record], tmp_path: Path) -> None:
    chosen = records[:30]
    write_records(chosen, tmp_path / "records.parquet")
    done = export_records(tmp_path / "records.parquet", tmp_path / "out.json", Format.llava, images=tmp_path / "images")
    assert done == Exported(30, 0)
    assert (
        import_records(tmp_path / "out.json", tmp_path / "back.parquet", Format.llava, images=tmp_path / "images") == 30
    )
    back = list(read_records(tmp_path / "back.parquet"))
    for record, again in zip(chosen, back, strict=True):
        assert (again.id, again.messages) == (record.id, record.messages)
        assert [Path(i.path or "").read_bytes() for i in again.images] == [i.bytes for i in record.images]
    done = export_records(
        tmp_path / "records.parquet", tmp_path / "rated.json", Format.deqa, images=tmp_path / "images"
    )
    assert done.written == sum(record.task == "rate" for record in chosen) == 30 - done.left_out


def test_pictures_without_a_place_and_without_a_file_are_named(records: list[Record], tmp_path: Path) -> None:
    write_records(records[:1], tmp_path / "records.parquet")
    with pytest.raises(ConfigError, match="holds its pictures as bytes; name a folder for them with --images"):
        export_records(tmp_path / "records.parquet", tmp_path / "out.json", Format.llava)
    assert not (tmp_path / "out.json").exists()
    (tmp_path / "in.json").write_text(json.dumps([{"image": "no.jpg", "conversations": [TURN]}]), "utf8")
    with pytest.raises(DataError, match=r"in\.json: item 0: no picture .*no\.jpg"):
        import_records(tmp_path / "in.json", tmp_path / "back.parquet", Format.llava)
