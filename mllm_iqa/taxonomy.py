"""What can be wrong with a picture: distortion kinds (leaves) and the families they belong to.

The twelve families are those of DepictQA-Wild / DQ-495K (You et al., 2024). A kind is what a viewer can tell
apart without seeing the original: DQ-495K's four ways of brightening, for example, are one kind here and four
implementations in `data_build/distortions`.
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
FAMILY_OF: dict[str, str] = {kind: family for family, kinds in KINDS_BY_FAMILY.items() for kind in kinds}
