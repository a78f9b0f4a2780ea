"""YAML files that people write and pass around: read without trusting them."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from .errors import PromptError

_MAX_BYTES = 256 * 1024
_FAULTS_SHOWN = 3


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without aliases, a few of which can stand for gigabytes, and without keys given twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read; write it out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"{key!r} is there twice, the second time before line {node.end_mark.line + 1}")
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, what: str) -> Any:
    """The values of a YAML file.

    Args:
        path: of a file of 256 KiB at most, in UTF-8.
        what: the file is called this in errors, e.g. "advice file".

    Raises:
        PromptError: no such file, too large, not text, or not plain YAML; one sentence.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise PromptError(f"{what} {path} cannot be read: {error.strerror or error}") from error
    if len(content) > _MAX_BYTES:
        raise PromptError(f"{what} {path} is larger than {_MAX_BYTES // 1024} KiB")
    try:
        return yaml.load(content.decode("utf-8"), _Loader)  # a subclass of the safe loader
    except UnicodeDecodeError as error:
        raise PromptError(f"{what} {path} is not text in UTF-8") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise PromptError(f"{what} {path} is not valid YAML: {' '.join(str(error).split())}") from error


def faults_of(error: ValidationError) -> str:
    """What a file breaks, place by place, the first few; never more than a line."""
    faults = []
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        place = ".".join(str(part) for part in fault["loc"])
        message = " ".join(fault["msg"].removeprefix("Value error, ").split())
        faults.append(f"{place}: {message}" if place else message)
    more = f" (and {len(faults) - _FAULTS_SHOWN} more)" if len(faults) > _FAULTS_SHOWN else ""
    return "; ".join(faults[:_FAULTS_SHOWN]) + more
