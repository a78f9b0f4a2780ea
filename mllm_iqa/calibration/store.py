"""Where calibrations lie: small JSON files, by name in the user's data folder or wherever a path says."""

from __future__ import annotations

import json
import os
import re
from difflib import get_close_matches
from pathlib import Path

from pydantic import ValidationError

from ..errors import CalibrationError
from ..output_file import replaced_at_end
from .calibration import Calibration

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MAX_BYTES = 16 * 2**20


def calibrations_folder() -> Path:
    """Where calibrations are kept by name: under XDG_DATA_HOME, or ~/.local/share."""
    root = os.environ.get("XDG_DATA_HOME")
    return (Path(root) if root else Path.home() / ".local" / "share") / "mllm-iqa" / "calibrations"


def place_of(name_or_path: str | Path) -> Path:
    """The file that is meant: a path where it has a folder or ends in .json, else a name in the user's folder.

    Raises:
        CalibrationError: neither.
    """
    text = os.fspath(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".json") or "/" in text or os.sep in text:
        return Path(text)
    if not _NAME.fullmatch(text):
        raise CalibrationError(
            f"{text!r} is no name of a calibration: letters, digits, '.', '_' and '-', at most 64 of them; or a path"
        )
    return calibrations_folder() / f"{text}.json"


def name_of(name_or_path: str | Path) -> str:
    """What a calibration at this place is called."""
    return place_of(name_or_path).stem


def known_names() -> list[str]:
    """Names of the calibrations in the user's folder, sorted."""
    return sorted(path.stem for path in calibrations_folder().glob("*.json"))


def save_calibration(calibration: Calibration, name_or_path: str | Path) -> Path:
    """Write a calibration; returns the file. An earlier one of that name is replaced.

    Raises:
        CalibrationError: a name that is none, or a file that cannot be written.
    """
    path = place_of(name_or_path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_at_end(path) as file:
            file.write(calibration.model_dump_json(indent=1).encode() + b"\n")
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def load_calibration(name_or_path: str | Path) -> Calibration:
    """Read a calibration by its name or path.

    Raises:
        CalibrationError: there is none, or the file is no calibration.
    """
    path = place_of(name_or_path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CalibrationError(f"{path}: too large for a calibration")
        return Calibration.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise CalibrationError(_unknown(name_or_path, path)) from None
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        first = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise CalibrationError(f"{path}: not a calibration: {first}") from error


def _unknown(asked: str | Path, path: Path) -> str:
    if path.parent != calibrations_folder():
        return f"{path}: no such calibration"
    names = known_names()
    close = get_close_matches(str(asked), names, 1)
    known = f"did you mean {close[0]}?" if close else f"there are: {', '.join(names) or 'none'}"
    return f"no calibration named {str(asked)!r}; {known} (`mllm-iqa calibrate` makes one)"
