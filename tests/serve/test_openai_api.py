"""Our own OpenAI-compatible endpoints: what they answer, and that whatever they cannot answer exactly is refused."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from mllm_iqa.serve.openai_api import router
from PIL import Image

from mllm_iqa.backends.base import Conversation, Turn
from mllm_iqa.backends.fake import FakeBackend
from mllm_iqa.errors import BackendError
from mllm_iqa.images import load_image


class Faulty(FakeBackend):
    """FAKE, and it breaks down while answering."""

    def stream(self, conversation: Conversation, *, max_new_tokens: int) -> Iterator[str]:
        yield " so"
        raise BackendError("the engine is gone")


@pytest.fixture(scope="module")
def client(serve_app: Callable[[Any], str]) -> Iterator[httpx.Client]:
    app = FastAPI()
    app.include_router(router(FakeBackend(), model_name="fake"))
    with httpx.Client(base_url=serve_app(app) + "/v1", trust_env=False, timeout=60) as client:
        yield client


def png(height: int = 40, width: int = 50, seed: int = 0) -> tuple[np.ndarray, str]:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return pixels, "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def shows(*uris: str, text: str = "How good?") -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": uri}} for uri in uris]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def ask(client: httpx.Client, *messages: dict[str, Any], **more: Any) -> httpx.Response:
    return client.post("/chat/completions", json={"model": "fake", "messages": list(messages), **more})


def test_the_model_says_what_it_is(client: httpx.Client) -> None:
    (entry,) = client.get("/models").json()["data"]
    assert (entry["id"], entry["object"], entry["owned_by"]) == ("fake", "model", "mllm-iqa")
    assert entry["mllm_iqa"] == {
        "candidates": True,
        "name": "FAKE",
        "max_pixels": 262_144,
        "languages": ["en"],
        "card": None,
    }
    assert client.get("/models/fake").json() == entry
    assert client.get("/models/a/b").status_code == 404


def test_an_answer_has_the_form_that_clients_know(client: httpx.Client) -> None:
    pixels, uri = png()
    answer = ask(client, shows(uri), max_tokens=4).json()
    (said,) = FakeBackend().generate([Conversation.ask([load_image(pixels)], "How good?")], max_new_tokens=4)
    assert answer["object"] == "chat.completion" and answer["model"] == "fake"
    assert answer["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": said}, "logprobs": None, "finish_reason": "stop"}
    ]
    assert (
        ask(client, shows(uri), max_completion_tokens=4, user="me", seed=3, n=1).json()["choices"] == answer["choices"]
    )


def test_candidates_get_their_log_probs_exactly(client: httpx.Client) -> None:
    pixels, uri = png()
    words = [" good", " bad", " fair"]
    begun = {"role": "assistant", "content": "It is"}
    answer = ask(client, shows(uri, uri), begun, candidates=words, continue_final_message=True).json()
    picture = load_image(pixels)
    (row,) = FakeBackend().continuation_logprobs([Conversation.ask([picture, picture], "How good?", "It is")], words)
    assert answer["candidate_logprobs"] == row.tolist()
    assert answer["choices"][0]["message"]["content"] == words[int(row.argmax())]


def test_a_stream_is_events_up_to_done(client: httpx.Client) -> None:
    lines = [line for line in ask(client, shows(png()[1]), stream=True).text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert events[-1]["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    whole = ask(client, shows(png()[1])).json()["choices"][0]["message"]["content"]
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in events) == whole


def test_a_failure_within_a_stream_is_its_last_event(serve_app: Callable[[Any], str]) -> None:
    app = FastAPI()
    app.include_router(router(Faulty(), model_name="fake"))
    with httpx.Client(base_url=serve_app(app) + "/v1", trust_env=False) as faulty:
        lines = [line for line in ask(faulty, shows(png()[1]), stream=True).text.split("\n\n") if line]
    assert json.loads(lines[-1].removeprefix("data: "))["error"]["message"] == "the engine is gone"
    assert "data: [DONE]" not in lines


def test_turns_reach_the_model_as_they_are(client: httpx.Client) -> None:
    pixels, uri = png()
    messages = [shows(uri, text="One?"), {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "Two?"}]
    answer = ask(client, *messages, max_tokens=3).json()
    turns = (Turn("user", "One?"), Turn("assistant", "Yes."), Turn("user", "Two?"))
    (said,) = FakeBackend().generate([Conversation((load_image(pixels),), turns)], max_new_tokens=3)
    assert answer["choices"][0]["message"]["content"] == said


def bomb() -> str:
    """A PNG of 60,000 x 60,000 pixels, most of whose data is not there."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    return "data:image/png;base64," + base64.b64encode(data).decode()


