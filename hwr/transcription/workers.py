"""Processes that answer questions, each a line of JSON; the death of one costs the answer it owed."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, TypeVar

from hwr.errors import InputError
from hwr.runtime import THREADS, termination

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_AHEAD = 4  # items for each worker that wait, or wait for an earlier one's answer
_START_S = 600.0  # within which a worker has loaded what it needs
_GRACE_S = 10.0  # for a worker that was asked to end


class WorkerEndedError(Exception):
    """A worker ended before it answered; the message says why."""


class StoppedError(Exception):
    """The workers were stopped before there was an answer."""


class Workers:
    """Processes that run `function` (`module:name`), each with its share of this one's threads.

    The first line that each is sent is `setting`, which it answers with `{}` or with `{"refused": why}`; they
    ignore the terminal, and are ended when no answer comes for `limit_s`.
    """

    def __init__(self, function: str, setting: Any, *, jobs: int, limit_s: float) -> None:
        self._function, self._setting, self._jobs, self._limit_s = function, setting, jobs, limit_s
        self._own, self._all = threading.local(), set[_Worker]()
        self._mutex, self._stopped = threading.Lock(), False

    def ready(self) -> "_Worker":
        """Return the worker of this thread, started where there is none.

        Raise InputError for one that refuses to start, or ends while it does.
        """
        worker: _Worker | None = getattr(self._own, "worker", None)
        if worker is None or not worker.alive:
            if worker is not None:
                worker.close()
            worker = self._started()
            try:
                answer = worker.ask(self._setting, _START_S)
            except WorkerEndedError as error:
                self._raise_if_stopped()
                raise InputError(f"--jobs: a process that reads pages {error} while it started") from None
            if "refused" in answer:
                raise InputError(answer["refused"])
            self._own.worker = worker
        return worker

    def ask(self, question: Any) -> Any:
        """Return the answer of this thread's worker; raise WorkerEndedError where there will be none."""
        try:
            return self.ready().ask(question, self._limit_s)
        except WorkerEndedError:
            self._raise_if_stopped()
            raise

    def in_order(
        self, items: Iterable[Item], answer: Callable[[Item], Answer], use: Callable[[Answer], object]
    ) -> None:
        """Hand each item's answer to `use`, in order; `answer` runs in as many threads as there are workers.

        Where it raises, what was answered by then is still used.
        """
        waiting: deque[Future[Answer]] = deque()
        pool = ThreadPoolExecutor(self._jobs)

        def use_first() -> None:
            answered = waiting[0].result()
            with termination.held_back():
                waiting.popleft()
                use(answered)

        try:
            for item in items:
                waiting.append(pool.submit(answer, item))
                while waiting and (waiting[0].done() or len(waiting) > _AHEAD * self._jobs):
                    use_first()
            while waiting:
                use_first()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            self._stop()
            for future in waiting:
                with contextlib.suppress(CancelledError, StoppedError, InputError):
                    use(future.result())
            for worker in self._all:
                worker.close()

    def _started(self) -> "_Worker":
        with self._mutex:
            if self._stopped:
                raise StoppedError
            threads = max(1, int(os.environ[THREADS]) // self._jobs)
            worker = _Worker(self._function, threads)
            self._all.add(worker)
            return worker

    def _stop(self) -> None:
        """End the workers; what they are writing is written."""
        with self._mutex:
            self._stopped = True
        for worker in self._all:
            worker.ask_to_end()
        for worker in self._all:
            worker.end(_GRACE_S)

    def _raise_if_stopped(self) -> None:
        if self._stopped:
            raise StoppedError


class _Worker:
    def __init__(self, function: str, threads: int) -> None:
        module, _, name = function.partition(":")
        # The same path as here: -c would put the current folder first.
        path = f"import sys; sys.path[:] = {sys.path!r}"
        begin = "from hwr import runtime; runtime.secure_output(lossy=True); runtime.start()"
        code = f"{path}; {begin}; from {module} import {name}; {name}(); runtime.finish()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, THREADS: str(threads)},
            start_new_session=True,  # Ctrl-C is for us: we end it
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, question: Any, limit_s: float) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: there is nothing to read
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
        waits = select.poll()
        waits.register(self._process.stdout, select.POLLIN)
        if not waits.poll(limit_s * 1000):
            self.end(0.0)
            raise WorkerEndedError(f"took longer than {limit_s:g} s and was ended; raise page_s")
        answer = self._process.stdout.readline()
        if not answer.endswith(b"\n"):
            self.end(_GRACE_S)
            raise WorkerEndedError(_ending(self._process.returncode))
        return json.loads(answer)

    def ask_to_end(self) -> None:
        self._process.terminate()

    def close(self) -> None:
        """Close the pipes, to which nobody may be listening; no other thread may use them then."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def end(self, grace_s: float) -> None:
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE_S)


def _ending(status: int | None) -> str:
    if status is not None and status < 0:
        killed = " (out of memory?)" * (status == -signal.SIGKILL)
        return f"was ended by {signal.Signals(-status).name}{killed}; lower --jobs or look at that page"
    return f"ended with status {status}; look at that page"
