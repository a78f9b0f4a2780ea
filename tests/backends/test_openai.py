"""The engine behind HTTP against real servers on loopback: our own endpoints, one that gives its most probable tokens'
log-probs, and some that lack what scoring needs. (vLLM's own server: tests/test_same_numbers.py.)"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from mllm_iqa.serve.openai_api import ChatRequest, conversation_of, router

from mllm_iqa.assistant import Assistant
from mllm_iqa.backends.base import Conversation, Turn
from mllm_iqa.backends.fake import FakeBackend
from mllm_iqa.backends.huggingface import HuggingFaceBackend
from mllm_iqa.backends.openai import OpenAIBackend
from mllm_iqa.engines import ServerOptions, card_of, open_backend
from mllm_iqa.errors import BackendError
from mllm_iqa.images import load_image
from mllm_iqa.levels import LEVELS

EXAMPLES = Path(__file__).parents[2] / "mllm_iqa" / "examples"
QUESTION, PREFIX = "How would you rate the quality of this image?", "The quality of the image is"
LEVEL_WORDS = [f" {level}" for level in LEVELS]
MIXED_WORDS = [" good", " no visible distortion", " gaussian blur", " gaussian noise", " (slight)"]
Serve = Callable[[Any], str]


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLLM_IQA_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint: Path) -> HuggingFaceBackend:
    return HuggingFaceBackend.load(str(tiny_checkpoint), device="cpu")


@pytest.fixture(scope="module")
def ours(tiny: HuggingFaceBackend, serve_app: Serve) -> str:
    """The URL of our own endpoints over the tiny model."""
    app = FastAPI()
    app.include_router(router(tiny, model_name="tiny"))
    return serve_app(app) + "/v1"


def noise(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def conversations() -> list[Conversation]:
    """One and two pictures, none, sides that are not multiples of 32, more than one turn."""
    one, two = load_image(noise(50, 70, 1)), load_image(noise(64, 40, 2))
    return [
        Conversation.ask([one], QUESTION, PREFIX),
        Conversation.ask([two, one], QUESTION, PREFIX),
        Conversation.ask([], "Hello?", "Well"),
        Conversation((one,), (Turn("user", "Why?"), Turn("assistant", "Because."), Turn("user", QUESTION))),
    ]


# Our own endpoints


@pytest.mark.parametrize("words", [LEVEL_WORDS, MIXED_WORDS], ids=["levels", "mixed"])
def test_our_server_gives_the_same_numbers(tiny: HuggingFaceBackend, ours: str, words: list[str]) -> None:
    found = OpenAIBackend.connect(ours).continuation_logprobs(conversations(), words)
    # The same numbers, whatever their order: passed on as JSON, which holds a float64 exactly.
    np.testing.assert_allclose(found, tiny.continuation_logprobs(conversations(), words), atol=1e-5)


def test_our_server_says_the_same_words(tiny: HuggingFaceBackend, ours: str) -> None:
    client = OpenAIBackend.connect(ours)
    expected = tiny.generate(conversations(), max_new_tokens=9)
    assert client.generate(conversations(), max_new_tokens=9) == expected
    for conversation, text in zip(conversations(), expected, strict=True):
        pieces = list(client.stream(conversation, max_new_tokens=9))
        assert "".join(pieces) == text and (len(pieces) > 1 or len(text) < 2)


def test_our_server_says_what_it_serves(tiny: HuggingFaceBackend, ours: str) -> None:
    client = open_backend(ours)
    assert (client.name, client.max_pixels, client.languages) == (tiny.name, tiny.max_pixels, tiny.languages)
    assert card_of(client) == tiny.card


def test_nothing_gives_nothing(ours: str) -> None:
    client = OpenAIBackend.connect(ours)
    assert client.continuation_logprobs([], LEVEL_WORDS).shape == (0, 5)
    assert client.generate([], max_new_tokens=3) == []


def about(value: Any) -> Any:
    """A result whose numbers may differ by 1e-4: requests come one by one there, and in one pass here."""
    if isinstance(value, dict):
        return {key: about(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(about(item) for item in value)
    return pytest.approx(value, abs=1e-4) if isinstance(value, float) else value


def test_an_assistant_on_our_server_judges_as_nano_does(serve_app: Serve) -> None:
    nano = Assistant.load("nano", device="cpu")
    app = FastAPI()
    app.include_router(router(nano.backend, model_name="nano"))
    remote = Assistant.load(serve_app(app) + "/v1#nano")
    coffee, blurred = EXAMPLES / "coffee.jpg", EXAMPLES / "coffee_out_of_focus.jpg"
    # Thresholds of trust belong to weights, and a server does not show its own.
    assert remote.score(blurred).to_dict() == about(replace(nano.score(blurred), trust=None).to_dict())
    assert remote.compare(coffee, blurred).to_dict() == about(nano.compare(coffee, blurred).to_dict())
    asked = [{"role": "user", "content": "What is wrong with this image?"}]
    assert "".join(remote.chat([blurred], asked)) == "".join(nano.chat([blurred], asked))


def test_answers_keep_the_order_of_the_questions(serve_app: Serve) -> None:
    fake = FakeBackend()
    app = FastAPI()
    app.include_router(router(fake, model_name="fake"))
    client = OpenAIBackend.connect(serve_app(app) + "/v1", concurrency=6)
    many = [Conversation.ask([load_image(noise(32, 32, seed))], QUESTION, PREFIX) for seed in range(40)]
    np.testing.assert_array_equal(
        client.continuation_logprobs(many, LEVEL_WORDS), fake.continuation_logprobs(many, LEVEL_WORDS)
    )
    assert client.generate(many, max_new_tokens=3) == fake.generate(many, max_new_tokens=3)


def test_pictures_that_the_server_refuses_and_words_that_it_cannot_score(ours: str) -> None:
    client = OpenAIBackend.connect(ours)
    with pytest.raises(BackendError, match=r"refused the request \(400: ' good' is empty or begins ' good\.'"):
        client.continuation_logprobs(conversations()[:1], [" good", " good."])


# Which model


ABOUT = {"candidates": True, "name": "x 1", "max_pixels": None, "languages": ["en"], "card": None}


def listing(*entries: dict[str, Any]) -> FastAPI:
    app = FastAPI()

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": list(entries)}

    return app


def test_one_of_several_models_must_be_chosen(serve_app: Serve) -> None:
    url = serve_app(listing({"id": "a"}, {"id": "b c"})) + "/v1"
    with pytest.raises(
        BackendError, match="serves several models; choose one with #name at the end of the URL: a, b c"
    ):
        open_backend(url)
    with pytest.raises(BackendError, match="serves no model 'd'"):
        open_backend(url + "#d")
    assert open_backend(url + "#b%20c").name == "b c"


def test_a_server_of_something_else_is_refused(serve_app: Serve) -> None:
    url = serve_app(FastAPI())
    with pytest.raises(BackendError, match=r"refused the request \(404: Not Found\)"):
        open_backend(url + "/v1")
    with pytest.raises(BackendError, match="not the list of models"):
        open_backend(serve_app(listing({"name": "x"})) + "/v1")


@pytest.mark.parametrize("field", ["candidates", "languages", "card"])
def test_another_version_of_our_server_is_refused(serve_app: Serve, field: str) -> None:
    url = serve_app(listing({"id": "x", "mllm_iqa": ABOUT | {field: 7}})) + "/v1"
    with pytest.raises(BackendError, match=rf"describes its model otherwise than this version .* \({field}"):
        open_backend(url)


def test_a_served_name_from_the_registry_brings_its_card(serve_app: Serve) -> None:
    backend = open_backend(serve_app(listing({"id": "nano", "owned_by": "vllm"})) + "/v1")
    card = card_of(backend)
    assert card is not None and (card.name, backend.name) == ("nano", f"nano {card.version}")
    assert backend.max_pixels == 262_144
    plain = open_backend(serve_app(listing({"id": "some/model", "owned_by": "vllm"})) + "/v1")
    assert (plain.name, plain.max_pixels, card_of(plain)) == ("some/model", 1_048_576, None)


# Servers that are not ours: real models that answer in the API's own terms


@torch.inference_mode()
def next_token_logprobs(backend: HuggingFaceBackend, conversation: Conversation) -> torch.Tensor:
    """Log-probs of every next token, from one full pass."""
    inputs = backend.inputs_of(backend.text_of(conversation), conversation.pictures)
    logits: torch.Tensor = backend.model(**inputs).logits[0, -1]
    return logits.log_softmax(dim=-1)


class Other:
    """A server as others write them: answers from a real model, log-probs only of the `top` most probable tokens."""

    def __init__(self, backend: HuggingFaceBackend, *, top: int | None, gives_logprobs: bool = True) -> None:
        self.backend = backend
        self.top = top
        self.gives_logprobs = gives_logprobs
        self.app = listing({"id": "other", "owned_by": "somebody"})
        self.app.post("/v1/chat/completions", response_model=None)(self.complete)

    async def complete(self, request: Request) -> Any:
        body = await request.json()
        wanted = {k: v for k, v in body.items() if k not in ("logprobs", "top_logprobs")}
        conversation = conversation_of(ChatRequest.model_validate(wanted), None)
        logprobs = next_token_logprobs(self.backend, conversation)
        decode = self.backend.tokenizer.decode
        chosen = int(logprobs.argmax())
        choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": decode([chosen])}}
        if self.gives_logprobs and body.get("logprobs"):
            count = min(body["top_logprobs"], self.top or len(logprobs))
            best = torch.topk(logprobs, count)
            tokens = [{"token": decode([int(i)]), "logprob": float(v)} for v, i in zip(*best, strict=True)]
            place = {"token": decode([chosen]), "logprob": float(logprobs[chosen]), "top_logprobs": tokens}
            choice["logprobs"] = {"content": [place]}
        return {"id": "x", "object": "chat.completion", "choices": [choice]}


def most_probable(backend: HuggingFaceBackend, conversation: Conversation, count: int) -> list[str]:
    """Texts of the most probable next tokens that read back as themselves."""
    order = next_token_logprobs(backend, conversation).argsort(descending=True)
    texts = [backend.tokenizer.decode([int(i)]) for i in order]
    return [t for t in texts if t.isascii() and t.startswith(" ") and len(t) > 2][:count]


def test_the_most_probable_tokens_will_do(tiny: HuggingFaceBackend, serve_app: Serve) -> None:
    (asked, *_) = conversations()
    client = OpenAIBackend.connect(serve_app(Other(tiny, top=None).app) + "/v1")
    words = most_probable(tiny, asked, 1)
    found = client.continuation_logprobs([asked], words)
    np.testing.assert_allclose(found, tiny.continuation_logprobs([asked], words), atol=1e-5)


def test_a_candidate_beyond_the_most_probable_tokens_is_refused(tiny: HuggingFaceBackend, serve_app: Serve) -> None:
    (asked, *_) = conversations()
    client = OpenAIBackend.connect(serve_app(Other(tiny, top=3).app) + "/v1")
    with pytest.raises(BackendError, match="is not among the 3 tokens it gives log-probs for"):
        client.continuation_logprobs([asked], LEVEL_WORDS)


def test_candidates_of_several_tokens_need_the_checkpoint(
    tiny: HuggingFaceBackend, tiny_checkpoint: Path, serve_app: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    (asked, *_) = conversations()
    monkeypatch.setattr("mllm_iqa.backends.openai_logprobs._TOP", 100_000)  # a server that gives them all
    url = serve_app(Other(tiny, top=None).app) + "/v1"
    words = [" gaussian blur", " gaussian noise", " no visible distortion", " good"]
    known = open_backend(url, server=ServerOptions(checkpoint=str(tiny_checkpoint)))
    expected = tiny.continuation_logprobs([asked], words)
    np.testing.assert_allclose(known.continuation_logprobs([asked], words), expected, atol=1e-5)
    with pytest.raises(BackendError, match="' gaussian blur' is not among the"):
        open_backend(url).continuation_logprobs([asked], words)


def test_a_server_without_log_probs_is_refused(tiny: HuggingFaceBackend, serve_app: Serve) -> None:
    url = serve_app(Other(tiny, top=None, gives_logprobs=False).app) + "/v1"
    assistant = Assistant.load(url)
    with pytest.raises(BackendError, match=r"hold no log-probs .* which scores are read from; serve the model with"):
        assistant.score(noise(64, 64, 0))
    (asked, *_) = conversations()
    assert assistant.backend.generate([asked], max_new_tokens=1)[0]  # talking needs none


def test_a_server_that_cannot_go_on_with_an_answer_is_refused(serve_app: Serve) -> None:
    app = listing({"id": "strict"})

    @app.post("/v1/chat/completions")
    def complete() -> Any:
        return JSONResponse({"error": {"message": "Unknown parameter: 'continue_final_message'."}}, status_code=400)

    client = OpenAIBackend.connect(serve_app(app) + "/v1")
    with pytest.raises(BackendError, match=r"Unknown parameter.*scoring needs log-probs after the beginning"):
        client.continuation_logprobs(conversations()[:1], LEVEL_WORDS)


def test_a_vllm_that_does_not_know_chosen_tokens_is_refused(serve_app: Serve) -> None:
    app = listing({"id": "old", "owned_by": "vllm"})

    @app.post("/tokenize")
    async def tokenize(request: Request) -> dict[str, Sequence[int]]:
        return {"tokens": [ord(c) for c in (await request.json())["prompt"]]}

    @app.post("/v1/chat/completions")
    def complete() -> Any:
        place = {"token": "token_id:1", "logprob": -0.1, "top_logprobs": [{"token": "token_id:1", "logprob": -0.1}]}
        return {"choices": [{"message": {"content": "x"}, "logprobs": {"content": [place]}}]}

    client = OpenAIBackend.connect(serve_app(app) + "/v1")
    with pytest.raises(BackendError, match="gives no log-prob for the token of 'a'"):
        client.continuation_logprobs(conversations()[:1], ["a", "b"])


def test_a_vllm_that_resizes_pictures_is_refused(serve_app: Serve) -> None:
    app = listing({"id": "nano", "owned_by": "vllm"})

    @app.post("/tokenize")
    async def tokenize(request: Request) -> dict[str, Sequence[int]]:
        return {"tokens": [ord(c) for c in (await request.json())["prompt"]]}

    @app.post("/v1/chat/completions")
    def complete() -> Any:
        return {"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": 7}}

    client = OpenAIBackend.connect(serve_app(app) + "/v1")
    for call in (
        lambda asked: client.continuation_logprobs([asked], ["a", "b"]),
        lambda asked: client.continuation_logprobs([asked], ["ab", "cd"]),
        lambda asked: client.generate([asked], max_new_tokens=2),
    ):
        with pytest.raises(BackendError, match=r"reads a conversation as 7 tokens where it has \d\d"):
            call(conversations()[0])


@pytest.mark.parametrize("number", ["NaN", "1.5", "-9999.0", '"x"', "null", "true"])
def test_what_is_no_log_prob_is_not_taken_for_one(serve_app: Serve, number: str) -> None:
    app = listing({"id": "odd", "mllm_iqa": ABOUT})

    @app.post("/v1/chat/completions")
    def complete() -> Any:
        text = f'{{"candidate_logprobs": [{number}, -1.0]}}'
        return StreamingResponse(iter([text]), media_type="application/json")

    client = OpenAIBackend.connect(serve_app(app) + "/v1")
    shown = repr(json.loads(number))
    with pytest.raises(BackendError, match=f"{shown} is no log-prob"):
        client.continuation_logprobs(conversations()[:1], [" a", " b"])


def test_an_answer_without_words_and_one_that_breaks_off(serve_app: Serve) -> None:
    app = listing({"id": "mute"})

    @app.post("/v1/chat/completions", response_model=None)
    async def complete(request: Request) -> Any:
        if (await request.json()).get("stream"):
            failure = 'data: {"error": {"message": "out of\\nmemory"}}\n\n'
            return StreamingResponse(
                iter(['data: {"choices": [{"delta": {"content": "so"}}]}\n\n', failure]), media_type="text/event-stream"
            )
        return {"choices": []}

    client = OpenAIBackend.connect(serve_app(app) + "/v1")
    with pytest.raises(BackendError, match=r"holds no choices\[0\]\.message\.content"):
        client.generate(conversations()[:1], max_new_tokens=2)
    pieces = client.stream(conversations()[0], max_new_tokens=2)
    assert next(pieces) == "so"
    with pytest.raises(BackendError, match="failed while answering: out of memory"):
        next(pieces)
