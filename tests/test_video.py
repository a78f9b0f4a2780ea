"""Videos by frames: the damaged middle is the worst moment, pooling is by time, what was decoded is kept."""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mllm_iqa import cli
from mllm_iqa.assistant import Assistant
from mllm_iqa.backends.fake import FakeBackend
from mllm_iqa.errors import BackendError, ConfigError, VideoError
from mllm_iqa.images import Picture, load_image
from mllm_iqa.levels import LEVELS
from mllm_iqa.registry import MODELS
from mllm_iqa.types import Score
from mllm_iqa.video import _Spread, judge_video
from mllm_iqa.video_command import csv_of
from mllm_iqa.video_frames import Sampling
from mllm_iqa.video_plot import clock, svg_of
from mllm_iqa.video_pooling import pooled, time_weights
from mllm_iqa.video_types import TracePoint, VideoScore
from mllm_iqa.video_worst import WorstMoments

from .video_files import moving, write_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds, noisy from 2.5 to 3.5 s."""
    path = tmp_path_factory.mktemp("video") / "clip <1>.mp4"
    return write_video(path, moving(60, height=128, width=160, damaged=lambda i: 25 <= i < 35))


@pytest.fixture(scope="module")
def nano() -> Assistant:
    return Assistant.load("nano", device="cpu")


@pytest.fixture(scope="module")
def judged(nano: Assistant, clip: Path) -> VideoScore:
    return judge_video(nano, clip, sampling=Sampling(every=0.5), worst=3)


def test_the_damaged_middle_is_the_worst_moment(judged: VideoScore) -> None:
    assert 2.4 <= judged.worst[0].seconds <= 3.5
    assert judged.worst[0].mos == min(p.mos for p in judged.trace)
    assert judged.worst[0].distortions
    assert judged.worst[0].explanation
    clean = [p.mos for p in judged.trace if not 2.4 <= p.seconds < 3.5]
    assert judged.worst[0].mos < min(clean) - 0.5
    assert judged.pooled["worst10"] < judged.pooled["harmonic"] < judged.pooled["mean"] == judged.mos


def test_the_trace_says_when_and_how_sure(judged: VideoScore, nano: Assistant) -> None:
    assert judged.n_scored == judged.n_total == len(judged.trace) >= 12
    assert judged.ended_early is None and judged.video.decoded == 60
    assert all(sum(p.levels.values()) == pytest.approx(1) for p in judged.trace)
    assert [p.seconds for p in judged.trace] == sorted(p.seconds for p in judged.trace)
    assert json.loads(json.dumps(judged.to_dict()))["worst"][0]["thumbnail"].startswith("data:image/jpeg;base64,")


def test_the_plot_stands_alone_and_shows_the_worst(judged: VideoScore) -> None:
    text = svg_of(judged)
    root = ET.fromstring(text)
    assert root.get("viewBox")
    assert not re.search(r'(href|src)="(?!data:)', text) and "<script" not in text
    assert "clip &lt;1&gt;.mp4" in text
    assert text.count("<image ") == len(judged.worst)


def test_the_table_has_a_row_for_every_frame(judged: VideoScore) -> None:
    header, *rows = csv_of(judged).splitlines()
    assert header.startswith("seconds,frame,scene,cut,mos,p_excellent") and len(rows) == judged.n_total


class Plain(FakeBackend):
    """Answers at once, for tests of the plumbing."""


def test_batches_and_memory_do_not_matter(clip: Path) -> None:
    fake = Assistant(Plain())
    one, eight = (
        judge_video(fake, clip, sampling=Sampling(every=0.2), batch_size=n, explain=False, worst=2) for n in (1, 8)
    )
    assert one.to_dict() == eight.to_dict()
    assert judge_video(fake, clip.read_bytes(), sampling=Sampling(every=0.2), explain=False, worst=2).mos == one.mos


def test_frames_are_not_held(tmp_path: Path) -> None:
    # 400 sampled frames of 150 KB would be 60 MB; what is alive at once is a batch and the candidates for the worst.
    import gc
    import weakref

    path = write_video(tmp_path / "long.mp4", moving(400, height=128, width=160), fps=20)
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    class Watching(Assistant):
        def score_many(self, images, **options):  # type: ignore[no-untyped-def]
            def watched() -> Iterator[Picture]:
                nonlocal most
                for picture in images:
                    alive.append(weakref.ref(picture.pixels))
                    most = max(most, sum(ref() is not None for ref in alive))
                    yield picture

            return super().score_many(watched(), **options)

    result = judge_video(Watching(Plain()), path, sampling=Sampling(every=0.05), explain=False, worst=3, batch_size=4)
    gc.collect()
    assert result.n_total == 400 and most <= 4 * 2 + 3 * 3 + 3


def test_an_interrupted_video_keeps_what_was_scored(clip: Path) -> None:
    seen: list[TracePoint] = []

    def interrupt(point: TracePoint, _: object) -> None:
        seen.append(point)
        if len(seen) == 5:
            raise KeyboardInterrupt

    fake = Assistant(Plain())
    result = judge_video(fake, clip, sampling=Sampling(every=0.5), explain=False, batch_size=1, advance=interrupt)
    assert result.n_total == 5 and result.ended_early == "interrupted after 2.0 s"
    stopped = judge_video(fake, clip, sampling=Sampling(every=0.5), explain=False, batch_size=1, stop=lambda: True)
    assert stopped.n_total == 1 and stopped.ended_early.startswith("stopped after 0.0")


def test_a_file_cut_off_says_so_and_fails_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = write_video(tmp_path / "whole.mp4", moving(60), options={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    plot, table = tmp_path / "plot.svg", tmp_path / "trace.csv"
    arguments = ["video", str(cut), "--model", "fake", "--every", "0.5", "--out", str(plot), "--trace", str(table)]
    assert cli.main(arguments) == 1
    said = capsys.readouterr()
    assert "ended early" in said.err and "frames scored" in said.out
    ET.parse(plot)
    assert len(table.read_text().splitlines()) >= 3


def test_the_command_prints_json(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        cli.main(["video", str(clip), "--model", "fake", "--count", "3", "--no-scenes", "--json", "--worst", "1"]) == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert said["n_total"] == 3 and len(said["worst"]) == 1 and said["pooling"] == "mean"


@pytest.mark.parametrize(
    ("name", "content", "more", "says"),
    [
        ("text.mp4", b"no video" * 99, [], "is no video that can be read"),
        ("x.mp4", b"no video" * 99, ["--out", "plot.png"], r"must end in \.svg"),
        ("x.mp4", b"no video" * 99, ["--every", "1", "--count", "3"], "exclude each other"),
        ("x.mp4", b"no video" * 99, ["--every", "-1"], "must be positive"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    name: str, content: bytes, more: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert cli.main(["video", str(path), *more]) == 2
    error = capsys.readouterr().err
    assert re.search(says, error) and error.count("\n") == 1


def test_several_frames_at_once_are_for_models_made_for_them(clip: Path, nano: Assistant) -> None:
    with pytest.raises(BackendError, match=r"nano .* was not made to judge several frames"):
        judge_video(nano, clip, together=4)
    own = Assistant(Plain())  # no entry in the registry: whoever loads it knows what it is
    result = judge_video(own, clip, sampling=Sampling(every=0.5), together=4, explain=False)
    assert 1 <= result.together <= 5
    assert "video" in MODELS["qwen3-vl-4b"].can and "video" not in MODELS["nano"].can


def test_pictures_are_spread_over_a_stream_of_unknown_length() -> None:
    picture = load_image(np.zeros((32, 32, 3), np.uint8))
    spread = _Spread(4)
    for i in range(100):
        spread.offer(Picture(picture.pixels, i))  # type: ignore[arg-type]
        assert len(spread._kept) < 8
    numbers = [p.info for p in spread.pictures]
    assert len(numbers) == 4 and numbers[0] == 0 and numbers[-1] >= 80 and np.ptp(np.diff(numbers)) <= 16


def test_wrong_options_are_refused(clip: Path) -> None:
    fake = Assistant(Plain())
    with pytest.raises(ConfigError, match="pooling must be one of mean, harmonic, worst10"):
        judge_video(fake, clip, pooling="median")
    with pytest.raises(ConfigError, match="at least 0"):
        judge_video(fake, clip, worst=-1)
    with pytest.raises(VideoError, match="no such file"):
        judge_video(fake, clip.with_name("other.mp4"))


def test_frames_weigh_as_long_as_they_stand() -> None:
    # Gaps of 1, 1 and 2 s: spans (1+1)/2, (1+1)/2, (1+2)/2, (2+2)/2 = 1, 1, 1.5, 2 of 5.5.
    assert time_weights([0, 1, 2, 4]) == pytest.approx(np.array([1, 1, 1.5, 2]) / 5.5)
    assert time_weights([3]).tolist() == [1]
    with pytest.raises(ValueError, match="rising"):
        time_weights([1, 0])


def test_pooling_by_hand() -> None:
    even = np.full(4, 0.25)
    assert pooled([4, 4, 4, 2], even, "mean") == 3.5
    # 1 / (3/4 * 1/4 + 1/4 * 1/2) = 1 / 0.3125 = 3.2
    assert pooled([4, 4, 4, 2], even, "harmonic") == pytest.approx(3.2)
    assert pooled([4, 4, 4, 2], even, "worst10") == 2
    # The worst frame stands for 0.04 of the time, the next for the other 0.06: (0.04 * 1 + 0.06 * 3) / 0.1 = 2.2
    assert pooled([1, 3, 5], np.array([0.04, 0.5, 0.46]), "worst10") == pytest.approx(2.2)


def test_worst_moments_lie_apart() -> None:
    picture = load_image(np.zeros((32, 32, 3), np.uint8))
    moments = WorstMoments(2)
    for seconds, mos in [(0, 3.0), (1, 2.0), (1.5, 1.9), (2, 2.1), (8, 2.5), (9, 4.0), (20, 3.5)]:
        moments.offer(TracePoint(seconds, 0, 0, False, mos, None, None, None), picture)
    assert [point.seconds for point, _ in moments.worst()] == [1.5, 8]


@pytest.mark.parametrize(("seconds", "words"), [(0, "0.0 s"), (9.26, "9.3 s"), (75, "1:15"), (3661, "1:01:01")])
def test_times_in_words(seconds: float, words: str) -> None:
    assert clock(seconds) == words


def test_a_frame_scores_as_its_picture_does(nano: Assistant, tmp_path: Path) -> None:
    frame = moving(1, height=128, width=160)[0]
    path = write_video(tmp_path / "exact.mkv", [frame] * 3, codec="ffv1", pixel_format="bgr0")
    result = judge_video(nano, path, explain=False)
    alone = nano.score(frame, explain=False)
    assert isinstance(alone, Score)
    assert result.trace[0].mos == pytest.approx(alone.mos, abs=1e-4)
    assert list(result.trace[0].levels) == list(LEVELS)
