"""The REST endpoints: the same numbers as the library's, in both forms of request."""

import json

import pytest

from mllm_iqa.assistant import Assistant
from mllm_iqa.images import load_image

from .conftest import Running, data_uri, png


def plain(value: object) -> object:
    return json.loads(json.dumps(value))


def files(*parts: tuple[str, bytes], field: str = "image") -> list[tuple[str, tuple[str, bytes, str]]]:
    return [(field, (name, data, "image/png")) for name, data in parts]


def test_scores_are_the_librarys(running: Running, fake: Assistant) -> None:
    sent = [(f"{n}.png", png(n)) for n in range(3)]
    answer = running.post("/v1/score", files=files(*sent), data={"explain": "true"}).json()
    expected = [fake.score(data, name=name).to_dict() for name, data in sent]
    assert answer == {"results": plain(expected), "n_scored": 3, "n_total": 3}


def test_json_and_form_are_one(running: Running, fake: Assistant) -> None:
    by_form = running.post("/v1/score", files=files(("a.png", png(1)))).json()
    bare = running.post("/v1/score", json={"images": [data_uri(png(1))]}).json()
    named = running.post("/v1/score", json={"images": [{"data": data_uri(png(1))[22:], "name": "a.png"}]}).json()
    assert named == by_form
    assert bare["results"][0]["image"]["name"] == "image 1"
    assert bare["results"][0]["mos"] == by_form["results"][0]["mos"] == fake.score(png(1), explain=False).mos
    assert by_form["results"][0]["explanation"] is None


def test_explain_compare_and_rank_are_the_librarys(running: Running, fake: Assistant) -> None:
    pictures = [load_image(png(n), name=f"{n}.png") for n in range(4)]
    explained = running.post("/v1/explain", files=files(("0.png", png(0)))).json()
    assert explained == plain(fake.score(pictures[0]).to_dict())
    against = running.post(
        "/v1/explain", files=[*files(("0.png", png(0))), *files(("1.png", png(1)), field="reference")]
    )
    assert against.json() == plain(fake.score(pictures[0], reference=pictures[1]).to_dict())
    parts = [*files(("0.png", png(0)), field="a"), *files(("1.png", png(1)), field="b")]
    assert running.post("/v1/compare", files=parts).json() == plain(fake.compare(*pictures[:2]).to_dict())
    ranked = running.post("/v1/rank", files=files(*((f"{n}.png", png(n)) for n in range(4)))).json()
    assert ranked == plain(fake.rank(pictures).to_dict())


def test_a_ranking_keeps_to_its_budget(running: Running, fake: Assistant) -> None:
    pictures = [load_image(png(n), name=f"{n}.png") for n in range(6)]
    form = files(*((f"{n}.png", png(n)) for n in range(6)))
    ranked = running.post("/v1/rank", files=form, data={"comparisons": "8"}).json()
    assert ranked == plain(fake.rank(pictures, comparisons=8).to_dict())
    assert (ranked["comparisons"], ranked["possible"]) == (8, 15)
    refused = running.post("/v1/rank", files=form, data={"comparisons": "2"})
    assert refused.status_code == 422 and refused.json()["error"]["code"] == "invalid_parameter"
    assert "give at least 3" in refused.json()["error"]["message"]


def test_a_bad_picture_among_good_ones_is_a_row(running: Running) -> None:
    answer = running.post("/v1/score", files=files(("a.png", png(0)), ("text.jpg", b"no picture"), ("c.png", png(2))))
    assert answer.status_code == 200
    rows = answer.json()["results"]
    assert ["error" in row for row in rows] == [False, True, False]
    assert rows[1]["name"] == "text.jpg"
    assert "not a complete picture" in rows[1]["error"]
    assert (answer.json()["n_scored"], answer.json()["n_total"]) == (2, 3)


def events(text: str) -> list[tuple[str, dict[str, object]]]:
    out = []
    for block in text.strip().split("\n\n"):
        event, data = block.split("\n")
        out.append((event.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return out


def test_chat_streams_what_the_library_says(running: Running, fake: Assistant) -> None:
    messages = [{"role": "user", "content": "What is wrong?"}]
    expected = list(fake.chat([png(1)], messages))
    answer = running.post("/v1/chat", json={"images": [data_uri(png(1))], "messages": messages})
    assert answer.headers["content-type"].startswith("text/event-stream")
    got = events(answer.text)
    assert [data["text"] for name, data in got if name == "piece"] == expected
    assert got[-1] == ("done", {"answer": "".join(expected), "model": "FAKE"})
    form = running.post("/v1/chat", files=files(("a.png", png(1))), data={"messages": "What is wrong?", "stream": "no"})
    assert form.json() == {"answer": "".join(expected), "model": "FAKE"}


def test_a_chat_that_cannot_begin_has_a_status(running: Running) -> None:
    answer = running.post(
        "/v1/chat", json={"images": ["data:image/png;base64,AAAA"], "messages": [{"role": "user", "content": "?"}]}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "unreadable_image")


def test_the_schema_has_examples_for_every_endpoint(running: Running) -> None:
    schema = running.client.get("/openapi.json").json()
    for path in ("score", "explain", "compare", "rank", "chat"):
        post = schema["paths"][f"/v1/{path}"]["post"]
        content = post["requestBody"]["content"]
        assert set(content) == {"application/json", "multipart/form-data"}
        name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
        assert schema["components"]["schemas"][name]["examples"], name
        assert {"200", "413", "429", "503", "504"} <= set(post["responses"])
    assert "level" in schema["components"]["schemas"]["Score"]["properties"]
    missing = {ref for ref in refs_of(schema) if ref.rpartition("/")[2] not in schema["components"]["schemas"]}
    assert missing == set()


def refs_of(value: object) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(refs_of, value.values()))
    return set().union(*map(refs_of, value)) if isinstance(value, list) else set()


def test_operators_see_health_and_figures(running: Running) -> None:
    running.post("/v1/score", files=files(("a.png", png(0))))
    assert running.client.get("/healthz").json() == {"status": "ok"}
    assert running.client.get("/readyz").json() == {"status": "ready", "models": ["fake"]}
    figures = running.client.get("/metrics").text
    for line in (
        'mllm_iqa_requests_total{path="/v1/score",status="200"}',
        'mllm_iqa_request_seconds_bucket{le="1.0",path="/v1/score"}',
        "mllm_iqa_accepted_requests 0.0",
        "mllm_iqa_batch_rows_count",
        "process_resident_memory_bytes",
    ):
        assert line in figures, line


def test_a_browser_finds_its_way(running: Running) -> None:
    page = running.client.get("/")
    assert "POST /v1/score" in page.text
    assert "http://" not in page.text and "https://" not in page.text


@pytest.mark.parametrize("path", ["/nothing", "/v1/nothing"])
def test_an_unknown_path_is_refused_in_the_same_form(running: Running, path: str) -> None:
    answer = running.client.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
