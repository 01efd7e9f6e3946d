"""Deliver the records of a spool to a run of the tracking server: in order, none lost, none twice.

This happens during the run, in the background so that no training waits for a server, and in `sync` for runs
that ended while the server was unavailable.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from hwr.errors import first_line, masked, tell
from hwr.tracking.spool import JournalRecord, Sent, Spool
from hwr.tracking.store import deleted, reason

VALUES, SETTINGS = 1000, 100  # metrics, and parameters or tags, that MLflow takes in a request
DIGEST = 36  # characters that MLflow takes of a data set's digest

# Metrics wait this long for others: one request for many is a hundred times faster on sqlite. MLflow's server
# closes a connection that is idle for 5 s; a request at that very moment would be lost.
COMPANY_S = 4.0
PAUSES_S = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)  # after the first failure, the second, …; then the last for ever
BLOCK_S = 15.0  # a caller that wants something delivered waits this long for a slow server
FAREWELL_S = 10.0  # after this long at the end, what cannot be delivered stays
LONGEST_S = 300.0  # so long may a delivery take at the end that does not fail: weights over a slow line
HURRY_S = 10.0  # the same for a process that is asked to end
LOOK_S = 0.5  # so often who waits looks whether the thread lives, and whether there is a hurry


class FilesLeftError(Exception):
    """The server answers, but its artifact store refuses files."""


class DeletedError(Exception):
    """The run was deleted on the server."""


class Delivery:
    """Delivers the records of `spool` to the run `run_id`."""

    def __init__(self, client: MlflowClient, run_id: str, spool: Spool) -> None:
        self._client, self._run, self._spool = client, run_id, spool

    def __call__(self) -> list[JournalRecord]:
        """Deliver what waits, and return it.

        Whatever stops it is raised as MLflow raises it; what went before has arrived, and the rest waits.
        """
        if not self._spool.waiting():
            return []
        with self._spool.delivering():
            sent, waiting = self._spool.sent(), self._spool.waiting()
            for batch in _batches(self._spool.records(sent.offset)):
                sent = self._deliver(batch, sent)
            self._deliver_left(sent)
            return waiting

    def _deliver(self, batch: Sequence[JournalRecord], sent: Sent) -> Sent:
        """Send records of a kind, and keep that they arrived, or that files are left behind."""
        left = tuple(sent.left)
        if batch[0].kind == "metrics":
            unknown = self._unknown(batch) if sent.uncertain else _points(batch)
            self._spool.mark(replace(sent, uncertain=True))
            self._attempt(batch, unknown)
        elif batch[0].kind == "files":
            left += () if self._send_or_leave(batch[0]) is None else (batch[0].seq,)
        else:
            self._attempt(batch, [])
        sent = Sent(batch[-1].seq, batch[-1].end, uncertain=False, left=left)
        self._spool.mark(sent)
        return sent

    def _deliver_left(self, sent: Sent) -> None:
        """Send the files that were left behind; raise what stops the first, as it stops others too."""
        for record in self._spool.left(sent):
            if (failure := self._send_or_leave(record)) is not None:
                raise FilesLeftError(reason(failure)) from None
            sent = replace(sent, left=tuple(seq for seq in sent.left if seq != record.seq))
            self._spool.mark(sent)

    def _send_or_leave(self, record: JournalRecord) -> Exception | None:
        """Send files; where the server answers and what keeps its files does not, return what that says."""
        try:
            if self._attempt([record], []):
                self._spool.drop_files(record)
        except DeletedError:
            raise
        except Exception as error:  # of whatever keeps files: a disk, a bucket
            if not self._answers():
                raise
            return error
        return None

    def _attempt(self, batch: Sequence[JournalRecord], points: Sequence[Metric]) -> bool:
        """Send records; those that the server does not take, now or later, are noted; tell if it took all."""
        try:
            self._send(batch, points)
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            if self._deleted():
                uri = masked(str(self._client.tracking_uri))
                raise DeletedError(deleted(uri, "runs", self._run)) from None
            if len(batch) == 1:
                said, record = first_line(error), batch[0]
                self._spool.refuse(record, said)
                where = f"kept in {self._spool.folder}"
                tell(f"tracking: {record.kind} of run {self._run} refused ({said}); {where}")
            else:
                for record in batch:
                    times = {record.time_ms}
                    self._attempt([record], [point for point in points if point.timestamp in times])
            return False
        return True

    def _send(self, batch: Sequence[JournalRecord], points: Sequence[Metric]) -> None:
        for start in range(0, len(points), VALUES):
            self._client.log_batch(self._run, metrics=points[start : start + VALUES])
        for record in batch:
            if record.kind != "metrics":
                getattr(self, f"_send_{record.kind}")(record)

    def _send_parameters(self, record: JournalRecord) -> None:
        known = self._client.get_run(self._run).data.params  # they are immutable
        fresh = [Param(key, value) for key, value in record.content["values"].items() if key not in known]
        for start in range(0, len(fresh), SETTINGS):
            self._client.log_batch(self._run, params=fresh[start : start + SETTINGS])

    def _send_tags(self, record: JournalRecord) -> None:
        tags = [RunTag(key, value) for key, value in record.content["values"].items()]
        for start in range(0, len(tags), SETTINGS):
            self._client.log_batch(self._run, tags=tags[start : start + SETTINGS])

    def _send_inputs(self, record: JournalRecord) -> None:
        """Send a data set; MLflow keeps one of a name and a digest for a run, however often it is sent."""
        content = record.content
        dataset = Dataset(
            content["name"],
            content["fingerprint"][:DIGEST],
            "local" if "uri" in content["source"] else "code",
            json.dumps(content["source"], ensure_ascii=False),
            profile=json.dumps(content["profile"], ensure_ascii=False),
        )
        inputs = [DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, content["context"])])]
        try:
            self._client.log_inputs(self._run, inputs)
        except MlflowException as error:
            if error.error_code != "BAD_REQUEST":
                raise
            self._client.log_inputs(self._run, inputs)  # another run stored the same data set meanwhile

    def _send_files(self, record: JournalRecord) -> None:
        folder = self._spool.folder / record.content["place"]
        if folder.is_dir():  # else they arrived before
            self._client.log_artifacts(self._run, str(folder), record.content["into"] or None)

    def _send_status(self, record: JournalRecord) -> None:
        status = record.content["status"]
        if status == "RUNNING":
            self._client.update_run(self._run, status=status)
        else:
            self._client.set_terminated(self._run, status, end_time=record.time_ms)

    def _unknown(self, batch: Sequence[JournalRecord]) -> list[Metric]:
        """Return the values that the server does not have; a name and a time tell each from all others."""
        points = _points(batch)
        known = {
            (name, point.timestamp)
            for name in {point.key for point in points}
            for point in self._client.get_metric_history(self._run, name)
        }
        return [point for point in points if (point.key, point.timestamp) not in known]

    def _answers(self) -> bool:
        try:
            return not self._deleted()
        except Exception:
            return False

    def _deleted(self) -> bool:
        return str(self._client.get_run(self._run).info.lifecycle_stage) != "active"


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


def _batches(records: Iterable[JournalRecord]) -> Iterator[list[JournalRecord]]:
    """Yield records in order: neighbouring metrics together, as many as a request takes, others alone."""
    batch: list[JournalRecord] = []
    room = 0
    for record in records:
        size = max(1, len(record.content["values"])) if record.kind == "metrics" else VALUES
        if batch and size > room:
            yield batch
            batch = []
        room = (room if batch else VALUES) - size
        batch.append(record)
    if batch:
        yield batch


def _points(records: Sequence[JournalRecord]) -> list[Metric]:
    return [
        Metric(key, float(value), record.time_ms, record.content["step"])
        for record in records
        for key, value in record.content["values"].items()
    ]
