"""Where a picture is damaged: nano finds noise where it is, by tiles and gradients; drawings; the command."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mllm_iqa import cli
from mllm_iqa.assistant import Assistant
from mllm_iqa.attribution import spread
from mllm_iqa.backends.fake import FakeBackend
from mllm_iqa.errors import BackendError, ConfigError
from mllm_iqa.heat_map import colors_of, overlay, png_of
from mllm_iqa.images import load_image
from mllm_iqa.tile_reading import TileReading
from mllm_iqa.where import QualityMap, coarse, damage_of, map_of

EXAMPLES = Path(__file__).resolve().parents[1] / "mllm_iqa" / "examples"
NOISY = (slice(0, 192), slice(128, 256))


@pytest.fixture(scope="module")
def nano() -> Assistant:
    return Assistant.load("nano", device="cpu")


@pytest.fixture(scope="module")
def noisy() -> np.ndarray:
    """A piece of a clean photograph with strong noise in its right half."""
    pixels = np.array(load_image(EXAMPLES / "cat.jpg").pixels[60:252, 60:316])
    rng = np.random.default_rng(0)
    part = pixels[NOISY] + rng.normal(0, 55, (192, 128, 3))
    pixels[NOISY] = np.clip(part, 0, 255).astype(np.uint8)
    return pixels


@pytest.fixture(scope="module")
def found(nano: Assistant, noisy: np.ndarray) -> QualityMap:
    return map_of(nano, noisy, name="noisy.png", side=96, stride=48)


def contrast(damage: np.ndarray) -> float:
    """Mean inside the damaged part minus mean outside."""
    inside = np.zeros(damage.shape, bool)
    inside[NOISY] = True
    return float(damage[inside].mean() - damage[~inside].mean())


def test_tiles_find_the_damaged_part(found: QualityMap) -> None:
    assert found.damage.shape == found.mos.shape == (192, 256)
    assert found.damage.dtype == np.float32 and 0 <= found.damage.min() <= found.damage.max() <= 1
    assert contrast(found.damage) > 0.2
    assert contrast(found.mos) < -0.2  # and it is worse there
    noise = [r for r in found.regions if r.family == "noise"]
    assert noise, found.regions
    left, top, right, bottom = noise[0].box
    assert 128 < (left + right) / 2 < 256 and (top, bottom) == (0, 192)
    assert found.extent == (0, 0, 256, 192) and found.unread == 0


def test_the_map_does_not_depend_on_the_batch(nano: Assistant, noisy: np.ndarray, found: QualityMap) -> None:
    steps = []
    again = map_of(
        nano, noisy, side=96, stride=48, batch_size=7, advance=lambda done, total: steps.append((done, total))
    )
    assert np.abs(again.damage - found.damage).max() < 1e-4
    assert steps[-1] == (found.tiles, found.tiles) and len(steps) == -(-found.tiles // 7)


def test_a_gradient_gives_a_map_of_the_picture(nano: Assistant, noisy: np.ndarray) -> None:
    found = map_of(nano, noisy, method="attribution")
    assert found.damage.shape == (192, 256) and found.mos is None
    assert found.damage.dtype == np.float32 and found.damage.min() >= 0 and found.damage.max() == 1
    assert np.abs(map_of(nano, noisy, method="attribution").damage - found.damage).max() < 1e-6
    # It follows the picture; that it points at the damage cannot be asked of `nano` (docs/where.md).
    mirrored = map_of(nano, np.ascontiguousarray(noisy[:, ::-1]), method="attribution")
    assert np.abs(mirrored.damage - found.damage).mean() > 0.05


def test_values_of_patches_become_a_map() -> None:
    grid = np.zeros((3, 4))
    grid[1, 2] = 2.0
    out = spread(grid, 32, height=90, width=120)
    assert out.shape == (90, 120) and out.max() == 1
    assert out[40:60, 70:90].min() > out[0, 0] == 0
    assert (spread(-np.ones((2, 2)), 8, height=16, width=16) == 0).all()


def test_without_distortions_the_score_alone_speaks() -> None:
    reading = TileReading(np.array([5.0, 3.0, 1.0, np.nan]), None, None)
    assert damage_of(reading)[:3].tolist() == [0, 0.5, 1] and np.isnan(damage_of(reading)[3])


def test_cells_are_means() -> None:
    values = np.arange(12.0).reshape(3, 4)
    assert coarse(values, 4).tolist() == values.tolist()
    # Two columns, round(2 * 3 / 4) = 2 rows: of one and two pixels, by numpy's rounding of 1.5 to 2 and of 2 to 2.
    assert coarse(values, 2).tolist() == [[2.5, 4.5], [8.5, 10.5]]
    assert coarse(values, 1).tolist() == [[5.5]]


def test_another_engine_gives_tiles_and_no_gradient() -> None:
    fake = Assistant(FakeBackend())
    picture = np.zeros((96, 96, 3), np.uint8)
    assert map_of(fake, picture, side=48, stride=48).damage.shape == (96, 96)
    with pytest.raises(BackendError, match=r"no attribution for this engine.*tiles work on every engine"):
        map_of(fake, picture, method="attribution")
    with pytest.raises(ConfigError, match="at least 32"):
        map_of(fake, picture, side=16, stride=8)
    with pytest.raises(ConfigError, match="method must be one of"):
        map_of(fake, picture, method="guess")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"make \d+ tiles, more than 4096"):
        map_of(fake, np.zeros((2000, 2000, 3), np.uint8), side=32, stride=16, max_pixels=4_000_000)


def test_colors_rise_in_lightness() -> None:
    ramp = colors_of(np.linspace(0, 1, 64)).astype(float) @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(ramp) > 0).all() and ramp[-1] - ramp[0] > 150


def test_where_nothing_is_wrong_the_picture_shows() -> None:
    grey = np.full((8, 8, 3), 90, np.uint8)
    damage = np.zeros((8, 8), np.float32)
    damage[:, 4:] = 1
    drawn = overlay(grey, damage)
    assert (drawn[:, :4] == 90).all() and (drawn[:, 4:] != 90).any()
    with pytest.raises(ValueError, match="the map is"):
        overlay(grey, damage[:4])


def test_the_drawing_is_a_png_with_a_scale_beside_the_picture(found: QualityMap, noisy: np.ndarray) -> None:
    drawn = Image.open(io.BytesIO(png_of(found, noisy)))
    plain = Image.open(io.BytesIO(png_of(found, noisy, boxes=False)))
    assert drawn.format == "PNG" and drawn.size == plain.size and drawn.width > 480
    assert np.any(np.asarray(drawn) != np.asarray(plain))


def test_the_command(noisy: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "noisy.png"
    Image.fromarray(noisy).save(path)
    out, array = tmp_path / "map.png", tmp_path / "map.npy"
    assert cli.main(["where", str(path), "--out", str(out), "--array", str(array), "--json", "--side", "96"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["image"]["name"] == str(path) and said["grid"] == {"width": 32, "height": 24}
    assert any(region["family"] == "noise" for region in said["regions"])
    with Image.open(out) as drawn:
        assert drawn.format == "PNG"
    values = np.load(array, allow_pickle=False)
    assert values.shape == (192, 256) and values.dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.png"], "cannot be opened"),
        ([str(EXAMPLES / "cat.jpg"), "--out", "map.jpg"], r"must end in \.png"),
        ([str(EXAMPLES / "cat.jpg"), "--array", "no/such/map.npy"], "no folder"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import re

    monkeypatch.chdir(tmp_path)
    assert cli.main(["where", *arguments]) == 2
    error = capsys.readouterr().err
    assert re.search(says, error) and error.count("\n") == 1
