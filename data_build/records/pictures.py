"""Pictures that records are about: photographs with human scores, and clean ones distorted, with what is known of them.

Synthetic pictures are JPEG of quality 95 without chroma subsampling, distorted or not, so that coding tells nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from mllm_iqa.errors import DataError
from mllm_iqa.taxonomy import FAMILY_OF

from ..appearance import Looks, looks
from ..distortions import DISTORTIONS, apply
from ..distortions.compatibility import compatible, in_order
from ..distortions.local import LOCAL, apply_local
from ..severity import CLEAN_MOS, pseudo_mos, severity_table
from ..sources import read_rgb
from .regions import Region, describe_region
from .schema import Image, Policy
from .tally import Tally

JPEG_QUALITY = 95
_VISIBLE = 5.0  # mean change, in grey levels, that makes a region look different from its surroundings
_LOCAL_TRIES = 5


@dataclass(frozen=True, slots=True)
class Found:
    """A distortion of a picture: implementation, strength in (0, 5] as drawn."""

    name: str
    strength: float

    @property
    def kind(self) -> str:
        """The taxonomy kind."""
        return DISTORTIONS[self.name].kind

    @property
    def family(self) -> str:
        """The taxonomy family."""
        return FAMILY_OF[self.kind]

    @property
    def severity(self) -> int:
        """The severity, 1..5, that its kind has."""
        return DISTORTIONS[self.name].spoken(self.strength)

    @property
    def worth(self) -> float | None:
        """MOS of a clean picture after this distortion alone; None where nobody knows."""
        return pseudo_mos([(self.name, self.strength)]) if self.name in severity_table() else None


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture as it is shown, and what is known about it.

    Attributes:
        image: as the record stores it.
        source, group: as in `Record`.
        pixels: uint8 RGB (H, W, 3); None for photographs whose content no question needs.
        findings: most harmful first; None = unknown.
        mos: 1..5; None = unknown.
        std: spread of its raters in MOS units; None = unknown.
        policy: where the score comes from.
        region: where the damage is, for a local one.
    """

    image: Image
    source: str
    group: str
    pixels: np.ndarray | None = None
    findings: tuple[Found, ...] | None = None
    mos: float | None = None
    std: float | None = None
    policy: Policy = ""
    region: Region | None = None


