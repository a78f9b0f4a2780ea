"""Container and cluster files: clean to their linters, hardened as promised, and in step with the program's options."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose

from mllm_iqa import cli

REPO = Path(__file__).resolve().parents[2]
DEPLOY = REPO / "serve" / "deploy"
DOCKERFILES = ["Dockerfile", "Dockerfile.gpu"]
USER = 10001


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([Path(sys.executable).parent / name, *arguments], capture_output=True, text=True, timeout=60)


def resources() -> dict[str, Any]:
    """The Kubernetes resources by kind."""
    return {one["kind"]: one for one in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8"))}


def instructions(name: str) -> list[str]:
    """The Dockerfile's instructions, a continued one as one line, without comments."""
    lines = [line for line in (DEPLOY / name).read_text("utf-8").splitlines() if not line.startswith("#")]
    return [line for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]


def command(name: str) -> list[str]:
    """What a container of that Dockerfile runs."""
    run = {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in instructions(name)}
    found: list[str] = json.loads(run["ENTRYPOINT"]) + json.loads(run["CMD"])
    return found


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfiles_please_their_linter(name: str) -> None:
    done = tool("hadolint", "--no-color", str(DEPLOY / name))
    assert (done.returncode, done.stdout) == (0, "")


def test_the_linter_would_complain(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python\nRUN apt-get install gcc\n")
    done = tool("hadolint", "--no-color", str(tmp_path / "Dockerfile"))
    assert done.returncode == 1 and "DL3006" in done.stdout and "DL3008" in done.stdout


@pytest.mark.parametrize("name", DOCKERFILES)
def test_every_file_that_is_copied_exists_and_all_folders_are(name: str) -> None:
    copied = [line.split()[1:-1] for line in instructions(name) if line.startswith("COPY ") and "--from" not in line]
    sources = [source for sources in copied for source in sources]
    assert [source for source in sources if not (REPO / source).exists()] == []
    mapped = {"mllm_iqa", "prompts", "data_build", "train", "serve", "eval"}
    assert mapped <= set(sources)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_containers_run_as_nobody_special(name: str) -> None:
    users = [line for line in instructions(name) if line.startswith("USER ")]
    assert users == [f"USER {USER}:{USER}"]


def test_yaml_is_tidy() -> None:
    rules = "{extends: default, rules: {line-length: {max: 120}, octal-values: disable}}"
    done = tool("yamllint", "--strict", "-d", rules, *map(str, DEPLOY.glob("*.yaml")))
    assert (done.returncode, done.stdout) == (0, "")


def test_the_compose_file_follows_the_specification() -> None:
    found = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    PyCompose.from_json(json.dumps(found)).to_spec()
    for service in found["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert service["secrets"] == ["api_keys"]
        assert service["deploy"]["resources"]["limits"]["memory"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert (REPO / service["build"]["dockerfile"]).is_file()
        assert (DEPLOY / service["build"]["context"]).resolve() == REPO
    with pytest.raises(ValueError, match="no_such_key"):
        PyCompose.from_json(json.dumps({"services": {"a": {"image": "x", "no_such_key": 1}}})).to_spec()


def test_the_kubernetes_file_follows_the_schemas() -> None:
    for resource in resources().values():
        kubernetes_validate.validate(resource, "1.37", strict=True)
    broken = resources()["Service"]
    broken["spec"]["no_such_key"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.37", strict=True)


def test_the_deployment_is_hardened_probed_and_limited() -> None:
    pod = resources()["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, USER)
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["startupProbe"]["httpGet"]["path"] == "/healthz"
    assert set(container["resources"]) == {"requests", "limits"}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in pod["volumes"]}
    assert {"/tmp", "/cache"} <= set(mounts.values())  # what may be written, since the root may not


def test_the_service_reaches_the_deployment() -> None:
    found = resources()
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert found["Service"]["spec"]["selector"].items() <= labels.items()
    ports = {port["name"] for port in found["Deployment"]["spec"]["template"]["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in found["Service"]["spec"]["ports"]} <= ports


def test_the_keys_are_where_the_program_looks() -> None:
    (container,) = resources()["Deployment"]["spec"]["template"]["spec"]["containers"]
    keys = container["args"][container["args"].index("--api-keys") + 1]
    mount = next(mount for mount in container["volumeMounts"] if mount["name"] == "keys")
    assert keys == f"{mount['mountPath']}/api_keys"
    for name in DOCKERFILES:
        assert command(name)[:2] == ["mllm-iqa", "serve"]
        assert command(name)[command(name).index("--api-keys") + 1] == "/run/secrets/api_keys"  # compose's place


def test_every_option_given_to_the_service_exists() -> None:
    if "serve" not in cli.FEATURES:
        pytest.skip("there is no serve command")
    (container,) = resources()["Deployment"]["spec"]["template"]["spec"]["containers"]
    given = {word for words in (container["args"], *map(command, DOCKERFILES)) for word in words if word[:2] == "--"}
    done = subprocess.run(
        [sys.executable, "-m", "mllm_iqa", "serve", "--help"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0
    assert {option for option in given if option not in done.stdout} == set()
