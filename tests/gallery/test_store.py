"""A folder's table is brought up to date by judging what is new, and nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mllm_iqa.assistant import Assistant
from mllm_iqa.backends.fake import FakeBackend
from mllm_iqa.errors import ConfigError, ImageError
from mllm_iqa.gallery.scan import scan
from mllm_iqa.gallery.store import CSV, TABLE, THUMBNAILS, opened
from mllm_iqa.gallery.watch import Settling

from .conftest import save_scene

MADE = {"model": "FAKE"}


class Counting(FakeBackend):
    """Remembers how many pictures it was asked to rate."""

    def __init__(self) -> None:
        self.rated = 0

    def continuation_logprobs(self, conversations, candidates):  # type: ignore[no-untyped-def]
        self.rated += len(conversations)
        return super().continuation_logprobs(conversations, candidates)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a.png", "sub/b.jpg", "c d.png")):
        save_scene(tmp_path / "photos" / name, seed)
    (tmp_path / "photos" / "broken.jpg").write_text("no picture")
    (tmp_path / "photos" / ".hidden.png").write_text("passed over")
    (tmp_path / "photos" / "notes.txt").write_text("no picture's name")
    return tmp_path / "photos"


def updated(photos: Path, backend: FakeBackend, settings: Any = MADE) -> tuple[Any, dict[str, Any]]:
    with opened(photos.parent / "report", settings) as store:
        change = store.update(Assistant(backend), scan(photos), explain=False)
        return change, dict(store.rows)


def test_a_folder_becomes_a_table_with_its_failures(photos: Path) -> None:
    change, rows = updated(photos, FakeBackend())
    assert list(rows) == ["a.png", "broken.jpg", "c d.png", "sub/b.jpg"]
    assert (change.scored, change.failed, change.kept) == (3, 1, 0)
    assert "not a complete picture" in rows["broken.jpg"]["error"]
    table = pq.read_table(photos.parent / "report" / TABLE)
    assert table.column("name").to_pylist() == sorted(rows)
    assert (photos.parent / "report" / CSV).read_text().count("\n") == 5
    assert len(list((photos.parent / "report" / THUMBNAILS).glob("*/*.webp"))) == 3


def test_only_what_changed_is_judged_again(photos: Path) -> None:
    updated(photos, FakeBackend())
    backend = Counting()
    change, _ = updated(photos, backend)
    assert (backend.rated, change.kept, change.any) == (0, 4, False)
    save_scene(photos / "a.png", 9)
    os.utime(photos / "a.png", (1, 1))
    (photos / "c d.png").rename(photos / "renamed.png")
    (photos / "sub" / "b.jpg").unlink()
    shutil.copy(photos / "renamed.png", photos / "copy.png")
    change, rows = updated(photos, backend)
    assert list(rows) == ["broken.jpg", "a.png", "copy.png", "renamed.png"]
    assert (backend.rated, change.scored, change.moved, change.gone) == (1, 1, 2, 2)
    assert rows["copy.png"]["mos"] == rows["renamed.png"]["mos"]
    assert len(list((photos.parent / "report" / THUMBNAILS).glob("*/*.webp"))) == 2


def test_other_settings_judge_everything_again(photos: Path) -> None:
    updated(photos, FakeBackend())
    backend = Counting()
    change, _ = updated(photos, backend, {"model": "another"})
    assert (backend.rated, change.scored) == (3, 3)


def test_what_was_judged_before_a_kill_is_not_judged_again(photos: Path) -> None:
    class Dying(Counting):
        def continuation_logprobs(self, conversations, candidates):  # type: ignore[no-untyped-def]
            if self.rated:
                raise KeyboardInterrupt
            return super().continuation_logprobs(conversations, candidates)

    with opened(photos.parent / "report", MADE) as store, pytest.raises(KeyboardInterrupt):
        store.update(Assistant(Dying()), scan(photos), explain=False, batch_size=1)
    assert not (photos.parent / "report" / TABLE).exists()
    backend = Counting()
    change, rows = updated(photos, backend)
    assert (backend.rated, change.moved, len(rows)) == (2, 1, 4)


def test_a_report_is_one_process_s_and_no_other_folder_is_taken(photos: Path) -> None:
    home = photos.parent / "report"
    with opened(home, MADE), pytest.raises(ConfigError, match="another process is writing there"), opened(home, MADE):
        pass
    with pytest.raises(ConfigError, match="holds other files and no report"), opened(photos, MADE):
        pass


def test_the_report_s_own_pictures_are_not_among_them(photos: Path) -> None:
    save_scene(photos / "report" / "thumbnails" / "x.png", 1)
    (photos / "loop").symlink_to(photos, target_is_directory=True)
    (photos / "dead.png").symlink_to(photos / "nowhere.png")
    names = [one.name for one in scan(photos, leave_out=photos / "report")]
    assert names == ["a.png", "broken.jpg", "c d.png", "dead.png", "sub/b.jpg"]
    with pytest.raises(ImageError, match="there is no such folder"):
        scan(photos / "none")


def test_a_file_is_taken_once_it_holds_still(photos: Path) -> None:
    settling = Settling()
    assert settling.look(scan(photos), known={}) == []
    (photos / "a.png").write_bytes(b"half")
    assert [one.name for one in settling.look(scan(photos), known={})] == ["broken.jpg", "c d.png", "sub/b.jpg"]
    assert not settling.settled
    assert len(settling.look(scan(photos), known={})) == 4
    assert settling.settled


def test_a_renamed_file_is_known_by_its_content(photos: Path) -> None:
    _, rows = updated(photos, FakeBackend())
    settling = Settling()
    settling.look(scan(photos), known=rows)
    (photos / "a.png").rename(photos / "new.png")
    names = [one.name for one in settling.look(scan(photos), known=rows)]
    assert "a.png" in names and "new.png" not in names
    names = [one.name for one in settling.look(scan(photos), known=rows)]
    assert "new.png" in names and "a.png" not in names


def test_a_judged_file_stays_while_it_is_written_anew(photos: Path) -> None:
    _, rows = updated(photos, FakeBackend())
    settling = Settling()
    assert len(settling.look(scan(photos), known=rows)) == 4
    (photos / "a.png").write_bytes(b"half")
    (kept,) = [one for one in settling.look(scan(photos), known=rows) if one.name == "a.png"]
    assert kept.state == (rows["a.png"]["bytes"], rows["a.png"]["mtime_ns"])
