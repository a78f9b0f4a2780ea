"""Examples from records and tables, and labels by an explicit policy."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mllm_iqa.train.tuning.encode import PictureMemory, approximate_length, pictures_of
from mllm_iqa.train.tuning.examples import Example, read_examples
from mllm_iqa.train.tuning.labels import LabelPolicy, level_label
from mllm_iqa.train.tuning.order import GroupedOrder
from PIL import Image

from mllm_iqa.errors import DataError
from mllm_iqa.levels import LEVELS, SEVERITIES, VALUES, soft_label

SOFT, HARD = LabelPolicy("soft", 0.5), LabelPolicy("hard", 0.5)
PREFIX = "The quality of the image is"


def png(value: int, size: tuple[int, int] = (64, 48)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (value,) * 3).save(out, "PNG")
    return out.getvalue()


def record(number: int, **changes: Any) -> dict[str, Any]:
    """A row as `mllm-iqa data build` writes it: a rating whose soft label has the mean 3.4."""
    content = [{"type": "image", "text": None}, {"type": "text", "text": "How would you rate it?"}]
    return {
        "id": f"train-00000-{number:04}",
        "task": "rate",
        "prompts": ["rate.v1"],
        "images": [{"bytes": png(40 * number), "path": None}],
        "messages": [
            {"role": "user", "content": content},
            {"role": "assistant", "content": [{"type": "text", "text": f"{PREFIX} fair."}]},
        ],
        "read_at": len(PREFIX),
        "candidates": [f" {level}" for level in LEVELS],
        "probs": soft_label(3.4, 0.7).tolist(),
        "answer": {"mos": 3.4, "std": 0.7, "findings": [{"image": 0, "kind": "jitter", "severity": 2}]},
        "sources": ["biq2021/a.jpg"],
        "split": "val" if number == 2 else "train",
    } | changes


def written(folder: Path, *rows: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), folder / "train-00000.parquet")
    return folder


def read(path: Path, policy: LabelPolicy = SOFT, **options: Any) -> tuple[Example, ...]:
    return read_examples(path, **{"split": None, "limit": None, "seed": 0} | options, policy=policy)


def test_a_record_keeps_its_words_label_and_picture(tmp_path: Path) -> None:
    rows = [record(n) for n in range(3)]
    one, _ = read(written(tmp_path / "records", *rows), split="train")
    assert one.name.endswith("record train-00000-0000")
    assert [(t.role, t.text) for t in one.turns] == [
        ("user", "How would you rate it?"),
        ("assistant", f"{PREFIX} fair."),
    ]
    assert one.word is not None
    assert (one.word.offset, one.word.scale) == (len(PREFIX), "level")
    assert one.word.probs == tuple(soft_label(3.4, 0.7))
    assert (one.mos, one.std, one.dataset, one.prompts) == (3.4, 0.7, "biq2021", ("rate.v1",))
    assert one.findings == (("jitter", 2),)
    (picture,) = pictures_of(one, 10**6)
    assert picture.pixels.shape == (48, 64, 3)
    assert approximate_length(one) == (len("How would you rate it?") + len(f"{PREFIX} fair.")) // 4 + 64 * 48 // 1024


def test_hard_labels_replace_those_of_the_levels_alone(tmp_path: Path) -> None:
    words = {"candidates": [f" {s}" for s in SEVERITIES], "probs": [0.1, 0.6, 0.3, 0.0, 0.0]}
    severity = record(1, task="severity", **words, answer=record(1)["answer"] | {"mos": None, "std": None})
    rated, severe = read(written(tmp_path / "records", record(0), severity), HARD)
    assert rated.word is not None
    assert rated.word.probs == (0, 0, 1, 0, 0)
    assert severe.word is not None
    assert (severe.word.scale, severe.word.probs, severe.mos) == ("severity", (0.1, 0.6, 0.3, 0.0, 0.0), None)


def test_a_record_without_a_label_is_words_alone(tmp_path: Path) -> None:
    (one,) = read(written(tmp_path / "records", record(0, read_at=-1, candidates=[""], probs=[0.0])))
    assert (one.word, one.mos) == (None, None)


def test_a_limit_takes_some_at_random_in_order(scores: Path) -> None:
    names = [e.pictures for e in read(scores)]
    some = [e.pictures for e in read(scores, limit=5)]
    assert len(some) == 5
    assert [names.index(p) for p in some] == sorted(names.index(p) for p in some)
    assert some == [e.pictures for e in read(scores, limit=5)]
    assert some != [e.pictures for e in read(scores, limit=5, seed=1)]


def test_a_table_says_a_level_drawn_from_its_label(scores: Path) -> None:
    for example in read(scores):
        assert example.word is not None
        assert example.mos is not None
        assert float(np.dot(example.word.probs, VALUES)) == pytest.approx(example.mos)
        said = example.turns[-1].text[example.word.offset :].removesuffix(".")
        assert example.word.probs[example.word.candidates.index(said)] > 0
    assert [e.std for e in read(scores)][:2] == [None, 0.6]


def test_policies_by_hand() -> None:
    assert level_label(3.7, 0.4, HARD).tolist() == [0, 1, 0, 0, 0]
    assert level_label(3.7, None, LabelPolicy("two-level", 0.5)).tolist() == pytest.approx([0, 0.7, 0.3, 0, 0])
    assert level_label(3.7, None, SOFT).tolist() == soft_label(3.7, 0.5).tolist()
    assert level_label(3.7, 0.9, SOFT).tolist() == soft_label(3.7, 0.9).tolist()


ASKED, ANSWERED = record(0)["messages"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"messages": [ASKED]}, "the last message must be the assistant's"),
        (
            {"messages": [ASKED | {"content": ASKED["content"][::-1]}, ANSWERED]},
            "its pictures must all stand at the start of the first message",
        ),
        ({"answer": {"findings": None}}, "not a record of `mllm-iqa data build`: KeyError"),
    ],
)
def test_a_broken_record_is_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"record train-00000-0000: {message}"):
        read(written(tmp_path / "records", record(0, **changes)))


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        read(tmp_path / "nothing")
    with pytest.raises(DataError, match="the folder holds no Parquet file"):
        read(tmp_path)
    (tmp_path / "x.json").write_text(json.dumps([]))
    with pytest.raises(DataError, match=r"must be a folder, a \.parquet or a \.csv"):
        read(tmp_path / "x.json")


# Order


def test_an_epoch_shows_every_example_once_in_batches_of_one_set_and_like_lengths() -> None:
    rng = np.random.default_rng(0)
    lengths, datasets = rng.integers(1, 1000, 80).tolist(), ["a"] * 40 + ["b"] * 40
    order = GroupedOrder(lengths, datasets, batch=4, seed=0)
    epoch = list(order)
    assert sorted(epoch) == list(range(80))
    batches = [epoch[n : n + 4] for n in range(0, 80, 4)]
    assert all(len({datasets[i] for i in batch}) == 1 for batch in batches)
    spread = np.mean([max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in batches])
    assert spread < 200, "shuffled alone it would be about 600"


def test_an_order_is_that_of_its_seed_and_epoch() -> None:
    def shown(seed: int, epoch: int) -> list[int]:
        order = GroupedOrder(list(range(30)), ["a"] * 30, batch=4, seed=seed)
        order.set_epoch(epoch)
        return list(order)

    assert shown(0, 1) == shown(0, 1)
    assert shown(0, 1) != shown(0, 2) != shown(1, 2)
    assert sorted(shown(0, 1)) == list(range(30))


# Pictures that later epochs need not load again


def test_pictures_are_kept_while_they_fit(scores: Path) -> None:
    first, second = read(scores)[:2]
    size = pictures_of(first, 10**6)[0].pixels.nbytes
    memory = PictureMemory(max_bytes=size)
    one, other = memory.pictures_of(first, 10**6), memory.pictures_of(second, 10**6)
    assert memory.pictures_of(first, 10**6) is one
    assert memory.pictures_of(second, 10**6) is not other
    np.testing.assert_array_equal(one[0].pixels, pictures_of(first, 10**6)[0].pixels)
    assert memory.pictures_of(first, 4096)[0].pixels.shape != one[0].pixels.shape


def test_a_row_is_named_by_its_place_in_the_table(scores: Path) -> None:
    assert [e.name.rpartition(", ")[2] for e in read(scores, split="val")] == ["row 3", "row 6", "row 9", "row 12"]
