"""`python -m mllm_iqa.serve.ui`: the chat page alone, on this machine."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from types import FrameType

import uvicorn
from fastapi import FastAPI

from mllm_iqa.calibration import load_calibration

from . import Models, build_ui, mount_ui


def main(arguments: list[str] | None = None) -> int:
    """Serve the page until interrupted; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mllm_iqa.serve.ui", description="The chat page on this machine.")
    parser.add_argument("--model", action="append", help="offered in the list (default: nano); may be repeated")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--port", type=int, default=7860, help="on 127.0.0.1")
    parser.add_argument("--calibration", action="append", help="name or file, offered as a scale; may be repeated")
    options = parser.parse_args(arguments)
    app = app_of(options.model or ["nano"], device=options.device, calibrations=options.calibration or [])
    print(f"http://127.0.0.1:{options.port}", file=sys.stderr)
    # Only this machine can reach the page, so its user may name any model.
    _PageServer(uvicorn.Config(app, host="127.0.0.1", port=options.port, log_level="warning")).run()
    return 0


class _PageServer(uvicorn.Server):
    """Does not wait for open pages, each of which holds a stream open for as long as it stands."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop after the call of the model that runs; on a second signal at once."""
        if self.should_exit:
            os._exit(130)
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # streams that are cut off are no errors here
        self.should_exit = self.force_exit = True


def app_of(models: list[str], *, device: str = "auto", calibrations: Sequence[str] = ()) -> FastAPI:
    """An app that is the page alone, whose users may name any model."""
    app = FastAPI(openapi_url=None)
    known = {made.name: made for made in map(load_calibration, calibrations)}
    mount_ui(app, build_ui(Models(device=device), models, custom_models=True, calibrations=known))
    return app


if __name__ == "__main__":
    sys.exit(main())
