"""Small trainings through the command line that are ended in every way at random moments, and resumed.

All are forks of one process that has imported everything, so that one takes about two seconds of a core.

python -m tests.endurance.ending FOLDER COUNT [PORT of a tracking server, which then goes away at times]
"""

import contextlib
import faulthandler
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.endurance.proxy import HANG, PASS, REFUSE, Proxy

LIMIT_S = (
    30.0  # after a signal, a process has ended; after closed output, one that has nothing to do any more
)
SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGHUP": signal.SIGHUP}
CLOSED = {"stdout": (1,), "stderr": (2,), "terminal": (1, 2)}
KINDS = (*SIGNALS, *CLOSED)
MIXED = ("SIGKILL", "SIGTERM", "SIGHUP")  # what ends a training that is resumed, half of the time
COMMAND = (
    "experiments=line/smoke", "network.stem=4", "network.channels=[4,6,8]", "network.hidden=8",
    "data.pages={train: 3, valid: 1, test: 1}", "data.writers={train: 3, valid: 1, test: 1}",
    "data.lines=[3,4]", "phases.ctc.epochs=3", "phases.plain.epochs=2", "save_every=1e-4",
)  # fmt: skip


@dataclass
class Process:
    """A fork that runs a command: its output, kept in files or read through pipes that can be closed."""

    pid: int
    said: Path
    pipes: dict[int, int] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def wait(self, seconds: float, *, fair: bool = False) -> int | None:
        """Return the exit status as subprocess does, or None while it runs after so many seconds.

        `fair`: seconds in which its threads wait for a core do not count, on a machine that is busy.
        """
        deadline, before = time.monotonic() + seconds, self._starved_s()
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            late = time.monotonic() - deadline
            if late >= 0 and not (fair and late < self._starved_s() - before):
                return None
            time.sleep(0.01)

    def _starved_s(self) -> float:
        """Return the seconds in which its threads, and its children's, have waited for a core."""
        processes = [self.pid]
        for pid in processes:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    processes += map(int, children.read_text(encoding="ascii").split())
        waits = 0
        for pid in processes:
            for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError):
                    waits += int(thread.read_text(encoding="ascii").split()[1])
        return waits / 1e9

    def close(self, descriptors: tuple[int, ...]) -> None:
        for number in descriptors:
            if number in self.pipes:
                os.close(self.pipes.pop(number))

    def read(self) -> None:
        """Keep what is still to be read from its pipes beside the output of others."""
        with self.said.open("ab") as file:
            for end in self.pipes.values():
                while block := os.read(end, 65536):
                    file.write(block)
        self.close((1, 2))

    def hung(self) -> str:
        """End a process that hangs, and return where it did."""
        os.kill(self.pid, signal.SIGABRT)
        if self.wait(5) is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait(5)
        return self.said.with_suffix(".trace").read_text(encoding="utf-8")


def started(words: list[str], said: Path, *, piped: bool = False) -> Process:
    """Run a command of hwr in a fork."""
    from hwr.__main__ import main

    pipes = {number: os.pipe() for number in (1, 2)} if piped else {}
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setpgid(0, 0)
            trace = said.with_suffix(".trace").open("w")
            faulthandler.enable(trace)
            file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            for number in (1, 2):
                os.dup2(pipes[number][1] if piped else file, number)
            os.closerange(3, trace.fileno())
            os.closerange(trace.fileno() + 1, 256)
            for number, name in ((1, "stdout"), (2, "stderr")):  # which knew the files of before
                stream = open(number, "w", closefd=False)  # noqa: SIM115
                setattr(sys, name, stream)
                setattr(sys, f"__{name}__", stream)
            main(words)
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
            os._exit(status)
    for _, end in pipes.values():
        os.close(end)
    return Process(pid, said, {number: ends[0] for number, ends in pipes.items()})


