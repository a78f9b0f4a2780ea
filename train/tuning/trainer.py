"""transformers' Trainer with the losses of this project, its order of examples, and validation by correlation."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import EvalPrediction, Trainer, TrainingArguments

from mllm_iqa.agreement import plcc, srcc
from mllm_iqa.errors import DataError
from mllm_iqa.levels import VALUES

from .collate import Collator, Targets
from .encode import approximate_length
from .examples import Example
from .objective import LossWeights, batch_loss, rated_rows, word_probs
from .order import GroupedOrder


class TuningTrainer(Trainer):
    """A Trainer of examples.

    Args:
        model: possibly wrapped by peft.
        arguments: of the Trainer.
        collator: makes batches of examples.
        train: to learn from.
        validation: to choose the best state by; each one rates one picture.
        weights: of the loss's parts.
        callbacks: further ones.
    """

    def __init__(
        self,
        model: Any,
        arguments: TrainingArguments,
        *,
        collator: Collator,
        train: Sequence[Example],
        validation: Sequence[Example],
        weights: LossWeights,
        callbacks: Sequence[Any] = (),
    ) -> None:
        super().__init__(
            model=model,
            args=arguments,
            data_collator=collator,
            train_dataset=train,
            eval_dataset=validation or None,
            compute_metrics=validation_figures,
            callbacks=list(callbacks),
        )
        self.examples, self.weights = train, weights
        # The loss is a mean over rows, not over tokens: the Trainer is to divide it by the accumulation steps.
        self.model_accepts_loss_kwargs = False
        self.loss_is_scaled_for_ga = False
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._batches = 0

    def _get_train_sampler(self, train_dataset: Any = None) -> GroupedOrder:
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        lengths = [approximate_length(example) for example in self.examples]
        return GroupedOrder(lengths, [e.dataset for e in self.examples], batch=batch, seed=self.args.seed)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The weighted loss of a batch.

        Raises:
            DataError: a loss that is not finite; the message names the records of the batch and the parts.
        """
        targets: Targets = inputs["targets"]
        words = {name: value for name, value in inputs.items() if name != "targets"}
        outputs = model(**words, logits_to_keep=targets.keep, use_cache=False)
        loss, parts = batch_loss(outputs.logits, targets, self.weights)
        if not torch.isfinite(loss):
            found = ", ".join(f"{name} {float(part):g}" for name, part in parts.items())
            raise DataError(
                f"step {self.state.global_step}: the loss is {float(loss.detach())} ({found}); "
                f"the records of the batch: {', '.join(targets.names)}"
            )
        if model.training:
            self._batches += 1
            for name, part in parts.items():
                self._sums[name] += float(part)
        return (loss, outputs) if return_outputs else loss

    def prediction_step(
        self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[torch.Tensor | None, Any, Any]:
        """Loss, level probabilities (N, 5) and (scores (N,), soft labels (N, 5)) of a batch of rated pictures."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
        targets: Targets = inputs["targets"]
        rows = rated_rows(targets)
        probs = word_probs(outputs.logits[rows], targets, rows)
        return loss.detach(), probs, (targets.mos[rows], targets.word_probs[rows])

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the mean of each part of the loss since the last time."""
        if "loss" in logs and self._batches:
            logs |= {name: total / self._batches for name, total in self._sums.items()}
            if self.weights.fidelity and not self._sums["pairs"]:
                print(f"step {self.state.global_step}: {NO_PAIRS}", file=sys.stderr)
            self._sums.clear()
            self._batches = 0
        super().log(logs, start_time)


NO_PAIRS = "no batch held two rated pictures of one data set, so the ranking loss was 0"


def validation_figures(prediction: EvalPrediction) -> dict[str, float]:
    """SRCC and PLCC of the predicted scores, and the mean KL of the soft labels to the predicted levels, in nats.

    A correlation is NaN for fewer than three pictures or equal predictions; such a state is never the best one.

    Args:
        prediction: `predictions` (N, 5) level probabilities; `label_ids` the scores (N,) and the soft labels (N, 5).
    """
    probs = np.asarray(prediction.predictions, dtype=np.float64)
    mos, labels = (np.asarray(x, dtype=np.float64) for x in prediction.label_ids)
    predicted = probs @ VALUES
    ratio = np.where(labels > 0, labels, 1.0) / np.maximum(probs, 1e-12)
    kl = float((labels * np.log(ratio)).sum(axis=1).mean())
    return {"srcc": srcc(predicted, mos), "plcc": plcc(predicted, mos), "kl": kl}
