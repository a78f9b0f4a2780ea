"""Rubrics over HTTP: the library's numbers, in both forms of request, and nothing that a request should not reach."""

import json

import pytest
from mllm_iqa.serve.options import ServeOptions

from mllm_iqa.assistant import Assistant
from mllm_iqa.cli import main
from mllm_iqa.images import load_image
from mllm_iqa.rubric import load_rubric, rubric_of

from .conftest import Running, data_uri, png, serving

OWN = {
    "task": "print",
    "questions": ["Is this image ready for print?"],
    "answer_prefix": "The image is",
    "order": "best first",
    "levels": ["ready", "usable", "unusable"],
    "values": [10, 5, 0],
}


def plain(value: object) -> object:
    return json.loads(json.dumps(value))


def test_rubrics_are_the_librarys(running: Running, fake: Assistant) -> None:
    body = {"images": [{"data": data_uri(png(n)), "name": f"{n}.png"} for n in range(2)], "rubrics": ["sharpness", OWN]}
    answer = running.post("/v1/rubric", json=body).json()
    rubrics = [load_rubric("sharpness"), rubric_of(OWN)]
    expected = [
        {
            "name": f"{n}.png",
            "scores": [s.to_dict() for s in fake.score_by(load_image(png(n), name=f"{n}.png"), *rubrics)],
        }
        for n in range(2)
    ]
    assert answer == {"results": plain(expected), "n_scored": 2, "n_total": 2}
    assert "mos" not in json.dumps(answer)


@pytest.mark.parametrize("field", ["sharpness", json.dumps(["sharpness"])])
def test_a_form_takes_a_name_or_json(running: Running, field: str) -> None:
    files = [("image", ("a.png", png(1), "image/png")), ("image", ("b.jpg", b"none", "image/jpeg"))]
    answer = running.post("/v1/rubric", files=files, data={"rubrics": field}).json()
    assert (answer["n_scored"], answer["n_total"]) == (1, 2)
    assert answer["results"][0]["scores"][0]["rubric"] == "sharpness.v1"
    assert "error" in answer["results"][1]


@pytest.mark.parametrize(
    ("rubrics", "reason"),
    [
        ([], "at least 1 item"),
        (["sharpness"] * 17, "at most 16 items"),
        (["sharpness", "sharpness"], "two rubrics are called 'sharpness.v1'"),
        (["no_such"], "rubric 1: there is none of that name; shipped: "),
        (["/etc/passwd"], "rubric 1: there is none of that name"),
        (["prompts/rubrics/sharpness.v1.yaml"], "rubric 1: there is none of that name"),
        ([OWN, {**OWN, "levels": ["one"]}], "rubric 2: levels: Tuple should have at least 2 items"),
        ([{**OWN, "questions": ["x" * 501]}], "at most 500 characters"),
        ([{**OWN, "levels": ["a" * 41, "b", "c"]}], "at most 40 characters"),
        ([{**OWN, "phrases": {"level": ["{level.__class__}"]}}], "must hold {level} once"),
        ("[not json", "rubrics"),
        (3, "rubrics"),
    ],
)
def test_what_is_no_rubric_is_refused_in_one_sentence(running: Running, rubrics: object, reason: str) -> None:
    answer = running.post("/v1/rubric", json={"images": [data_uri(png(0))], "rubrics": rubrics})
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "invalid_parameter"
    assert reason in answer.json()["error"]["message"]


def test_scores_carry_their_advice(running: Running) -> None:
    body = {"images": [data_uri(png(n)) for n in range(4)], "explain": True}
    rows = running.post("/v1/score", json=body).json()["results"]
    for row in rows:
        kinds = {kind for piece in row["advice"] for kind in piece["kinds"]}
        assert kinds == {finding["kind"] for finding in row["distortions"]}
        assert all(piece["rule"].startswith("advice.v1/") and piece["text"] for piece in row["advice"])
    silent = running.post("/v1/score", json={**body, "explain": False}).json()["results"]
    assert [row["advice"] for row in silent] == [None] * 4


def test_the_rules_that_a_model_was_given_are_the_server_s(capsys: pytest.CaptureFixture[str]) -> None:
    told = Assistant.load("fake")
    told.advice = None
    with serving(told, ServeOptions(ui=False)) as server:
        body = {"images": [data_uri(png(0))], "explain": True}
        (row,) = server.post("/v1/score", json=body).json()["results"]
    assert row["advice"] is None and row["distortions"] is not None
    assert main(["serve", "--advice", "nowhere.yaml"]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err


def test_the_schema_knows_rubrics_and_advice(running: Running) -> None:
    schema = running.client.get("/openapi.json").json()
    assert "/v1/rubric" in schema["paths"]
    assert "RubricRequest" in schema["components"]["schemas"]
    assert "advice" in schema["components"]["schemas"]["Score"]["properties"]
