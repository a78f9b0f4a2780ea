"""How a running Trainer shows itself: a bar and its figures on a terminal's stderr, silence elsewhere; never stdout."""

from __future__ import annotations

import sys
from typing import Any

from transformers import Trainer
from transformers.trainer_callback import PrinterCallback, ProgressCallback


class _OnStderr(ProgressCallback):
    """The Trainer's own bar, its figures beside it instead of on stdout."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if state.is_world_process_zero and self.training_bar is not None and logs is not None:
            figures = {name: value for name, value in logs.items() if isinstance(value, int | float)}
            shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            self.training_bar.write(shown, file=sys.stderr)


def show_on_stderr(trainer: Trainer) -> None:
    """Replace what the Trainer prints; everything it logs is in TensorBoard's files and its state all the same."""
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    if sys.stderr.isatty():
        trainer.add_callback(_OnStderr())
