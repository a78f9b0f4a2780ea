"""What the buttons do, step by step: each step yields the entry so far and what is being done next.

No page here: an assistant and pictures in, entries out. A refusal is an entry too; only bugs raise.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Queue
from threading import Event, Thread

from pydantic_core import from_json

from mllm_iqa.assistant import Assistant
from mllm_iqa.errors import (
    BackendError,
    CheckpointError,
    ImageError,
    IqaError,
    MissingDependencyError,
    PromptError,
    VideoError,
)
from mllm_iqa.heat_map import draw
from mllm_iqa.images import Picture, load_image
from mllm_iqa.prompt_files import LANGUAGES
from mllm_iqa.rubric import rubric_of, shipped_rubrics
from mllm_iqa.types import Failure, RubricScore, Score
from mllm_iqa.video import judge_video
from mllm_iqa.video_frames import Sampling, Video
from mllm_iqa.video_plot import clock
from mllm_iqa.video_types import TracePoint, VideoScore
from mllm_iqa.where import map_of

from .entries import Answered, Compared, Entry, Filmed, Judged, Located, Map, Ranked, Refused, Scored
from .held import VIEW_SIDE, Held, jpeg_uri
from .strings import Strings

MAP_SIDE = 1400  # of a drawn map with its scale
MOST_FRAMES = 120  # of a video that are looked at


@dataclass(frozen=True, slots=True)
class Step:
    """How far a task has come.

    Attributes:
        entry: what there is so far; None before anything is there.
        doing: what is being done, in the page's language; empty with the last step.
    """

    entry: Entry | None
    doing: str = ""


def score(pictures: Sequence[Held], *, assistant: Assistant, focus: str, strings: Strings) -> Iterator[Step]:
    """Score pictures one after the other: the number first, then what was found and why."""
    if not pictures:
        yield Step(Refused("error_other", "no_pictures"))
        return
    language, note = _language(assistant, strings)
    entry, results = Scored(focus, tuple(pictures), note=note), list[Score | Failure]()
    for place, held in enumerate(pictures, start=1):
        count = {"done": place, "total": len(pictures)}
        yield Step(replace(entry, results=tuple(results)), strings.looking.format(**count))
        try:
            picture = held.picture()
            first = assistant.score(picture, explain=False, language=language)
            yield Step(replace(entry, results=(*results, first)), strings.reasoning.format(**count))
            results.append(assistant.score(picture, language=language))
        except ImageError as error:
            results.append(Failure(held.name, _without_name(error, held)))
    yield Step(replace(entry, results=tuple(results)))


def compare(pictures: Sequence[Held], *, assistant: Assistant, strings: Strings) -> Iterator[Step]:
    """Compare two pictures: their scores, the verdict, then why."""
    if len(pictures) != 2:
        few = "compare_needs_two" if pictures else "no_pictures"
        message = "compare_too_many" if len(pictures) > 2 else few
        yield Step(Refused("error_other", message, (("count", str(len(pictures))),)))
        return
    language, note = _language(assistant, strings)
    a, b = (held.picture() for held in pictures)
    views = (jpeg_uri(a, VIEW_SIDE, quality=90), jpeg_uri(b, VIEW_SIDE, quality=90))
    entry = Compared(pictures[0], pictures[1], views, note=note)
    yield Step(entry, strings.looking.format(done=1, total=2))
    scores = (_numbers(assistant, a, language), _numbers(assistant, b, language))
    entry = replace(entry, scores=scores)
    yield Step(entry, strings.comparing)
    entry = replace(entry, result=assistant.compare(a, b, explain=False, language=language))
    yield Step(entry, strings.reasoning.format(done=1, total=2))
    yield Step(replace(entry, result=assistant.compare(a, b, language=language)))


def _numbers(assistant: Assistant, picture: Picture, language: str) -> Score:
    return assistant.score(picture, explain=False, language=language)


def rank(pictures: Sequence[Held], *, assistant: Assistant, strings: Strings) -> Iterator[Step]:
    """Rank two pictures or more by comparing every pair."""
    if len(pictures) < 2:
        message = "rank_needs_two" if pictures else "no_pictures"
        yield Step(Refused("error_other", message, (("count", str(len(pictures))),)))
        return
    language, _ = _language(assistant, strings)
    entry = Ranked(tuple(pictures))
    yield Step(entry, strings.ranking.format(pairs=len(pictures) * (len(pictures) - 1)))
    result = assistant.rank([held.picture() for held in pictures], language=language)
    yield Step(replace(entry, result=result))


def where(pictures: Sequence[Held], *, assistant: Assistant, strings: Strings) -> Iterator[Step]:
    """Find where pictures are damaged, one after the other."""
    entry = Located(tuple(pictures))
    for place, held in enumerate(pictures, start=1):
        yield Step(entry, strings.locating.format(done=place, total=len(pictures)))
        picture = held.picture()
        found = map_of(assistant, picture)
        drawn = jpeg_uri(load_image(draw(found, picture.pixels)), MAP_SIDE, quality=88)
        maps = (*entry.maps, Map(found.to_dict(), drawn))
        entry = replace(entry, maps=maps, photos=(*entry.photos, jpeg_uri(picture, VIEW_SIDE, quality=88)))
    yield Step(entry)


def film(path: str, *, assistant: Assistant, strings: Strings) -> Iterator[Step]:
    """Score a video by frames; the file is deleted at the end."""
    language, _ = _language(assistant, strings)
    waiting: Queue[tuple[str, float, int] | VideoScore | BaseException] = Queue()
    gone = Event()
    count = 0

    def advance(point: TracePoint, _: Video) -> None:
        nonlocal count
        count += 1
        waiting.put((clock(point.seconds), 0.0 if point.mos is None else point.mos, count))

    def work() -> None:
        try:
            sampling = Sampling(most=MOST_FRAMES)
            waiting.put(
                judge_video(assistant, path, sampling=sampling, language=language, advance=advance, stop=gone.is_set)
            )
        except BaseException as error:  # raised again by the one who waits
            waiting.put(error)

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        yield Step(None, strings.waiting)
        while not isinstance(found := waiting.get(), VideoScore):
            if isinstance(found, BaseException):
                raise found
            time, mos, frames = found
            yield Step(None, strings.filming.format(time=time, mos=f"{mos:.2f}", count=frames))
        yield Step(Filmed(found.video.name, found))
    finally:
        gone.set()
        thread.join()
        Path(path).unlink(missing_ok=True)


def ask(
    pictures: Sequence[Held], question: str, *, earlier: Sequence[Entry], assistant: Assistant, strings: Strings
) -> Iterator[Step]:
    """Answer a question about the pictures, piece by piece.

    Args:
        pictures: what it is about.
        question: in the user's words.
        earlier: the feed so far; questions about the same pictures in it are the conversation that goes on.
        assistant: who answers.
        strings: of the page's language.
    """
    if not question.strip():
        yield Step(Refused("error_other", "no_question"))
        return
    if not pictures:
        yield Step(Refused("error_other", "no_pictures"))
        return
    _, note = _language(assistant, strings)
    entry = Answered(question.strip(), tuple(pictures), model=assistant.backend.name, note=note)
    yield Step(entry, strings.answering)
    messages = [*conversation(earlier, pictures, assistant.backend.name), {"role": "user", "content": entry.question}]
    for piece in assistant.chat([held.picture() for held in pictures], messages):
        entry = replace(entry, text=entry.text + piece)
        yield Step(entry, strings.answering)
    yield Step(entry if entry.text.strip() else replace(entry, text=strings.no_answer))


def rubric(pictures: Sequence[Held], given: str, *, assistant: Assistant, strings: Strings) -> Iterator[Step]:
    """Judge pictures by a rubric one after the other.

    Args:
        pictures: what it is about.
        given: a rubric as JSON, see `rubric_given`; empty where what the user wrote makes none.
        assistant: who judges.
        strings: of the page's language.
    """
    if not pictures:
        yield Step(Refused("error_other", "no_pictures"))
        return
    try:
        chosen = rubric_of(from_json(given) if given else {}, where=strings.rubric)
    except PromptError as error:
        yield Step(Refused("error_other", "rubric_bad", detail=str(error)))
        return
    entry, results = Judged(chosen.question, tuple(pictures)), list[RubricScore | Failure]()
    for place, held in enumerate(pictures, start=1):
        doing = strings.rubric_judging.format(done=place, total=len(pictures))
        yield Step(replace(entry, results=tuple(results)), doing)
        try:
            results.extend(assistant.score_by(held.picture(), chosen))
        except ImageError as error:
            results.append(Failure(held.name, _without_name(error, held)))
    yield Step(replace(entry, results=tuple(results)))


def rubric_given(choice: str, question: str, levels: str, prefix: str, language: str) -> str:
    """A rubric as JSON: a shipped one, or what the user typed; not checked here."""
    shipped = shipped_rubrics()
    if choice in shipped:
        return shipped[choice].model_dump_json()
    values = {
        "task": "own",
        "language": language,
        "questions": [question.strip()],
        "answer_prefix": prefix.strip(),
        "order": "best first",
        "levels": [word.strip() for word in levels.split("/")],
    }
    return json.dumps(values, ensure_ascii=False)


def conversation(earlier: Sequence[Entry], pictures: Sequence[Held], model: str) -> list[dict[str, str]]:
    """What was said before by the same model about the same pictures, as messages."""
    numbers = [held.number for held in pictures]
    said = [
        entry
        for entry in earlier
        if isinstance(entry, Answered) and entry.model == model and [h.number for h in entry.pictures] == numbers
    ]
    return [
        {"role": role, "content": words}
        for entry in said
        for role, words in (("user", entry.question), ("assistant", entry.text))
    ]


def refused(error: IqaError) -> Refused:
    """The entry for an error that the user can act on."""
    if isinstance(error, ImageError | VideoError):
        return Refused("error_picture", detail=str(error))
    if isinstance(error, CheckpointError | BackendError | MissingDependencyError):
        return Refused("error_model", detail=str(error))
    return Refused("error", detail=str(error))


def _language(assistant: Assistant, strings: Strings) -> tuple[str, str]:
    """The language to ask the model in, and a note where that is not the page's."""
    if strings.code in assistant.backend.languages and strings.code in LANGUAGES:
        return strings.code, ""
    spoken = next((code for code in LANGUAGES if code in assistant.backend.languages), "en")
    return spoken, strings.model_language.format(model=assistant.backend.name)


def _without_name(error: ImageError, held: Held) -> str:
    return str(error).removeprefix(f"{held.name}: ")
