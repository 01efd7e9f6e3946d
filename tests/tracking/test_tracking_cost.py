"""What tracking costs a training: a small share of its time."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from hwr import tracking
from hwr.tracking import Store, delivery
from hwr.tracking.delivery import Delivery

EPOCHS, EPOCH_S = 20, 0.25
METRICS = {f"train/{number}": 0.5 for number in range(8)}


@pytest.mark.slow
def test_tracking_takes_a_small_share_of_an_epoch(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    worked: list[float] = []  # by the thread that delivers, on a processor
    own = Delivery.__call__

    def timed(delivery: Delivery) -> Any:
        start = time.thread_time()
        try:
            return own(delivery)
        finally:
            worked.append(time.thread_time() - start)

    monkeypatch.setattr(Delivery, "__call__", timed)
    monkeypatch.setattr(delivery, "COMPANY_S", 1.0)  # five deliveries in these few seconds
    waited = 0.0
    with tracking.start_run(store, "test", tags={}) as run:
        run.metrics(METRICS, 0)
        run.flush()  # the first takes longest
        worked.clear()
        for epoch in range(1, EPOCHS + 1):
            time.sleep(EPOCH_S)
            waited += seconds(lambda: run.metrics(METRICS, epoch))  # noqa: B023
        during = list(worked)
    assert len(during) >= 3
    assert waited + sum(during) < 0.1 * EPOCHS * EPOCH_S  # under 0.02 on an idle machine


def seconds(call: Callable[[], object]) -> float:
    start = time.monotonic()
    call()
    return time.monotonic() - start
