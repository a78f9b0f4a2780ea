"""Calibrations that a server was started with, by name over REST; trust in every row; features through batches."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mllm_iqa.serve.app import create_app
from mllm_iqa.serve.batching import BatchingBackend
from mllm_iqa.serve.options import ServeOptions

from mllm_iqa import Assistant
from mllm_iqa.backends.features import features_of
from mllm_iqa.calibration import Calibration, calibrate
from mllm_iqa.calibration.fitting import Judged, Settings
from mllm_iqa.errors import CalibrationError
from mllm_iqa.images import load_image

from .conftest import Running, png, serving


def made(name: str = "lab", model: str = "FAKE") -> Calibration:
    rng = np.random.default_rng(0)
    mos = rng.uniform(1.2, 4.8, 30)
    judged = Judged(model, "fake" if model == "FAKE" else "", "rate.v1", mos, np.full(30, 0.7))
    return calibrate(judged, list(20 * mos + rng.normal(size=30)), Settings(name))


@pytest.fixture(scope="module")
def lab() -> Iterator[Running]:
    with serving(Assistant.load("fake"), ServeOptions(ui=False, calibrations=(made(),))) as server:
        yield server


def files(name: str = "a.png") -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("image", (name, png(1), "image/png"))]


def test_a_request_names_a_calibration(lab: Running, fake: Assistant) -> None:
    expected = fake.calibrated(made()).score(png(1), name="a.png", explain=False).calibrated
    assert expected is not None
    for path, pick in (("/v1/score", lambda a: a["results"][0]), ("/v1/explain", lambda a: a)):
        row = pick(lab.post(path, files=files(), data={"calibration": "lab"}).json())
        assert row["calibrated"]["value"] == expected.value and row["calibrated"]["calibration"] == "lab"
        assert pick(lab.post(path, files=files()).json())["calibrated"] is None
    assert lab.post("/v1/score", files=files(), data={"thorough": "true"}).status_code == 200


def test_an_unknown_calibration_a_path_and_a_reference_are_refused(lab: Running) -> None:
    for name in ("other", "/etc/passwd", "../lab"):
        answer = lab.post("/v1/score", files=files(), data={"calibration": name})
        assert answer.status_code == 422 or answer.status_code == 400
        assert "there are: lab" in answer.json()["error"]["message"]
    both = [*files(), ("reference", ("b.png", png(2), "image/png"))]
    answer = lab.post("/v1/explain", files=both, data={"calibration": "lab"})
    assert "without a reference" in answer.json()["error"]["message"]


def test_a_server_refuses_calibrations_that_it_could_not_use() -> None:
    with pytest.raises(CalibrationError, match="fitted with the model nano 99"):
        create_app({"fake": Assistant.load("fake")}, ServeOptions(ui=False, calibrations=(made(model="nano 99"),)))
    with pytest.raises(CalibrationError, match="two calibrations are called 'lab'"):
        create_app({"fake": Assistant.load("fake")}, ServeOptions(ui=False, calibrations=(made(), made())))


def test_features_go_through_batches(tiny_checkpoint: Path) -> None:
    engine = Assistant.load(str(tiny_checkpoint), device="cpu")
    picture = load_image(png(3), max_pixels=engine.max_pixels)
    batching = BatchingBackend(engine.backend, batch_rows=4, timeout_seconds=60)
    try:
        found, direct = features_of(batching, [picture, picture]), features_of(engine.backend, [picture])
        assert found is not None and direct is not None
        np.testing.assert_array_equal(found[1], direct[0])
    finally:
        batching.close()
    plain = BatchingBackend(Assistant.load("fake").backend, batch_rows=4, timeout_seconds=60)
    try:
        assert features_of(plain, [picture]) is None
    finally:
        plain.close()
