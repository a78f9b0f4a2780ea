import numpy as np
import pytest
from mllm_iqa.data_build.distortions import DISTORTIONS
from mllm_iqa.data_build.records.pictures import Found
from mllm_iqa.data_build.records.words import Words

from mllm_iqa.prompt_files import WRITTEN_LANGUAGES


def words(language: str) -> Words:
    return Words(language, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("language", "items", "joint", "text"),
    [
        ("en", ["x"], "and", "x"),
        ("en", ["x", "y"], "and", "x and y"),
        ("en", ["x", "y", "z"], "or", "x, y or z"),
        ("zh", ["甲", "乙", "丙"], "or", "甲、乙还是丙"),
        ("zh", ["甲", "乙"], "and", "甲和乙"),
    ],
)
def test_lists(language: str, items: list[str], joint: str, text: str) -> None:
    assert words(language).listed(items, joint=joint) == text


def test_findings_in_both_languages() -> None:
    found = [Found("blur.lens_blur", 4.2), Found("compression.jpeg", 1.0)]
    assert words("en").findings(found) == "lens blur (serious) and JPEG compression (slight)"
    assert words("zh").findings(found) == "存在失焦模糊（严重），并存在JPEG压缩失真（轻微）"  # noqa: RUF001
    assert words("zh").findings([]) == "没有可见的失真"


@pytest.mark.parametrize("language", WRITTEN_LANGUAGES)
def test_every_distortion_can_be_named_graded_and_explained(language: str) -> None:
    speaker = words(language)
    kinds = {d.kind for d in DISTORTIONS.values()}
    assert len({speaker.kind(kind) for kind in kinds}) == len(kinds)
    assert len({speaker.severity(s) for s in range(1, 6)}) == 5
    for distortion in DISTORTIONS.values():
        assert speaker.family(distortion.family)
        for strength in (1.0, 5.0):
            assert speaker.effects([Found(distortion.name, strength)]).strip()
