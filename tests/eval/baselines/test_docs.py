"""docs/baselines.md names every metric."""

import re
from pathlib import Path

from mllm_iqa.eval.baselines.catalogue import BASELINES

DOCS = Path(__file__).resolve().parents[3] / "docs" / "baselines.md"


def test_the_page_names_every_metric() -> None:
    named = set(re.findall(r"`(\w+)`", DOCS.read_text(encoding="utf-8")))
    assert sorted(set(BASELINES) - named) == []
