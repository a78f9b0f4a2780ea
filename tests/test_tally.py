"""Counts at the end of a run: bins, kinds, sums."""

import pytest

from mllm_iqa.tally import Tally, failure_kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("is not a complete picture in a known format (JPEG, PNG)", "is not a complete picture in a known format"),
        ("8x8 pixels is too small to judge; the smaller side must be at least 32", "NxN pixels is too small to judge"),
        ("cannot be opened: No such file or directory", "cannot be opened: No such file or directory"),
        ("", "unknown"),
    ],
)
def test_a_kind_forgets_what_is_the_pictures_own(error: str, kind: str) -> None:
    assert failure_kind(error) == kind


def test_scores_fall_into_half_mos_bins() -> None:
    tally = Tally()
    for mos in (1.0, 1.49, 1.5, 3.0, 4.99, 5.0):
        tally.add_score(mos)
    # [1, 1.5) holds two, [1.5, 2) one, [3, 3.5) one, [4.5, 5] two
    assert tally.histogram == [2, 1, 0, 0, 1, 0, 0, 2]
    assert tally.lines(2.0)[0] == "MOS 1.0 to 1.5         2 " + "#" * 40
    assert tally.lines(2.0)[1] == "MOS 1.5 to 2.0         1 " + "#" * 20
    assert tally.lines(2.0)[8] == "6 in 2.0 s, 3.0 pictures/s"


def test_two_tallies_add_up() -> None:
    a, b = Tally(), Tally()
    a.add_score(2.0)
    a.add_failure("has 7 bytes; too many")
    b.add_score(4.0, known=True)
    b.add_failure("has 9 bytes; too many")
    a.add(b.to_dict())
    assert (a.scored, a.known, a.failed, a.total) == (2, 1, 2, 4)
    assert a.failures == {"has N bytes": 2}
    assert a.lines(1.0)[-2:] == [
        "3 in 1.0 s, 3.0 pictures/s; 1 of the same content scored before",
        "2 failed: has N bytes",
    ]


def test_kinds_are_bounded() -> None:
    tally = Tally()
    for place in range(1000):
        tally.add_failure("cannot be decoded " + "x" * place)
    assert len(tally.failures) <= 51
    assert tally.failed == 1000


def test_a_run_without_scores_has_no_histogram() -> None:
    tally = Tally()
    tally.add_failure("is empty")
    assert tally.lines(1.0) == ["1 in 1.0 s, 1.0 pictures/s", "1 failed: is empty"]
