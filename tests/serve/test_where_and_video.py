"""Maps and videos over REST: the same as the library's, in every form, and refused where they cannot be done."""

import base64
import io
import json

import pytest
from PIL import Image

from mllm_iqa.assistant import Assistant
from mllm_iqa.video import judge_video
from mllm_iqa.where import map_of

from ..video_files import moving, write_video
from .conftest import Running, data_uri, png


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", moving(20)).read_bytes()


def sent(field: str, name: str, data: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [(field, (name, data, "application/octet-stream"))]


def test_a_map_is_the_librarys(running: Running, fake: Assistant) -> None:
    picture = png(1, 160, 200)
    answer = running.post("/v1/where", files=sent("image", "a.png", picture), data={"grid": "8"}).json()
    expected = map_of(fake, picture, name="a.png").to_dict(grid=8)
    assert answer == json.loads(json.dumps(expected))
    assert answer["grid"] == {"width": 8, "height": 6}


def test_a_map_can_be_drawn(running: Running) -> None:
    answer = running.post("/v1/where", json={"image": data_uri(png(1, 160, 200)), "format": "png"})
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).format == "PNG"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"image": "data:image/png;base64,AAAA"}, 422, "unreadable_image"),
        ({"image": data_uri(png(1)), "format": "gif"}, 422, "invalid_parameter"),
        ({"image": data_uri(png(1)), "grid": 0}, 422, "invalid_parameter"),
        ({}, 422, "invalid_parameter"),
    ],
)
def test_a_map_is_refused(running: Running, body: dict, status: int, code: str) -> None:
    answer = running.post("/v1/where", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_video_is_the_librarys(running: Running, fake: Assistant, clip: bytes) -> None:
    by_form = running.post("/v1/video", files=sent("video", "clip.mp4", clip)).json()
    assert by_form == json.loads(json.dumps(judge_video(fake, clip, name="clip.mp4").to_dict()))
    uri = "data:video/mp4;base64," + base64.b64encode(clip).decode()
    by_json = running.post("/v1/video", json={"video": {"data": uri, "name": "clip.mp4"}}).json()
    assert by_json == by_form


def test_a_video_can_be_a_plot_or_events(running: Running, clip: bytes) -> None:
    plot = running.post("/v1/video", files=sent("video", "clip.mp4", clip), data={"format": "svg"})
    assert plot.headers["content-type"].startswith("image/svg+xml") and plot.text.startswith("<svg")
    streamed = running.post("/v1/video", files=sent("video", "c.mp4", clip), data={"stream": "true", "every": "0.5"})
    events = [block.split("\n") for block in streamed.text.strip().split("\n\n")]
    names = [event.removeprefix("event: ") for event, _ in events]
    result = json.loads(events[-1][1].removeprefix("data: "))
    assert names == ["point"] * result["n_total"] + ["done"] and result["n_total"] >= 4


@pytest.mark.parametrize(
    ("data", "more", "status", "code"),
    [
        (b"no video" * 99, {}, 422, "unreadable_video"),
        (b"no video" * 99, {"stream": "true"}, 422, "unreadable_video"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/x.ts\n", {}, 422, "unreadable_video"),
        (b"x", {"every": "1", "count": "3"}, 422, "invalid_parameter"),
        (b"x", {"every": "0"}, 422, "invalid_parameter"),
        (b"x", {"language": "xx"}, 422, "invalid_parameter"),
    ],
)
def test_a_video_is_refused(running: Running, data: bytes, more: dict, status: int, code: str) -> None:
    answer = running.post("/v1/video", files=sent("video", "clip.mp4", data), data=more)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


def test_a_video_is_not_fetched(running: Running) -> None:
    answer = running.post("/v1/video", json={"video": "http://127.0.0.1:1/clip.mp4"})
    assert answer.json()["error"]["code"] == "url_refused"


def test_the_schema_knows_both(running: Running) -> None:
    schema = running.client.get("/openapi.json").json()
    for path, field in (("/v1/where", "image"), ("/v1/video", "video")):
        form = schema["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert form["properties"][field]["format"] == "binary"
    assert "VideoRequest" in schema["components"]["schemas"]
