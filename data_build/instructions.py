"""Templated instruction data: conversations about the crops of one region and about photographs.

Words come from `prompts/` alone. A conversation names its pictures by index, so that several conversations can
share a picture; the rating level is a soft label, never the single most likely word alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mllm_iqa.levels import LEVELS, SEVERITIES, soft_label
from mllm_iqa.prompt_files import Prompt, effect_key, findings_text, load_prompt
from mllm_iqa.taxonomy import FAMILIES, FAMILY_OF

from .appearance import appearance

ASSUMED_STD = 0.5
"""Rater spread in MOS units assumed where none is published (KADID's raters spread about 0.5 to 1)."""

SAME_WITHIN = 0.25
"""Two pictures whose MOS differ by less are "about equal"."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A picture as instructions see it: pixels, (kind, severity 1..5) findings (None = unknown) and MOS."""

    pixels: np.ndarray
    findings: tuple[tuple[str, int], ...] | None
    mos: float


@dataclass(frozen=True, slots=True)
class Conversation:
    """One question and answer.

    Attributes:
        images: indices of the pictures it is about, in order.
        task: prompt name, e.g. "rate.v1".
        question, answer: the words; `answer[:read_at]` is the prefix at whose end a word is read.
        read_at: offset in `answer` of the word that carries a soft label; -1 = no such word.
        candidates: words that could stand there (with their leading space), aligned with `probs`.
        probs: soft label over the candidates; empty where `read_at` is -1.
        learn_from: offset in `answer` from which words are learned; those before `read_at` are too, because in a chat
            the model has to begin with them by itself.
        history: (question, answer) turns about the same pictures that came before; nothing of them is learned.
    """

    images: tuple[int, ...]
    task: str
    question: str
    answer: str
    read_at: int = -1
    candidates: tuple[str, ...] = ()
    probs: tuple[float, ...] = ()
    learn_from: int = 0
    history: tuple[tuple[str, str], ...] = ()


def _pick(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


def _question(prompt: Prompt, rng: np.random.Generator) -> str:
    """The canonical question half of the time, else any of the wordings."""
    return prompt.question if rng.random() < 0.5 else _pick(prompt.questions, rng)


def _asked(prompt: Prompt, rng: np.random.Generator) -> str:
    """The same, or (0.3) how people ask for it in words of their own."""
    return _typed(prompt.name, rng) if rng.random() < 0.3 else _question(prompt, rng)


def _typed(key: str, rng: np.random.Generator) -> str:
    """A wording of `typed.v3`, as people spell it."""
    return _as_spelled(_pick(load_prompt("typed.v3").wordings(key), rng), rng)


def _typed_presence(family: str, rng: np.random.Generator) -> str:
    """Whether there is this family: a whole wording (half of the time), or a frame around a word for it."""
    if rng.random() < 0.5:
        return _typed(f"presence.v1/{family}", rng)
    typed = load_prompt("typed.v3")
    frame = "is" if rng.random() < 0.5 else "has"
    word = _pick(typed.wordings(f"presence.v1/{family}/{frame}"), rng)
    return _as_spelled(_pick(typed.wordings(f"presence.v1/{frame}"), rng).format(word=word), rng)


def _as_spelled(question: str, rng: np.random.Generator) -> str:
    """The question; a quarter in small letters, a quarter (independently) without the mark at its end."""
    if rng.random() < 0.25:
        question = question.lower()
    return question.rstrip(".?!") if rng.random() < 0.25 else question


def _words(findings: Sequence[tuple[str, int]]) -> list[tuple[str, str]]:
    return [(kind, SEVERITIES[severity - 1]) for kind, severity in findings]


def rate(index: int, picture: Judged, rng: np.random.Generator, *, reason: bool, task: str = "rate.v1") -> Conversation:
    """Rating, its level a soft label; with `reason` the answer goes on as the explanation does.

    The spoken level is drawn from the soft label, so that the words after it follow the word and not the picture.
    """
    prompt = load_prompt(task)
    probs = soft_label(float(np.clip(picture.mos, 1, 5)), ASSUMED_STD)
    level = LEVELS[int(rng.choice(5, p=probs))]
    answer = prompt.answer_prefix + prompt.phrase("level", level=level) + prompt.phrase("end")
    learn_from = len(prompt.answer_prefix)
    if reason:
        words = load_prompt("reason.v1")
        if picture.findings:
            answer += words.phrase("findings", findings=findings_text(_words(picture.findings)))
        else:
            answer += words.phrase("none" if level in LEVELS[:2] else "unclear")
        if picture.findings is None:
            learn_from = len(answer)
        effects = load_prompt("effects.v1")
        for kind, severity in picture.findings or ():
            answer += " " + _pick(effects.wordings(effect_key(kind, severity)), rng)
        answer += words.phrase("appearance", appearance=appearance(picture.pixels))
        answer += _pick(words.wordings(level), rng)
    if reason:  # also told to whoever asks in words of their own
        question = prompt.question if rng.random() < 0.5 else _typed(prompt.name, rng)
    else:
        question = _question(prompt, rng)
    images = (index,)
    return Conversation(
        images,
        task,
        question,
        answer,
        len(prompt.answer_prefix),
        tuple(prompt.phrase("level", level=word) for word in LEVELS),
        tuple(float(p) for p in probs),
        learn_from,
    )


def rate_reference(reference: int, index: int, picture: Judged, rng: np.random.Generator) -> Conversation:
    """Rating of a picture beside its reference, which comes first."""
    single = rate(index, picture, rng, reason=False, task="rate_reference.v1")
    return Conversation(
        (reference, index),
        single.task,
        load_prompt("rate_reference.v1").question,
        single.answer,
        single.read_at,
        single.candidates,
        single.probs,
    )


def distortion(index: int, picture: Judged, rng: np.random.Generator) -> Conversation:
    """Which distortions, how severe; a picture whose findings are unknown has no such conversation."""
    if picture.findings is None:
        raise ValueError("the distortions of this picture are unknown")
    prompt = load_prompt("distortion.v1")
    answer = f"{prompt.answer_prefix} {findings_text(_words(picture.findings))}{prompt.phrase('end')}"
    return Conversation((index,), prompt.name, _asked(prompt, rng), answer)


def presence(index: int, picture: Judged, rng: np.random.Generator) -> Conversation:
    """Yes or no: is there this family of distortion? Half of the questions on a damaged picture have the answer yes."""
    prompt = load_prompt("presence.v1")
    found = {FAMILY_OF[kind]: (kind, severity) for kind, severity in picture.findings or ()}
    family = _pick(list(found), rng) if found and rng.random() < 0.5 else _pick(FAMILIES, rng)
    spoken = prompt.phrase(f"family/{family}")
    if family in found:
        answer = prompt.phrase("yes", finding=findings_text(_words([found[family]])))
    else:
        answer = prompt.phrase("no", family=spoken)
    in_own_words = rng.random() < 0.6
    question = _typed_presence(family, rng) if in_own_words else _pick(prompt.questions, rng)
    return Conversation((index,), prompt.name, question.format(family=spoken), answer)


def look(index: int, picture: Judged, rng: np.random.Generator) -> Conversation:
    """What the picture looks like."""
    prompt = load_prompt("appearance.v1")
    return Conversation((index,), prompt.name, _asked(prompt, rng), appearance(picture.pixels))


def refusal(images: tuple[int, ...], rng: np.random.Generator) -> Conversation:
    """A question that has nothing to do with quality."""
    prompt = load_prompt("chat.v1")
    question = _typed(prompt.name, rng) if rng.random() < 0.5 else _pick(prompt.questions, rng)
    return Conversation(images, prompt.name, question, prompt.phrase("refusal"))


def why(explained: Conversation, rng: np.random.Generator, after: Conversation | None = None) -> Conversation:
    """The reasons of an explained answer, all but its first sentence, as the answer to "Why?".

    Args:
        explained: a rating or a comparison with its reasons.
        rng: of the words of the question.
        after: what was asked and answered before; `explained` itself where the reasons are said again; by default the
            first sentence of `explained` alone.

    Raises:
        ValueError: the answer has one sentence only.
    """
    first, _, reasons = explained.answer.partition(". ")
    if not reasons:
        raise ValueError(f"no reasons in {explained.answer!r}")
    before = (explained.question, f"{first}.") if after is None else (after.question, after.answer)
    return Conversation(
        explained.images,
        "reason.v1",
        _typed("reason.v1", rng),
        reasons,
        learn_from=max(0, explained.learn_from - len(f"{first}. ")),
        history=(before,),
    )


def compare(
    a: int, b: int, pictures: Sequence[Judged], rng: np.random.Generator, *, reference: int | None = None
) -> Conversation:
    """Which of two is better; the winner is a soft label from the two MOS, the reason names what each one shows."""
    prompt = load_prompt("compare.v1" if reference is None else "compare_reference.v1")
    gap = pictures[a].mos - pictures[b].mos
    probs = comparison_label(gap)
    winner = ("first", "second", "equal")[int(rng.choice(3, p=probs))]
    answer = prompt.answer_prefix + prompt.phrase(winner) + prompt.phrase(f"{winner}/rest")
    findings = (pictures[a].findings, pictures[b].findings)
    if reference is None and None not in findings and rng.random() < 0.5:
        for side, found in zip(("first", "second"), findings, strict=True):
            answer += prompt.phrase(f"{side}/findings", findings=findings_text(_words(found or ())))
    return Conversation(
        (a, b) if reference is None else (reference, a, b),
        prompt.name,
        _question(prompt, rng) if reference is not None else _asked(prompt, rng),
        answer,
        len(prompt.answer_prefix),
        tuple(prompt.phrase(key) for key in ("first", "second", "equal")),
        tuple(probs),
        len(prompt.answer_prefix),
    )


def comparison_label(gap: float) -> list[float]:
    """Probabilities of (first better, second better, about equal) for a MOS gap (first minus second).

    Equal within `SAME_WITHIN`, with logistic edges of width 0.1 MOS.
    """
    first = float(1 / (1 + np.exp(np.clip(-(gap - SAME_WITHIN) / 0.1, -60, 60))))
    second = float(1 / (1 + np.exp(np.clip(-(-gap - SAME_WITHIN) / 0.1, -60, 60))))
    return [first, second, max(0.0, 1.0 - first - second)]


def single_picture(index: int, picture: Judged, rng: np.random.Generator) -> list[Conversation]:
    """Conversations about one picture: always its rating, mostly its distortions, sometimes the rest.

    Some come as the second turn, after another question about the picture and its answer. A rating seldom does, so
    that it is learned from the picture and not from words.
    """
    out = [rate(index, picture, rng, reason=bool(rng.random() < 0.3))]
    if picture.findings is not None:
        if rng.random() < 0.9:
            out.append(distortion(index, picture, rng))
        if rng.random() < 0.3:
            out.append(presence(index, picture, rng))
    if rng.random() < 0.08:
        out.append(look(index, picture, rng))
    if rng.random() < 0.1:
        out.append(refusal((index,), rng))
    return [_after_another(c, out, rng) for c in out] + _whys(out[:1], out[1:], rng)


def _whys(
    answered: Sequence[Conversation], others: Sequence[Conversation], rng: np.random.Generator
) -> list[Conversation]:
    """For a third of those that give reasons, "Why?": after their first sentence, after all of them, or after another.

    Nobody asks why a question was refused.
    """
    out = []
    for c in answered:
        if ". " in c.answer and rng.random() < 0.33:
            before = [None, c, *(other for other in others if other.task != "chat.v1")]
            out.append(why(c, rng, before[int(rng.integers(len(before)))]))
    return out


def _after_another(
    conversation: Conversation, others: Sequence[Conversation], rng: np.random.Generator
) -> Conversation:
    """The conversation as it is, or (a fifth; ratings 5 %) as the turn after one of the others."""
    before = [c for c in others if c.task != conversation.task]
    if not before or rng.random() >= (0.05 if conversation.task == "rate.v1" else 0.2):
        return conversation
    first = before[int(rng.integers(len(before)))]
    return replace(conversation, history=((first.question, first.answer),))


def group_conversations(
    pictures: Sequence[Judged], reference: int, other: int, rng: np.random.Generator
) -> list[Conversation]:
    """Conversations about the pictures of one region.

    Args:
        pictures: the crops of this region, then any others.
        reference: index of the undistorted one, which comes last of the region's.
        other: index of a crop of another region, for comparisons across content.
        rng: of the choice of questions and words.
    """
    out = [c for i in range(reference) for c in single_picture(i, pictures[i], rng)]
    if rng.random() < 0.5:
        out += single_picture(reference, pictures[reference], rng)
    first, second = (int(i) for i in rng.choice(reference + 1, size=2, replace=False))
    mine = int(rng.integers(reference))
    across = (mine, other) if rng.random() < 0.5 else (other, mine)
    compared = [compare(first, second, pictures, rng), compare(*across, pictures, rng)]
    out += compared + _whys(compared, (), rng)
    if rng.random() < 0.1:
        out.append(refusal(across, rng))
    if rng.random() < 0.3:
        out.append(rate_reference(reference, mine, pictures[mine], rng))
    if rng.random() < 0.3:
        a, b = (int(i) for i in rng.choice(reference, size=2, replace=False))
        out.append(compare(a, b, pictures, rng, reference=reference))
    return out