USER = {"role": "user", "content": "Hello"}
SYSTEM = {"role": "system", "content": "Be brief."}
BEGUN = {"role": "assistant", "content": "It is"}
TEXT_FIRST = {"role": "user", "content": [{"type": "text", "text": "a"}, shows(png()[1])["content"][0]]}


@pytest.mark.parametrize(
    ("messages", "more", "said"),
    [
        ([USER], {"temperature": 0.7}, "temperature: Input should be 0"),
        ([USER], {"n": 2}, "n: Input should be 1"),
        ([USER], {"logprobs": True}, "logprobs: Input should be False"),
        ([USER], {"tools": []}, "tools: Extra inputs are not permitted"),
        ([USER], {"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ([USER], {"max_tokens": 10**9}, "max_tokens: Input should be less than or equal to 4096"),
        ([USER], {"candidates": [" a"], "stream": True}, "candidates are scored at once"),
        ([], {}, "messages: List should have at least 1 item"),
        ([{"role": "tool", "content": "x"}, USER], {}, "role: Input should be 'system', 'user' or 'assistant'"),
        ([USER, SYSTEM], {}, "messages alternate between user and assistant"),
        ([SYSTEM, SYSTEM, USER], {}, "messages alternate between user and assistant"),
        ([SYSTEM], {}, "a system message alone is no conversation"),
        ([USER, USER], {}, "messages alternate between user and assistant"),
        ([BEGUN], {}, "messages alternate between user and assistant"),
        ([USER, BEGUN], {"continue_final_message": False}, "continue_final_message belongs to a last message"),
        ([USER], {"continue_final_message": True}, "continue_final_message belongs to a last message"),
        ([USER, BEGUN], {"add_generation_prompt": True}, "add_generation_prompt must be true after the user's"),
        ([TEXT_FIRST], {}, "pictures stand in the first message of the user, before its words"),
        ([USER, BEGUN, shows(png()[1])], {}, "pictures stand in the first message of the user, before its words"),
        ([shows(*[png()[1]] * 17)], {}, "more than 16 pictures"),
        ([shows("http://127.0.0.1/x.png")], {}, "String should match pattern '^data:image/'"),
        ([shows("file:///etc/passwd")], {}, "String should match pattern '^data:image/'"),
        ([shows("data:image/png;base64,AAAA")], {}, "picture 1: "),
        ([shows(png(8, 8)[1])], {}, "picture 1: "),
        ([shows(bomb())], {}, "picture 1: "),
    ],
)
def test_what_cannot_be_answered_exactly_is_refused(
    client: httpx.Client, messages: list[dict[str, Any]], more: dict[str, Any], said: str
) -> None:
    answer = ask(client, *messages, **more)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert said in error["message"] and error["type"] == "invalid_request_error"


def test_a_system_message_comes_before_the_conversation_and_its_pictures(client: httpx.Client) -> None:
    pixels, uri = png()
    answer = ask(client, SYSTEM, shows(uri), candidates=[" good", " bad"])
    picture = load_image(pixels)
    (expected,) = FakeBackend().continuation_logprobs(
        [Conversation((picture,), (Turn("system", "Be brief."), Turn("user", shows(uri)["content"][-1]["text"])))],
        [" good", " bad"],
    )
    assert answer.json()["candidate_logprobs"] == pytest.approx(list(expected))


def test_a_model_that_is_not_here(client: httpx.Client) -> None:
    answer = client.post("/chat/completions", json={"model": "other", "messages": [USER]})
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, "no model 'other' here; there is 'fake'")


def test_what_is_no_json_is_refused(client: httpx.Client) -> None:
    answer = client.post("/chat/completions", content=b"{no", headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and "JSON" in answer.json()["error"]["message"]


def test_a_request_beyond_the_limit_is_refused_while_it_comes(client: httpx.Client) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 200 * 2**20:
            sent += 2**20
            yield b" " * 2**20

    try:
        answer = client.post("/chat/completions", content=endless(), headers={"Content-Type": "application/json"})
        assert answer.status_code == 413 and "more than 67108864 bytes" in answer.json()["error"]["message"]
    except httpx.TransportError:
        pass  # the server may close the connection before everything is sent
    assert ask(client, USER).status_code == 200


def test_the_schema_tells_what_can_be_asked(client: httpx.Client) -> None:
    app = FastAPI()
    app.include_router(router(FakeBackend(), model_name="fake"))
    schema = app.openapi()
    fields = schema["components"]["schemas"]["ChatRequest"]["properties"]
    assert {"candidates", "continue_final_message", "stream"} <= set(fields)
