"""What the page's events do: values of its parts in, updates of its parts out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import gradio as gr
from gradio.utils import get_upload_folder

from mllm_iqa.assistant import Assistant
from mllm_iqa.calibration import Calibration
from mllm_iqa.errors import IqaError
from mllm_iqa.rubric import shipped_rubrics

from . import tasks
from .cards import status
from .entries import Entry, Refused
from .examples import example_pictures, renumbered
from .export import as_gallery, as_html, as_json
from .feed import feed, live
from .held import Held
from .intake import Limits, take_in
from .markup import escaped
from .session import chosen, next_number, toggled, uploads_of, without
from .strings import STRINGS, Strings
from .tasks import Step
from .tray import tray

_log = logging.getLogger(__name__)

Pictures: TypeAlias = tuple[Held, ...]
Entries: TypeAlias = tuple[Entry, ...]
Task: TypeAlias = Callable[[Assistant, Pictures, Entries, str, Strings], Iterator[Step]]

TASKS: dict[str, Task] = {
    "score": lambda a, p, e, q, s: tasks.score(p, assistant=a, focus="score", strings=s),
    "compare": lambda a, p, e, q, s: tasks.compare(p, assistant=a, strings=s),
    "wrong": lambda a, p, e, q, s: tasks.score(p, assistant=a, focus="wrong", strings=s),
    "where": lambda a, p, e, q, s: tasks.where(p, assistant=a, strings=s),
    "video": lambda a, p, e, q, s: tasks.film(q, assistant=a, strings=s),
    "rank": lambda a, p, e, q, s: tasks.rank(p, assistant=a, strings=s),
    "rubric": lambda a, p, e, q, s: tasks.rubric(p, q, assistant=a, strings=s),
    "ask": lambda a, p, e, q, s: tasks.ask(p, q, earlier=e, assistant=a, strings=s),
}
"""What the page can do: (assistant, chosen pictures, feed so far, question, strings) -> steps."""
BUTTONS = ("score", "compare", "wrong", "rank", "where", "rubric")
QUESTION = len(BUTTONS)  # place of the question box in what `buttons` updates


@dataclass(frozen=True, slots=True)
class Handlers:
    """The events of one page; see `build_ui` for the settings."""

    assistant_of: Callable[[str], Assistant]
    models: tuple[str, ...]
    custom_models: bool
    limits: Limits
    calibrations: dict[str, Calibration] = field(default_factory=dict)

    # The tray.

    def tray(self, pictures: Pictures, refusals: tuple[Refused, ...], strings: Strings) -> str:
        """The tray's HTML."""
        return tray(pictures, refusals, limits=self.limits, strings=strings)

    def upload(self, pictures: Pictures, entries: Entries, language: str, event: gr.EventData) -> tuple[Pictures, str]:
        """Take files in, or say why not."""
        taken, refusals = take_in(
            pictures,
            uploads_of(event._data.get("files")),
            folder=Path(get_upload_folder()),
            limits=self.limits,
            next_number=next_number(pictures, entries),
        )
        return taken, self.tray(taken, refusals, STRINGS[language])

    def toggle(self, pictures: Pictures, entries: Entries, language: str, event: gr.EventData) -> tuple[Pictures, str]:
        """Leave a picture out or take it back in."""
        changed = toggled(pictures, event._data.get("number"))
        return changed, self.tray(changed, (), STRINGS[language])

    def remove(self, pictures: Pictures, entries: Entries, language: str, event: gr.EventData) -> tuple[Pictures, str]:
        """Drop a picture."""
        left = without(pictures, event._data.get("number"))
        return left, self.tray(left, (), STRINGS[language])

    def example(self, pictures: Pictures, entries: Entries, language: str, event: gr.EventData) -> tuple[Pictures, str]:
        """Show the pictures of an example instead of the present ones."""
        fresh = renumbered(example_pictures(str(event._data.get("key"))), next_number(pictures, entries))
        return fresh, self.tray(fresh, (), STRINGS[language])

    # Tasks.

    def begun(self, language: str, question: str) -> list[Any]:
        """A button was pressed: say that the model is waited for, and let nothing else be pressed meanwhile."""
        return [status(STRINGS[language].waiting), "", *buttons(busy=True)]

    def begun_asking(self, language: str, question: str) -> list[Any]:
        """The same for a question, which leaves its box."""
        updates = buttons(busy=True)
        updates[QUESTION] = gr.update(interactive=False, value="")
        return [status(STRINGS[language].waiting), question, *updates]

    def begun_by_rubric(self, language: str, choice: str, question: str, levels: str, prefix: str) -> list[Any]:
        """The same with the rubric that is chosen or typed."""
        given = tasks.rubric_given(choice, question, levels, prefix, language)
        return [status(STRINGS[language].waiting), given, *buttons(busy=True)]

    def runner(self, name: str) -> Callable[..., Iterator[list[Any]]]:
        """The handler of one task."""

        def run(
            pictures: Pictures, entries: Entries, language: str, model: str, question: str, scale: str = ""
        ) -> Iterator[list[Any]]:
            """Show each step as it comes; the last one joins the feed."""
            strings, step = STRINGS[language], Step(None)
            for step in self._steps(name, pictures, entries, model, question, strings, scale):
                yield [gr.skip(), live(step, strings), gr.skip()]
            finished = entries if step.entry is None else (*entries, step.entry)
            yield [feed(finished, strings), "", finished]

        return run

    def _steps(
        self, name: str, pictures: Pictures, entries: Entries, model: str, question: str, strings: Strings, scale: str
    ) -> Iterator[Step]:
        """The task's steps; an error becomes the last one."""
        try:
            if not self.custom_models and model not in self.models:
                values = (("model", str(model)), ("models", ", ".join(self.models)))
                yield Step(Refused("error_model", "unknown_model", values))
                return
            if name != "video" and not chosen(pictures):  # before a model is loaded for nothing
                yield Step(Refused("error_other", "no_pictures"))
                return
            yield Step(None, strings.loading.format(model=model))
            assistant = self.assistant_of(model).calibrated(self.calibrations.get(scale))
            yield from TASKS[name](assistant, chosen(pictures), entries, question, strings)
        except IqaError as error:
            yield Step(tasks.refused(error))
        except Exception:
            _log.exception("the chat page's task %s failed", name)
            yield Step(Refused("error", "failed_inside"))

    # The rest of the page.

    def ended(self) -> list[Any]:
        """A task is over."""
        return buttons(busy=False)

    def stopped(self, language: str) -> list[Any]:
        """The user has had enough."""
        note = f'<p class="iqa-note">{escaped(STRINGS[language].stopped)}</p>'
        return [note, *buttons(busy=False)]

    def cleared(self, language: str) -> list[Any]:
        """Everything forgotten: pictures, feed, what was being answered."""
        strings = STRINGS[language]
        return [(), (), self.tray((), (), strings), feed((), strings), "", *buttons(busy=False)]

    def first_language(self, request: gr.Request) -> str:
        """The language that the browser asks for, if the page speaks it."""
        asked = str(request.headers.get("accept-language", ""))[:2].lower()
        return asked if asked in STRINGS else "en"

    def switched(self, pictures: Pictures, entries: Entries, language: str) -> list[Any]:
        """The page in its other language."""
        return self.labelled(pictures, entries, "en" if language == "zh" else "zh")

    def labelled(self, pictures: Pictures, entries: Entries, language: str) -> list[Any]:
        """Every word of the page in one language, in the order of `LABELLED`."""
        s = STRINGS[language]
        values: dict[str, Any] = {
            "language": language,
            "switch": s.other_language,
            "brand": brand(s),
            "tray": self.tray(pictures, (), s),
            "model": gr.update(label=s.model),
            "scale": gr.update(label=s.scale, choices=self.scales(s)),
            "hint": self.hint(s),
            "save": heading(s.export),
            "gallery": s.export_gallery,
            "rubric_head": heading(s.rubric_box),
            "rubric_choice": gr.update(label=s.rubric_choice, choices=rubric_choices(s)),
            "rubric_question": gr.update(label=s.rubric_question),
            "rubric_levels": gr.update(label=s.rubric_levels),
            "rubric_prefix": gr.update(label=s.rubric_prefix),
            "clear": s.clear,
            "feed": feed(entries, s),
            **{name: getattr(s, name) for name in BUTTONS},
            "stop": s.stop,
            "video": gr.update(label=s.video),
            "question": gr.update(placeholder=s.ask_placeholder, label=s.ask_placeholder),
        }
        return [values[name] for name in LABELLED]

    def scales(self, strings: Strings) -> list[tuple[str, str]]:
        """What scores may stand on: the model's own scale, and those of the calibrations."""
        return [(strings.scale_own, ""), *((name, name) for name in self.calibrations)]

    def hint(self, strings: Strings) -> str:
        """What may be chosen as a model, and which language nano speaks."""
        what = strings.model_hint if self.custom_models else strings.model_only_listed
        nano = strings.nano_english if "nano" in self.models else ""
        return f'<div class="iqa-hint">{escaped(f"{what} {nano}".strip())}</div>'


