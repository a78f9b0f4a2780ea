"""Downloads with the real client from a server on the loopback address, and every way in which they fail.

In processes of their own, since the hub's client reads its settings once.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mllm_iqa.errors import CheckpointError
from mllm_iqa.hub import Place, check_weights, local_folder, place_of
from mllm_iqa.registry import MODELS

sys.path.insert(0, str(Path(__file__).parent))
from hub_server import COMMIT, Hub, serving


@pytest.fixture
def hub(tiny_checkpoint: Path, tmp_path: Path) -> Iterator[Hub]:
    """The tiny checkpoint, and beside it what must never be downloaded."""
    folder = tmp_path / "repository"
    shutil.copytree(tiny_checkpoint, folder)
    for name in ("pytorch_model.bin", "theirs.py", "original/weights.safetensors", "training_args.bin"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"never")
    with serving(Hub(folder)) as hub:
        yield hub


def settings(home: Path, endpoint: str, offline: bool) -> dict[str, str]:
    hub = {"HF_HOME": str(home), "HF_HUB_OFFLINE": str(int(offline)), "HF_HUB_DISABLE_XET": "1"}
    hub |= {"HF_ENDPOINT": endpoint} if endpoint else {}
    return {**os.environ, **hub, "OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def run(*arguments: str, home: Path, endpoint: str, offline: bool = False) -> subprocess.CompletedProcess[str]:
    """`mllm-iqa` with these arguments, a home and an endpoint of its own."""
    command = [sys.executable, "-m", "mllm_iqa", *arguments]
    env = settings(home, endpoint, offline)
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)


TRY = """
import json, sys
from mllm_iqa.errors import CheckpointError
from mllm_iqa.hub import local_folder

def of(source):
    try:
        return str(local_folder(source))
    except CheckpointError as error:
        return f"error: {error}"

print(json.dumps([of(source) for source in sys.argv[1:]]))
"""


def tried(sources: list[str], *, home: Path, endpoint: str) -> list[str]:
    """What `local_folder` says to each, in a process with a home and an endpoint of its own."""
    command = [sys.executable, "-c", TRY, *sources]
    env = settings(home, endpoint, False)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=True)
    found: list[str] = json.loads(done.stdout)
    assert all("\n" not in said for said in found)
    return found


def refusal(result: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr of a command that failed on its input."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert lines[-1].startswith("mllm-iqa: error: "), result.stderr
    assert "Traceback" not in result.stderr
    return lines[-1].removeprefix("mllm-iqa: error: ")


def test_a_model_is_pulled_once_and_then_scores_without_a_network(hub: Hub, tmp_path: Path) -> None:
    home = tmp_path / "home"
    pulled = run("models", "pull", "someone/tiny", home=home, endpoint=hub.url)
    assert pulled.returncode == 0, pulled.stderr
    folder = Path(pulled.stdout.strip())
    assert folder.name == COMMIT
    assert "model.safetensors" in hub.fetched()
    kept = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert kept == hub.fetched() == {n for n in kept if n.endswith((".json", ".jinja", ".safetensors", ".txt"))}
    assert not any(name.startswith("original") for name in kept)

    asked = len(hub.requests)
    picture = "mllm_iqa/examples/coffee.jpg"
    scored = run(
        "score", picture, "--model", "someone/tiny", "--format", "json", home=home, endpoint=hub.url, offline=True
    )
    assert scored.returncode == 0, scored.stderr
    (row,) = json.loads(scored.stdout)
    assert (row["model"], row["error"]) == ("tiny 0", None)  # as its card calls it
    assert len(hub.requests) == asked


def test_an_interrupted_download_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    # Larger than the pieces of 10 MB that the client writes to disk.
    content = np.random.default_rng(0).bytes(24_000_000)
    (hub.folder / "model.safetensors").write_bytes(content)
    hub.break_after = 22_000_000
    (found,) = tried([f"someone/tiny@{COMMIT}"], home=tmp_path / "home", endpoint=hub.url)
    if found.startswith("error: "):  # the client may leave the second try to its user
        assert found.startswith(f"error: someone/tiny at {COMMIT}: could not be fetched from {hub.url}")
        (found,) = tried([f"someone/tiny@{COMMIT}"], home=tmp_path / "home", endpoint=hub.url)
    assert (Path(found) / "model.safetensors").read_bytes() == content
    ranges = [r for method, path, r in hub.requests if method == "GET" and path.endswith(".safetensors")]
    assert ranges[0] is None
    assert int(str(ranges[-1]).removeprefix("bytes=").split("-")[0]) >= 10_000_000


def test_each_failure_is_one_sentence(hub: Hub, tmp_path: Path) -> None:
    home = tmp_path / "home"
    repository, revision, no_id = tried(["someone/else", "someone/tiny@v9", "a/b/c"], home=home, endpoint=hub.url)
    assert repository.startswith(f"error: someone/else: not found at {hub.url}; is the name right")
    assert revision == f"error: someone/tiny: has no revision 'v9' at {hub.url}"
    assert no_id == "error: 'a/b/c' is not a hub id: it is written owner/name"
    hub.refuse = (403, "GatedRepo")
    (gated,) = tried(["someone/tiny"], home=home, endpoint=hub.url)
    assert gated.startswith("error: someone/tiny: its owners grant access one by one") and "HF_TOKEN" in gated
    hub.refuse = (418, "")
    (broken,) = tried(["someone/tiny"], home=home, endpoint=hub.url)
    assert broken.startswith(f"error: someone/tiny at main: could not be fetched from {hub.url} (") and "418" in broken


def test_a_model_that_is_not_here_is_one_line_on_the_command_line(tmp_path: Path) -> None:
    said = refusal(run("models", "pull", "q-realign-mini", home=tmp_path, endpoint="", offline=True))
    assert said.startswith("q-future/Q-ReAlign-Mini-0.8B: could not be fetched; the hub is switched off")
    assert said.endswith("mllm-iqa models pull q-future/Q-ReAlign-Mini-0.8B")


def test_an_endpoint_where_nobody_answers_is_named(hub: Hub, tmp_path: Path) -> None:
    with serving(Hub(hub.folder)) as gone:
        pass
    (said,) = tried(["someone/tiny"], home=tmp_path, endpoint=gone.url)
    assert said.startswith(f"error: someone/tiny at main: could not be fetched from {gone.url} (")
    assert said.endswith("check the network, or name a mirror in HF_ENDPOINT")


def test_the_registry_says_which_revision_and_folder() -> None:
    entry = MODELS["q-insight"]
    assert place_of(entry.source) == Place("ByteDance/Q-Insight", "main", "score_degradation")
    assert place_of(f"{entry.source}@abc").revision == "abc"
    assert place_of(MODELS["q-realign-mini"].source).revision == MODELS["q-realign-mini"].revision
    assert place_of("some/one") == Place("some/one", "main")


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert local_folder(str(tmp_path)) == tmp_path


def test_weights_that_are_not_all_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="x: holds no safetensors weights, and others are never loaded"):
        check_weights(tmp_path, "x")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "model-1.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"1 of 2 weight files are not here, model-2\.safetensors for one"):
        check_weights(tmp_path, "x at main")
    (tmp_path / "model-2.safetensors").write_bytes(b"")
    check_weights(tmp_path, "x")
