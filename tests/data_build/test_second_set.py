"""Second implementations: every kind has one, they are pure, grow with severity, and change as much as the first."""

import json
from importlib.resources import files

import numpy as np
import pytest
from mllm_iqa.data_build.distortions import DISTORTIONS
from mllm_iqa.data_build.second_set import MAKERS, second_set
from mllm_iqa.data_build.second_set.matching import change, matched_amounts

from mllm_iqa.images import load_image
from mllm_iqa.taxonomy import KINDS


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    example = files("mllm_iqa") / "examples" / "coffee.jpg"
    return np.ascontiguousarray(load_image(str(example)).pixels[40:200, 60:284])


def test_every_kind_has_one_that_nothing_else_draws_from() -> None:
    made = second_set()
    assert sorted(one.kind for one in made.values()) == sorted(KINDS)
    assert not set(made) & set(DISTORTIONS)


@pytest.mark.parametrize("name", sorted(second_set()))
def test_it_is_pure_and_grows(name: str, photo: np.ndarray) -> None:
    one, before = second_set()[name], photo.copy()
    out = [one.distort(photo, severity, np.random.default_rng(5)) for severity in (1, 3, 5)]
    assert all(picture.dtype == np.uint8 and picture.shape == photo.shape for picture in out)
    np.testing.assert_array_equal(photo, before)
    np.testing.assert_array_equal(out[1], one.distort(photo, 3, np.random.default_rng(5)))
    changes = [change(photo, picture) for picture in out]
    assert 0 < changes[0] < changes[1] < changes[2]


def test_it_differs_from_the_first(photo: np.ndarray) -> None:
    for one in second_set().values():
        firsts = [first for first in DISTORTIONS.values() if first.kind == one.kind]
        mine = one.distort(photo, 4, np.random.default_rng(0))
        for first in firsts:
            assert change(mine, first.distort(photo, 4, np.random.default_rng(0))) > 0.5, (one.name, first.name)


def test_shipped_amounts_change_as_much_as_the_first_ones() -> None:
    found = json.loads((files("mllm_iqa.data_build.second_set") / "amounts.json").read_text(encoding="utf-8"))
    assert set(found["amounts"]) == set(MAKERS)
    for kind, reached in found["reached"].items():
        assert reached == pytest.approx(found["aimed"][kind], rel=0.1), kind


def test_amounts_are_found_again(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    some = {kind: MAKERS[kind] for kind in ("gaussian blur", "gaussian noise")}
    monkeypatch.setattr("mllm_iqa.data_build.second_set.matching.MAKERS", some)
    found = matched_amounts([photo])
    for kind in some:
        assert found["reached"][kind] == pytest.approx(found["aimed"][kind], rel=0.03)
        assert found["amounts"][kind] == sorted(found["amounts"][kind])
