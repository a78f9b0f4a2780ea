"""What the service refuses: with a sentence and a code, holding nothing of it, and going on as if nothing had been."""

import base64
import io
import json
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from mllm_iqa.serve.options import Limits, ServeOptions
from PIL import Image

from mllm_iqa.assistant import Assistant

from .conftest import Running, data_uri, png, serving, wait_until

LIMIT = 2 * 2**20


@pytest.fixture(scope="module")
def small() -> Iterator[Running]:
    """A server with tight limits."""
    limits = Limits(body_bytes=LIMIT, held_bytes=2 * LIMIT, upload_seconds=1.5, images=4, source_pixels=1_000_000)
    with serving(Assistant.load("fake"), ServeOptions(limits=limits, ui=False)) as server:
        yield server


def refused(answer: httpx.Response, status: int, code: str, *words: str) -> None:
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"code", "message"}
    assert (answer.status_code, error["code"]) == (status, code), error
    for word in words:
        assert word in error["message"]


def one(data: bytes, name: str = "a.png") -> dict[str, tuple[str, bytes]]:
    return {"image": (name, data)}


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes whose header claims width x height and whose pixels are all zero."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1 << 20), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (2000, 1000)])
def test_a_bomb_is_refused_before_it_is_decoded(small: Running, width: int, height: int) -> None:
    answer = small.post("/v1/score", files=one(bomb(width, height)))
    refused(answer, 422, "unreadable_image", "refused before decoding")


def test_a_line_of_pixels_is_refused(small: Running) -> None:
    file = io.BytesIO()
    Image.new("L", (100_000, 1)).save(file, "png")
    refused(small.post("/v1/score", files=one(file.getvalue())), 422, "unreadable_image", "100000x1", "too small")


def test_a_declared_body_over_the_limit_is_refused_unread(small: Running) -> None:
    with socket.create_connection(("127.0.0.1", small.port), timeout=30) as client:
        head = f"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: {100 * 2**20}\r\nExpect: 100-continue\r\n\r\n"
        client.sendall(head.encode())
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"too_large"' in answer


def test_a_hundred_megabytes_are_refused_and_never_held(small: Running) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 2**20
            yield bytes(2**20)

    before = resident(small)
    refused(small.post("/v1/score", content=endless()), 413, "too_large", str(LIMIT))  # chunked: no length declared
    assert sent == 100 * 2**20  # the client could say it all, and then read the answer
    assert resident(small) - before < 40 * 2**20
    assert small.post("/v1/score", files=one(png(0))).status_code == 200


def resident(server: Running) -> float:
    lines = server.client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("process_resident_memory_bytes")).split()[1])


def test_a_path_as_a_name_is_only_a_name(small: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("../../etc/passwd", "..\\..\\boot.ini", "/etc/shadow", "a/../../x.png"):
        row = small.post("/v1/score", files=one(png(0), name)).json()["results"][0]
        assert row["image"]["name"] == name.replace("\\", "/").rpartition("/")[2]
    answer = small.post("/v1/score", json={"images": [{"data": data_uri(png(0)), "name": "../../x\n\x1b[31m.png"}]})
    assert answer.json()["results"][0]["image"]["name"] == "x[31m.png"
    assert list(tmp_path.iterdir()) == []


def test_a_path_as_a_picture_is_not_read(small: Running, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(0))
    answer = small.post("/v1/score", json={"images": [str(tmp_path / "a.png")]})
    refused(answer, 422, "unreadable_image", "neither a data URI nor valid base64")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"--x\r\n\r\n--x--"),
        ("multipart/form-data; boundary=x", b"--y\r\nnonsense"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\nabc',
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
            + png(0)
            + b'\r\n--x\r\nContent-Disposition: form-data; name="image"; filename="b.png"\r\n\r\nabc',
        ),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\nabc\r\n--x--\r\n"),
    ],
    ids=["no boundary", "no part", "cut off", "second part cut off", "no name"],
)
def test_a_malformed_form_is_refused(small: Running, kind: str, body: bytes) -> None:
    answer = small.post("/v1/score", content=body, headers={"Content-Type": kind})
    refused(answer, 400, "invalid_multipart")


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"x"', b'{"images": NaN}', b"\xff", b"[" * 100_000])
def test_invalid_json_is_refused(small: Running, body: bytes) -> None:
    answer = small.post("/v1/score", content=body, headers={"Content-Type": "application/json"})
    refused(answer, 400, "invalid_json")


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        ("score", {}, "images"),
        ("score", {"images": []}, "images"),
        ("score", {"images": ["data:image/png;base64,AA"], "explian": True}, "explian"),
        ("score", {"images": [{}]}, "either data or url"),
        ("score", {"images": ["AA"] * 5}, "limit of 4"),
        ("score", {"images": ["AA", "AA"], "reference": "AA"}, "single picture"),
        ("score", {"images": ["AA"], "language": "tlh"}, "tlh"),
        ("compare", {"a": "AA"}, "b: Field required"),
        ("rank", {"images": ["AA"]}, "at least 2"),
        ("chat", {"images": ["AA"], "messages": [{"role": "assistant", "content": "x"}]}, "begins and ends"),
    ],
)
def test_parameters_that_do_not_fit_are_named(small: Running, path: str, body: dict[str, object], word: str) -> None:
    refused(small.post(f"/v1/{path}", json=body), 422, "invalid_parameter", word)


