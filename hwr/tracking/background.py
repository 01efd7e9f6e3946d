"""A thread that delivers records in the background, so that no training waits for a server."""

import threading
import time
from collections.abc import Callable

COMPANY_S = 5.0  # metrics wait this long for others: one request for many is a hundred times faster on sqlite
PAUSES_S = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)  # after the first failure, the second, …; then the last for ever
BLOCK_S = 15.0  # a caller that wants something delivered waits this long for a slow server
FAREWELL_S = 10.0  # after this long at the end, what cannot be delivered stays


class Courier:
    """Calls `deliver` in its own thread: soon after `post`, at once for `flush`, and again after a failure.

    `tell` hears why a delivery fails, and None when one succeeds again.
    """

    def __init__(self, deliver: Callable[[], object], tell: Callable[[BaseException | None], None]) -> None:
        self._deliver, self._tell = deliver, tell
        self._state = threading.Condition()
        self._thread: threading.Thread | None = None
        self._due: float | None = None  # when to deliver next; None while nothing waits
        self._delivered = time.monotonic()
        self._failures = 0
        self._begun = self._ended = 0  # deliveries, failed ones too
        self._closed = False

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
        with self._state:
            if self.failing:
                return False
            return self._delivery(BLOCK_S) and not self.failing

    def close(self) -> bool:
        """Deliver now, retrying for some seconds; end the thread, and return whether it succeeded."""
        deadline = time.monotonic() + FAREWELL_S
        with self._state:
            while True:
                self._delivery(None)
                left = deadline - time.monotonic()
                if not self.failing or left <= 0:
                    break
                self._state.wait(min(left, PAUSES_S[0]))
            self._closed = True
            self._state.notify_all()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        return not self.failing

    def _delivery(self, patience_s: float | None) -> bool:
        """Wait for a delivery that begins from now on; tell whether it ended in time."""
        wanted = self._begun + 1
        self._wake(time.monotonic())
        return self._state.wait_for(lambda: self._ended >= wanted, patience_s)

    def _wake(self, due: float) -> None:
        self._due = due
        self._closed = False
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
            self._thread.start()
        self._state.notify_all()

    def _work(self) -> None:
        while self._wait():
            failure: BaseException | None = None
            try:
                self._deliver()
            except Exception as error:  # whatever a server does, the training goes on, and says so
                failure = error
            self._count(failure)

    def _wait(self) -> bool:
        """Wait until something is due; False when nothing more will be."""
        with self._state:
            while not self._closed:
                left = None if self._due is None else self._due - time.monotonic()
                if left is not None and left <= 0:
                    self._due = None
                    self._begun += 1
                    return True
                self._state.wait(left)
            return False

    def _count(self, failure: BaseException | None) -> None:
        with self._state:
            failed_before, self._failures = self.failing, self._failures + 1 if failure else 0
            if failure:
                later = time.monotonic() + PAUSES_S[min(self._failures, len(PAUSES_S)) - 1]
                self._due = later if self._due is None else min(self._due, later)
            else:
                self._delivered = time.monotonic()
            self._ended = self._begun
            self._state.notify_all()
        if failed_before != self.failing:
            self._tell(failure)
