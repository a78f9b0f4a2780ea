"""Keep the metric libraries from fetching weights unless the user asked for it."""

from __future__ import annotations

import os
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class DownloadRefusedError(OSError):
    """A library wanted to fetch something while downloads are off; the message names the address."""


@contextmanager
def downloads(allowed: bool) -> Iterator[None]:
    """Inside the block nothing leaves this machine unless `allowed`.

    Libraries ask through torch.hub (urllib) or the hub's own client; the first is refused by address, so that the
    reason can name the file, and name lookups are refused for whatever is left.
    """
    if allowed:
        yield
        return
    import torch.hub
    from huggingface_hub import constants

    def refuse_url(url: Any, *_: Any, **__: Any) -> Any:
        raise DownloadRefusedError(f"needs {getattr(url, 'full_url', url)}")

    def refuse_host(host: Any, *_: Any, **__: Any) -> Any:
        raise DownloadRefusedError(f"needs a file from {host}")

    kept = (urllib.request.urlopen, torch.hub.urlopen, socket.getaddrinfo, constants.HF_HUB_OFFLINE)  # type: ignore[attr-defined]
    variable = os.environ.get("HF_HUB_OFFLINE")
    urllib.request.urlopen = torch.hub.urlopen = refuse_url  # type: ignore[attr-defined]
    socket.getaddrinfo = refuse_host
    constants.HF_HUB_OFFLINE = True
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        urllib.request.urlopen, torch.hub.urlopen, socket.getaddrinfo, constants.HF_HUB_OFFLINE = kept  # type: ignore[attr-defined]
        if variable is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = variable
