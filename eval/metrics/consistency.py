"""Does an explanation agree with the number and the findings it belongs to?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mllm_iqa.levels import LEVELS, SEVERITIES
from mllm_iqa.prompt_files import effect_sentences
from mllm_iqa.scoring import contradictions


def inconsistent(result: Mapping[str, Any]) -> bool:
    """Whether the text contradicts the result: another level, a kind not found, or an effect of another strength.

    Args:
        result: what `Score.to_dict` gives, with an explanation.
    """
    level = max(LEVELS, key=lambda w: result["levels"][w])
    kinds = [f["kind"] for f in result["distortions"]]
    # Severities stand in the sentence that states the findings.
    wrong = [w for w in contradictions(result["explanation"], level, kinds) if w not in SEVERITIES]
    own = effect_sentences((f["kind"], f["severity"]) for f in result["distortions"])
    wrong += [s for s in effect_sentences(None) - own if s in result["explanation"]]
    return bool(wrong) or level not in result["explanation"]
