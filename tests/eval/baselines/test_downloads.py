"""Nothing is fetched unless asked for."""

import os
import socket
import urllib.request
from pathlib import Path

import pytest
import torch.hub
from huggingface_hub import constants
from mllm_iqa.eval.baselines.downloads import DownloadRefusedError, downloads


def test_every_way_out_is_closed_and_opened_again(tmp_path: Path) -> None:
    before = (urllib.request.urlopen, torch.hub.urlopen, socket.getaddrinfo, constants.HF_HUB_OFFLINE)
    variable = os.environ.get("HF_HUB_OFFLINE")
    with downloads(False):
        with pytest.raises(DownloadRefusedError, match=r"needs http://127\.0\.0\.1/weights\.pth"):
            torch.hub.load_state_dict_from_url("http://127.0.0.1/weights.pth", model_dir=str(tmp_path))
        with pytest.raises(DownloadRefusedError, match="localhost"):
            socket.create_connection(("localhost", 9))
        assert constants.HF_HUB_OFFLINE
    assert before == (urllib.request.urlopen, torch.hub.urlopen, socket.getaddrinfo, constants.HF_HUB_OFFLINE)
    assert os.environ.get("HF_HUB_OFFLINE") == variable


def test_allowed_downloads_change_nothing() -> None:
    before = urllib.request.urlopen
    with downloads(True):
        assert urllib.request.urlopen is before
