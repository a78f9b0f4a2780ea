"""Groups of pictures that show the same, against trying every pair, and the hash against the one of the data."""

import numpy as np
import pytest
from PIL import Image

from mllm_iqa.near_duplicates import NEAR_BITS, Fingerprint, fingerprint, near_groups


def scene(seed: int, size: tuple[int, int] = (120, 160)) -> np.ndarray:
    """Smooth random shapes."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return np.asarray(small.resize(size[::-1], Image.Resampling.BICUBIC))


def test_a_resized_recompressed_or_mirrored_picture_is_near() -> None:
    original = scene(0)
    small = np.asarray(Image.fromarray(original).resize((70, 52)))
    prints = [fingerprint(p) for p in (original, small, np.ascontiguousarray(original[:, ::-1]), scene(1))]
    assert near_groups(prints, ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]) == [[0, 1, 2]]


def test_a_flat_picture_is_compared_with_nothing() -> None:
    flat = np.full((50, 50, 3), 90, dtype=np.uint8)
    assert fingerprint(flat) is None
    assert near_groups([None, None], ["a.jpg", "b.jpg"]) == []


def test_frames_of_a_burst_may_differ_more_than_strangers() -> None:
    one, other = Fingerprint(0, 0), Fingerprint((1 << 15) - 1, (1 << 15) - 1)  # 15 bits apart
    assert near_groups([one, other], ["d/IMG_0007.jpg", "d/IMG_0009.png"]) == [[0, 1]]  # whatever the extension
    assert near_groups([one, other], ["d/IMG_0007.jpg", "d/IMG_0009.jpg"]) == [[0, 1]]
    assert near_groups([one, other], ["d/IMG_0007.jpg", "d/IMG_0017.jpg"]) == []
    assert near_groups([one, other], ["d/IMG_0007.jpg", "e/IMG_0008.jpg"]) == []


@pytest.mark.parametrize("seed", range(4))
def test_it_finds_what_trying_every_pair_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bases = [int(b) for b in rng.integers(0, 2**63, 8)]
    prints = []
    for _ in range(60):
        value = bases[int(rng.integers(8))]
        for bit in rng.choice(64, int(rng.integers(0, 8)), replace=False):
            value ^= 1 << int(bit)
        mirrored = bases[int(rng.integers(8))]
        prints.append(Fingerprint(value, mirrored))
    label = list(range(60))
    for i in range(60):
        for j in range(60):
            a, b = prints[i], prints[j]
            if min((a.hash ^ b.hash).bit_count(), (a.hash ^ b.mirrored).bit_count()) <= NEAR_BITS and i != j:
                old, new = label[j], label[i]
                label = [new if x == old else x for x in label]
    expected: dict[int, list[int]] = {}
    for i, x in enumerate(label):
        expected.setdefault(x, []).append(i)
    found = near_groups(prints, [f"{i}x.jpg" for i in range(60)])
    assert sorted(found) == sorted(g for g in expected.values() if len(g) > 1)


def test_the_hash_is_that_of_the_training_data_but_for_rounding() -> None:
    near_duplicates = pytest.importorskip("mllm_iqa.data_build.records.near_duplicates")
    apart = []
    for seed in range(20):
        ours, theirs = fingerprint(scene(seed)), near_duplicates.fingerprint(scene(seed))
        assert ours is not None and theirs is not None
        apart.append((ours.hash ^ theirs.hash).bit_count())
    # OpenCV rounds the small picture to whole grey levels before the transform.
    assert np.median(apart) <= 2 and max(apart) <= 8
