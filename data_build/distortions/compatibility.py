"""Which two distortions one picture can suffer, and in which order: the order in which light becomes a file.

A pair is left out when the later one undoes or hides the earlier (noise under smoothing, blur under sharpening), when
the two look alike (haze and low contrast), or contradict each other (brighter and darker). For the twelve families of
DQ-495K the table follows the pairs of its two-distortion set (You et al., 2024), which applies them in either order;
where it allows a pair only the other way round in this order (noise after posterization, for one) or the earlier of two
is averaged away (noise before pixelation), the pair is left out here. Beyond it, light and color may be changed
together, and sharpened pictures may be compressed.
"""

from __future__ import annotations

from collections.abc import Iterable

from . import DISTORTIONS

_FILE = ("compression", "transmission")
_AFTER_COLOR = ("blur", "lens", "noise", "oversmooth", "pixelate", "upscale", "quantization", "ring", *_FILE)
_AFTER_LIGHT = ("saturate strengthen", "saturate weaken", "color cast", *_AFTER_COLOR)

LATER: dict[str, tuple[str, ...]] = {
    # in the air
    "haze": _AFTER_COLOR,
    # exposure and tone curve
    "brighten": (*_AFTER_LIGHT, "oversharpen"),
    "darken": _AFTER_LIGHT,
    "contrast strengthen": _AFTER_LIGHT,
    "contrast weaken": _AFTER_LIGHT,
    # color
    "saturate strengthen": (*_AFTER_COLOR, "oversharpen"),
    "saturate weaken": (*_AFTER_COLOR, "oversharpen"),
    "color cast": (*_AFTER_COLOR, "oversharpen"),
    # focus, movement, glass
    "blur": ("lens", "noise", "quantization", *_FILE),
    "lens": ("noise", "oversmooth", "upscale", "quantization", "oversharpen", "ring", *_FILE),
    # sensor
    "noise": ("oversharpen", *_FILE),
    # processing
    "oversmooth": ("quantization", "oversharpen", *_FILE),
    "pixelate": ("quantization", "oversharpen", "transmission"),
    "upscale": ("quantization", *_FILE),
    "quantization": ("oversharpen", "transmission"),
    "oversharpen": _FILE,
    "ring": ("transmission",),
    # file and line
    "compression": ("transmission",),
    "transmission": (),
}
"""For each family, in the order in which they happen, the later ones that may join it."""

_PLACE = {family: place for place, family in enumerate(LATER)}


def families_compatible(first: str, second: str) -> bool:
    """Whether one picture can show damage of both families; the order of the two does not matter here.

    Raises:
        ValueError: a family that is not in `LATER`.
    """
    for family in (first, second):
        if family not in LATER:
            raise ValueError(f"unknown family {family!r}; known: {', '.join(LATER)}")
    return second in LATER[first] or first in LATER[second]


def compatible(first: str, second: str) -> bool:
    """Whether one picture can suffer both distortions, applied in the order of `in_order`.

    Args:
        first: a name of `DISTORTIONS`.
        second: another; exchanging the two changes nothing.

    Raises:
        ValueError: an unknown name.
    """
    return families_compatible(_family(first), _family(second))


def in_order(names: Iterable[str]) -> list[str]:
    """Names of `DISTORTIONS` in the order in which they happen to a picture; those of one family stay as given.

    Raises:
        ValueError: an unknown name.
    """
    return sorted(names, key=lambda name: _PLACE[_family(name)])


def _family(name: str) -> str:
    if name not in DISTORTIONS:
        raise ValueError(f"unknown distortion {name!r}; known: {', '.join(DISTORTIONS)}")
    return DISTORTIONS[name].family
