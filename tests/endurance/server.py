"""A real MLflow server in processes of its own, that can be killed and started again."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
POOL = {"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "50", "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "30"}
UP_S = 120.0  # it takes eight seconds on an idle machine


class Server:
    """A server whose files lie in `folder`, its `database` too unless given; always at the same address."""

    def __init__(self, folder: Path, database: str | None = None, *, workers: int = 1) -> None:
        self.folder = folder
        self.port = free_port()
        self._database = database or f"sqlite:///{folder}/mlflow.db"
        self._workers = workers
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        words = ["--backend-store-uri", self._database, "--workers", str(self._workers)]
        words += ["--artifacts-destination", str(self.folder / "artifacts"), "--port", str(self.port)]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *words],
                env={**os.environ, **QUIET, **(POOL if self._database.startswith("postgresql") else {})},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + UP_S
        while time.monotonic() < deadline:
            assert self._process.poll() is None, "mlflow server ended"
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer,
            ):
                if answer.status == 200:
                    return
            time.sleep(0.2)
        raise AssertionError(f"mlflow server does not answer after {UP_S} s")

    def signal(self, number: int) -> None:
        """Send a signal to all of its processes."""
        if self._process is not None:
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """Kill all of its processes."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)
            self._process.wait(30)
            self._process = None


def free_port() -> int:
    with socket.socket() as once:
        once.bind(("127.0.0.1", 0))
        return int(once.getsockname()[1])
