"""The facade: score, explain, compare and chat about pictures with any model, behind one object or four functions."""

from __future__ import annotations

import copy
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from . import registry
from .advice import advised_comparison
from .advice_rules import Rules, shipped_rules
from .backends.base import Backend, Conversation, Turn
from .calibration import Calibration, load_calibration
from .checkpoints import Card
from .engines import card_of, open_backend
from .errors import AnswerError, BackendError, CalibrationError, ImageError, PromptError
from .explaining import said_findings
from .finding import find_distortions
from .images import ImageSource, Picture, load_image, shown_name
from .prompt_files import LANGUAGES, load_prompt
from .rank_pictures import rank_pictures
from .rating import rate_pictures
from .rubric import Rubric, judge_by, load_rubric
from .run_settings import model_identity
from .scoring import geometric_mean, normalised, winner_of
from .transformers_options import TransformersOptions
from .types import Comparison, Failure, Ranking, RubricScore, Score

if TYPE_CHECKING:
    from .video_types import VideoScore
    from .where import QualityMap

_CHAT_TOKENS = 256


class Assistant:
    """One model, ready to judge pictures. `Assistant.load("nano")`, or give it any `Backend`.

    Results are deterministic: words are read as probabilities or chosen greedily, never sampled, and do not depend
    on which other pictures are judged in the same call.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        card: Card | None = None,
        max_pixels: int | None = None,
        entry: registry.ModelEntry | None = None,
        advice: Rules | Literal["shipped"] | None = "shipped",
        source: str | None = None,
    ) -> None:
        """Wrap a backend.

        Args:
            backend: the engine.
            card: of its checkpoint, for the calibrated interval.
            max_pixels: pixel budget of one picture instead of the backend's own.
            entry: of its model in the registry, which says how it is asked, how it answers and what it can do.
            advice: rules that advice comes from, see `advice_rules.load_rules`; None = give none.
            source: what `load` was asked for, by which a calibration knows weights that have no card.
        """
        self.backend = backend
        self.card = card
        self.entry = entry
        self.advice = advice
        self.source = source
        self.calibration: Calibration | None = None
        self.thorough = False
        self.can = registry.ALL if entry is None else entry.can
        self.max_pixels = max_pixels if max_pixels is not None else backend.max_pixels

    @classmethod
    def load(
        cls,
        model: str = "nano",
        *,
        engine: str = "auto",
        device: str = "auto",
        dtype: str = "auto",
        max_pixels: int | None = None,
        options: TransformersOptions | None = None,
        calibration: Calibration | str | Path | None = None,
    ) -> Assistant:
        """Load a model by registry name, directory or hub id, or use the one that a server has.

        Args:
            model: e.g. "nano"; "fake" gives an engine without a model, for testing; or a server's base URL, such as
                `http://127.0.0.1:8000/v1`, with `#name` at its end where it has several models.
            engine: "auto", "transformers", "vllm" or "openai"; see `mllm_iqa.engines`, whose `open_backend` also takes
                an engine's own settings: `Assistant(backend, card=card_of(backend))`.
            device: "auto", "cpu", "cuda", "cuda:1" ...; "split" = a part of the model on every GPU.
            dtype: "auto" (float32 on a CPU, else bfloat16) or a torch dtype's name.
            max_pixels: pixel budget of one picture instead of the checkpoint's own.
            options: further settings of the transformers engine: quantization, adapters, attention, compilation.
            calibration: to a scale of one's own, see `calibrated`.

        Raises:
            CalibrationError: no such calibration, or one of another model.
            CheckpointError: no such model, or one that cannot be loaded; one sentence says why.
            BackendError: no such engine or server.
        """
        known = load_calibration(calibration) if isinstance(calibration, str | Path) else calibration
        backend = open_backend(
            model, engine=engine, device=device, dtype=dtype, max_pixels=max_pixels, transformers=options
        )
        entry = registry.entry_of(model)
        loaded = cls(backend, card=card_of(backend), max_pixels=max_pixels, entry=entry, source=model)
        return loaded if known is None else loaded.calibrated(known)

    @property
    def weights(self) -> str:
        """What tells the model's weights from others: SHA-256 where there is a card, else as `run_settings` has it."""
        if self.card is not None:
            return self.card.weights
        return "" if self.source is None else model_identity(self.source)

    def calibrated(self, calibration: Calibration | str | Path | None) -> Assistant:
        """The same model, whose scores also stand on the scale of a calibration, as `Score.calibrated`.

        Args:
            calibration: one from `mllm_iqa.calibration`, or its name or file; None = none.

        Raises:
            CalibrationError: there is none of that name, or it was fitted with another model.
        """
        found = load_calibration(calibration) if isinstance(calibration, str | Path) else calibration
        if found is not None:
            found.check_model(self.backend.name, self.weights)
        made = copy.copy(self)
        made.calibration = found
        return made

    def asking_again(self, thorough: bool = True) -> Assistant:
        """The same model, which asks for every rating in several wordings and distrusts it where they disagree.

        The score is that of the first wording; the others only count for `Score.trust`, and cost a pass each.
        """
        made = copy.copy(self)
        made.thorough = thorough
        return made

    def use_adapter(self, name: str | None) -> None:
        """Let a LoRA adapter that was loaded beside the model answer from now on; None = the model alone.

        Raises:
            BackendError: the engine cannot switch adapters.
            CheckpointError: there is no adapter of that name.
        """
        from .backends.huggingface import HuggingFaceBackend

        if not isinstance(self.backend, HuggingFaceBackend):
            raise BackendError(
                f"{self.backend.name}: its engine does not switch adapters; the transformers engine does"
            )
        if self.calibration is not None:
            raise CalibrationError(
                f"{self.backend.name} is calibrated ({self.calibration.name!r}); switch the adapter before calibrating"
            )
        self.backend.use_adapter(name)
        self.card = self.backend.card

    def score(
        self,
        image: ImageSource,
        *,
        reference: ImageSource | None = None,
        explain: bool = True,
        language: str = "en",
        name: str | None = None,
    ) -> Score:
        """Judge one picture.

        Args:
            image: anything `load_image` takes.
            reference: the picture it should look like, for full-reference judgement.
            explain: also find distortions and write an explanation (about three times the work), where the model can.
            language: of the words; the model must know it.
            name: what to call the picture in the result.

        Raises:
            AnswerError: the model wrote something else than the number it was asked for.
            ImageError: a picture that cannot be read or judged.
            BackendError: a language the model does not speak, or a reference for a model that takes none.
        """
        self.check_language(language)
        picture = self._picture(image, name)
        references = None if reference is None else [self._picture(reference, None)]
        (result,) = rate_pictures(self, [picture], explain=explain, references=references)
        if isinstance(result, Failure):
            raise AnswerError(result.error)
        return result

    def score_many(
        self, images: Iterable[ImageSource], *, explain: bool = True, language: str = "en", batch_size: int = 8
    ) -> Iterator[Score | Failure]:
        """Judge pictures one after the other, in their order, as an iterator that holds `batch_size` at a time.

        A picture that cannot be read, or about which the model writes something else than the number it was asked for,
        becomes a `Failure` in its place; the rest goes on.

        Raises:
            ImageError: a single path instead of several pictures.
            BackendError: a language the model does not speak.
        """
        _check_several(images)
        self.check_language(language)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        return self._score_stream(iter(images), explain, batch_size)

    def _score_stream(self, stream: Iterator[ImageSource], explain: bool, batch_size: int) -> Iterator[Score | Failure]:
        while chunk := list(itertools.islice(stream, batch_size)):
            loaded = [self._picture_or_failure(source) for source in chunk]
            scores = iter(rate_pictures(self, [p for p in loaded if isinstance(p, Picture)], explain=explain))
            for item in loaded:
                yield item if isinstance(item, Failure) else next(scores)

    def compare(
        self,
        a: ImageSource,
        b: ImageSource,
        *,
        reference: ImageSource | None = None,
        explain: bool = True,
        language: str = "en",
    ) -> Comparison:
        """Which of two pictures is better. Both orders are asked and averaged.

        Args:
            a: the first picture.
            b: the second; its content may differ.
            reference: what both should look like, if there is such a picture.
            explain: also find the distortions of both and say them.
            language: of the words.

        Raises:
            BackendError: the model cannot compare, or does not speak the language.
        """
        self.check_language(language)
        if "compare" not in self.can:
            raise BackendError(f"{self.backend.name} cannot compare pictures; score both instead")
        pictures = [self._picture(a, None), self._picture(b, None)]
        given = None if reference is None else self._picture(reference, None)
        prompt = load_prompt("compare.v1" if given is None else "compare_reference.v1")
        before = [] if given is None else [given]
        keys = ("first", "second", "equal")
        orders = [
            Conversation.ask([*before, *pair], prompt.question, prompt.answer_prefix)
            for pair in (pictures, pictures[::-1])
        ]
        probs = normalised(self.backend.continuation_logprobs(orders, [prompt.phrase(key) for key in keys]))
        winner, mean, flip = winner_of(probs[0], probs[1])
        explanation = confidence = found = None
        if explain:
            found = find_distortions(self.backend, pictures)
            key = {"a": "first", "b": "second", "tie": "equal"}[winner]
            # Said of a and b, the first and the second to the reader, even where the model saw a reference before them.
            words = load_prompt("compare.v1")
            explanation = words.answer_prefix + words.phrase(key) + words.phrase(f"{key}/rest")
            for side, (findings, _) in zip(("first", "second"), found, strict=True):
                explanation += words.phrase(f"{side}/findings", findings=said_findings(findings))
            confidence = geometric_mean([mean[winner], *found[0][1], *found[1][1]])
        result = Comparison(
            winner=winner,
            probability=mean[winner],
            probabilities=mean,
            order_flip=flip,
            explanation=explanation,
            confidence=confidence,
            a=pictures[0].info,
            b=pictures[1].info,
            reference=None if given is None else given.info,
            distortions_a=None if found is None else found[0][0],
            distortions_b=None if found is None else found[1][0],
            model=self.backend.name,
            prompt=prompt.name,
        )
        return result if self.rules is None else advised_comparison(result, self.rules)

    def rank(self, images: Sequence[ImageSource], *, language: str = "en", comparisons: int | None = None) -> Ranking:
        """Order pictures from best to worst: pairs are compared in both orders, then one strength each is fitted.

        Args:
            images: 2 to 2000 of them.
            language: of the question; the model must know it.
            comparisons: how many pairs to compare at most; None = every pair up to those of 32 pictures, else
                N x log2(N). Where they do not suffice for every pair, those are compared that tell most.

        Raises:
            ImageError: a picture that cannot be read, too few or too many pictures, or a single path instead.
            BackendError: a language the model does not speak, or a model that cannot compare.
            ConfigError: fewer comparisons than are needed to compare every picture once.
        """
        _check_several(images)
        self.check_language(language)
        return rank_pictures(self, images, comparisons=comparisons, strict=True)

    def score_by(
        self, image: ImageSource, *rubrics: Rubric | str | os.PathLike[str], name: str | None = None
    ) -> tuple[RubricScore, ...]:
        """Judge one picture by rubrics: questions and levels of your own. The results are on their scales, and no MOS.

        Args:
            image: anything `load_image` takes.
            rubrics: 1 to 16; names of shipped ones, files, or what `load_rubric` gave.
            name: what to call the picture in the results.

        Raises:
            ImageError: a picture that cannot be read or judged.
            PromptError: no such rubric, or words that the model's tokenizer does not keep apart.
        """
        (result,) = judge_by(self.backend, [self._picture(image, name)], _rubrics(rubrics))
        return result

    def score_many_by(
        self,
        images: Iterable[ImageSource],
        rubrics: Sequence[Rubric | str | os.PathLike[str]],
        *,
        batch_size: int = 8,
    ) -> Iterator[tuple[RubricScore, ...] | Failure]:
        """`score_by` for pictures one after the other, as an iterator that holds `batch_size` at a time.

        A picture that cannot be read becomes a `Failure` in its place; the rest goes on.
        """
        _check_several(images)
        chosen = _rubrics(rubrics)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        stream = iter(images)

        def results() -> Iterator[tuple[RubricScore, ...] | Failure]:
            while chunk := list(itertools.islice(stream, batch_size)):
                loaded = [self._picture_or_failure(source) for source in chunk]
                pictures = [p for p in loaded if isinstance(p, Picture)]
                judged = iter(judge_by(self.backend, pictures, chosen))
                for item in loaded:
                    yield item if isinstance(item, Failure) else next(judged)

        return results()

    def chat(self, images: Sequence[ImageSource], messages: Sequence[dict[str, str]]) -> Iterator[str]:
        """Answer the last of the messages about the pictures, piece by piece.

        Args:
            images: shown at the start of the first message.
            messages: {"role": "user" or "assistant", "content": words}, the last one the user's.

        Raises:
            ImageError: a picture that cannot be read, or a single path instead of several pictures.
            BackendError: messages of another form.
        """
        _check_several(images)
        if not all(set(m) == {"role", "content"} and isinstance(m["content"], str) for m in messages):
            raise BackendError('a message has a "role" ("user" or "assistant") and its "content", words')
        turns = tuple(Turn(m["role"], m["content"]) for m in messages)
        if not turns or turns[-1].role != "user" or turns[0].role != "user":
            raise BackendError("a chat begins and ends with a message of the user")
        pictures = tuple(self._picture(image, None) for image in images)
        return self.backend.stream(Conversation(pictures, turns), max_new_tokens=_CHAT_TOKENS)

    def quality_map(self, image: ImageSource, **options: Any) -> QualityMap:
        """Where a picture is damaged: a map, and boxes of each distortion; see `where.map_of` for the options."""
        from .where import map_of

        return map_of(self, image, **options)

    def score_video(self, path: str | os.PathLike[str] | bytes, **options: Any) -> VideoScore:
        """A video's quality over time, pooled, and its worst moments; see `video.judge_video` for the options."""
        from .video import judge_video

        return judge_video(self, path, **options)

    # Parts.

    @property
    def rules(self) -> Rules | None:
        """The rules that advice comes from; None = no advice is given."""
        return shipped_rules() if self.advice == "shipped" else self.advice

    @property
    def templated(self) -> bool:
        """Whether the model was trained on the sentences of the effects prompt."""
        return self.card is not None and "effects.v1" in self.card.prompts

    def check_language(self, language: str) -> None:
        """Refuse a language that the model does not speak, or that has no prompts.

        Raises:
            BackendError: it is one of the two; the sentence names those that are known.
        """
        if language not in self.backend.languages:
            known = ", ".join(self.backend.languages)
            raise BackendError(f"{self.backend.name} does not answer in {language!r}; it knows: {known}")
        if language not in LANGUAGES:
            raise BackendError(f"there are no prompts in {language!r} yet; there are: {', '.join(LANGUAGES)}")

    def _picture(self, source: ImageSource, name: str | None) -> Picture:
        return load_image(source, name=name, max_pixels=self.max_pixels)

    def _picture_or_failure(self, source: ImageSource) -> Picture | Failure:
        try:
            return self._picture(source, None)
        except ImageError as error:
            return Failure(shown_name(source), str(error))


