"""Speed and memory of a model on this machine: start-up, one picture, a batch, a large photograph, many files."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from mllm_iqa.assistant import Assistant

_ROUNDS = 7


def _command_seconds(*arguments: str) -> float:
    """Best of five wall-clock times of a fresh interpreter."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return min(times)


def _seconds(call: Callable[[int], object]) -> float:
    """Median over rounds of call(round), after one warm-up call."""
    call(-1)
    times = []
    for round_ in range(_ROUNDS):
        start = time.perf_counter()
        call(round_)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def picture(seed: int, width: int = 512, height: int = 384) -> np.ndarray:
    """A different smooth, noisy picture for every seed, so that no cache can answer."""
    rng = np.random.default_rng(seed + 1000)
    small = Image.fromarray(rng.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    noise = rng.integers(-9, 10, (height, width, 3), dtype=np.int16)
    return np.asarray(np.clip(smooth + noise, 0, 255), dtype=np.uint8)


def peak_mib() -> float:
    """Largest resident memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def resident_mib() -> float:
    """Resident memory of this process now, in MiB (Linux; 0 elsewhere)."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return 0.0
    line = next(x for x in status.read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def _batch_rate(assistant: Assistant, *, explain: bool) -> float:
    """Pictures per second of batches of 32: the median of three, after one warm-up batch."""
    rates = []
    for round_ in range(4):
        first = 1000 * (1 + 10 * explain + round_)
        pictures = [picture(first + n) for n in range(32)]
        start = time.perf_counter()
        list(assistant.score_many(pictures, explain=explain, batch_size=32))
        rates.append(32 / (time.perf_counter() - start))
    return float(np.median(rates[1:]))


def measure(model: str, *, device: str, files: int) -> dict[str, float]:
    """All figures by name, in seconds, pictures per second or MiB.

    Args:
        model: a model name, folder or hub id.
        device: to run on.
        files: how many files the memory test scores.
    """
    out = {
        "import mllm_iqa, s (with interpreter)": _command_seconds("-c", "import mllm_iqa"),
        "mllm-iqa --help, s": _command_seconds("-m", "mllm_iqa", "--help"),
    }
    start = time.perf_counter()
    assistant = Assistant.load(model, device=device)
    out["load, s"] = time.perf_counter() - start
    out["score 512x384, s"] = _seconds(lambda n: assistant.score(picture(n), explain=False))
    out["score and explain 512x384, s"] = _seconds(lambda n: assistant.score(picture(n + 100)))
    for explain, single in ((False, "score 512x384, s"), (True, "score and explain 512x384, s")):
        what = "batch of 32 explained" if explain else "batch of 32"
        out[f"{what}, pictures/s"] = _batch_rate(assistant, explain=explain)
        out[f"{what} / single, ratio"] = out[f"{what}, pictures/s"] * out[single]
    out["peak memory so far, MiB"] = peak_mib()
    with tempfile.TemporaryDirectory() as folder:
        for n in range(-1, _ROUNDS):  # another file every time: the same one would be answered by the caches
            Image.fromarray(picture(n, 4000, 3008)).save(Path(folder) / f"12mp{n}.jpg", quality=92)
        out["12-megapixel file, s"] = _seconds(lambda n: assistant.score(Path(folder) / f"12mp{n}.jpg", explain=False))
        out["peak memory after it, MiB"] = peak_mib()
        paths = []
        for n in range(files):
            paths.append(Path(folder) / f"{n}.jpg")
            Image.fromarray(picture(n, 160, 128)).save(paths[-1])
        resident = []
        for n, _ in enumerate(assistant.score_many(paths, explain=False)):
            if n in (files // 4, files - 1):
                resident.append(resident_mib())
        if len(resident) == 2:
            out[f"memory growth from file {files // 4} to {files}, MiB"] = resident[1] - resident[0]
    return out
