"""Pictures as files, named by their content, so that one that many records show is written once."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mllm_iqa.output_file import replaced_at_end


def stored_by_content(data: bytes, folder: Path) -> Path:
    """The file below `folder` that holds an encoded picture; it is written unless it is there."""
    extension = ".png" if data.startswith(b"\x89PNG") else ".jpg"
    name = hashlib.sha256(data).hexdigest()[:24] + extension
    path = folder / name[:2] / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_at_end(path) as file:
            file.write(data)
    return path
