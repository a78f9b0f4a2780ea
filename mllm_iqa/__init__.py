"""Explainable image quality assessment: a calibrated score, what is wrong with the picture, and why.

Names load on first use, so that `import mllm_iqa` costs next to nothing and brings in neither torch nor transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .bitsandbytes_notice import leave_out_notice
from .torchvision_operators import declare_missing_operators

leave_out_notice()  # here, because peft imports bitsandbytes
declare_missing_operators()  # here, because transformers imports torchvision with its first model

__all__ = [
    "Assistant",
    "Calibrated",
    "Calibration",
    "Comparison",
    "Doubt",
    "Failure",
    "Finding",
    "ImageError",
    "ImageInfo",
    "Interval",
    "IqaError",
    "QualityMap",
    "RankedImage",
    "Ranking",
    "RubricScore",
    "Score",
    "Trust",
    "VideoScore",
    "__version__",
    "chat",
    "compare_images",
    "explain",
    "load_rubric",
    "quality_map",
    "rank_images",
    "score_image",
    "score_video",
]

if TYPE_CHECKING:
    from .assistant import Assistant, chat, compare_images, explain, rank_images, score_image
    from .calibration import Calibration
    from .errors import ImageError, IqaError
    from .rubric import load_rubric
    from .types import (
        Calibrated,
        Comparison,
        Doubt,
        Failure,
        Finding,
        ImageInfo,
        Interval,
        RankedImage,
        Ranking,
        RubricScore,
        Score,
        Trust,
    )
    from .video import score_video
    from .video_types import VideoScore
    from .where import QualityMap, quality_map

    __version__: str
else:  # hidden from type checkers, for which a module's __getattr__ would make every misspelt name valid
    _HOME = {
        "Assistant": ".assistant",
        "chat": ".assistant",
        "compare_images": ".assistant",
        "explain": ".assistant",
        "rank_images": ".assistant",
        "score_image": ".assistant",
        "load_rubric": ".rubric",
        "ImageError": ".errors",
        "IqaError": ".errors",
        "Calibrated": ".types",
        "Calibration": ".calibration",
        "Comparison": ".types",
        "Doubt": ".types",
        "Failure": ".types",
        "Finding": ".types",
        "ImageInfo": ".types",
        "Interval": ".types",
        "RankedImage": ".types",
        "Ranking": ".types",
        "RubricScore": ".types",
        "Score": ".types",
        "Trust": ".types",
        "score_video": ".video",
        "VideoScore": ".video_types",
        "QualityMap": ".where",
        "quality_map": ".where",
    }

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            value = version("mllm-iqa")
        elif name in _HOME:
            value = getattr(import_module(_HOME[name], __name__), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
