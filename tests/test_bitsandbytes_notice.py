"""One harmless notice of bitsandbytes is left out; what else it says is not."""

import importlib.util
import logging
import subprocess
import sys

import pytest

from mllm_iqa.bitsandbytes_notice import leave_out_notice

LOGGER = "bitsandbytes.backends.cpu.ops"


def test_only_the_notice_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    leave_out_notice()
    logger = logging.getLogger(LOGGER)
    logger.warning("Failed to load CPU gemm_4bit_forward from kernels-community: %s", "no module")
    logger.warning("something else")
    assert [record.getMessage() for record in caplog.records] == ["something else"]


def test_peft_is_imported_in_silence() -> None:
    if importlib.util.find_spec("bitsandbytes") is None:
        pytest.skip("needs bitsandbytes, which the extra quantize installs")
    code = "import mllm_iqa, bitsandbytes"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
