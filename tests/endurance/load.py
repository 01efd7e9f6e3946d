"""Clients that ask one server as fast as it answers, what each of them got, and the server's memory."""

import contextlib
import http.client
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ANSWER_S = 600.0  # the longest wait for an answer
MIB = 1 << 20


@dataclass(frozen=True)
class Body:
    """What is sent to a path: an image."""

    path: str
    content: bytes


@dataclass(frozen=True)
class Asked:
    """What became of a request: its status, or the error of the connection; begun and ended in seconds."""

    path: str
    status: int | str
    begun: float
    ended: float


@dataclass
class Server:
    """`hwr serve` in a process, and the address it told."""

    process: "subprocess.Popen[str]"
    port: int

    @property
    def memory(self) -> int:
        """The bytes of it and of all processes that it started."""
        own = psutil.Process(self.process.pid)
        return sum(process.memory_info().rss for process in (own, *own.children(recursive=True)))

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)
        with contextlib.closing(connection):
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}

    def end(self) -> tuple[int, str]:
        """Ask it to end; return its status and what it said on standard error."""
        self.process.send_signal(signal.SIGTERM)
        said = self.process.communicate(timeout=ANSWER_S)[1]
        return self.process.returncode, said


@contextlib.contextmanager
def serving(folder: Path, *words: str) -> Iterator[Server]:
    """Run a server for the block, killed at its end where it still runs; threads as it chooses."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    process = subprocess.Popen(
        [sys.executable, "-m", "hwr", "serve", str(folder), "port=0", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline()
        yield Server(process, int(address.partition("127.0.0.1:")[2].partition("/")[0]))
    finally:
        process.kill()
        process.communicate()


@dataclass
class Load:
    """`clients` threads, each of which asks again as soon as it is answered, or may come back."""

    server: Server
    bodies: Sequence[Body]
    clients: int
    every_s: float = 10.0  # between two looks at the memory
    asked: list[Asked] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)
    _ending: threading.Event = field(default_factory=threading.Event)

    def run(self, seconds: float) -> None:
        """Ask for so long, then begin no more, and have the server end while it still reads."""
        self._begun = time.monotonic()
        threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(self.clients)]
        for thread in threads:
            thread.start()
        while (left_s := self._begun + seconds - time.monotonic()) > 0:
            self.memory.append((time.monotonic() - self._begun, self.server.memory))
            time.sleep(min(self.every_s, left_s))
        self._ending.set()
        time.sleep(1)  # what was begun is sent
        self.ended = self.server.end()
        for thread in threads:
            thread.join()

    def _ask(self, number: int) -> None:
        rng = random.Random(number)
        while not self._ending.is_set():
            body, begun, wait_s = rng.choice(self.bodies), time.monotonic(), 0.0
            try:
                status, _, headers = self.server.ask("POST", body.path, body.content)
                wait_s = float(headers.get("retry-after", 0))
            except (OSError, http.client.HTTPException) as error:
                status = type(error).__name__  # type: ignore[assignment]
            self.asked.append(Asked(body.path, status, begun - self._begun, time.monotonic() - self._begun))
            self._ending.wait(wait_s)

    @property
    def statuses(self) -> Counter[int | str]:
        """How many requests got which answer."""
        return Counter(own.status for own in self.asked)

    def seconds(self, path: str) -> list[float]:
        """Return how long those that were served waited, sorted."""
        return sorted(own.ended - own.begun for own in self.asked if (own.path, own.status) == (path, 200))

    def __str__(self) -> str:
        """Return all figures."""
        lines = [f"requests by status: {dict(self.statuses)}"]
        for path in sorted({own.path for own in self.asked}):
            if len(waited := self.seconds(path)) > 1:
                cuts = statistics.quantiles(waited, n=20)
                lines.append(f"{path}: {len(waited)} served, p50 {cuts[9]:.1f} s, p95 {cuts[18]:.1f} s")
        lines += [f"{second:6.0f} s {size / MIB:7.0f} MiB" for second, size in self.memory]
        return "\n".join(lines)
