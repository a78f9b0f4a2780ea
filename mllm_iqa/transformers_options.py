"""Settings of the transformers engine; no model library is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Quantize(StrEnum):
    """Weights in fewer bits, by bitsandbytes."""

    bits8 = "8bit"
    bits4 = "4bit"


@dataclass(frozen=True, slots=True)
class TransformersOptions:
    """How the transformers engine runs a model.

    Attributes:
        quantize: "8bit" or "4bit" weights by bitsandbytes, the latter as nf4; None = as they are.
        attention: "auto" lets transformers choose; or "sdpa", "eager", "flash_attention_2", ... as it names them.
        compile: run the model through torch.compile; the first passes take minutes.
        adapters: folders or hub ids of LoRA adapters kept beside the model, the first of them in use.
    """

    quantize: Quantize | str | None = None
    attention: str = "auto"
    compile: bool = False
    adapters: tuple[str, ...] = ()
