"""Our models where a Q-Align scorer stood: PIL images in, a tensor of scores out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from PIL import Image

from .assistant import Assistant
from .errors import ConfigError, ImageError
from .types import Failure

if TYPE_CHECKING:
    from .images import ImageSource


class QualityScorer:
    """Scores pictures as `AutoModelForCausalLM.from_pretrained("q-future/one-align").score(images, ...)` did.

    scorer = QualityScorer("nano")
    scorer.score([Image.open("a.jpg"), Image.open("b.jpg")], task_="quality", input_="image")
    """

    def __init__(self, model: str | Assistant = "nano", *, device: str = "auto", batch_size: int = 8) -> None:
        """Load a model by name, folder or hub id, or take one that is loaded."""
        self.assistant = model if isinstance(model, Assistant) else Assistant.load(model, device=device)
        self._batch_size = batch_size

    def score(
        self, images: Sequence[Image.Image | ImageSource], task_: str = "quality", input_: str = "image"
    ) -> torch.Tensor:
        """MOS of pictures.

        Args:
            images: PIL images, or anything else `load_image` takes.
            task_: only "quality"; there is no aesthetics score here.
            input_: only "image".

        Returns:
            float32 on the CPU, shape (N,), 1 (bad) to 5 (excellent): the scale of Q-Align's `score`.

        Raises:
            ConfigError: another task or input.
            ImageError: a picture that cannot be judged; nothing is left out of the tensor.
        """
        if task_ != "quality" or input_ != "image":
            raise ConfigError(f"only task_='quality' of input_='image' is scored, got {task_!r} of {input_!r}")
        values = []
        for number, result in enumerate(self.assistant.score_many(images, explain=False, batch_size=self._batch_size)):
            if isinstance(result, Failure):
                raise ImageError(f"picture {number}: {result.error}")
            values.append(result.mos)
        return torch.tensor(values, dtype=torch.float32)

    __call__ = score
