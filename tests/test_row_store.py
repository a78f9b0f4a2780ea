"""Rows by picture content, read from any thread and kept through a kill."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from mllm_iqa.errors import ConfigError
from mllm_iqa.row_store import RowStore


def digest(n: int) -> str:
    return sha256(str(n).encode()).hexdigest()


def test_a_row_comes_back_as_it_was(tmp_path: Path) -> None:
    store = RowStore(tmp_path / "rows")
    row = {"mos": 0.1 + 0.2, "text": 'a "b"\n图', "none": None, "list": [1, [2]]}
    assert store.get(digest(0)) is None
    store.add(digest(0), row)
    store.add(digest(0), {"mos": 9})  # the first stays
    assert store.get(digest(0)) == row
    store.close()
    again = RowStore(tmp_path / "rows")
    assert (again.get(digest(0)), again.get(digest(1)), len(again)) == (row, None, 1)
    again.close()
    assert os.listdir(tmp_path) == ["rows"]


def test_threads_read_while_one_writes(tmp_path: Path) -> None:
    store = RowStore(tmp_path / "rows")
    with ThreadPoolExecutor(4) as pool:
        for n in range(200):
            store.add(digest(n), {"n": n})
            assert [row and row["n"] for row in pool.map(store.get, map(digest, (n, n + 1)))] == [n, None]
    store.close()


def test_what_was_synced_survives_a_kill(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from mllm_iqa import row_store
row_store._SYNC_SECONDS = 0
store = row_store.RowStore(Path(sys.argv[1]))
for n in range(50):
    store.add(f"{n:064x}", {"n": n})
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "rows")], timeout=120)
    assert done.returncode == -signal.SIGKILL
    store = RowStore(tmp_path / "rows")
    assert [store.get(f"{n:064x}") for n in range(50)] == [{"n": n} for n in range(50)]
    store.close()


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("something else, and long enough to be looked at as a header " * 20)
    with pytest.raises(ConfigError, match=r"no store of rows .* delete it"):
        RowStore(tmp_path / "rows")
