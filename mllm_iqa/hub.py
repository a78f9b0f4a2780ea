"""Checkpoints from the hub: safetensors and settings only, pinned revisions respected, each failure one sentence.

The hub's own settings hold: `HF_ENDPOINT` names a mirror, `HF_HUB_OFFLINE` forbids downloads, `HF_HOME` says where
files are kept, `HF_TOKEN` opens gated repositories.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import CheckpointError
from .registry import entry_of

ALLOWED = ("*.json", "*.jinja", "*.model", "*.txt", "*.safetensors")
"""Files of a checkpoint; anything else (pickled weights, code) stays where it is."""

_IGNORED = ("original/*", "onnx/*", "openvino/*", "consolidated*")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a checkpoint is on the hub.

    Attributes:
        repository: owner/name.
        revision: branch, tag or commit.
        subfolder: of the repository; "" = its root.
    """

    repository: str
    revision: str
    subfolder: str = ""

    def __str__(self) -> str:
        return f"{self.repository}{'/' * bool(self.subfolder)}{self.subfolder} at {self.revision}"


def place_of(source: str) -> Place:
    """The place that a hub id means: `owner/name`, or `owner/name@revision` for a revision other than our own."""
    repository, _, revision = source.partition("@")
    entry = entry_of(repository)
    pinned = (entry.revision or "main", entry.subfolder) if entry is not None else ("main", "")
    return Place(repository, revision or pinned[0], pinned[1])


def local_folder(source: str) -> Path:
    """The folder of a checkpoint or adapter, downloaded first where it must be; an interrupted download goes on.

    Args:
        source: a directory, or a hub id as `place_of` takes it.

    Raises:
        CheckpointError: it cannot be had; one sentence says why and what to do.
    """
    if os.path.isdir(source):
        return Path(source)
    place = place_of(source)
    patterns = [f"{place.subfolder}/{pattern}" if place.subfolder else pattern for pattern in ALLOWED]
    from huggingface_hub import snapshot_download

    try:
        root = snapshot_download(
            place.repository,
            revision=place.revision,
            allow_patterns=patterns,
            ignore_patterns=list(_IGNORED),
            tqdm_class=_bar(),
        )
    except Exception as error:
        raise _refusal(place, error) or error from error
    folder = Path(root, place.subfolder)
    check_weights(folder, str(place))
    return folder


def name_of(source: str, folder: Path) -> str:
    """What results call a checkpoint without a card: its folder, or its hub id and the commit that was loaded."""
    if os.path.isdir(source):
        return source
    commit = next((part for part in folder.parts[::-1] if len(part) == 40), "")
    return f"{source.partition('@')[0]}@{commit[:12]}" if commit else source


def cached_folder(source: str) -> Path | None:
    """The folder of a checkpoint that is already here and whole; None otherwise. The hub is not asked."""
    if os.path.isdir(source):
        return Path(source)
    from huggingface_hub import try_to_load_from_cache

    place = place_of(source)
    try:
        found = try_to_load_from_cache(
            place.repository, "/".join(filter(None, [place.subfolder, "config.json"])), revision=place.revision
        )
    except ValueError:  # not a hub id
        return None
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    try:
        check_weights(folder, source)
    except CheckpointError:
        return None
    return folder


def check_weights(folder: Path, name: str) -> None:
    """Refuse a checkpoint without safetensors, or one of whose weight files only some are here.

    Raises:
        CheckpointError: naming the first that is missing.
    """
    files = sorted(p.name for p in folder.glob("*.safetensors"))
    for index in sorted(folder.glob("*.safetensors.index.json")):
        try:
            wanted = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise CheckpointError(f"{name}: {index.name} cannot be read: {error}") from error
        lacking = sorted(wanted - set(files))
        if lacking:
            raise CheckpointError(
                f"{name}: {len(lacking)} of {len(wanted)} weight files are not here, {lacking[0]} for one; "
                f"download it again: mllm-iqa models pull {name.partition(' ')[0]}"
            )
    if not files:
        raise CheckpointError(f"{name}: holds no safetensors weights, and others are never loaded")


def _refusal(place: Place, error: Exception) -> CheckpointError | None:
    """What to tell the user; None when the error is none of the hub's."""
    from huggingface_hub import constants, errors

    where = constants.ENDPOINT
    cause = _root(error)
    if isinstance(error, errors.HFValidationError):
        return CheckpointError(f"{place.repository!r} is not a hub id: it is written owner/name")
    if isinstance(error, errors.GatedRepoError):
        return CheckpointError(
            f"{place.repository}: its owners grant access one by one; ask for it on its page and set HF_TOKEN"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return CheckpointError(f"{place.repository}: has no revision {place.revision!r} at {where}")
    if isinstance(error, errors.RepositoryNotFoundError):
        return CheckpointError(f"{place.repository}: not found at {where}; is the name right, or is it private?")
    if constants.HF_HUB_OFFLINE and isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return CheckpointError(
            f"{place.repository}: could not be fetched; the hub is switched off (HF_HUB_OFFLINE), and {place.revision} "
            f"is not here; where there is a network, run: mllm-iqa models pull {place.repository}"
        )
    # The hub's client has used several HTTP libraries; all are called httpx-something.
    of_http = type(error).__module__.startswith("httpx")
    if of_http or isinstance(error, errors.LocalEntryNotFoundError | errors.HfHubHTTPError | ConnectionError):
        return CheckpointError(
            f"{place}: could not be fetched from {where} ({_brief(cause)}); "
            "check the network, or name a mirror in HF_ENDPOINT"
        )
    if isinstance(error, OSError):
        return CheckpointError(f"{place}: could not be saved to {constants.HF_HUB_CACHE}: {_brief(error)}")
    return None


def _root(error: BaseException) -> BaseException:
    """The error that stands at the beginning of a chain."""
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    return error


def _brief(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".:") if text else type(error).__name__


def _bar() -> type[Any]:
    """The hub's progress bar, silent where stderr is no terminal."""
    from huggingface_hub import utils

    bar: Any = utils.tqdm  # type: ignore[attr-defined]

    def start(self: Any, *args: Any, **kwargs: Any) -> None:
        bar.__init__(self, *args, **{**kwargs, "disable": not sys.stderr.isatty()})

    return type("Bar", (bar,), {"__init__": start})
