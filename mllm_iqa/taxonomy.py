"""What can be wrong with a picture: distortion kinds (leaves) and the families they belong to.

The twelve families are those of DepictQA-Wild / DQ-495K (You et al., 2024). A kind is what a viewer can tell
apart without seeing the original: DQ-495K's four ways of brightening, for example, are one kind here and four
implementations in `data_build/distortions`. `KINDS` and `FAMILIES` are what the shipped model answers with; further
kinds, which data can be made of, stand apart from them.
"""

from __future__ import annotations

KINDS_BY_FAMILY: dict[str, tuple[str, ...]] = {
    "blur": ("gaussian blur", "lens blur", "motion blur", "zoom blur", "glass blur", "jitter"),
    "noise": ("gaussian noise", "color noise", "speckle noise", "correlated noise", "poisson noise", "impulse noise"),
    "compression": ("JPEG compression", "JPEG2000 compression"),
    "brighten": ("overexposure",),
    "darken": ("underexposure",),
    "contrast strengthen": ("excessive contrast",),
    "contrast weaken": ("low contrast",),
    "saturate strengthen": ("oversaturation",),
    "saturate weaken": ("desaturation",),
    "oversharpen": ("oversharpening",),
    "pixelate": ("pixelation",),
    "quantization": ("posterization",),
}

FAMILIES: tuple[str, ...] = tuple(KINDS_BY_FAMILY)
KINDS: tuple[str, ...] = tuple(kind for kinds in KINDS_BY_FAMILY.values() for kind in kinds)

FURTHER_KINDS_BY_FAMILY: dict[str, tuple[str, ...]] = {
    "noise": ("low-light noise",),
    "compression": ("WebP compression", "AVIF compression"),
    "quantization": ("banding",),
    "upscale": ("upscaling blur",),
    "oversmooth": ("oversmoothing",),
    "ring": ("edge ringing",),
    "lens": ("chromatic aberration", "vignetting", "lens dirt"),
    "color cast": ("color cast",),
    "haze": ("haze",),
    "transmission": ("displaced blocks", "shifted rows"),
}
"""Kinds that DQ-495K lacks, some of them in its families."""

FURTHER_KINDS: tuple[str, ...] = tuple(kind for kinds in FURTHER_KINDS_BY_FAMILY.values() for kind in kinds)

FAMILY_OF: dict[str, str] = {
    kind: family
    for families in (KINDS_BY_FAMILY, FURTHER_KINDS_BY_FAMILY)
    for family, kinds in families.items()
    for kind in kinds
}
"""The family of every kind, further ones included."""
