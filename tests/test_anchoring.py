"""Scores from comparisons with known pictures: the maths by hand, the package's anchors, and files that are wrong."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from mllm_iqa.anchoring import PACKAGE, anchored_scores, read_anchors, scale_of, thurstone_map
from mllm_iqa.assistant import Assistant
from mllm_iqa.backends.fake import FakeBackend
from mllm_iqa.errors import DataError


def test_two_items_solve_their_equation() -> None:
    # One comparison won: q and -q maximise ln Phi(2q) - q^2, so phi(2q) / Phi(2q) = q.
    q, covariance = thurstone_map(np.array([[0.0, 1.0], [0.0, 0.0]]))
    assert q[0] == pytest.approx(-q[1])
    assert norm.pdf(2 * q[0]) / norm.cdf(2 * q[0]) == pytest.approx(q[0], abs=1e-9)
    # The Hessian is [[1 + k, -k], [-k, 1 + k]] with k = q (2q + q), as r = q; so the variance is (1 + k) / (1 + 2k).
    k = q[0] * 3 * q[0]
    assert covariance[0, 0] == pytest.approx((1 + k) / (1 + 2 * k))


def test_a_tie_moves_nothing_apart() -> None:
    assert thurstone_map(np.array([[0.0, 0.5], [0.5, 0.0]]))[0] == pytest.approx([0, 0], abs=1e-12)


def test_the_scale_is_the_anchors_line() -> None:
    assert scale_of(np.array([-1.0, 0.0, 1.0]), np.array([1.0, 3.0, 5.0])) == pytest.approx((2.0, 3.0))
    with pytest.raises(DataError, match="run against their scores"):
        scale_of(np.array([1.0, 0.0, -1.0]), np.array([1.0, 3.0, 5.0]))


def test_the_package_has_five_anchors_that_can_be_read() -> None:
    anchors = read_anchors(PACKAGE)
    assert len(anchors) == 5
    assert all(Path(anchor.path).is_file() for anchor in anchors)
    assert max(a.mos for a in anchors) - min(a.mos for a in anchors) > 2.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("picture,mos\na.png,6\nb.png,2\nc.png,3\n", "line 2: the MOS 6 is outside 1..5"),
        ("picture,score\na.png,3\n", "line 2: expected the columns picture and mos"),
        ("picture,mos\na.png,nan\nb.png,1\nc.png,2\n", "line 2: the MOS nan is outside"),
        ("picture,mos\na.png,3\nb.png,2\n", "3 anchors or more are needed"),
        ("picture,mos\na.png,3\nb.png,3\nc.png,3\n", "not all of one MOS"),
    ],
)
def test_anchors_that_say_nothing_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "anchors.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_anchors(str(tmp_path / "anchors.csv"))
    with pytest.raises(DataError, match="there is no such file"):
        read_anchors(str(tmp_path / "none.csv"))


class Brightness(FakeBackend):
    """Prefers the brighter picture, the surer the more they differ."""

    name = "BRIGHTNESS"

    def continuation_logprobs(self, conversations, candidates):  # type: ignore[no-untyped-def]
        rows = []
        for conversation in conversations:
            first, second = (float(picture.pixels.mean()) / 40 for picture in conversation.pictures)
            logits = np.array([first - second, second - first, 0.0])
            rows.append(logits - math.log(np.exp(logits).sum()))
        return np.array(rows)


def grey(value: int) -> np.ndarray:
    return np.full((40, 40, 3), value, dtype=np.uint8)


def test_scores_lie_on_the_anchors_scale_each_on_its_own(tmp_path: Path) -> None:
    from PIL import Image

    lines = ["picture,mos"]
    for number, value in enumerate((20, 70, 120, 170, 220)):
        Image.fromarray(grey(value)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{number + 1}")
    (tmp_path / "anchors.csv").write_text("\n".join(lines))
    anchors = read_anchors(str(tmp_path / "anchors.csv"))
    assistant = Assistant(Brightness())
    found = anchored_scores(assistant, [grey(45), grey(120), grey(195)], anchors)
    mos = {row.index: row.mos for row in found.images}
    assert mos[0] < mos[1] < mos[2]
    assert mos[1] == pytest.approx(3, abs=0.1)  # as bright as the middle anchor
    assert [row.index for row in found.images] == [2, 1, 0]
    assert found.comparisons == 10 + 15
    alone = anchored_scores(assistant, [grey(195)], anchors).images[0]
    assert alone.mos == pytest.approx(mos[2], abs=1e-9)
