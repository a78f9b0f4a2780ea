"""The HTTP client against a real server on loopback that is busy, failing, slow or gone."""

import asyncio
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse

from mllm_iqa.backends.http_client import HttpRefusal, JsonClient
from mllm_iqa.errors import BackendError

SECRET = "sk-very-secret"


class Site:
    """Answers each path's requests with a list of replies in turn, the last of them for ever."""

    def __init__(self) -> None:
        self.replies: dict[str, list[Callable[[], Any]]] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.app = FastAPI()
        self.app.add_api_route("/{path:path}", self.answer, methods=["GET", "POST"], response_model=None)

    async def answer(self, path: str, request: Request) -> Any:
        self.seen.append((path, dict(request.headers)))
        replies = self.replies[path]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        made = reply()
        return await made if asyncio.iscoroutine(made) else made


@pytest.fixture(scope="module")
def site() -> Site:
    return Site()


@pytest.fixture(scope="module")
def url(site: Site, serve_app: Callable[[Any], str]) -> str:
    return serve_app(site.app)


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLLM_IQA_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def busy(status: int, **headers: str) -> Callable[[], Any]:
    return lambda: JSONResponse({"error": {"message": "later"}}, status_code=status, headers=headers)


def fine() -> dict[str, int]:
    return {"fine": 1}


def test_busy_and_failing_servers_are_asked_again_with_growing_waits(site: Site, url: str) -> None:
    site.replies["again"] = [busy(503), busy(429), busy(500), fine]
    waits: list[float] = []
    assert JsonClient(url, sleep=waits.append).post("/again", {}) == {"fine": 1}
    # 0.5 s doubled each time, of which between a half and the whole is waited.
    assert len(waits) == 3
    for wait, longest in zip(waits, (0.5, 1.0, 2.0), strict=True):
        assert longest / 2 <= wait <= longest


def test_the_time_a_server_asks_for_is_waited(site: Site, url: str) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    site.replies["asks"] = [busy(429, **{"Retry-After": "7"}), busy(503, **{"Retry-After": soon}), fine]
    waits: list[float] = []
    assert JsonClient(url, sleep=waits.append).get("/asks") == {"fine": 1}
    assert waits[0] == 7.0
    assert 20 < waits[1] <= 40


def test_a_server_that_asks_for_too_long_is_given_up(site: Site, url: str) -> None:
    site.replies["tomorrow"] = [busy(429, **{"Retry-After": "86400"})]
    with pytest.raises(BackendError, match=r"asks to come back in 86400 s \(429: later\)"):
        JsonClient(url, sleep=lambda s: pytest.fail("waited")).get("/tomorrow")


def test_retries_end(site: Site, url: str) -> None:
    site.replies["never"] = [busy(503)]
    site.seen.clear()
    with pytest.raises(BackendError, match=r"gave up after 3 tries \(503: later\)"):
        JsonClient(url, retries=2, sleep=lambda s: None).get("/never")
    assert len(site.seen) == 3


def test_a_refusal_is_final_and_says_why(site: Site, url: str) -> None:
    site.replies["bad"] = [lambda: JSONResponse({"error": {"message": "no such thing"}}, status_code=400)]
    site.seen.clear()
    with pytest.raises(HttpRefusal, match=r"refused the request \(400: no such thing\)"):
        JsonClient(url, sleep=lambda s: pytest.fail("waited")).post("/bad", {})
    assert len(site.seen) == 1


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as taken:  # bound and not listening
        taken.bind(("127.0.0.1", 0))
        waits: list[float] = []
        client = JsonClient(f"http://127.0.0.1:{taken.getsockname()[1]}", retries=2, sleep=waits.append)
        with pytest.raises(BackendError, match="no answer after 3 tries"):
            client.get("/")
    assert len(waits) == 2


def test_a_server_that_is_silent(site: Site, url: str) -> None:
    async def slow() -> dict[str, int]:
        await asyncio.sleep(1.5)
        return fine()

    site.replies["slow"] = [slow]
    with pytest.raises(BackendError, match="no answer after 1 tries"):
        JsonClient(url, timeout_s=0.2, retries=0).get("/slow")


def test_something_else_than_json(site: Site, url: str) -> None:
    site.replies["text"] = [lambda: PlainTextResponse("<html>hello</html>")]
    with pytest.raises(BackendError, match="answered something else than JSON: '<html>hello</html>'"):
        JsonClient(url).get("/text")


def test_redirects_are_not_followed(site: Site, url: str) -> None:
    site.replies["moved"] = [lambda: RedirectResponse("http://127.0.0.1:9/elsewhere")]
    with pytest.raises(BackendError, match="307"):
        JsonClient(url).get("/moved")


def events(*lines: str) -> Callable[[], Any]:
    return lambda: StreamingResponse(iter(f"{line}\n\n" for line in lines), media_type="text/event-stream")


def test_events_come_until_done(site: Site, url: str) -> None:
    site.replies["events"] = [busy(503), events('data: {"n": 1}', ": a comment", 'data:{"n": 2}', "data: [DONE]")]
    client = JsonClient(url, sleep=lambda s: None)
    assert list(client.events("/events", {})) == [{"n": 1}, {"n": 2}]


def test_events_that_break_off_are_an_error(site: Site, url: str) -> None:
    site.replies["cut"] = [events('data: {"n": 1}')]
    found = JsonClient(url).events("/cut", {})
    assert next(found) == {"n": 1}
    with pytest.raises(BackendError, match="broke off before its end"):
        next(found)


def test_the_key_is_sent_and_never_shown(site: Site, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLLM_IQA_API_KEY", SECRET)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    client = JsonClient(url, retries=0)
    site.replies["key"] = [lambda: JSONResponse({"error": {"message": f"bad key {SECRET}!"}}, status_code=401)]
    site.seen.clear()
    with pytest.raises(
        BackendError, match=r"not allowed \(401: bad key \*\*\*!\); is the key in MLLM_IQA_API_KEY"
    ) as e:
        client.get("/key")
    assert site.seen[0][1]["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in repr(client) + repr(client._http) + repr(client._http.auth) + str(e.value) + repr(e.value)
    assert e.value.__cause__ is None and (e.value.__suppress_context__ or e.value.__context__ is None)
    site.replies["text"] = [lambda: PlainTextResponse(f"you said {SECRET}")]
    with pytest.raises(BackendError, match=r"you said \*\*\*"):
        client.get("/text")


def test_another_firms_key_does_not_travel_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    assert JsonClient("http://192.0.2.1/v1")._key is None
    assert JsonClient("https://192.0.2.1/v1")._key == SECRET
    assert JsonClient("http://127.0.0.1/v1")._key == SECRET


def test_without_a_key_a_server_that_wants_one_says_so(site: Site, url: str) -> None:
    site.replies["closed"] = [lambda: JSONResponse({"detail": "who are you?"}, status_code=401)]
    with pytest.raises(BackendError, match=r"not allowed \(401: who are you\?\); put its key into MLLM_IQA_API_KEY"):
        JsonClient(url).get("/closed")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://example.com", "is not the URL of an HTTP server"),
        ("http://", "is not the URL of an HTTP server"),
        (f"http://me:{SECRET}@example.com/v1", "no password or query may stand in the URL of example.com"),
        (f"http://example.com/v1?key={SECRET}", "no password or query may stand in the URL of example.com"),
    ],
)
def test_other_urls_are_refused_without_repeating_their_secrets(url: str, said: str) -> None:
    with pytest.raises(BackendError, match=said) as error:
        JsonClient(url)
    assert SECRET not in str(error.value)