def test_other_bodies_models_and_methods_are_refused(small: Running) -> None:
    refused(
        small.post("/v1/score", content=png(0), headers={"Content-Type": "image/png"}), 415, "unsupported_media_type"
    )
    answer = small.post("/v1/score", json={"images": [data_uri(png(0))], "model": "gpt"})
    refused(answer, 404, "unknown_model", "'gpt'", "fake")
    refused(small.client.get("/v1/score"), 405, "method_not_allowed")
    refused(small.post("/v1/score", json={"images": ["!!!"]}), 422, "unreadable_image", "base64")
    assert small.post("/v1/score", files=[("image", ("x.png", png(n))) for n in range(9)]).status_code in (400, 422)


def test_addresses_are_not_fetched_unless_told(small: Running) -> None:
    refused(small.post("/v1/score", json={"images": ["http://example.com/a.png"]}), 400, "url_refused")


def test_an_upload_that_does_not_arrive_is_given_up_and_blocks_nobody(small: Running) -> None:
    with socket.create_connection(("127.0.0.1", small.port), timeout=60) as slow:
        slow.sendall(b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        for n in range(5):
            assert small.post("/v1/score", files=one(png(n))).status_code == 200
        assert slow.makefile("rb").readline().startswith(b"HTTP/1.1 408 ")


def test_all_uploads_together_are_bounded() -> None:
    limits = Limits(body_bytes=LIMIT, held_bytes=2 * LIMIT)
    head = f"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: {LIMIT}\r\n\r\n".encode()
    with serving(Assistant.load("fake"), ServeOptions(limits=limits, ui=False)) as server:
        stalled = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(2)]
        for client in stalled:
            client.sendall(head + bytes(LIMIT - 1))

        def other() -> httpx.Response:
            return server.post("/v1/score", content=bytes(1000), headers={"Content-Type": "image/png"})

        wait_until(lambda: other().status_code == 429)  # once all that was sent has been read
        refused(other(), 429, "queue_full", "as many uploads")
        for client in stalled:
            client.close()
        wait_until(lambda: other().status_code == 415)  # what the two held is free again


def test_a_client_that_goes_away_leaves_nothing_behind(small: Running) -> None:
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", small.port), timeout=60) as gone:
            gone.sendall(b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
    assert small.post("/v1/score", files=one(png(0))).status_code == 200
    wait_until(lambda: small.service.gate.accepted == 0)  # given back just after the answer has gone out


def test_base64_of_everything_is_bounded_by_the_body(small: Running) -> None:
    body = json.dumps({"images": [base64.b64encode(bytes(LIMIT)).decode()]})
    answer = small.post("/v1/score", content=body, headers={"Content-Type": "application/json"})
    refused(answer, 413, "too_large")
