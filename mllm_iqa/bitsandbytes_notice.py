"""Leave out one notice that bitsandbytes logs whenever it, or peft, is imported on a CPU with bfloat16 instructions.

"Failed to load CPU gemm_4bit_forward from kernels-community ...": it would fetch a faster 4-bit product from the hub
with the package `kernels`, and without that uses its own, which computes the same. Nothing is lost but speed on such a
CPU, and nobody who scores or tunes can act on it. Its other messages stay.
"""

from __future__ import annotations

import logging

_LOGGER = "bitsandbytes.backends.cpu.ops"
_NOTICE = "Failed to load CPU gemm_4bit_forward from kernels-community"


def _is_not_the_notice(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_NOTICE)


def leave_out_notice() -> None:
    """Call before the first import of bitsandbytes; imports nothing itself, and may be called again."""
    logging.getLogger(_LOGGER).addFilter(_is_not_the_notice)