@dataclass
class Small:
    """The small training: where it is copied from, what it comes to, and how long it takes."""

    home: Path
    proxy: Proxy | None
    generator: random.Random
    whole: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def prepare(self) -> None:
        """Train without an interruption, twice: the first draws the pages."""
        for name in ("first", "whole"):
            folder = self.fresh(name)
            begun = time.monotonic()
            process = started(self.words(folder), folder / "said")
            assert process.wait(600) == 0, process.said.read_text(encoding="utf-8")
            self.seconds = time.monotonic() - begun
            self.whole = self.ended(folder)[0]
            if name == "first":
                shutil.copytree(folder / "cache", self.home / "template" / "cache")

    def fresh(self, name: str) -> Path:
        folder = self.home / name
        template = self.home / "template"
        template.mkdir(parents=True, exist_ok=True)
        shutil.copytree(template, folder)
        return folder

    def words(self, folder: Path, *own: str) -> list[str]:
        return ["train", *(own or COMMAND), f"folder={folder}", *self.tracking(folder)]

    def tracking(self, folder: Path) -> list[str]:
        if self.proxy is None:
            return []
        uri = f"http://127.0.0.1:{self.proxy.port}"
        return [f"tracking.uri={uri}", f"tracking.experiment={self.home.name}-{folder.name}"]

    def ended(self, folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
        """Return what the finished run in a folder has come to, and the statuses of all runs."""
        return _in_fork(lambda: _ended(folder, self.tracking(folder)))


def repeat(small: Small, kind: str, number: int) -> dict[str, Any]:
    """Start a training, end it, resume it until it has finished; return what was seen, or raise."""
    folder, generator = small.fresh(f"{kind}-{number}"), small.generator
    seen: dict[str, Any] = {"kind": kind, "statuses": [], "slowest_s": 0.0, "outages": 0}
    attempt = 0
    while True:
        ending = kind if attempt == 0 else generator.choice(MIXED) if generator.random() < 0.5 else ""
        if attempt > 4:
            ending = ""
        words = small.words(folder)
        if list(folder.glob("runs/*/config.yaml")):
            words = small.words(folder, "resume=last")
        status = _interrupted(
            small, started(words, folder / f"said{attempt}", piped=ending in CLOSED), ending, seen
        )
        seen["statuses"].append(status)
        _check_status(small, status, ending, folder / f"said{attempt}")
        attempt += 1
        if status == 0:
            break
        assert attempt < 12, f"{folder}: does not end"
    seen["attempts"] = attempt
    process = started(["sync", str(folder)], folder / "said-sync")
    assert process.wait(60) == 0, process.said.read_text(encoding="utf-8")
    whole, statuses = small.ended(folder)
    assert whole == small.whole, f"{folder}: other bits"
    assert "RUNNING" not in statuses.values(), f"{folder}: {statuses}"
    assert sum(status == "FINISHED" for status in statuses.values()) == 1, f"{folder}: {statuses}"
    shutil.rmtree(folder)
    return seen


def _interrupted(small: Small, process: Process, ending: str, seen: dict[str, Any]) -> int:
    """End a process in a way, at any moment, while its server may be away; return its exit status."""
    generator, length, proxy = small.generator, small.seconds, small.proxy
    deadline = [process.started + LIMIT_S + 5 * length]

    def end() -> None:
        if ending in SIGNALS:
            os.kill(process.pid, SIGNALS[ending])
            deadline[0] = time.monotonic() + LIMIT_S
        else:
            process.close(CLOSED[ending])

    events: list[tuple[float, Callable[[], object]]] = []
    if ending:
        events.append((generator.uniform(0, length), end))
    if proxy is not None and generator.random() < 0.7:
        away, state = generator.uniform(0, length), generator.choice([REFUSE, HANG])
        events.append((away, partial(proxy, state)))
        if generator.random() < 0.5:  # else it stays away until the process has ended
            events.append((away + generator.uniform(0, 3), partial(proxy, PASS)))
        seen["outages"] += 1
    status = None
    for at, act in sorted(events, key=lambda event: event[0]):
        status = process.wait(process.started + at - time.monotonic())
        if status is not None:
            break
        act()
    since = time.monotonic()
    if status is None:
        status = process.wait(deadline[0] - time.monotonic(), fair=True)
    if proxy is not None:
        proxy(PASS)
    seen["slowest_s"] = max(seen["slowest_s"], round(time.monotonic() - since, 1))
    if status is None:
        raise AssertionError(f"{process.said}: hangs after {ending or 'nothing'}: {process.hung()}")
    process.read()
    return status


def _check_status(small: Small, status: int, ending: str, said: Path) -> None:
    """Raise AssertionError for an exit status, or words, that a user should not see."""
    text = said.read_text(encoding="utf-8") if said.exists() else ""
    expected = {0}
    if ending in SIGNALS:
        expected |= {-SIGNALS[ending], 128 + SIGNALS[ending]}
    away = "tracking.uri=" in text or ending in CLOSED
    if small.proxy is not None and away:  # it was away when the training began
        expected.add(2)
    assert status in expected and "Traceback" not in text, f"{said}: {ending or 'nothing'}: {status}: {text}"


def _ended(folder: Path, tracking: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    from hwr.tracking import open_store

    uri, experiment = (word.partition("=")[2] for word in tracking) if tracking else (None, "hwr")
    store = open_store(uri, folder, experiment)
    statuses = {run.info.run_id: run.info.status for run in store.client.search_runs([store.experiment])}
    (place,) = (path.parents[2] for path in folder.glob("runs/*/weights/best/manifest.json"))
    manifests = {path.parent.name: path.read_text("utf-8") for path in place.glob("weights/*/manifest.json")}
    found: dict[str, Any] = {
        name: json.loads(text)["sha256"]["network.params"] for name, text in manifests.items()
    }
    for metric in store.client.get_run(place.name).data.metrics:
        if not metric.startswith("time/"):
            history = store.client.get_metric_history(place.name, metric)
            found[metric] = sorted([one.step, one.value] for one in history)
    return found, statuses


def _in_fork(work: Callable[[], Any]) -> Any:
    """Return what a function does in a fork, as JSON: this process opens no database."""
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            with os.fdopen(write, "w") as out:
                json.dump(work(), out)
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        text = answer.read()
    os.wait()
    return json.loads(text)


def _main(home: Path, count: int, port: int | None) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # forks get no team of threads
    for number in SIGNALS.values():
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
    proxy = Proxy(port) if port else None
    from sqlalchemy.orm import configure_mappers

    from hwr import runtime

    runtime.start()
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

    import hwr.runs.hydra_callback
    import hwr.runs.train
    import hwr.stages.line.training  # noqa: F401

    configure_mappers()
    seed = int(os.environ.get("HWR_SEED", random.SystemRandom().randrange(2**31)))
    small = Small(home, proxy, random.Random(seed))
    small.prepare()
    counts: Counter[str] = Counter()
    slowest: dict[str, float] = {}
    failed = 0
    begun = time.monotonic()
    for number in range(count):
        for kind in KINDS:
            try:
                seen = repeat(small, kind, number)
            except AssertionError as error:
                failed += 1
                print(
                    json.dumps({"kind": kind, "number": number, "seed": seed, "failed": str(error)}),
                    flush=True,
                )
                continue
            counts[kind] += 1
            slowest[kind] = max(slowest.get(kind, 0.0), seen["slowest_s"])
            print(json.dumps(seen), flush=True)
    if proxy is not None:
        proxy.end()
    table = {kind: [counts[kind], slowest.get(kind)] for kind in KINDS}
    print(
        json.dumps(
            {
                "ended": table,
                "failed": failed,
                "seconds": round(time.monotonic() - begun),
                "whole_s": small.seconds,
            }
        )
    )
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
