"""Pictures by address: nothing that is not public is ever connected to."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from mllm_iqa.serve.options import ServeOptions
from mllm_iqa.serve.problems import Problem
from mllm_iqa.serve.url_fetch import Fetcher, is_public

from mllm_iqa.assistant import Assistant

from .conftest import png, serving


class Site(BaseHTTPRequestHandler):
    """A web server that misbehaves as its path says."""

    hosts: list[str]

    def do_GET(self) -> None:
        type(self).hosts.append(self.headers["Host"])
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        elif self.path == "/slow":
            time.sleep(3)
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                try:
                    self.wfile.write(bytes(10_000))
                except OSError:
                    return
        elif self.path == "/a.png":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(png(1))
        else:
            self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    Site.hosts = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def fetch(url: str, fetcher: Fetcher | None = None) -> bytes:
    return asyncio.run((fetcher or Fetcher(max_bytes=100_000, seconds=20)).fetch(url))


def trusting(**rest: float) -> Fetcher:
    """One that takes 127.0.0.1 alone for a public address, so that a server can stand here."""
    return Fetcher(**({"max_bytes": 100_000, "seconds": 20} | rest), allowed=lambda ip: ip == "127.0.0.1")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700:4700::1111", True),
        ("127.0.0.1", False),
        ("127.255.255.254", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("192.0.2.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", False),
        ("2002:7f00:1::", False),
        ("2001:0:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
        ("2001:db8::1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254", "127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f000001",
        "0177.0.0.1", "127.1", "10.0.0.1", "0.0.0.0", "0",
    ],
)  # fmt: skip
def test_no_spelling_of_an_address_here_is_connected_to(host: str, site: str) -> None:
    Site.hosts.clear()
    with pytest.raises(Problem, match=r"not on the public internet|cannot be resolved") as refused:
        fetch(f"http://{host}:{site.rpartition(':')[2]}/a.png")
    assert refused.value.code == "url_refused"
    assert Site.hosts == []


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.com/a.png", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("http://", "no valid URL"),
        ("http://[::1", "no valid URL"),
        ("http://x:99999999/", "no valid URL"),
        ("http://a b/", "no valid URL"),
        ("http://x/\r\nHost: y", "no valid URL"),
        ("http://user:pass@example.com/", "user name"),
        ("http://nowhere.invalid/a.png", "cannot be resolved"),
    ],
)
def test_other_addresses_are_refused(url: str, why: str) -> None:
    with pytest.raises(Problem, match=why):
        fetch(url)


def test_a_picture_is_fetched_and_redirects_are_followed(site: str) -> None:
    Site.hosts.clear()
    assert fetch(f"http://{site}/a.png", trusting()) == png(1)
    assert fetch(f"http://{site}/to//a.png", trusting()) == png(1)
    assert fetch(f"http://{site}/to/http://{site}/a.png", trusting()) == png(1)
    assert set(Site.hosts) == {site}


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/latest/meta-data", "http://localhost:1/", "http://[::ffff:127.0.0.1]/"]
)
def test_a_redirect_to_a_private_address_is_refused(site: str, target: str) -> None:
    only = Fetcher(max_bytes=1000, seconds=20, allowed=lambda ip: ip == "127.0.0.1" and "localhost" not in target)
    with pytest.raises(Problem, match="not on the public internet"):
        fetch(f"http://{site}/to/{target}", only)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("to/file:///etc/passwd", "only http and https"),
        ("endless", "larger than the limit"),
        ("none", "answered 404"),
    ],
)
def test_what_a_public_server_may_not_do(site: str, path: str, why: str) -> None:
    with pytest.raises(Problem, match=why):
        fetch(f"http://{site}/{path}", trusting())


def test_redirects_in_a_circle_and_slow_servers_end(site: str) -> None:
    circle = f"http://{site}/a"
    for _ in range(4):
        circle = f"http://{site}/to/{circle}"
    with pytest.raises(Problem, match="more than 3 times"):
        fetch(circle, trusting())
    with pytest.raises(Problem, match=r"did not arrive within|too slow"):
        fetch(f"http://{site}/slow", trusting(seconds=0.5))


def test_a_name_is_resolved_once(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A name that is public when it is checked and private when it is connected to: only the first answer counts.
    port = int(site.rpartition(":")[2])
    real, asked = socket.getaddrinfo, []

    def rebinding(host: object, *args: object, **rest: object) -> object:
        if host == "rebind.example":
            asked.append(host)
            return real("127.0.0.1" if len(asked) == 1 else "127.0.0.2", port, type=socket.SOCK_STREAM)
        return real(host, *args, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    Site.hosts.clear()
    assert fetch(f"http://rebind.example:{port}/a.png", trusting()) == png(1)
    assert len(asked) == 1
    assert Site.hosts == [f"rebind.example:{port}"]  # the name goes on standing in the Host header


def test_the_service_refuses_private_addresses_too(site: str) -> None:
    with serving(Assistant.load("fake"), ServeOptions(url_inputs=True, ui=False)) as server:
        for url in (f"http://{site}/a.png", "http://169.254.169.254/", f"http://localhost:{site[10:]}/a.png"):
            answer = server.post("/v1/score", json={"images": [url]})
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "url_refused")
