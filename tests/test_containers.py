"""Archives and tables of pictures: what is listed is what is read, and damage is a row."""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mllm_iqa.containers import Item, Span, encoded, is_container, pictures_in
from mllm_iqa.errors import ImageError


def packed(path: Path, members: Sequence[tuple[str, bytes]]) -> str:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return str(path)


def table(path: Path, columns: dict[str, Any], **options: Any) -> str:
    pq.write_table(pa.table(columns), path, **options)
    return str(path)


def read(path: str) -> list[tuple[str, bytes]]:
    return [(item.name, encoded(item)) for item in pictures_in(path)]


def test_the_pictures_of_an_archive_are_read_from_their_place(tmp_path: Path) -> None:
    long = "deep/" * 40 + "z.webp"  # a name beyond the 100 bytes of the oldest headers
    members = [("b.jpg", b"bb"), ("b.json", b"{}"), ("a.PNG", b"a" * 5000), (".hidden.png", b"h"), (long, b"zz")]
    path = packed(tmp_path / "s.tar", members)
    expected = [(f"{path}/b.jpg", b"bb"), (f"{path}/a.PNG", b"a" * 5000), (f"{path}/{long}", b"zz")]
    assert read(path) == expected
    # in any order, too
    assert [encoded(item) for item in reversed(list(pictures_in(path)))] == [data for _, data in reversed(expected)]


def test_folders_and_links_in_an_archive_are_no_pictures(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in (("d.png", tarfile.DIRTYPE), ("l.png", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    assert list(pictures_in(str(path))) == []


@pytest.mark.parametrize("cut", [700, 1600, 2048])  # in a member, in a header, before the end marker
def test_a_cut_archive_gives_what_it_has_and_says_so(tmp_path: Path, cut: int) -> None:
    path = Path(packed(tmp_path / "s.tar", [("a.png", b"a" * 400), ("b.png", b"b" * 400)]))
    path.write_bytes(path.read_bytes()[:cut])
    items = list(pictures_in(str(path)))
    fault = items[-1].fault
    if fault is None:  # found only when the member is read
        with pytest.raises(ImageError, match="ends after"):
            encoded(items[-1])
    else:
        assert fault.startswith("cannot be listed: ")
    with pytest.raises(ImageError):
        encoded(items[-1])


def test_text_named_tar_or_parquet_is_one_failure(tmp_path: Path) -> None:
    for name in ("x.tar", "x.parquet"):
        (tmp_path / name).write_text("neither")
        (item,) = pictures_in(str(tmp_path / name))
        assert item.name == str(tmp_path / name)
        assert item.fault is not None and item.fault.startswith("cannot be listed: ")
        with pytest.raises(ImageError, match="cannot be listed"):
            encoded(item)


def test_a_member_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    item = Item("x", str(tmp_path / "none"), Span(0, 2**40))
    with pytest.raises(ImageError, match=f"has {2**40} bytes; the limit is"):
        encoded(item)


def test_bytes_of_a_table_in_several_groups(tmp_path: Path) -> None:
    data = [bytes([n]) * 10 for n in range(7)]
    path = table(tmp_path / "t.parquet", {"bytes": data, "label": list(range(7))}, row_group_size=3)
    assert read(path) == [(f"{path}#{n}", value) for n, value in enumerate(data)]


def test_a_table_of_structs_as_datasets_writes_them(tmp_path: Path) -> None:
    (tmp_path / "c.png").write_bytes(b"from a file")
    images = [{"bytes": b"inside", "path": None}, {"bytes": None, "path": "c.png"}, None, {"bytes": None, "path": None}]
    path = table(tmp_path / "t.parquet", {"image": images, "name": ["one", "two", None, "four"]})
    items = list(pictures_in(path))
    assert [item.name for item in items] == ["one", "two", f"{path}#2", "four"]
    assert [encoded(item) for item in items[:2]] == [b"inside", b"from a file"]
    for item in items[2:]:
        with pytest.raises(ImageError, match=r"its image (is empty|holds no bytes)"):
            encoded(item)


def test_paths_of_a_table_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    path = table(tmp_path / "t.parquet", {"path": ["a.png", "none.png", None]})
    first, second, third = pictures_in(path)
    assert (first.name, encoded(first)) == (str(tmp_path / "a.png"), b"a")
    with pytest.raises(ImageError, match="No such file"):
        encoded(second)
    assert (third.name, third.fault) == (f"{path}#2", "its path is empty")


def test_a_table_without_pictures_says_what_it_has(tmp_path: Path) -> None:
    (item,) = pictures_in(table(tmp_path / "t.parquet", {"x": [1], "y": [2]}))
    assert item.fault == "cannot be listed: has none of the columns image, bytes, path; it has x, y"


def test_the_extension_says_what_is_a_container() -> None:
    names = ["a.tar", "B.PARQUET", "a.tar.gz", "a.png", "tar"]
    assert [is_container(name) for name in names] == [True, True, False, False, False]
