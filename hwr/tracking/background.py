"""A thread that delivers records in the background, so that no training waits for a server."""

import contextlib
import threading
import time
from collections.abc import Callable

COMPANY_S = 5.0  # metrics wait this long for others: one request for many is a hundred times faster on sqlite
PAUSES_S = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)  # after the first failure, the second, …; then the last for ever
BLOCK_S = 15.0  # a caller that wants something delivered waits this long for a slow server
FAREWELL_S = 10.0  # after this long at the end, what cannot be delivered stays
LONGEST_S = 300.0  # so long may a delivery take at the end that does not fail: weights over a slow line
HURRY_S = 10.0  # the same for a process that is asked to end
LOOK_S = 0.5  # so often who waits looks whether the thread lives, and whether there is a hurry


class Courier:
    """Calls `deliver` in its own thread: soon after `post`, at once for `flush`, and again after a failure.

    `tell` hears why a delivery fails, and None when one succeeds again. While there is a `hurry`, because the
    process is asked to end, no slow server is waited for.
    """

    def __init__(
        self,
        deliver: Callable[[], object],
        tell: Callable[[BaseException | None], None],
        hurry: Callable[[], bool] = lambda: False,
    ) -> None:
        self._deliver, self._tell, self._hurry = deliver, tell, hurry
        self._state = threading.Condition()
        self._thread: threading.Thread | None = None
        self._due: float | None = None  # when to deliver next; None while nothing waits
        self._delivered = time.monotonic()
        self._failures = 0
        self._begun = self._ended = 0  # deliveries, failed ones too

    @property
    def failing(self) -> bool:
        """Tell whether the last delivery failed."""
        return self._failures > 0

    def post(self) -> None:
        """Deliver within a few seconds."""
        with self._state:
            if self._due is None:
                self._wake(self._delivered + COMPANY_S)

    def flush(self) -> bool:
        """Deliver now and return whether it succeeded; do not wait if the last delivery failed."""
        begun = time.monotonic()
        with self._state:
            return not self.failing and self._delivery(lambda: begun + (0 if self._hurry() else BLOCK_S))

    def close(self) -> bool:
        """Deliver now, retrying for some seconds; end the thread, and return whether it succeeded."""
        begun = time.monotonic()

        def until() -> float:
            return begun + (HURRY_S if self._hurry() else FAREWELL_S if self.failing else LONGEST_S)

        with self._state:
            while not (done := self._delivery(until)) and (left := until() - time.monotonic()) > 0:
                self._state.wait(min(left, PAUSES_S[0]))
            thread, self._thread = self._thread, None
            self._state.notify_all()
        if thread is not None:
            thread.join(BLOCK_S if done else 0)  # one that hangs in a request ends with the process
        return done

    def _delivery(self, until: Callable[[], float]) -> bool:
        """Wait for a delivery that begins from now on; tell whether it ended in time and succeeded."""
        wanted = self._begun + 1
        self._wake(time.monotonic())
        while self._ended < wanted and self._lives() and (left := until() - time.monotonic()) > 0:
            self._state.wait(min(left, LOOK_S))
        return self._ended >= wanted and not self.failing

    def _wake(self, due: float) -> None:
        """Deliver at `due`, in a new thread if there is none."""
        self._due = due
        if not self._lives():
            thread = threading.Thread(target=self._work, name="tracking", daemon=True)
            try:
                thread.start()
                self._thread = thread
            except RuntimeError as error:  # the system has no more of them
                self._count(error)
        self._state.notify_all()

    def _lives(self) -> bool:
        """Tell whether the thread lives; one that ended without being asked to is a failure."""
        if self._thread is not None and not self._thread.is_alive():
            self._thread = None
            self._count(RuntimeError("the thread that delivers ended"))
        return self._thread is not None

    def _work(self) -> None:
        while self._wait():
            failure: BaseException | None = None
            try:
                self._deliver()
            except BaseException as error:  # whatever a server does, the training goes on, and says so
                failure = error
            with self._state:
                if threading.current_thread() is self._thread:  # else nobody waits for it any more
                    self._ended = self._begun
                    self._count(failure)

    def _wait(self) -> bool:
        """Wait until something is due; False when nothing more will be."""
        with self._state:
            while threading.current_thread() is self._thread:
                left = None if self._due is None else self._due - time.monotonic()
                if left is not None and left <= 0:
                    self._due = None
                    self._begun += 1
                    return True
                self._state.wait(left)
            return False

    def _count(self, failure: BaseException | None) -> None:
        failed_before, self._failures = self.failing, self._failures + 1 if failure else 0
        if failure:
            later = time.monotonic() + PAUSES_S[min(self._failures, len(PAUSES_S)) - 1]
            self._due = later if self._due is None else min(self._due, later)
        else:
            self._delivered = time.monotonic()
        self._state.notify_all()
        if failed_before != self.failing:
            with contextlib.suppress(Exception):  # a message ends no delivery
                self._tell(failure)
