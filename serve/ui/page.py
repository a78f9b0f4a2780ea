"""The chat page: its parts, where they stand, and which handler each event calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

import fastapi
import gradio as gr

from mllm_iqa.assistant import Assistant
from mllm_iqa.calibration import Calibration

from .feed import FEED_JS, feed
from .handlers import BUTTONS, LABELLED, Handlers, brand, forgetter, heading, rubric_choices, saver
from .intake import Limits
from .strings import ENGLISH
from .theme import PAGE_CSS, theme
from .tray import TRAY_JS

_SAVE_JS = (files(__package__) / "save.js").read_text(encoding="utf-8")
_THEME_JS = "() => { document.body.classList.toggle('dark'); }"
_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
_NOW: dict[str, Any] = {**_QUIET, "queue": False}
_IN_TURN: dict[str, Any] = {**_QUIET, "concurrency_id": "tray", "concurrency_limit": 1}  # what draws the tray
_IDLE_SECONDS = 3600  # after which a session that is left open is forgotten
_UPLOAD_SECONDS = (300, 600)  # how often and from what age files are deleted that no session has read
_MAX_WAITING = 256
_MAX_SESSIONS = 1000


def build_ui(
    assistant_of: Callable[[str], Assistant],
    models: Sequence[str],
    *,
    custom_models: bool = False,
    limits: Limits | None = None,
    at_once: int = 4,
    calibrations: Mapping[str, Calibration] | None = None,
) -> gr.Blocks:
    """The chat page. `mount_ui` puts it into an app, gives it its looks and keeps Gradio from recording anything.

    Args:
        assistant_of: the assistant of a model; called with every request, by up to `at_once` threads at a time, which
            also use what it returns at the same time.
        models: offered in the list, the first one chosen; at least one.
        custom_models: let users name any hub id, folder or server URL. That makes this machine load and connect to
            what they say, so only for users who are trusted.
        limits: of one session.
        at_once: how many requests run at the same time; further ones wait in the order in which they came.
        calibrations: by name, offered as scales.
    """
    if not models:
        raise ValueError("build_ui needs at least one model to offer")
    do = Handlers(
        assistant_of, tuple(models), custom_models, Limits() if limits is None else limits, dict(calibrations or {})
    )
    page = gr.Blocks(title="mllm-iqa", analytics_enabled=False, delete_cache=_UPLOAD_SECONDS)
    page.state_session_capacity = _MAX_SESSIONS
    with page:
        part = _states() | _head() | _body(do)
        _connect_tray(do, part)
        runs = [_connect_task(do, part, part[name].click, name, at_once) for name in BUTTONS]
        runs.append(_connect_task(do, part, part["question"].submit, "ask", at_once))
        runs.append(_connect_task(do, part, part["video"].upload, "video", at_once))
        _connect_rest(do, part, page, runs)
    page.queue(api_open=False, max_size=_MAX_WAITING, default_concurrency_limit=16)
    return page


def mount_ui(app: fastapi.FastAPI, page: gr.Blocks, *, path: str = "/", max_megabytes: int | None = None) -> None:
    """Put the page into an app, with its looks; no analytics, no record of runs, no links elsewhere.

    Args:
        app: gets the page as its last route, so that its own paths go first.
        page: from `build_ui`.
        path: where.
        max_megabytes: of an uploaded file; larger ones are cut off while they arrive. Default: that of `Limits`.
    """
    gr.mount_gradio_app(
        app,
        page,
        path=path,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=(Limits().megabytes if max_megabytes is None else max_megabytes) * 2**20,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme(),
        css=PAGE_CSS,
    )


def _states() -> dict[str, Any]:
    """What a session holds."""
    return {
        "pictures": gr.State((), time_to_live=_IDLE_SECONDS),
        "entries": gr.State((), time_to_live=_IDLE_SECONDS),
        "language": gr.State("en"),
        "asked": gr.State(""),
        "file": gr.JSON(visible=False),
    }


def _head() -> dict[str, Any]:
    with gr.Row(elem_id="iqa-head"):
        return {
            "brand": _html(brand(ENGLISH)),
            "switch": gr.Button(ENGLISH.other_language, size="sm", elem_id="iqa-language"),
            "theme": gr.Button("◐", size="sm", elem_id="iqa-theme"),
        }


def _body(do: Handlers) -> dict[str, Any]:
    with gr.Row(elem_id="iqa-body"):
        with gr.Column(elem_id="iqa-left"):
            left = _left(do)
        with gr.Column(elem_id="iqa-right"):
            return left | _right()


def _left(do: Handlers) -> dict[str, Any]:
    s, part = ENGLISH, dict[str, Any]()
    part["tray"] = _html(do.tray((), (), s), js=TRAY_JS, elem_id="iqa-tray")
    with gr.Column(elem_id="iqa-model-box"):
        part["model"] = gr.Dropdown(
            list(do.models),
            value=do.models[0],
            label=s.model,
            allow_custom_value=do.custom_models,
            elem_id="iqa-model",
        )
        part["hint"] = _html(do.hint(s))
        part["scale"] = gr.Dropdown(
            do.scales(s), value="", label=s.scale, visible=bool(do.calibrations), elem_id="iqa-scale"
        )
    part |= _rubric_box()
    with gr.Column(elem_id="iqa-save-box"):
        part["save"] = _html(heading(s.export))
        with gr.Row(elem_id="iqa-save"):
            part["json"] = gr.Button(s.export_json, size="sm", elem_id="iqa-json")
            part["html"] = gr.Button(s.export_html, size="sm", elem_id="iqa-html")
            part["gallery"] = gr.Button(s.export_gallery, size="sm", elem_id="iqa-gallery")
        part["clear"] = gr.Button(s.clear, size="sm", elem_id="iqa-clear")
    return part


def _rubric_box() -> dict[str, Any]:
    s, part = ENGLISH, dict[str, Any]()
    choices = rubric_choices(s)
    with gr.Column(elem_id="iqa-rubric-box"):
        part["rubric_head"] = _html(heading(s.rubric_box))
        part["rubric_choice"] = gr.Dropdown(
            choices, value="quality_three.v1", label=s.rubric_choice, elem_id="iqa-rubric-choice"
        )
        for name, length in (("question", 500), ("levels", 400), ("prefix", 200)):
            part[f"rubric_{name}"] = gr.Textbox(
                label=getattr(s, f"rubric_{name}"),
                max_length=length,
                visible=False,
                elem_id=f"iqa-rubric-{name}",
            )
    return part


def _right() -> dict[str, Any]:
    s, part = ENGLISH, dict[str, Any]()
    part["feed"] = _html(feed((), s), elem_id="iqa-feed")
    part["live"] = _html("", js=FEED_JS, elem_id="iqa-live")
    with gr.Column(elem_id="iqa-composer"):
        with gr.Row(elem_id="iqa-actions"):
            for name in BUTTONS:
                part[name] = gr.Button(getattr(s, name), size="sm", elem_id=f"iqa-{name}")
            part["video"] = gr.UploadButton(s.video, file_types=["video"], size="sm", elem_id="iqa-video")
            part["stop"] = gr.Button(s.stop, size="sm", visible=False, elem_id="iqa-stop")
        part["question"] = gr.Textbox(
            placeholder=s.ask_placeholder,
            label=s.ask_placeholder,
            show_label=False,
            container=False,
            submit_btn=True,
            max_length=2000,
            elem_id="iqa-question",
        )
    return part


def _html(value: str, *, js: str | None = None, elem_id: str | None = None) -> gr.HTML:
    return gr.HTML(value, js_on_load=js, elem_id=elem_id, apply_default_css=False)


def _session(part: dict[str, Any]) -> list[Any]:
    return [part["pictures"], part["entries"], part["language"]]


def _switchable(part: dict[str, Any]) -> list[Any]:
    """The parts that `handlers.buttons` updates."""
    return [part[name] for name in (*BUTTONS, "question", "stop", "video")]


def _connect_tray(do: Handlers, part: dict[str, Any]) -> None:
    """One edit at a time, so that none is lost to another that began from the same pictures."""
    tray = part["tray"]
    for event, edit in (
        (tray.upload, do.upload),
        (tray.select, do.toggle),
        (tray.delete, do.remove),
        (tray.example, do.example),
    ):
        event(edit, _session(part), [part["pictures"], tray], trigger_mode="multiple", **_IN_TURN)


def _connect_task(do: Handlers, part: dict[str, Any], event: Any, name: str, at_once: int) -> Any:
    """Let an event begin a task: buttons off at once, steps shown as they come, buttons on again."""
    begin: Any = do.begun_asking if name == "ask" else do.begun
    given = [part["language"], part["question"]]
    if name == "rubric":
        begin = do.begun_by_rubric
        given = [part["language"], *(part[f"rubric_{box}"] for box in ("choice", "question", "levels", "prefix"))]
    begun = event(begin, given, [part["live"], part["asked"], *_switchable(part)], **_NOW)
    run = begun.then(
        do.runner(name),
        [*_session(part), part["model"], part["video" if name == "video" else "asked"], part["scale"]],
        [part["feed"], part["live"], part["entries"]],
        concurrency_id="model",
        concurrency_limit=at_once,
        **_QUIET,
    )
    run.then(do.ended, None, _switchable(part), **_NOW)
    return run


def _connect_rest(do: Handlers, part: dict[str, Any], page: gr.Blocks, runs: list[Any]) -> None:
    language, switchable = part["language"], _switchable(part)
    boxes = [part[f"rubric_{box}"] for box in ("question", "levels", "prefix")]
    part["rubric_choice"].change(lambda name: [gr.update(visible=not name)] * 3, part["rubric_choice"], boxes, **_NOW)
    part["stop"].click(do.stopped, language, [part["live"], *switchable], cancels=runs, **_NOW)
    emptied = [part[name] for name in ("pictures", "entries", "tray", "feed", "live")]
    part["clear"].click(do.cleared, language, [*emptied, *switchable], cancels=runs, **_NOW)
    words = [part[name] for name in LABELLED]
    part["switch"].click(do.switched, _session(part), words, **_IN_TURN)
    page.load(do.first_language, None, language, **_QUIET).then(do.labelled, _session(part), words, **_IN_TURN)
    part["theme"].click(None, js=_THEME_JS, api_visibility="private")
    for kind in ("json", "html", "gallery"):
        made = part[kind].click(saver(kind), [part["entries"], language], part["file"], **_QUIET)
        made.then(None, part["file"], None, js=_SAVE_JS, api_visibility="private")
    page.unload(forgetter(page))
