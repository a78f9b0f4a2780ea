"""Every test runs offline, and finds the shared photographs where they are."""

import os
from pathlib import Path

import pytest

# Here, at the top level, because Hugging Face libraries read these once, when a test first imports them.
for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ.setdefault(name, "1")

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photographs and human labels beside the checkout."""
    folder = REPO.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared photographs and labels are not here (../shared/data)")
    return folder
