"""A model's processor for pictures and words, also where its video half cannot be built.

The video processors of transformers need torchvision, which the base install does without; a processor that has one
(InternVL, SmolVLM) is built without that half, also where there is a torchvision, with which Pillow alone is refused.
"""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING


def _for_pictures_alone(kind: Any) -> Any:
    """The processor's class, which does not look at what stands in its video half's place.

    transformers would look up that half's class, which without torchvision ends in an AttributeError.
    """

    def check(self: Any, name: str, part: Any) -> Any:
        return None if name == "video_processor" else kind.check_argument_for_proper_class(self, name, part)

    return type(kind.__name__, (kind,), {"check_argument_for_proper_class": check})


def picture_processor(source: str) -> Any:
    """The processor of a checkpoint, its pictures prepared by Pillow.

    Args:
        source: directory or hub id of a checkpoint.

    Raises:
        ImportError, OSError, ValueError: as transformers raises them.
    """
    config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    kind: Any = PROCESSOR_MAPPING.get(type(config), None)
    if kind is None or "video_processor" not in kind.get_attributes():
        return AutoProcessor.from_pretrained(source, backend="pil", trust_remote_code=False)  # type: ignore[no-untyped-call]
    images = AutoImageProcessor.from_pretrained(source, backend="pil", trust_remote_code=False)  # type: ignore[no-untyped-call]
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    parts = {"image_processor": images, "tokenizer": tokenizer}
    settings, _ = kind.get_processor_dict(source)
    return _for_pictures_alone(kind).from_args_and_dict([parts.get(name) for name in kind.get_attributes()], settings)
