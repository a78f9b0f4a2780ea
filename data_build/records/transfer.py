"""Files of other projects' JSON: writing the records that fit, with their pictures as files, and reading them back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mllm_iqa.errors import ConfigError, DataError
from mllm_iqa.output_file import replaced_at_end

from ..readers.score_files import json_objects
from .exchange import Format, fits, from_item, to_item
from .files import read_records, write_records
from .image_files import stored_by_content
from .schema import Image, Record, RecordSplit


@dataclass(frozen=True, slots=True)
class Exported:
    """How many records were written, and how many the format cannot hold."""

    written: int
    left_out: int


def export_records(records: Path, out: Path, format: Format, *, images: Path | None = None) -> Exported:
    """Write a JSON list.

    Args:
        records: a file or folder of records.
        out: the JSON file, complete or not there.
        format: of the JSON.
        images: folder to write pictures to that the records hold as bytes; the JSON names them relative to it.

    Raises:
        ConfigError: pictures as bytes, and no folder for them.
        DataError: no records there, or words that hold the mark of a picture.
    """
    written = left_out = 0
    with replaced_at_end(out) as file:
        file.write(b"[")
        for record in read_records(records):
            if not fits(record, format):
                left_out += 1
                continue
            files = [_file(image, record, images) for image in record.images]
            item = json.dumps(to_item(record, files, format), ensure_ascii=False)
            file.write((",\n" if written else "\n").encode() + item.encode())
            written += 1
        file.write(b"\n]\n")
    return Exported(written, left_out)


def import_records(
    path: Path, out: Path, format: Format, *, images: Path | None = None, split: RecordSplit = "train"
) -> int:
    """Write the records of a JSON list or of JSON Lines, pictures as paths; returns how many.

    Args:
        path: the JSON file.
        out: Parquet file to write.
        format: of the JSON.
        images: folder that picture paths start from; None = that of the JSON file.
        split: of all its records.

    Raises:
        DataError: a file that cannot be read or breaks the format, or a picture that is not there.
    """
    root = path.parent if images is None else images
    return write_records(_imported(path, root.resolve(), format, split), out)


def _imported(path: Path, root: Path, format: Format, split: RecordSplit) -> Iterator[Record]:
    for number, item in enumerate(json_objects(path)):
        record = from_item(item, format, dataset=path.stem, number=number, split=split)
        found = tuple(root / (image.path or "") for image in record.images)
        missing = next((file for file in found if not file.is_file()), None)
        if missing is not None:
            raise DataError(f"{path}: item {number}: no picture {missing}; name their folder with --images")
        yield replace(record, images=tuple(Image(None, str(file)) for file in found))


def _file(image: Image, record: Record, folder: Path | None) -> str:
    """The name of a picture's file, which is written where the record holds its bytes."""
    if image.bytes is None:
        return image.path or ""
    if folder is None:
        raise ConfigError(f"{record.id} holds its pictures as bytes; name a folder for them with --images")
    return stored_by_content(image.bytes, folder).relative_to(folder).as_posix()
