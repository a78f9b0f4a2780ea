"""Judge-free agreement of two texts: longest common subsequence (ROUGE-L), and which quality words both name."""

from __future__ import annotations

import re

from mllm_iqa.levels import LEVELS, SEVERITIES
from mllm_iqa.taxonomy import FAMILIES, FAMILY_OF

_VOCABULARY = tuple(sorted({*FAMILY_OF, *FAMILIES, *LEVELS, *SEVERITIES}, key=lambda term: (-len(term), term)))


def rouge_l(said: str, golden: str) -> float:
    """ROUGE-L F1 (Lin, 2004) over lower-case words, in [0, 1]; 0 where either is empty."""
    a, b = (re.findall(r"[a-z0-9]+", text.lower()) for text in (said, golden))
    if not a or not b:
        return 0.0
    previous = [0] * (len(b) + 1)
    for word in a:
        current = [0]
        for j, other in enumerate(b, start=1):
            current.append(previous[j - 1] + 1 if word == other else max(previous[j], current[-1]))
        previous = current
    common = previous[-1]
    return 2 * common / (len(a) + len(b))


def quality_terms(text: str) -> frozenset[str]:
    """Distortion kinds and families, levels and severities that a text names; the longest name of a place counts."""
    left, found = text.lower(), set()
    for term in _VOCABULARY:
        pattern = rf"\b{re.escape(term.lower())}\b"
        if re.search(pattern, left):
            found.add(term)
            left = re.sub(pattern, " ", left)
    return frozenset(found)


def term_f1(said: str, golden: str) -> float:
    """F1 of the quality terms of a text against those of the golden one, in [0, 1]; 1 where neither names any."""
    a, b = quality_terms(said), quality_terms(golden)
    return 2 * len(a & b) / (len(a) + len(b)) if a or b else 1.0
