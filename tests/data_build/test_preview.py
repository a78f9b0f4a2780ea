"""The contact sheet: where everything stands on it, what is chosen, and the command that writes it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from mllm_iqa.data_build.distortions import DISTORTIONS, apply
from mllm_iqa.data_build.distortions.local import LOCAL
from mllm_iqa.data_build.preview import TILE, chosen, contact_sheet

from mllm_iqa.cli import main
from mllm_iqa.errors import ConfigError

Textured = Callable[..., np.ndarray]
MAGENTA = (255, 0, 255)


def cells(sheet: np.ndarray, rows: int, width: int, height: int) -> np.ndarray:
    """The pictures on a sheet, (rows, 6, height, width, 3), as counted from its lower right corner."""
    down = sheet.shape[0] - (height + 6) * rows
    across = sheet.shape[1] - (width + 6) * 6
    body = sheet[down:, across:].reshape(rows, height + 6, 6, width + 6, 3)
    assert (body[:, height:] == 255).all(), "rows are not apart"
    return body[:, :height, :, :width].swapaxes(1, 2)


def test_a_row_is_the_original_and_five_severities(textured: Textured) -> None:
    image = textured(48, 64)
    names = ("noise.impulse_noise", "detail.pixelate")
    found = cells(contact_sheet(image, names, seed=4), 2, 64, 48)
    for row, name in zip(found, names, strict=True):
        assert np.array_equal(row[0], image)
        for severity in range(1, 6):
            assert np.array_equal(row[severity], apply(name, image, severity, np.random.default_rng(4)))


def test_every_row_and_column_is_labelled(textured: Textured) -> None:
    sheet = contact_sheet(textured(32, 32), tuple(DISTORTIONS))
    labels = sheet[30:, :300].reshape(len(DISTORTIONS), 38, 300, 3)
    assert (labels.min(axis=(1, 2, 3)) < 60).all()
    heads = sheet[:30, 300:].reshape(30, 6, 38, 3)
    assert (heads.min(axis=(0, 2, 3)) < 60).all()


def test_a_large_picture_shows_its_middle_at_native_size_or_all_of_it_reduced(textured: Textured) -> None:
    image = textured(TILE[1] + 40, TILE[0] + 60)
    middle = cells(contact_sheet(image, ["blur.jitter"]), 1, *TILE)
    assert np.array_equal(middle[0, 0], image[20:-20, 30:-30])
    # 268 x 196 into 208 x 156: by 208 / 268 = .776, to 208 x 152.
    whole = cells(contact_sheet(image, ["blur.jitter"], whole=True), 1, 208, 152)
    assert whole[0, 0].mean() == pytest.approx(image.mean(), abs=1)


def test_a_local_sheet_outlines_the_region(textured: Textured) -> None:
    found = cells(contact_sheet(textured(64, 80), ["noise.gaussian_noise"], local=True), 1, 80, 64)[0]
    marked = (found == MAGENTA).all(axis=-1).mean(axis=(1, 2))
    assert marked[0] == 0
    assert (marked[1:] > 0.01).all()
    assert (marked[1:] < 0.3).all()


def test_what_is_chosen() -> None:
    assert chosen([], local=False) == tuple(DISTORTIONS)
    assert chosen([], local=True) == LOCAL
    assert chosen(["banding", "blur.jitter"], local=False) == ("blur.jitter", "quantization.banding")
    assert chosen(["compression"], local=False) == tuple(n for n in DISTORTIONS if n.startswith("compression."))
    assert chosen(["lens"], local=True) == ("lens.dirt",)


@pytest.mark.parametrize(
    ("name", "local", "told"),
    [
        ("blur.jiter", False, r"--only blur\.jiter: no distortion, kind or family; did you mean .*blur\.jitter"),
        ("???", False, r"--only \?\?\?: .*known: blur\.gaussian_blur"),
        ("vignetting", True, r"--only vignetting: no distortion that has a local version"),
    ],
)
def test_an_unknown_choice_is_refused_with_the_nearest(name: str, local: bool, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        chosen([name], local=local)


def test_the_command_writes_the_sheet(textured: Textured, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, out = textured(40, 52), tmp_path / "sheet.png"
    PIL.Image.fromarray(image).save(tmp_path / "a.png")
    arguments = ["data", "preview", str(tmp_path / "a.png"), "--out", str(out), "--only", "haze", "--only", "banding"]
    assert main([*arguments, "--seed", "3"]) == 0
    assert capsys.readouterr() == (f"{out}\n", "")
    names = ("quantization.banding", "air.haze")
    assert np.array_equal(np.array(PIL.Image.open(out)), contact_sheet(image, names, seed=3))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["--out", "sheet.jpg"], "--out sheet.jpg must be the name of a .png file in a folder that exists"),
        (["--out", "no/such/folder/sheet.png"], "must be the name of a .png file in a folder that exists"),
        (["--only", "bandng"], "did you mean banding"),
    ],
)
def test_what_cannot_be_written_or_drawn_is_one_line(
    change: list[str], told: str, textured: Textured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    PIL.Image.fromarray(textured(40, 52)).save(tmp_path / "a.png")
    assert main(["data", "preview", str(tmp_path / "a.png"), "--out", str(tmp_path / "s.png"), *change]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert told in err
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_missing_picture_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "preview", str(tmp_path / "absent.jpg"), "--out", str(tmp_path / "s.png")]) == 2
    assert "absent.jpg: cannot be opened" in capsys.readouterr().err