LABELLED = (
    *("language", "switch", "brand", "tray", "model", "scale", "hint", "save", "gallery", "clear", "feed"),
    *BUTTONS,
    *("stop", "question", "video"),
    *("rubric_head", "rubric_choice", "rubric_question", "rubric_levels", "rubric_prefix"),
)
"""Parts of the page that hold words."""


def buttons(*, busy: bool) -> list[Any]:
    """Updates of the task buttons, the question box, the stop button and the button for videos."""
    able = gr.update(interactive=not busy)
    return [*(able for _ in (*BUTTONS, "question")), gr.update(visible=busy), able]


def rubric_choices(strings: Strings) -> list[tuple[str, str]]:
    """What the list of rubrics offers: (words, name); the empty name is the user's own."""
    return [(rubric.question, name) for name, rubric in shipped_rubrics().items()] + [(strings.rubric_own, "")]


def brand(strings: Strings) -> str:
    """The head of the page."""
    return f'<div class="iqa-brand"><h1>mllm-iqa</h1><p>{escaped(strings.tagline)}</p></div>'


def heading(text: str) -> str:
    """A small heading."""
    return f'<div class="iqa-box"><h2>{escaped(text)}</h2></div>'


def saver(kind: str) -> Callable[[Entries, str], dict[str, str]]:
    """The handler that makes a file of the session, which the browser saves; nothing is written on the server."""

    def save(entries: Entries, language: str) -> dict[str, str]:
        strings = STRINGS[language]
        if not entries:
            gr.Info(strings.nothing_to_export)
            return {}
        now = datetime.now().astimezone()
        if kind == "gallery":
            text = as_gallery(entries, now=now)
            if text is None:
                gr.Info(strings.nothing_to_export)
                return {}
            return {"name": f"mllm-iqa-gallery-{now:%Y%m%d-%H%M%S}.html", "media": "text/html", "text": text}
        text = as_json(entries, now=now) if kind == "json" else as_html(entries, strings, now=now)
        media = "application/json" if kind == "json" else "text/html"
        return {"name": f"mllm-iqa-{now:%Y%m%d-%H%M%S}.{kind}", "media": media, "text": text}

    return save


def forgetter(page: gr.Blocks) -> Callable[[gr.Request], None]:
    """The handler that forgets a session when its page closes. Gradio alone would keep what it last showed."""

    def forget(request: gr.Request) -> None:
        holder, session = page.state_holder, request.session_hash
        if session is not None:
            holder.delete_state(session)
            holder.session_data.pop(session, None)
            holder.time_last_used.pop(session, None)

    return forget
