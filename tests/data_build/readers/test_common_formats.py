"""Formats that any data set can take, on a handful of pictures."""

import io
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mllm_iqa.data_build.readers import (
    Columns,
    Options,
    Reading,
    Scale,
    read_deqa_json,
    read_folder,
    read_hf,
    read_llava_json,
    read_pyiqa_csv,
    read_qalign_json,
    read_table,
)

from mllm_iqa.errors import ConfigError, DataError

PERCENT = Scale(0, 100)
ROWS = [
    {"file": "a.png", "score": 75, "sd": 10, "original": "ref.png", "part": "training"},
    {"file": "sub/b.png", "score": 0, "sd": 5, "original": "ref.png", "part": "test"},
]
COLUMNS = Columns(image="file", mos="score", std="sd", reference="original", split="part")


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A table in the format that the extension says."""
    lines = [list(rows[0]), *([row.get(name, "") for name in rows[0]] for row in rows)]
    match path.suffix:
        case ".csv":
            path.write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
        case ".tsv":
            path.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines))
        case ".json":
            path.write_text(json.dumps(rows, indent=1))
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def names(reading: Reading) -> list[str]:
    return [record.image.name for record in reading.rated]


@pytest.fixture
def media(unpacked: Any) -> Path:
    unpacked.picture("a.png", "sub/b.png", "ref.png")
    return Path(unpacked.root)


# Tables


@pytest.mark.parametrize("extension", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_a_table_in_every_format_gives_the_same_records(extension: str, media: Path, tmp_path: Path) -> None:
    path = write(tmp_path / f"mine.{extension}", ROWS)
    first, second = read_table(path, scale=PERCENT, columns=COLUMNS, media_root=media).rated
    assert (first.image, first.mos, first.original, first.std, first.original_std) == (media / "a.png", 4, 75, 0.4, 10)
    assert (second.image, second.mos, second.std) == (media / "sub/b.png", 1, 0.2)
    assert (first.reference, first.split, first.dataset, first.group) == (
        media / "ref.png",
        "train",
        "mine",
        "mine/ref.png",
    )
    assert (second.split, second.group) == ("test", "mine/ref.png")


def test_a_scale_that_counts_downwards_is_turned_round(media: Path) -> None:
    path = write(media / "mine.csv", ROWS)
    reading = read_table(path, scale=Scale(0, 100, higher_is_better=False), columns=COLUMNS)
    assert [r.mos for r in reading.rated] == [2, 5]
    assert [r.std for r in reading.rated] == [0.4, 0.2]


def test_only_picture_and_score_are_needed(media: Path) -> None:
    path = write(media / "mine.csv", [{"image": "a.png", "mos": 3}])
    (record,) = read_table(path, scale=Scale(1, 5)).rated
    assert (record.std, record.reference, record.split, record.group) == (None, None, None, "mine/a.png")


def test_a_column_that_is_not_there_is_named(media: Path) -> None:
    for extension in ("csv", "json", "parquet"):
        path = write(media / f"mine.{extension}", ROWS)
        with pytest.raises(DataError, match="no column mos, group; it has file, score, sd, original, part"):
            read_table(path, scale=PERCENT, columns=Columns(image="file", group="group"))


def test_a_word_that_is_no_split_is_reported(media: Path) -> None:
    path = write(media / "mine.csv", [ROWS[0], {**ROWS[1], "part": "holdout"}])
    with pytest.raises(DataError, match="'holdout' of column part is no split"):
        read_table(path, scale=PERCENT, columns=COLUMNS)
    assert names(read_table(path, scale=PERCENT, columns=COLUMNS, options=Options(skip_bad=True))) == ["a.png"]


def test_an_unknown_kind_of_table_is_refused(media: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown kind of table '\.txt'"):
        read_table(media / "mine.txt", scale=PERCENT)


@pytest.mark.parametrize("extension", ["csv", "json", "jsonl", "parquet"])
def test_a_damaged_table_is_named(extension: str, media: Path) -> None:
    path = media / f"mine.{extension}"
    path.write_bytes(b'"\xff{[')
    with pytest.raises(DataError, match=rf"mine\.{extension}: "):
        read_table(path, scale=PERCENT)


def test_count_name_and_strictness_are_options(media: Path) -> None:
    path = write(media / "mine.csv", [*ROWS, {**ROWS[0], "file": "absent.png"}])
    with pytest.raises(DataError, match="2 problems reading theirs"):
        read_table(path, scale=PERCENT, columns=COLUMNS, options=Options(dataset="theirs", expected=2))
    reading = read_table(path, scale=PERCENT, columns=COLUMNS, options=Options(skip_bad=True))
    assert (names(reading), reading.skipped) == (["a.png", "b.png"], {"missing image": 1})
    with pytest.raises(DataError, match=r"ref\.png: "):  # all the pictures are empty files
        read_table(path, scale=PERCENT, columns=COLUMNS, options=Options(skip_bad=True, check_images=True))


# A folder and a score file


@pytest.mark.parametrize("separator", [",", "\t", "  "])
def test_a_folder_with_a_file_of_names_and_scores(separator: str, unpacked: Any) -> None:
    unpacked.picture("one, two.png", "b.png")
    scores = unpacked.text("scores.txt", f"one, two.png{separator}50\nb.png{separator}100\n")
    reading = read_folder(unpacked.root, scores, scale=PERCENT)
    assert [(r.image.name, r.mos) for r in reading.rated] == [("one, two.png", 3), ("b.png", 5)]


def test_a_picture_without_a_score_and_a_score_without_a_picture_are_named(unpacked: Any) -> None:
    unpacked.picture("a.png", "b.png")
    scores = unpacked.text("scores.txt", "a.png 50\nc.png 50\nd.png\n")
    with pytest.raises(DataError) as caught:
        read_folder(unpacked.root, scores, scale=PERCENT)
    for part in ("b.png: no score in", "c.png: image not found", "expected a name and a score, got 'd.png'"):
        assert part in str(caught.value)
    assert "3 problems" in str(caught.value)


# JSON of other projects


def talk(answer: object, image: object = "a.png", **more: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": "How good?\n<|image|>"}, {"from": "gpt", "value": answer}]
    return {"id": "1", "image": image, "conversations": turns, **more}


def test_qalign_gives_its_score_and_else_its_level(media: Path) -> None:
    rows = [talk("The quality of the image is good.", gt_score=3.9), talk("The quality is poor.", "sub/b.png")]
    reading = read_qalign_json(write(media / "train.json", rows))
    assert [r.mos for r in reading.rated] == [3.9, 2.0]


def test_qalign_levels_stand_for_places_on_the_scale(media: Path) -> None:
    # fair is the middle; good is a quarter below the better end, whichever that is
    path = write(media / "train.json", [talk("fair"), talk("good", "sub/b.png")])
    assert [r.original for r in read_qalign_json(path, scale=PERCENT).rated] == [50, 75]
    downwards = read_qalign_json(path, scale=Scale(0, 100, higher_is_better=False)).rated
    assert [(r.original, r.mos) for r in downwards] == [(50, 3), (25, 4)]


def test_deqa_gives_its_normalised_score_and_keeps_the_original(media: Path) -> None:
    rows = [talk("", gt_score=62.1, gt_score_norm=3.4, std=11.0, std_norm=0.5, level_probs=[0, 0.4, 0.6, 0, 0])]
    (record,) = read_deqa_json(write(media / "train.json", rows)).rated
    assert (record.mos, record.std, record.original, record.original_std) == (3.4, 0.5, 62.1, 11.0)
    assert record.distribution is None


@pytest.mark.parametrize(
    ("answer", "mos"),
    [
        (3.4, 3.4),
        ("3.4", 3.4),
        (" 2 ", 2),
        ("Excellent", 5),
        ("It is bad, really bad.", 1),
        ("The quality is fair.", 3),
    ],
)
def test_a_conversation_ends_in_a_number_or_a_level(answer: object, mos: float, media: Path) -> None:
    for extension in ("json", "jsonl"):
        (record,) = read_llava_json(write(media / f"talk.{extension}", [talk(answer, ["a.png"])])).rated
        assert record.mos == mos


@pytest.mark.parametrize(
    "answer", ["8/10", "good or bad", "goodness", "", None, "7", "-1", "about 3.5", "The quality is great."]
)
def test_an_answer_that_is_no_score_is_reported_and_never_guessed(answer: object, media: Path) -> None:
    with pytest.raises(DataError, match=r"a\.png: the score"):
        read_llava_json(write(media / "talk.json", [talk(answer)]))


def test_a_conversation_that_ends_with_the_user_has_no_score(media: Path) -> None:
    row = {"image": "a.png", "conversations": [{"from": "human", "value": "3"}]}
    with pytest.raises(DataError, match="the score None is not a number"):
        read_llava_json(write(media / "talk.json", [row]))


@pytest.mark.parametrize("image", [None, ["a.png", "sub/b.png"], 3])
def test_a_conversation_about_no_or_several_pictures_is_reported(image: object, media: Path) -> None:
    with pytest.raises(DataError, match="an entry names no image"):
        read_llava_json(write(media / "talk.json", [talk("good", image)]))


@pytest.mark.parametrize("content", ['{"image": "a.png"', "[1, 2]", '"text"', '[{"image": '])
def test_a_file_that_is_no_list_of_objects_is_refused(content: str, media: Path) -> None:
    (media / "talk.json").write_text(content)
    with pytest.raises(DataError, match=r"talk\.json: (not a JSON list|expected a list)"):
        read_llava_json(media / "talk.json")


# pyiqa


def test_a_pyiqa_file_without_references(media: Path) -> None:
    path = media / "meta_info_X.csv"
    path.write_text("img_name,mos,std,ratio802_seed123_split01,c1\na.png,75,10,train,0\nsub/b.png,50,20,2,0\n")
    reading = read_pyiqa_csv(path, scale=PERCENT, media_root=media, split_column="ratio802_seed123_split01")
    assert [(r.image.name, r.mos, r.std, r.split, r.reference) for r in reading.rated] == [
        ("a.png", 4, 0.4, "train", None),
        ("b.png", 3, 0.8, "test", None),
    ]
    assert {r.split for r in read_pyiqa_csv(path, scale=PERCENT, media_root=media).rated} == {None}


def test_a_pyiqa_file_with_references(unpacked: Any) -> None:
    unpacked.picture("dst_imgs/1600.AWGN.1.png", "src_imgs/1600.png")
    path = unpacked.text("meta_info_CSIQDataset.csv", "ref_name,dist_name,dmos\n1600.png,1600.AWGN.1.png,0.25\n")
    (record,) = read_pyiqa_csv(
        path,
        scale=Scale(0, 1, higher_is_better=False),
        media_root=unpacked.root / "dst_imgs",
        reference_root=unpacked.root / "src_imgs",
    ).rated
    assert (record.mos, record.original) == (4, 0.25)
    assert record.reference == unpacked.root / "src_imgs/1600.png"
    assert record.group == "meta_info_CSIQDataset/1600.png"


@pytest.mark.parametrize("header", ["", "ref_name,dist_name\n", "img_name\n"])
def test_a_pyiqa_header_that_is_too_short_is_refused(header: str, media: Path) -> None:
    (media / "meta.csv").write_text(header)
    with pytest.raises(DataError, match="expected a header"):
        read_pyiqa_csv(media / "meta.csv", scale=PERCENT, media_root=media)


# Hugging Face datasets


def test_a_dataset_with_paths_is_read_from_disk(media: Path, tmp_path: Path) -> None:
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "hf")
    reading = read_hf(tmp_path / "hf", scale=PERCENT, columns=COLUMNS, media_root=media)
    assert [(r.image, r.mos, r.split) for r in reading.rated] == [
        (media / "a.png", 4, "train"),
        (media / "sub/b.png", 1, "test"),
    ]


def stored_pictures() -> datasets.DatasetDict:
    def picture(grey: int) -> dict[str, Any]:
        buffer = io.BytesIO()
        PIL.Image.fromarray(np.full((8, 8, 3), grey, np.uint8)).save(buffer, "png")
        return {"bytes": buffer.getvalue(), "path": None}

    features = datasets.Features({"image": datasets.Image(), "mos": datasets.Value("float64")})
    parts = {
        name: datasets.Dataset.from_list([{"image": picture(grey), "mos": mos}], features=features)
        for name, grey, mos in (("train", 10, 4.5), ("validation", 20, 2.0))
    }
    return datasets.DatasetDict(parts)


def test_pictures_inside_a_dataset_are_written_out_byte_for_byte(tmp_path: Path) -> None:
    stored_pictures().save_to_disk(tmp_path / "hf")
    out = tmp_path / "pictures"
    for _ in range(2):  # a second time changes nothing
        reading = read_hf(tmp_path / "hf", scale=Scale(1, 5), extract_to=out)
        assert [(r.mos, r.split, r.group) for r in reading.rated] == [
            (4.5, "train", "hf/train-0000000"),
            (2.0, "val", "hf/validation-0000000"),
        ]
    assert sorted(p.name for p in out.iterdir()) == ["train-0000000.png", "validation-0000000.png"]
    assert [PIL.Image.open(r.image).getpixel((0, 0)) for r in reading.rated] == [(10, 10, 10), (20, 20, 20)]


def test_pictures_inside_a_dataset_need_a_folder_to_be_written_to(tmp_path: Path) -> None:
    stored_pictures().save_to_disk(tmp_path / "hf")
    with pytest.raises(ConfigError, match="name a folder to write them to"):
        read_hf(tmp_path / "hf", scale=Scale(1, 5))


def test_a_dataset_without_the_column_is_named(media: Path, tmp_path: Path) -> None:
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "hf")
    with pytest.raises(DataError, match="no column image, mos; it has file, score, sd, original, part"):
        read_hf(tmp_path / "hf", scale=PERCENT, media_root=media)


def test_a_folder_that_is_no_dataset_is_refused(media: Path) -> None:
    with pytest.raises(DataError, match="not a dataset written by save_to_disk"):
        read_hf(media, scale=PERCENT)


def test_a_text_with_a_line_separator_inside_stays_one_line(media: Path) -> None:
    (media / "talk.jsonl").write_text(json.dumps(talk("3"), ensure_ascii=False).replace("How", "\u2028How"), "utf-8")
    assert [r.mos for r in read_llava_json(media / "talk.jsonl").rated] == [3]