def _rubrics(given: Sequence[Rubric | str | os.PathLike[str]]) -> list[Rubric]:
    if isinstance(given, str | os.PathLike):
        raise PromptError("give a list of rubrics, even of one")
    return [rubric if isinstance(rubric, Rubric) else load_rubric(Path(rubric)) for rubric in given]


def _check_several(images: object) -> None:
    """Refuse one picture where several are expected: a path would be taken for a list of its letters."""
    if isinstance(images, str | bytes | os.PathLike):
        raise ImageError("give a list of pictures, even of one")


@lru_cache(maxsize=1)
def _shared(model: str, device: str) -> Assistant:
    return Assistant.load(model, device=device)


def score_image(
    image: ImageSource,
    *,
    reference: ImageSource | None = None,
    explain: bool = True,
    language: str = "en",
    model: str = "nano",
    device: str = "auto",
    calibration: Calibration | str | Path | None = None,
) -> Score:
    """Judge one picture; see `Assistant.score`. The last used model stays loaded between calls."""
    assistant = _shared(model, device).calibrated(calibration)
    return assistant.score(image, reference=reference, explain=explain, language=language)


def compare_images(
    a: ImageSource,
    b: ImageSource,
    *,
    reference: ImageSource | None = None,
    explain: bool = True,
    language: str = "en",
    model: str = "nano",
    device: str = "auto",
) -> Comparison:
    """Which of two pictures is better, and why; see `Assistant.compare`."""
    assistant = _shared(model, device)
    return assistant.compare(a, b, reference=reference, explain=explain, language=language)


def rank_images(
    images: Sequence[ImageSource],
    *,
    language: str = "en",
    comparisons: int | None = None,
    model: str = "nano",
    device: str = "auto",
) -> Ranking:
    """Pictures from best to worst; see `Assistant.rank`."""
    return _shared(model, device).rank(images, language=language, comparisons=comparisons)


def explain(image: ImageSource, *, language: str = "en", model: str = "nano", device: str = "auto") -> str:
    """Why a picture has the quality it has, in words; the text of `score_image`."""
    text = score_image(image, language=language, model=model, device=device).explanation
    if text is None:
        raise PromptError("the model wrote no explanation")
    return text


def chat(
    images: Sequence[ImageSource], messages: Sequence[dict[str, str]], *, model: str = "nano", device: str = "auto"
) -> Iterator[str]:
    """Answer a question about pictures, piece by piece; see `Assistant.chat`."""
    return _shared(model, device).chat(images, messages)
