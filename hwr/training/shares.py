"""How devices and workers share a training: each computes its part of every batch, and all get the sums.

The sums are made by MXNet's key-value store: of one process (`local`), or of several (`dist_sync`, ps-lite).
"""

import ctypes
import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, TimeoutError, wait
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar

import mxnet as mx
import numpy as np
from mxnet.base import _LIB, check_call
from mxnet.gluon.parameter import Constant
from numpy.typing import NDArray

from hwr.errors import InputError

LOOK_S = 0.5  # between two looks at signals while others are waited for

B = TypeVar("B")
T = TypeVar("T")


@dataclass(frozen=True)
class Part(Generic[B]):
    """What a device computes of a batch: the samples `rows`."""

    context: Any
    rows: slice
    batch: B


class Shares:
    """The share of worker `rank` of a training, divided among its devices; by default that is all of it.

    `store` is the key-value store that joins the workers; None where there is but one. `seconds` were spent
    on sums so far, with the wait for other workers.
    """

    def __init__(self, contexts: Sequence[Any] = (), *, store: Any = None, rank: int = 0) -> None:
        self.contexts, self.rank = tuple(contexts) or (mx.cpu(),), rank
        self.workers = 1 if store is None else store.num_workers
        self.seconds = 0.0
        self._store = mx.kv.create("local") if store is None and len(self.contexts) > 1 else store
        self._keys = set[str]()
        self._thread = ThreadPoolExecutor(1)  # one: each would have OpenMP threads of its own

    @property
    def count(self) -> int:
        """Into how many parts a batch is divided."""
        return self.workers * len(self.contexts)

    def of(self, batch: B) -> list[Part[B]]:
        """Return the parts of a batch that this worker computes, one a device, but for empty ones.

        A part has every `count`-th sample. Its arrays stay padded as those of the batch are.
        """
        if self.count == 1:
            return [Part(self.contexts[0], slice(None), batch)]
        first = self.rank * len(self.contexts)
        parts = []
        for number, context in enumerate(self.contexts, first):
            rows = slice(number, None, self.count)
            own = {field.name: getattr(batch, field.name)[rows] for field in fields(batch)}  # type: ignore[arg-type]
            parts.append(Part(context, rows, replace(batch, **own)))  # type: ignore[type-var]
        return [part for part in parts if len(part.batch.ids)]  # type: ignore[attr-defined]

    def sum_up(self, parameters: Sequence[Any], losses: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give all devices of all workers the sums of their gradients, and return the losses of all samples.

        `losses` (N,) are those of the whole batch, zero where another worker has them. Running statistics
        become the mean over the parts, by their samples, so that all workers and devices agree on them.
        """
        if self.count == 1:
            return losses
        mx.nd.waitall()  # gradients are no communication
        begun, first = time.monotonic(), self.rank * len(self.contexts)
        rows = []
        for place, number in enumerate(range(first, first + len(self.contexts))):
            share = len(range(number, len(losses), self.count)) / len(losses)
            own = np.zeros_like(losses) if place else losses
            rows.append(_row(parameters, place, share, mx.nd.array(own, ctx=self.contexts[place])))
        self._exchange(rows)
        for place, row in enumerate(rows):
            at = 0
            for array in (*_gradients(parameters, place), *_statistics(parameters, place)):
                array[:] = row[at : at + array.size].reshape(array.shape)
                at += array.size
            for parameter in _learnt(parameters):
                parameter.list_data()[place]._fresh_grad = True  # also where its part was empty
        losses = rows[0][at:].asnumpy()
        self.seconds += time.monotonic() - begun
        return losses

    def first(self, value: float) -> float:
        """Return the value of worker 0; the others wait for it."""
        if self.workers == 1:
            return value
        octets = np.frombuffer(np.float64(value).tobytes(), np.uint8)  # servers keep float32
        row = mx.nd.array(octets * (self.rank == 0), dtype="float32")
        self._exchange([row])
        return float(np.frombuffer(row.asnumpy().astype(np.uint8).tobytes(), np.float64)[0])

    def check_ranks(self) -> None:
        """Raise InputError unless the ranks of the workers are their numbers from 0 on."""
        row = mx.nd.one_hot(mx.nd.array([self.rank]), self.workers)[0]
        self._exchange([row])
        if row.asnumpy().tolist() != [1.0] * self.workers:
            raise InputError(f"DMLC_WORKER_ID: number the workers from 0 to {self.workers - 1}, each once")

    def close(self) -> None:
        """Leave the other workers once all of them are here."""
        kept, self._store = [self._store], None
        _in_thread(self._thread, kept.clear)  # its destructor waits

    def _exchange(self, rows: Sequence[Any]) -> None:
        """Replace float32 arrays of one size, one a device, by their sum over devices and workers."""
        key, store = str(rows[0].size), self._store

        def exchange() -> None:
            if key not in self._keys:
                store.init(key, mx.nd.zeros_like(rows[0]))
                self._keys.add(key)
            store.push(key, list(rows))
            store.pull(key, out=list(rows))
            for row in rows:
                row.wait_to_read()

        _in_thread(self._thread, exchange)


def joined(contexts: Sequence[Any], *, rank: int, wait_s: float) -> Shares:
    """Return the share of worker `rank`, once all processes are there that ps-lite's variables ask for.

    Raises InputError where they are not within `wait_s`.
    """
    os.environ["DMLC_ROLE"] = "worker"
    try:
        store = _in_thread(ThreadPoolExecutor(1), lambda: mx.kv.create("dist_sync"), wait_s)
    except TimeoutError:
        place = f"{os.environ['DMLC_PS_ROOT_URI']}:{os.environ['DMLC_PS_ROOT_PORT']}"
        remedy = "see that every host reaches this address, or raise launch.join_s"
        raise InputError(f"{place}: not all processes joined within {wait_s:g} s; {remedy}") from None
    shares = Shares(contexts, store=store, rank=rank)
    shares.check_ranks()
    return shares


def serve(role: str) -> None:
    """Be the `scheduler` or a `server` of ps-lite until all workers have left.

    Call it in a process that has imported MXNet without DMLC_ROLE: else MXNet's own server runs, which
    unpickles what it is sent. This one knows no such command.
    """
    os.environ["DMLC_ROLE"] = role
    store = mx.kv.create("dist_sync")
    command = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *sent: None)
    check_call(_LIB.MXKVStoreRunServer(store.handle, command, None))


def _row(parameters: Sequence[Any], place: int, share: float, losses: Any) -> Any:
    """Return what a device adds to the sums, as one array: it travels faster than hundreds."""
    own = [array.reshape(-1) for array in _gradients(parameters, place)]
    own += [array.reshape(-1) * share for array in _statistics(parameters, place)]
    if not share:  # its gradients are those of the step before
        own = [mx.nd.zeros_like(array) for array in own]
    return mx.nd.concat(*own, losses, dim=0)


def _gradients(parameters: Sequence[Any], place: int) -> list[Any]:
    return [parameter.list_grad()[place] for parameter in _learnt(parameters)]


def _learnt(parameters: Sequence[Any]) -> list[Any]:
    return [parameter for parameter in parameters if parameter.grad_req != "null"]


def _statistics(parameters: Sequence[Any], place: int) -> list[Any]:
    """Return the arrays that the forward pass changes: means and variances of batch normalisation."""
    own = [p for p in parameters if p.grad_req == "null" and not isinstance(p, Constant)]
    return [parameter.list_data()[place] for parameter in own]


def _in_thread(thread: ThreadPoolExecutor, call: Callable[[], T], wait_s: float = math.inf) -> T:
    """Return what a call returns that waits for others in C, while this thread stays open to signals.

    A signal that comes just before this thread begins to wait does not wake it, so it looks again and again.
    """
    future, until = thread.submit(call), time.monotonic() + wait_s
    while not future.done() and time.monotonic() < until:
        wait([future], LOOK_S)
    return future.result(0)
