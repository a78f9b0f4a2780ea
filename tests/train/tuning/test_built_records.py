"""Records as `mllm-iqa data build` writes them: every one is read, its label found, and models learn from them."""

import io
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from mllm_iqa.data_build.readers.records import Rated, Reading
from mllm_iqa.data_build.readers.records_file import write_parquet
from mllm_iqa.train.recipe import read_recipe, recipe_path
from mllm_iqa.train.tuning.collate import Collator
from mllm_iqa.train.tuning.encode import encode
from mllm_iqa.train.tuning.examples import Example, read_examples
from mllm_iqa.train.tuning.labels import LabelPolicy
from mllm_iqa.train.tuning.run import tune
from PIL import Image, ImageFilter

from mllm_iqa.backends.huggingface import HuggingFaceBackend
from mllm_iqa.checkpoints import read_card
from mllm_iqa.cli import main

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

SOFT = LabelPolicy("soft", 0.5)
COUNT = 96


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of the shipped pictures and of made ones of many contents, in English and Chinese, of all tasks."""
    folder = tmp_path_factory.mktemp("material")
    rated: list[Rated] = []

    def add(image: Image.Image, mos: float, std: float | None) -> None:
        path = folder / f"{len(rated)}.png"
        image.save(path)
        rated.append(Rated(path, mos, std, mos, None, None, None, None, None, "lab", "train", f"lab/{len(rated)}"))

    for name, mos in (("cat.jpg", 4.2), ("coffee.jpg", 4.6), ("coffee_out_of_focus.jpg", 1.8)):
        with Image.open(io.BytesIO((files("mllm_iqa") / "examples" / name).read_bytes())) as image:
            add(image.convert("RGB").resize((96, 72)), mos, 0.6)
    rng = np.random.default_rng(0)
    for n in range(12):
        noise = Image.fromarray(rng.integers(0, 256, (64 + 8 * (n % 3), 80, 3), dtype=np.uint8))
        add(noise.filter(ImageFilter.GaussianBlur(1 + n / 3)), 1.2 + 0.3 * n, None if n % 2 else 0.5)
    write_parquet(Reading("lab", rated=tuple(rated)), folder / "lab.parquet")
    clean = folder / "bsds500"  # undistorted pictures, which records are made from by distorting them
    clean.mkdir()
    for name in ("100075", "100080", "12003", "15004"):
        smooth = Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).resize((96, 80))
        smooth.save(clean / f"{name}.jpg", quality=95)
    out = folder / "records"
    arguments = ["--reading", str(folder / "lab.parquet"), "--bsds500", str(clean)]
    arguments += ["--records", str(COUNT), "--workers", "1"]
    assert main(["data", "build", str(out), *arguments, "--max-side", "96"]) == 0
    return out


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()}


def read(path: Path) -> dict[str, Example]:
    examples = read_examples(path, split=None, policy=SOFT, limit=None, seed=0)
    return {example.name.rpartition("record ")[2]: example for example in examples}


def test_every_record_is_read_as_it_was_written(built: Path) -> None:
    rows, examples = rows_of(built), read(built)
    assert set(examples) == set(rows) and len(rows) == COUNT
    scales = {"rate": "level", "severity": "severity"}
    for name, row in rows.items():
        example = examples[name]
        assert len(example.pictures) == len(row["images"])
        assert example.turns[-1].text == row["messages"][-1]["content"][0]["text"]
        assert (example.word is None) == (row["read_at"] < 0)
        if example.word is None:
            continue
        assert (example.word.offset, example.word.probs) == (row["read_at"], tuple(row["probs"]))
        assert example.word.scale == scales.get(row["task"], example.word.scale)
        if example.word.scale == "level":
            assert (example.mos, example.std) == (row["answer"]["mos"], row["answer"]["std"])
        else:
            assert example.mos is None
    # What the test is about is there: both languages, both scales, several pictures, words without a label.
    assert {row["language"] for row in rows.values()} == {"en", "zh"}
    assert {e.word.scale for e in examples.values() if e.word is not None} == {"level", "severity", ""}
    assert {len(e.pictures) for e in examples.values()} > {1, 2}
    assert any(e.word is None for e in examples.values())


@pytest.mark.parametrize("family", ["qwen3_vl", "llava", "idefics3"])
def test_the_label_stands_where_the_record_says(
    family: str, built: Path, load: Callable[[str], HuggingFaceBackend]
) -> None:
    backend = load(family)
    rows, examples = rows_of(built), read(built)
    labeled = {name: example for name, example in examples.items() if example.word is not None}
    for name, example in labeled.items():
        assert example.word is not None
        row, encoded = rows[name], encode(example, backend, 4096)
        assert encoded.word is not None
        at, length = encoded.word.position, encoded.word.length
        ids = encoded.inputs["input_ids"][0]
        before = backend.tokenizer.decode(ids[:at]).rpartition("assistant")[2].lstrip("\n")
        said = backend.tokenizer.decode(ids[at : at + length])
        answer = row["messages"][-1]["content"][0]["text"]
        assert before == answer[: row["read_at"]]
        assert said in row["candidates"] and answer[row["read_at"] :].startswith(said)
        assert (encoded.labels[at : at + length] == -100).all()
        # Along the word that is said, the label of its tokens multiplies to the word's own.
        probs = dict(zip(row["candidates"], row["probs"], strict=True))
        product = 1.0
        for label in encoded.word.labels:
            product *= dict(zip(label.tokens, label.probs, strict=True)).get(int(ids[label.position]), 0.0)
        assert product == pytest.approx(probs[said], abs=1e-6)


def test_a_batch_of_several_pictures_and_tasks_has_a_loss(
    built: Path, load: Callable[[str], HuggingFaceBackend]
) -> None:
    backend = load("qwen3_vl")
    examples = sorted(read(built).values(), key=lambda e: (-len(e.pictures), e.name))[:4]
    batch = Collator(backend, 4096, ["lab"])(examples)
    assert len(batch["image_grid_thw"]) == sum(len(e.pictures) for e in examples) > 4
    targets = batch.pop("targets")
    with torch.no_grad():
        logits = backend.model(**batch, logits_to_keep=targets.keep, use_cache=False).logits
    assert logits.shape[:2] == targets.labels.shape


@pytest.mark.parametrize(("name", "family"), [("nano-lora", "nano"), ("internvl-lora", "internvl")])
def test_a_step_is_taken_on_them(
    name: str, family: str, built: Path, tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    changes = [
        f"train=[{{path: {built}, split: train}}]",
        f"model={family if family == 'nano' else tiny_models(family)}",
        f"output={tmp_path / 'run'}",
        "optimization={steps: 1, batch_size: 4, learning_rate: 1.0e-4, precision: fp32}",
        "weights={text: 1.0, level: 1.0, fidelity: 1.0, severity: 1.0}",
        "max_pixels=4096",
        "valid=[]",
        "validation=null",
    ]
    folder = tune(read_recipe(recipe_path(name), changes), f"{name}.yaml")  # type: ignore[arg-type]
    card = read_card(folder)
    assert card is not None
    assert {"rate.v2", "severity.v1", "vocabulary.v1"} <= set(card.prompts)


def test_other_projects_json_comes_in_through_data_import(built: Path, tmp_path: Path) -> None:
    exported, images = tmp_path / "llava.json", tmp_path / "images"
    assert main(["data", "export", "llava", str(built), str(exported), "--images", str(images)]) == 0
    assert (
        main(["data", "import", "llava", str(exported), str(tmp_path / "llava.parquet"), "--images", str(images)]) == 0
    )
    ours, theirs = read(built), read(tmp_path / "llava.parquet")
    assert set(theirs) == set(ours)
    for name, example in theirs.items():
        assert [t.text.strip() for t in example.turns] == [t.text.strip() for t in ours[name].turns]
        assert len(example.pictures) == len(ours[name].pictures)
        assert example.word is None  # this format has no place for a label


@pytest.mark.parametrize("format", ["q-align", "deqa"])
def test_ratings_of_other_projects_keep_their_scores(format: str, built: Path, tmp_path: Path) -> None:
    exported, images = tmp_path / "ratings.json", tmp_path / "images"
    assert main(["data", "export", format, str(built), str(exported), "--images", str(images)]) == 0
    assert (
        main(["data", "import", format, str(exported), str(tmp_path / "ratings.parquet"), "--images", str(images)]) == 0
    )
    ours, theirs = read(built), read(tmp_path / "ratings.parquet")
    assert theirs
    for name, example in theirs.items():
        assert example.mos == pytest.approx(ours[name].mos)
        assert example.word is not None and example.word.scale == "level"
        assert example.word.offset == ours[name].word.offset  # type: ignore[union-attr]
