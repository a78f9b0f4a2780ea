"""`mllm-iqa chat`: questions about pictures, answered as they are generated."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from .assistant import Assistant
from .errors import IqaError
from .images import Picture, load_image
from .terminal import console, error_line, printable, show_comparison, show_score, spinner
from .transformers_options import TransformersOptions

HELP = "/score, /compare (two pictures), /reset (forget the conversation), /quit"


class Conversation:
    """The pictures talked about and everything said so far."""

    def __init__(self, assistant: Assistant, pictures: Sequence[Picture]) -> None:
        self._assistant = assistant
        self._pictures = pictures
        self._messages: list[dict[str, str]] = []

    def say(self, line: str) -> bool:
        """Answer one line, a question or a /command, on stdout; False when it asks to end.

        Raises:
            IqaError: an unknown command, or a question that cannot be answered, which is then forgotten.
        """
        match line.strip():
            case "":
                pass
            case "/quit":
                return False
            case "/reset":
                self._messages.clear()
            case "/score":
                for picture in self._pictures:
                    show_score(self._assistant.score(picture), on=console())
            case "/compare":
                if len(self._pictures) != 2:
                    raise IqaError(f"/compare needs two pictures, and this chat is about {len(self._pictures)}")
                show_comparison(self._assistant.compare(*self._pictures), on=console())
            case command if command.startswith("/"):
                raise IqaError(f"unknown command {command}; there are {HELP}")
            case question:
                self._ask(question)
        return True

    def _ask(self, question: str) -> None:
        messages = [*self._messages, {"role": "user", "content": question}]
        pieces = []
        try:
            for piece in self._assistant.chat(self._pictures, messages):
                pieces.append(piece)
                print(printable(piece), end="", flush=True)
        finally:
            print(flush=True)
        self._messages = [*messages, {"role": "assistant", "content": "".join(pieces)}]


def chat(
    paths: Sequence[Path],
    *,
    model: str,
    engine: str = "auto",
    device: str,
    dtype: str = "auto",
    options: TransformersOptions | None = None,
) -> int:
    """Talk about pictures: with a prompt on a terminal, else one question per line of stdin.

    On a terminal Ctrl-C stops an answer, which is then forgotten, and Ctrl-D or Ctrl-C at the prompt ends the chat.

    Returns:
        1 when a line of a non-interactive chat could not be answered, else 0.

    Raises:
        IqaError: a picture that cannot be read, or a model that cannot be loaded.
    """
    pictures = [load_image(path, name=printable(str(path))) for path in paths]
    with spinner(f"loading {model}"):
        assistant = Assistant.load(model, engine=engine, device=device, dtype=dtype, options=options)
        conversation = Conversation(assistant, pictures)
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    if interactive:
        names = ", ".join(picture.info.name for picture in pictures)
        print(f"{model} on {names}. Ask, or {HELP}.", file=sys.stderr)
    elif isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # whatever the locale; a stray byte is no disaster
    failed = False
    for line in _typed() if interactive else sys.stdin:
        try:
            if not conversation.say(line):
                break
        except IqaError as error:
            print(error_line(error), file=sys.stderr)
            failed = True
        except KeyboardInterrupt:
            if not interactive:
                raise
    return 1 if failed and not interactive else 0


def _typed() -> Iterator[str]:
    """Lines typed at a prompt, until Ctrl-D or Ctrl-C."""
    with suppress(ImportError):
        import readline  # noqa: F401 (gives input() editing and history)
    while True:
        try:
            yield input("> ")
        except (EOFError, KeyboardInterrupt):
            print(file=sys.stderr)
            return
