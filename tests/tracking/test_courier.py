"""The courier delivers soon, waits for nobody long, and tries again."""

import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from hwr.tracking import delivery
from hwr.tracking.delivery import Courier

COMPANY_S = delivery.COMPANY_S  # as it comes: tests set a shorter one


class Door:
    """Where a courier delivers: it counts, and refuses or keeps the courier waiting where told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.refuses = False
        self.open = threading.Event()
        self.open.set()
        self.told: list[str] = []

    def __call__(self) -> None:
        self.calls += 1
        self.open.wait(10)
        if self.refuses:
            raise OSError("nobody there")

    def tell(self, failure: BaseException | None) -> None:
        self.told.append(str(failure or "back"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "COMPANY_S", 0.1)
    monkeypatch.setattr(delivery, "PAUSES_S", (0.05, 0.1))
    monkeypatch.setattr(delivery, "FAREWELL_S", 0.3)
    monkeypatch.setattr(delivery, "BLOCK_S", 0.3)


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
def sent(door: Door) -> Iterator[Courier]:
    """Return a courier to the door."""
    background = Courier(door, door.tell)
    yield background
    door.open.set()
    background.close()


def until(condition: object) -> bool:
    """Wait for a condition some seconds; tell whether it came."""
    assert callable(condition)
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(condition())


def test_posts_are_delivered_together_after_a_while(door: Door, sent: Courier) -> None:
    for _ in range(5):
        sent.post()
    assert door.calls == 0
    assert until(lambda: door.calls == 1)
    time.sleep(0.3)
    assert door.calls == 1


def test_metrics_are_sent_before_the_server_closes_an_idle_connection() -> None:
    assert uvicorn.Config("").timeout_keep_alive - 0.5 > COMPANY_S


def test_post_during_a_delivery_is_delivered_after_it(door: Door, sent: Courier) -> None:
    door.open.clear()
    sent.post()
    assert until(lambda: door.calls == 1)
    sent.post()
    door.open.set()
    assert until(lambda: door.calls == 2)


def test_flush_returns_when_a_delivery_that_began_after_it_is_done(door: Door, sent: Courier) -> None:
    assert sent.flush()
    assert door.calls == 1
    assert sent.flush()
    assert door.calls == 2


def test_flush_does_not_wait_long_for_a_slow_server(door: Door, sent: Courier) -> None:
    door.open.clear()
    start = time.monotonic()
    assert not sent.flush()
    assert 0.2 < time.monotonic() - start < 2


def test_flush_does_not_try_when_the_last_delivery_failed(
    door: Door, sent: Courier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "PAUSES_S", (60.0,))
    door.refuses = True
    assert not sent.flush()
    assert not sent.flush()
    assert door.calls == 1


def test_failed_delivery_is_tried_again_and_again(door: Door, sent: Courier) -> None:
    door.refuses = True
    sent.post()
    assert until(lambda: door.calls >= 4)
    door.refuses = False
    assert until(lambda: not sent.failing)
    calls = door.calls
    time.sleep(0.3)
    assert door.calls == calls


def test_outage_is_told_once_and_its_end_too(door: Door, sent: Courier) -> None:
    door.refuses = True
    sent.post()
    assert until(lambda: door.calls >= 3)
    door.refuses = False
    assert until(lambda: door.told[1:] == ["back"])
    assert door.told == ["nobody there", "back"]


def test_close_tries_for_a_bounded_time(door: Door, sent: Courier) -> None:
    door.refuses = True
    start = time.monotonic()
    assert not sent.close()
    assert 0.2 < time.monotonic() - start < 5
    assert door.calls >= 2


def test_close_waits_for_a_delivery_that_goes_on(door: Door, sent: Courier) -> None:
    door.open.clear()
    threading.Timer(0.6, door.open.set).start()  # longer than it would try again
    assert sent.close()
    assert door.calls == 1


def test_close_ends_the_thread_and_a_later_post_starts_another(door: Door, sent: Courier) -> None:
    def alive() -> int:
        return sum(thread.name == "tracking" for thread in threading.enumerate())

    before = alive()
    sent.post()
    assert alive() == before + 1
    assert sent.close()
    assert alive() == before
    sent.post()
    assert until(lambda: door.calls == 2)


def test_courier_survives_whatever_a_delivery_raises(door: Door) -> None:
    told: list[str] = []

    def deliver() -> None:
        if not told:
            raise KeyError("status")

    one = Courier(deliver, lambda failure: told.append(repr(failure)))
    one.post()
    assert until(lambda: told == ["KeyError('status')", "None"])
    assert one.close()


@pytest.mark.parametrize("error", [BrokenPipeError, ValueError, SystemExit])
def test_courier_survives_a_message_that_cannot_be_told(door: Door, error: type[BaseException]) -> None:
    def deliver() -> None:
        door()
        if door.calls == 1:
            raise error

    def tell(failure: BaseException | None) -> None:
        raise BrokenPipeError

    one = Courier(deliver, tell)
    one.post()
    assert until(lambda: door.calls == 2)
    assert one.close()


def test_thread_that_died_is_told_and_replaced(
    door: Door, sent: Courier, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(Courier, "_work", lambda self: None)
        assert not sent.flush()
    assert door.told == ["the thread that delivers ended"]
    assert sent.close()
    assert door.told == ["the thread that delivers ended", "back"]


def test_system_without_threads_fails_no_caller(
    door: Door, sent: Courier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as broken:
        broken.setattr(threading.Thread, "start", full)
        sent.post()
        assert not sent.flush()
        start = time.monotonic()
        assert not sent.close()
        assert time.monotonic() - start < 2
    assert door.told == ["can't start new thread"]
    assert sent.close()


@pytest.mark.parametrize(("hurry", "limit"), [(False, "LONGEST_S"), (True, "HURRY_S")])
def test_end_waits_for_no_delivery_for_ever(
    door: Door, monkeypatch: pytest.MonkeyPatch, hurry: bool, limit: str
) -> None:
    monkeypatch.setattr(delivery, limit, 0.5)
    one = Courier(door, door.tell, lambda: hurry)
    door.open.clear()
    start = time.monotonic()
    one.post()
    assert not one.close()
    assert 0.3 < time.monotonic() - start < 3
    door.open.set()
    assert one.close()


def test_end_does_not_wait_for_the_pause_of_a_delivery_that_fails_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery, "PAUSES_S", (60.0,))
    monkeypatch.setattr(delivery, "FAREWELL_S", 0.5)
    began, goes_on = threading.Event(), threading.Event()

    def deliver() -> None:
        began.set()
        goes_on.wait(10)
        raise ConnectionError

    made = delivery.Courier(deliver, lambda failure: None)
    monkeypatch.setattr(delivery, "COMPANY_S", 0.0)
    made.post()
    assert began.wait(10)
    threading.Timer(0.2, goes_on.set).start()
    start = time.monotonic()
    assert not made.close()
    assert time.monotonic() - start < 10
