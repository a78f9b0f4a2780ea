"""What the command line asks of `mllm-iqa score`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .advice_rules import SHIPPED
from .transformers_options import TransformersOptions


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """What the command line asks for.

    Attributes:
        format: "table", or a key of `tables.WRITERS`.
        output: where the results go; None = stdout, or nowhere but into the folder `run`.
        explain: whether to look for distortions and write an explanation.
        model, device, engine, dtype, transformers: see `Assistant.load`, which calls the last one `options`.
        batch_size: pictures in one pass.
        reference: what the only picture is compared with; None = judged on its own.
        allow_failures: whether failed pictures leave the exit status at 0.
        run: folder of a run in parts; None = no parts.
        rows_per_part: of such a run, at least 1.
        listing: a file of paths, one a line; None = none.
        advice: a file of rules, or the name of shipped ones; None = no advice.
        rubrics: names or files; where there are any, pictures are scored by them instead.
        calibration: name or file of one, for the scores on the user's scale; None = none.
        thorough: whether to ask in several wordings, see `Assistant.asking_again`.
    """

    format: str
    output: Path | None
    explain: bool
    model: str
    device: str
    batch_size: int
    language: str
    reference: Path | None
    allow_failures: bool
    engine: str = "auto"
    dtype: str = "auto"
    transformers: TransformersOptions = field(default_factory=TransformersOptions)
    run: Path | None = None
    rows_per_part: int = 1000
    listing: Path | None = None
    advice: str | None = SHIPPED
    rubrics: tuple[str, ...] = ()
    calibration: str | None = None
    thorough: bool = False