def encoded(pixels: np.ndarray) -> Image:
    """A picture of uint8 RGB pixels as JPEG."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, data = cv2.imencode(".jpg", pixels[..., ::-1], options)
    if not done:
        raise ValueError(f"JPEG coding failed for an image of shape {pixels.shape}")
    return Image(data.tobytes(), None)


def reduced(pixels: np.ndarray, max_side: int) -> np.ndarray:
    """Pixels whose longer side is at most `max_side`, by area averaging; smaller ones as they are."""
    scale = max_side / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return np.ascontiguousarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def stored(path: Path, max_side: int, *, as_path: bool) -> Image:
    """A file as it is where it is a JPEG or PNG of at most `max_side`; else reduced to that and coded again.

    Raises:
        DataError: a file that is missing or no readable picture.
    """
    try:
        with PIL.Image.open(path) as header:
            as_it_is = header.format in ("JPEG", "PNG") and max(header.size) <= max_side
    except (OSError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise DataError(f"{path}: missing or not a readable image") from error
    if not as_it_is:
        return encoded(reduced(read_rgb(path), max_side))
    return Image(None, str(path.resolve())) if as_path else Image(path.read_bytes(), None)


@cache
def scored_names() -> tuple[str, ...]:
    """The distortions whose worth to people is known."""
    return tuple(name for name in DISTORTIONS if name in severity_table())


def draw(
    count: int,
    tally: Tally,
    rng: np.random.Generator,
    *,
    names: Sequence[str] = tuple(DISTORTIONS),
    severities: Sequence[int] = (1, 2, 3, 4, 5),
) -> tuple[Found, ...]:
    """No, one or two distortions of `names` in the order to apply, families and severities balanced by the tally.

    The severities of two differ by one at most, so that neither hides the other.
    """
    if count == 0:
        return ()
    name, others = _name(tally, names), list[str]()
    while count == 2 and not others:
        others = [other for other in names if compatible(name, other)]
        name = name if others else _name(tally, names)
    severity = tally.least("severity", severities)
    drawn = {name: severity}
    if others:
        near = [other for other in severities if abs(other - severity) <= 1]
        drawn[_name(tally, others)] = tally.least("severity", near)
    return tuple(Found(n, min(5.0, drawn[n] + float(rng.uniform(-0.4, 0.4)))) for n in in_order(drawn))


def _name(tally: Tally, names: Sequence[str]) -> str:
    family = tally.least("family", sorted({DISTORTIONS[name].family for name in names}))
    return tally.least("distortion", [name for name in names if DISTORTIONS[name].family == family])


def distorted(clean: Picture, found: Sequence[Found], rng: np.random.Generator) -> Picture:
    """A clean picture after the distortions, in the order given; its score is unknown where that of one is."""
    pixels = _pixels(clean)
    for one in found:
        pixels = apply(one.name, pixels, one.strength, rng)
    worths = [one.worth for one in found]
    if None in worths:
        by_harm = sorted(found, key=lambda one: -one.severity)
        return Picture(encoded(pixels), clean.source, clean.group, pixels, tuple(by_harm))
    by_harm = sorted(found, key=lambda one: one.worth or 0.0)
    mos = pseudo_mos([(one.name, one.strength) for one in found])
    return Picture(encoded(pixels), clean.source, clean.group, pixels, tuple(by_harm), mos, None, "pseudo")


_BELIEVABLE: dict[str, Callable[[Looks], bool]] = {
    "brighten": lambda seen: seen.brightness >= 100,
    "darken": lambda seen: seen.brightness <= 150,
    "contrast weaken": lambda seen: seen.contrast <= 65,
    "saturate strengthen": lambda seen: seen.colorfulness >= 30,
    "saturate weaken": lambda seen: seen.colorfulness <= 45,
}
"""What a picture must look like for a viewer without the original to agree: a slightly brightened night scene is no
overexposed picture. By eye, on pictures of both sides of each bound."""


def believable(picture: Picture) -> bool:
    """Whether a viewer who never saw the original could find what the picture's findings name."""
    seen = looks(_pixels(picture))
    return all(_BELIEVABLE[f.family](seen) for f in picture.findings or () if f.family in _BELIEVABLE)


def distorted_in_part(clean: Picture, tally: Tally, rng: np.random.Generator) -> Picture:
    """A clean picture with an obvious to catastrophic distortion of one region, drawn again where nothing shows.

    Raises:
        DataError: a picture on which nothing shows, as on a black one.
    """
    pixels = _pixels(clean)
    for _ in range(_LOCAL_TRIES):
        (found,) = draw(1, tally, rng, names=LOCAL, severities=(3, 4, 5))
        for _ in range(_LOCAL_TRIES):
            result = apply_local(found.name, pixels, found.strength, rng)
            change = np.abs(result.pixels[result.mask].astype(np.int16) - pixels[result.mask])
            if change.size and change.mean() >= _VISIBLE:
                region = describe_region(result.mask)
                image = encoded(result.pixels)
                return Picture(image, clean.source, clean.group, result.pixels, (found,), region=region)
    raise DataError(f"{clean.source}: no distortion of a part of it can be seen; leave it out of the clean sources")


def undistorted(path: Path, source: str, group: str, max_side: int, rng: np.random.Generator) -> Picture:
    """A clean photograph of at most `max_side`, mirrored half of the time."""
    pixels = reduced(read_rgb(path), max_side)
    if rng.random() < 0.5:
        pixels = np.ascontiguousarray(pixels[:, ::-1])
    return Picture(encoded(pixels), source, group, pixels, (), CLEAN_MOS, None, "pseudo")


def _pixels(picture: Picture) -> np.ndarray:
    if picture.pixels is None:
        raise ValueError(f"{picture.source}: its pixels were not kept")
    return picture.pixels
