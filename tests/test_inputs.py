"""Files, folders and patterns become an ordered list of pictures; what stands for none is an error."""

import os
import tarfile
from functools import partial
from pathlib import Path

import pytest

from mllm_iqa import inputs
from mllm_iqa.errors import ImageError
from mllm_iqa.external_sort import externally_sorted
from mllm_iqa.images import FORMATS
from mllm_iqa.inputs import picture_extensions


def expand(arguments: list[str]) -> list[Path]:
    """The pictures alone."""
    return [Path(item.path) for item in inputs.find(arguments)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with files whose content no test here reads."""
    for name in (
        "b.jpg",
        "a.PNG",
        "notes.txt",
        ".hidden.jpg",
        "sub/z.tiff",
        "sub/deep/ünï 图.webp",
        "sub/readme.md",
        ".cache/c.jpg",
        "sub2/y [1].png",
        "docs/x.pdf",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_is_searched_to_any_depth_in_path_order(here: Path) -> None:
    # "sub" sorts before "sub2"; inside a folder, files and folders are one sorted list; hidden names are left out
    expected = ["a.PNG", "b.jpg", "sub/deep/ünï 图.webp", "sub/z.tiff", "sub2/y [1].png"]
    assert expand(["."]) == [Path(name) for name in expected]
    assert expand([str(here)]) == [here / name for name in expected]


def test_the_order_of_the_arguments_is_kept_and_repeats_are_dropped(here: Path) -> None:
    arguments = ["sub/z.tiff", "b.jpg", "./b.jpg", str(here / "b.jpg"), "sub", "sub/../b.jpg"]
    assert expand(arguments) == [Path("sub/z.tiff"), Path("b.jpg"), Path("sub/deep/ünï 图.webp")]


def test_a_named_file_is_taken_whatever_its_extension(here: Path) -> None:
    assert expand(["notes.txt", ".hidden.jpg"]) == [Path("notes.txt"), Path(".hidden.jpg")]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["b.jpg"]),
        ("*", ["a.PNG", "b.jpg"]),  # no text file, and folders that match are not entered
        ("sub*/*", ["sub/z.tiff", "sub2/y [1].png"]),
        ("**/*.webp", ["sub/deep/ünï 图.webp"]),
        ("**", ["a.PNG", "b.jpg", "sub/deep/ünï 图.webp", "sub/z.tiff", "sub2/y [1].png"]),
        ("[ab].*", ["a.PNG", "b.jpg"]),
    ],
)
def test_a_pattern_stands_for_the_pictures_it_matches(here: Path, pattern: str, expected: list[str]) -> None:
    assert expand([pattern]) == [Path(name) for name in expected]


def test_an_existing_name_is_no_pattern(here: Path) -> None:
    # as a pattern, "y [1].png" would match "y 1.png" and not the file itself
    assert expand(["sub2/y [1].png"]) == [Path("sub2/y [1].png")]


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("missing.jpg", "missing.jpg: there is no such file or folder"),
        ("*.gif", r"\*.gif: nothing matches the pattern"),
        ("*.txt", r"\*.txt: the 1 matches include no picture file"),
        ("", "a path is empty"),
    ],
)
def test_an_argument_without_a_picture_is_refused(here: Path, argument: str, reason: str) -> None:
    with pytest.raises(ImageError, match=f"^{reason}"):
        expand(["b.jpg", argument])


def test_a_folder_without_pictures_is_passed_over_among_others_and_said(here: Path) -> None:
    found = inputs.find(["empty", "b.jpg", "docs"])
    assert [item.path for item in found] == ["b.jpg"]
    assert [sentence.split(" (")[0] for sentence in found.empty] == [
        "empty: the folder holds no picture",
        "docs: the folder holds no picture",
    ]


def test_folders_without_pictures_alone_are_refused(here: Path) -> None:
    with pytest.raises(ImageError, match=r"^empty: the folder holds no picture.*; docs: the folder holds no picture"):
        expand(["empty", "docs"])


def test_a_link_to_itself_is_no_folder(here: Path) -> None:
    (here / "sub2" / "loop").symlink_to(here / "sub2" / "loop")
    assert Path("sub2/y [1].png") in expand(["sub2"])


def test_a_name_too_long_for_the_system_is_just_not_there(here: Path) -> None:
    with pytest.raises(ImageError, match="there is no such file or folder"):
        expand(["x" * 300 + ".jpg"])


def test_all_faulty_arguments_are_named_at_once(here: Path) -> None:
    with pytest.raises(ImageError, match=r"one\.jpg: there is no .*; two\.jpg: there is no"):
        expand(["one.jpg", "b.jpg", "two.jpg"])


def test_links_to_folders_are_followed_but_not_in_circles(here: Path) -> None:
    (here / "sub2" / "linked").symlink_to(here / "sub" / "deep")
    (here / "sub2" / "up").symlink_to(here)
    found = expand(["sub2"])
    assert Path("sub2/linked/ünï 图.webp") in found
    # `up` is entered once, and stops where it meets sub2 again
    assert Path("sub2/up/b.jpg") in found
    assert [path for path in found if "up/sub2" in path.as_posix()] == []


def test_a_link_to_nothing_is_kept_for_its_error_row(here: Path) -> None:
    (here / "sub2" / "gone.png").symlink_to(here / "nowhere.png")
    assert Path("sub2/gone.png") in expand(["sub2"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every folder")
def test_an_unreadable_folder_is_refused(here: Path) -> None:
    (here / "sub" / "deep").chmod(0)
    try:
        with pytest.raises(ImageError, match=r"sub/deep: the folder cannot be read"):
            expand(["sub"])
    finally:
        (here / "sub" / "deep").chmod(0o755)


def test_the_extensions_are_those_of_the_readable_formats() -> None:
    extensions = picture_extensions()
    usual = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".jp2", ".ppm", ".tga", ".qoi"}
    assert len(usual) == len(FORMATS) + 2  # two names each for JPEG and TIFF
    assert usual | {".heic"} <= extensions
    assert not extensions & {".pdf", ".eps", ".psd", ".ico", ".txt", ".mp4", ""}


def test_a_folder_of_many_names_is_sorted_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{n * 7919 % 1000:04}.png" for n in range(1000)]
    for name in names:
        (tmp_path / name).touch()
    monkeypatch.setattr(inputs, "externally_sorted", partial(externally_sorted, held=64))
    found = inputs.find([str(tmp_path)])
    assert [Path(item.path).name for item in found] == sorted(names)
    assert found.total == 1000


def test_two_walks_give_the_same(here: Path) -> None:
    found = inputs.find([".", "sub/z.tiff", "*.jpg"])
    assert list(found) == list(found)
    assert found.total == len(list(found)) == 5


def test_digests_are_held_only_where_arguments_overlap(here: Path) -> None:
    overlapping = inputs._overlapping
    assert [overlapping(["sub", "sub2"])(a) for a in ("sub", "sub2")] == [False, False]
    assert [overlapping(["sub", "sub/deep", "sub2"])(a) for a in ("sub", "sub/deep", "sub2")] == [True, True, False]
    assert [overlapping(["sub*/x.png", "docs"])(a) for a in ("sub*/x.png", "docs")] == [True, True]
    assert [overlapping(["b.jpg", "./b.jpg"])(a) for a in ("b.jpg", "./b.jpg")] == [True, True]


def test_a_list_names_pictures_one_a_line_repeats_and_missing_ones_included(here: Path) -> None:
    (here / "list.txt").write_text("b.jpg\n\nmissing.png\r\nb.jpg\nnotes.txt\n", encoding="utf-8")
    found = inputs.find(["a.PNG"], listing=here / "list.txt")
    assert [item.name for item in found] == ["a.PNG", "b.jpg", "missing.png", "b.jpg", "notes.txt"]
    assert found.total == 5
    with pytest.raises(ImageError, match="there is no such list"):
        inputs.find([], listing=here / "none.txt")
    (here / "empty.txt").touch()
    with pytest.raises(ImageError, match="there is no picture to score"):
        inputs.find([], listing=here / "empty.txt")


def test_an_archive_stands_for_its_pictures_where_it_is_named(here: Path) -> None:
    with tarfile.open(here / "sub" / "shard.tar", "w") as archive:
        archive.add(here / "b.jpg", "one.jpg")
    expected = ["sub/shard.tar/one.jpg"]
    assert [item.name for item in inputs.find(["sub/shard.tar"])] == expected
    assert [item.name for item in inputs.find(["sub/*.tar"])] == expected
    # a folder or a pattern for anything does not open what lies beside the pictures
    assert [item.name for item in inputs.find(["sub/*"])] == ["sub/z.tiff"]
    assert "sub/shard.tar" not in {item.path for item in inputs.find(["sub"])}
