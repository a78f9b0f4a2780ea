"""Who may ask: keys, origins, host names, and addresses to listen on."""

import base64
import os
from pathlib import Path

import pytest
from mllm_iqa.serve.cli import is_loopback
from mllm_iqa.serve.keys import ENVIRONMENT, load_keys
from mllm_iqa.serve.options import ServeOptions

from mllm_iqa.assistant import Assistant
from mllm_iqa.cli import main
from mllm_iqa.errors import ConfigError

from .conftest import png, serving

KEY, OTHER = "a-key-of-some-length-1", "a-key-of-some-length-2"


def test_only_a_key_opens_the_service(caplog: pytest.LogCaptureFixture) -> None:
    options = ServeOptions(keys=(KEY, OTHER), ui=False)
    basic = base64.b64encode(f"anyone:{OTHER}".encode()).decode()
    with serving(Assistant.load("fake"), options) as server:

        def status(headers: dict[str, str], path: str = "/v1/score") -> int:
            return server.post(path, files={"image": ("a.png", png(0))}, headers=headers).status_code

        assert status({"Authorization": f"Bearer {KEY}"}) == 200
        assert status({"X-API-Key": OTHER}) == 200
        assert status({"Authorization": f"Basic {basic}"}) == 200
        for headers in (
            {},
            {"Authorization": f"Bearer {KEY[:-1]}"},
            {"Authorization": "Bearer"},
            {"Authorization": "Basic !!!"},
            {"X-API-Key": KEY + "x"},
        ):
            assert status(headers) == 401, headers
        answer = server.post("/v1/score")
        assert answer.json()["error"]["code"] == "unauthorized"
        assert answer.headers["www-authenticate"] == "Bearer"
        assert server.client.get("/").headers["www-authenticate"].startswith("Basic")
        for path in ("/metrics", "/openapi.json", "/"):
            assert server.client.get(path).status_code == 401
        assert status({}, "/mcp") == 401
        assert [server.client.get(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]
    assert KEY not in repr(options) and KEY not in caplog.text


def test_pages_of_named_origins_may_call() -> None:
    options = ServeOptions(keys=(KEY,), cors_origins=("https://a.example",), ui=False)
    with serving(Assistant.load("fake"), options) as server:
        asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        for origin, allowed in (("https://a.example", "https://a.example"), ("https://b.example", None)):
            answer = server.client.options("/v1/score", headers={"Origin": origin, **asks})
            assert answer.headers.get("access-control-allow-origin") == allowed


def test_a_service_of_this_machine_answers_to_its_names_alone() -> None:
    options = ServeOptions(allowed_hosts=("127.0.0.1", "localhost"), ui=False)
    with serving(Assistant.load("fake"), options) as server:
        assert server.client.get("/healthz").status_code == 200
        assert server.client.get("/healthz", headers={"Host": f"localhost:{server.port}"}).status_code == 200
        assert server.client.get("/healthz", headers={"Host": "evil.example"}).status_code == 400


def test_keys_come_from_a_file_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# ours\n{KEY}\n\n")
    monkeypatch.setenv(ENVIRONMENT, f"{OTHER}, {KEY}")
    assert load_keys(file) == (KEY, OTHER)
    monkeypatch.delenv(ENVIRONMENT)
    assert load_keys(None) == ()
    for text, why in (("# none\n", "holds no key"), ("short\n", "number 1 must be 16"), ("x" * 20 + " y\n", "without")):
        file.write_text(text)
        with pytest.raises(ConfigError, match=why) as refused:
            load_keys(file)
        assert text.strip() not in str(refused.value)
    with pytest.raises(ConfigError, match="No such file"):
        load_keys(tmp_path / "none")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.4", "::", "example.com"])
def test_a_public_address_needs_a_key(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ENVIRONMENT not in os.environ
    assert main(["serve", "--host", host, "--model", "fake"]) == 2
    assert "is open to other machines: give --api-keys" in capsys.readouterr().err


def test_which_addresses_are_this_machine() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "host.example")))


def test_help_and_unknown_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--help"]) == 0
    assert "--insecure-public" in capsys.readouterr().out
    assert main(["serve", "--model", "nanno"]) == 2
    assert "no model named 'nanno'" in capsys.readouterr().err
