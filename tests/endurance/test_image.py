"""The image, built by buildah on a Debian system made for it, with no engine; its server, and MLflow's."""

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.endurance.server import free_port
from tests.test_image import ROOT, at, services, words

pytestmark = pytest.mark.endurance

TOOLS = ("buildah", "debootstrap", "setpriv")
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
CONFINED = ("setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--clear-groups",
            "--reuid=1000", "--regid=1000")  # fmt: skip


@dataclass(frozen=True)
class Image:
    """The image, and a container of it."""

    storage: Path
    container: str = ""

    def buildah(self, *rest: str, timeout: float = 900) -> str:
        done = subprocess.run(
            [*self._command, *rest], cwd=ROOT, capture_output=True, text=True, check=False, timeout=timeout
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def command(self, *rest: str, **environment: str) -> list[str]:
        """Return a command of the container: as compose runs it, without rights, in /data."""
        given = [f"--env={name}={value}" for name, value in ({"HOME": "/home/hwr"} | environment).items()]
        run = ["run", "--isolation=chroot", "--user=0:0", *given, self.container, "--"]
        return [*self._command, *run, *CONFINED, *rest]

    @contextlib.contextmanager
    def running(self, *rest: str, **environment: str) -> Iterator["subprocess.Popen[str]"]:
        process = subprocess.Popen(
            self.command(*rest, **environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    @property
    def _command(self) -> list[str]:
        places = [f"--root={self.storage / 'images'}", f"--runroot={self.storage / 'run'}"]
        return ["buildah", *places, "--storage-driver=vfs"]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """Build the image: Debian and its Python stand in for the base image, which has the same ones."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(
            f"the image is built as root with {', '.join(TOOLS)}: apt-get install buildah debootstrap"
        )
    folder = tmp_path_factory.mktemp("image")
    made = Image(folder)
    base = folder / "base"
    debian = [
        "debootstrap",
        "--variant=minbase",
        "--include=python3,python3-venv,ca-certificates",
        "bookworm",
    ]
    subprocess.run([*debian, str(base)], check=True, capture_output=True, timeout=600)
    (base / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    shutil.copy(Path("/", CERTIFICATES), base / CERTIFICATES)
    container = made.buildah("from", "scratch").strip()
    made.buildah("add", container, str(base), "/")
    trusted = [f"--env={name}=/{CERTIFICATES}" for name in ("SSL_CERT_FILE", "PIP_CERT")]
    made.buildah("config", *trusted, container)
    made.buildah("commit", "--rm", container, "base")
    shutil.rmtree(base)
    made.buildah(
        "bud", "--isolation=chroot", "--layers=false", "--build-arg=BASE=localhost/base", "-t", "hwr", "."
    )
    try:
        yield Image(folder, made.buildah("from", "hwr").strip())
    finally:
        made.buildah("rm", "--all")
        made.buildah("rmi", "--all", "--force")
        shutil.rmtree(folder)


def test_image_holds_the_locked_packages_and_no_tools_of_development(image: Image) -> None:
    listed = subprocess.run(
        image.command("/opt/hwr/bin/pip", "list", "--format=freeze"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    packages = {line.lower().replace("_", "-") for line in listed.split()}
    packages = {line for line in packages if not line.startswith(("hwr==", "pip==", "setuptools=="))}
    assert [line for line in packages if f"\n{line} " not in lock] == []
    assert not {line.partition("==")[0] for line in packages} & {"pytest", "mypy", "ruff", "uv", "openvino"}


def test_image_scores_with_sclite_on_forms_that_it_draws(image: Image) -> None:
    few = ["data.pages={train: 1, valid: 1, test: 2}", "data.writers={train: 1, valid: 1, test: 2}"]
    command = image.command("hwr", "evaluate", "weights.line=line/synthetic", *few, "scorer=sclite")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CER" in done.stdout


def test_served_page_is_healthy_reads_and_asks_for_its_token(image: Image) -> None:
    port = free_port()
    command = [*words("ENTRYPOINT"), *words("CMD"), f"port={port}"]
    with image.running(*command) as process:
        assert "set HWR_TOKEN" in process.communicate(timeout=120)[0]
    with image.running(*command, HWR_TOKEN="secret") as process:
        until_healthy(process, image.command(*at(port, words("HEALTHCHECK"))))
        picture = (ROOT / "docs/pictures/page.jpg").read_bytes()
        assert asked(port, "POST", "/v1/pages?format=txt", picture)[0] == 401
        status, text = asked(port, "POST", "/v1/pages?format=txt", picture, Authorization="Bearer secret")
        assert (status, len(text.split()) > 20) == (200, True)
        assert asked(port, "GET", "/v1/work", Authorization="Bearer secret")[0] == 200


def test_composed_mlflow_is_healthy_and_answers_only_to_its_names(image: Image) -> None:
    port = free_port()
    service = services()["mlflow"]
    command = [word.replace("--port=5000", f"--port={port}") for word in service["command"]]
    with image.running(*service["entrypoint"], *command, **service["environment"]) as process:
        until_healthy(process, image.command(*at(port, service["healthcheck"]["test"][1:])))
        search = "/api/2.0/mlflow/experiments/search?max_results=1"
        assert asked(port, "GET", search, Host="mlflow:5000")[0] == 200
        assert asked(port, "GET", search, Host="example.org")[0] == 403


def until_healthy(process: "subprocess.Popen[str]", check: list[str]) -> None:
    end = time.monotonic() + 180
    while subprocess.run(check, capture_output=True, check=False, timeout=60).returncode != 0:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "not healthy after three minutes"
        time.sleep(1)


def asked(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
