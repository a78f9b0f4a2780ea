"""Families of distortions that look alike, so that one is never the wrong answer beside the other.

By what each does to the picture: a smeared texture may be blur, a strong codec or smoothing; a lifted tone loses
contrast and color; what stretches contrast also strengthens colors.
"""

from __future__ import annotations

from ..distortions import DISTORTIONS
from .pictures import Picture

_ALIKE: frozenset[frozenset[str]] = frozenset(
    frozenset((first, second))
    for group in (
        ("blur", "compression", "pixelate", "upscale", "oversmooth"),
        ("compression", "quantization", "transmission", "ring"),
        ("pixelate", "transmission"),
        ("noise", "oversharpen"),
        ("oversharpen", "ring", "contrast strengthen"),
        ("brighten", "contrast weaken", "saturate weaken", "haze"),
        ("darken", "contrast weaken", "lens", "contrast strengthen"),
        ("brighten", "contrast strengthen"),
        ("contrast strengthen", "saturate strengthen", "quantization"),
        ("saturate strengthen", "color cast"),
        ("lens", "blur"),
        ("noise", "darken"),
    )
    for first in group
    for second in group
)


def alike(first: str, second: str) -> bool:
    """Whether two families are the same or could be taken for each other."""
    return first == second or frozenset((first, second)) in _ALIKE


def absent_families(picture: Picture) -> list[str]:
    """Families that a picture with known findings shows nothing of, nor anything that looks like them."""
    shown = {found.family for found in picture.findings or ()}
    families = dict.fromkeys(distortion.family for distortion in DISTORTIONS.values())
    return [family for family in families if not any(alike(family, other) for other in shown)]
