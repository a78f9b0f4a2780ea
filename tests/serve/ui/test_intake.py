from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio")

from mllm_iqa.serve.ui.entries import Answered
from mllm_iqa.serve.ui.held import THUMB_SIDE
from mllm_iqa.serve.ui.intake import Limits, Upload, take_in
from mllm_iqa.serve.ui.session import chosen, next_number, toggled, uploads_of, without
from mllm_iqa.serve.ui.strings import CHINESE, ENGLISH
from PIL import Image

from .conftest import EXAMPLES, jpeg, make_held

LIMITS = Limits(megabytes=1, megapixels=1, pictures=3)


def sent(folder: Path, name: str, data: bytes) -> Upload:
    """A file as Gradio leaves it: in a folder of its own, under a name of the browser's choice."""
    path = folder / f"hash-of-{name}" / "random.bin"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return Upload(name, path, len(data))


def taken(folder: Path, *uploads: Upload, held: Any = ()) -> Any:
    return take_in(held, uploads, folder=folder, limits=LIMITS, next_number=1 + len(held))


def test_pictures_are_read_and_their_files_deleted(tmp_path: Path) -> None:
    first, second = jpeg(seed=1), jpeg(80, 40, seed=2)
    pictures, refusals = taken(tmp_path, sent(tmp_path, "a.jpg", first), sent(tmp_path, "b.jpg", second))
    assert refusals == ()
    assert [(h.number, h.name, h.data, h.size, h.chosen) for h in pictures] == [
        (1, "a.jpg", first, "64x48", True),
        (2, "b.jpg", second, "80x40", True),
    ]
    assert list(tmp_path.rglob("*")) == []


def test_a_model_gets_the_picture_itself_and_the_page_a_small_one(tmp_path: Path) -> None:
    data = (EXAMPLES / "coffee.jpg").read_bytes()
    (held,), _ = taken(tmp_path, sent(tmp_path, "coffee.jpg", data))
    assert held.picture().pixels.shape == (400, 600, 3)
    assert held.thumb.startswith("data:image/jpeg;base64,")
    import base64

    with Image.open(io.BytesIO(base64.b64decode(held.thumb.partition(",")[2]))) as thumb:
        assert max(thumb.size) == THUMB_SIDE


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"just words in a file that is called .jpg", "is not a complete picture in a known format"),
        (b"", "is empty"),
        (jpeg()[:400], "a.jpg:"),
        (jpeg(40, 20), "too small to judge"),
    ],
)
def test_what_is_no_picture_is_refused_and_deleted(tmp_path: Path, data: bytes, said: str) -> None:
    good = make_held()
    pictures, (refusal,) = taken(tmp_path, sent(tmp_path, "a.jpg", data), held=(good,))
    assert pictures == (good,)
    assert said in refusal.text(ENGLISH) and said in refusal.text(CHINESE)
    assert list(tmp_path.rglob("*")) == []


def test_limits_are_said_in_both_languages(tmp_path: Path) -> None:
    big = Image.new("RGB", (1200, 900))
    buffer = io.BytesIO()
    big.save(buffer, "PNG")
    _, refusals = taken(
        tmp_path,
        sent(tmp_path, "heavy.jpg", jpeg() + bytes(2 * 2**20)),
        Upload("huge.jpg", None, 50 * 2**20),
        Upload("lost.jpg", None, 10),
        sent(tmp_path, "wide.png", buffer.getvalue()),
    )
    english = [refusal.text(ENGLISH) for refusal in refusals]
    assert english == [
        "heavy.jpg has 2 MB; the limit is 1 MB. Make it smaller and try again.",
        "huge.jpg has 50 MB; the limit is 1 MB. Make it smaller and try again.",
        "lost.jpg did not arrive. Try again.",
        "wide.png has 1200x900 pixels; the limit here is 1 megapixels.",
    ]
    assert "上限为 1 MB" in refusals[0].text(CHINESE)
    assert list(tmp_path.rglob("*")) == []


def test_a_bomb_is_refused_before_decoding(tmp_path: Path) -> None:
    # A PNG header that promises 30000 x 30000 pixels, and nothing after it.
    import struct
    import zlib

    body = b"IHDR" + struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    pictures, refusals = taken(tmp_path, sent(tmp_path, "bomb.png", data))
    assert pictures == () and len(refusals) == 1
    assert "bomb.png" in refusals[0].text(ENGLISH)


def test_a_session_holds_so_many_pictures(tmp_path: Path) -> None:
    uploads = [sent(tmp_path, f"{i}.jpg", jpeg(seed=i)) for i in range(5)]
    pictures, refusals = taken(tmp_path, *uploads)
    assert [h.name for h in pictures] == ["0.jpg", "1.jpg", "2.jpg"]
    assert [r.text(ENGLISH) for r in refusals] == [
        f"{i}.jpg was left out: at most 3 pictures fit into one session." for i in (3, 4)
    ]
    assert list(tmp_path.rglob("*")) == []


def test_a_path_outside_the_upload_folder_is_neither_read_nor_deleted(tmp_path: Path) -> None:
    folder, outside = tmp_path / "uploads", tmp_path / "secret.jpg"
    folder.mkdir()
    outside.write_bytes(jpeg())
    link = folder / "link.jpg"
    link.symlink_to(outside)
    for path in (outside, folder / ".." / "secret.jpg", link):
        pictures, refusals = taken(folder, Upload("x.jpg", path, 10))
        assert pictures == () and len(refusals) == 1
    assert outside.read_bytes() == jpeg()


def test_what_the_browser_says_is_checked() -> None:
    files = [
        {"name": "C:\\pictures\\a.jpg", "bytes": 3, "path": "/x/y"},
        {"name": "../../b.jpg", "bytes": 4, "path": None},
        {"name": 5, "bytes": 4, "path": "/x"},
        {"name": "c.jpg", "bytes": "4", "path": "/x"},
        "nonsense",
    ]
    assert uploads_of(files) == [Upload("a.jpg", Path("/x/y"), 3), Upload("b.jpg", None, 4)]
    assert uploads_of(None) == uploads_of({"a": 1}) == []


def test_choosing_and_removing() -> None:
    pictures = (make_held(1), make_held(2), make_held(5))
    left_out = toggled(pictures, 2)
    assert [h.number for h in chosen(left_out)] == [1, 5]
    assert toggled(left_out, 2) == pictures
    assert [h.number for h in without(pictures, 1)] == [2, 5]
    assert without(pictures, 9) == pictures


def test_a_number_is_never_given_twice() -> None:
    gone = make_held(7)
    assert next_number((), ()) == 1
    assert next_number((make_held(2),), (Answered("?", (gone,)),)) == 8
