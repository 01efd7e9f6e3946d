"""The run around the jobs of a sweep or a search, and what a job has to know: which are done, which begun.

A sweep is found again by the hash of what is swept, its jobs by the hash of their configuration: one that
was killed goes on when it is started again. Processes learn of their sweep by environment variables.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwr import tracking
from hwr.errors import InputError
from hwr.files import held, make_folder
from hwr.runs.job_table import DIVERGED, FINISHED, PRUNED, Job, best, csv_table, markdown, named
from hwr.tracking import Run, Store

SWEPT_VARIABLE = "HWR_SWEPT"  # what a job sweeps, as JSON
SWEEP_HASH, CONFIG_HASH, SWEPT, STATE, ERROR = "sweep_hash", "config_hash", "swept", "state", "error"  # tags
# Keys that change nothing of what is learnt: where a training lies, how it is recorded, how often it is kept.
NEUTRAL = ("folder", "tracking", "resume", "save_every", "max_pixels")
GRACE_S = 10.0  # a killed job has fallen by then
PATIENCE_S = 300.0  # a tracking server that is away when a job begins or ends is waited for


class Pruned(Exception):  # noqa: N818  (nothing went wrong)
    """A training is given up, as others at the same epoch are better."""


class SweepRunsError(InputError):
    """Another process runs the sweep."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is swept: the `name` of its run, where it is recorded, the swept `keys`, a `hash` of all of it.

    `again` tells that a sweep that finished may go on as well.
    """

    name: str
    folder: Path
    uri: str | None
    experiment: str
    keys: Sequence[str]
    hash: str
    tags: Mapping[str, str]
    again: bool = False


def hashed(values: Any) -> str:
    """Return the SHA-256 of plain nested values, in hexadecimal, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def config_hash(values: Mapping[str, Any]) -> str:
    """Return the hash of a resolved configuration, without what changes nothing of what is learnt."""
    return hashed({key: value for key, value in values.items() if key not in NEUTRAL})


@contextlib.contextmanager
def parent(sweep: Sweep) -> Iterator[Run]:
    """Keep the run of a sweep open, that trainings of this process and of its children name as their parent.

    A sweep that did not finish is gone on with. At the end the run gets the best job and a table of all;
    where a job failed it ends as failed, and this exits with status 1. Raises SweepRunsError where another
    process has it.
    """
    make_folder(sweep.folder)
    store = tracking.open_store(sweep.uri, sweep.folder, sweep.experiment)
    with held(_lock(sweep.folder, sweep.hash), wait=False) as ours:
        if not ours:
            raise SweepRunsError(
                f"{sweep.name}: runs already in {sweep.folder}; wait until it ends, or end it first"
            )
        before = _unfinished(store, sweep)
        tags = {**sweep.tags, SWEEP_HASH: sweep.hash, SWEPT: json.dumps(list(sweep.keys))}
        with tracking.run(store, sweep.name, run_id=before, tags=tags) as run, _announced(run):
            if before is not None:
                print(f"{sweep.name}: goes on in run {before}")
            try:
                yield run
            except SystemExit as ended:
                if ended.code == 130:  # a job said so of an interrupt
                    raise KeyboardInterrupt from None
                raise
            finally:
                found = _conclude(run, sweep)
            if any(job.status != FINISHED and job.state != DIVERGED for job in found):
                raise SystemExit(1)


def swept() -> dict[str, Any]:
    """Return what the job of this process sweeps: key -> value; empty outside of a sweep."""
    return _swept(os.environ.get(SWEPT_VARIABLE, ""))


def job_name() -> str | None:
    """Return the name of the job of this process; None outside of a sweep."""
    return named(swept()) or None


def job_tags() -> dict[str, str]:
    """Return the tags that make a run the job of this process; none outside of a sweep."""
    run = tracking.parent_run()
    return {} if run is None else {tracking.PARENT: run, SWEPT: os.environ.get(SWEPT_VARIABLE, "{}")}


def jobs(store: Store, run: str) -> list[Job]:
    """Return the jobs of the sweep `run` in the order they were started."""
    return [_job(found) for found in reversed(tracking.tagged(store, tracking.PARENT, run))]


@contextlib.contextmanager
def place(store: Store, config: str) -> Iterator[Job | None]:
    """Hold the place of a configuration in the sweep, given by its hash, and tell who had it before.

    That is a job that ended, or was killed and can be resumed; None where this one is the first. No other
    process gets the place meanwhile: it waits.
    """
    run = tracking.parent_run() or ""
    with held(_lock(store.folder, f"{run}-{config}")):
        yield _before(store, run, config)


def job(store: Store, config: str) -> Job | None:
    """Return the job of this sweep with the configuration of this hash, where there is one."""
    found = tracking.tagged(store, tracking.PARENT, tracking.parent_run() or "")
    return next((_job(one) for one in found if one.tags.get(CONFIG_HASH) == config), None)


def fail(store: Store, reason: str, *, details: str, state: str = "") -> None:
    """Record why the job of this process failed: in its run, or in a fresh one where it has none.

    `state` is `ranking.DIVERGED` where that is an answer.
    """
    own = [
        found
        for found in tracking.tagged(store, tracking.PARENT, tracking.parent_run() or "")
        if _swept(found.tags.get(SWEPT, "")) == swept() and found.status == "FAILED"
    ]
    tags = {ERROR: reason, **({STATE: state} if state else {})}
    run = tracking.attach(store, own[0].id) if own else None
    if run is not None:
        run.tags(tags)
        run.flush()
        return
    tags |= job_tags()
    name = job_name() or "job"
    with contextlib.suppress(_Failed), tracking.run(store, name, run_id=None, tags=tags) as fresh:
        fresh.text("error.txt", details)
        raise _Failed


def threads(launcher: Mapping[str, Any], jobs: int, *, cores: int) -> int | None:
    """Return the threads for each of `jobs` that a launcher starts here; None for all of where a job runs."""
    kind = str(launcher["_target_"]).rpartition(".")[2]
    if kind == "JoblibLauncher":
        asked = int(launcher["n_jobs"])
        at_once = min(jobs, asked if asked > 0 else max(1, cores + 1 + asked))
        return max(1, cores // at_once)
    if kind == "LocalLauncher":  # of submitit: it starts all at once
        return int(launcher.get("cpus_per_task") or max(1, cores // jobs))
    if kind == "RayLauncher":
        return int(launcher["ray"]["remote"].get("num_cpus") or 1)
    return None


class _Failed(Exception):  # noqa: N818
    """Ends a run as failed."""


def _lock(folder: Path, name: str) -> Path:
    return folder / "sweeps" / "locks" / f"{name}.lock"


def _unfinished(store: Store, sweep: Sweep) -> str | None:
    found = tracking.tagged(store, SWEEP_HASH, sweep.hash)
    here = (run for run in found if (sweep.folder / "runs" / run.id).is_dir())  # else another folder's
    return next((run.id for run in here if sweep.again or run.status != FINISHED), None)


@contextlib.contextmanager
def _announced(run: Run) -> Iterator[None]:
    os.environ[tracking.PARENT_VARIABLE] = run.id
    try:
        yield
    finally:
        os.environ.pop(tracking.PARENT_VARIABLE, None)


def _swept(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:  # none, or cut
        return {}
    return found if isinstance(found, dict) else {}


def _job(found: tracking.Outcome) -> Job:
    monitor, state = found.parameters.get("monitor", ""), found.tags.get(STATE, "")
    error = found.tags.get(ERROR, "")
    if found.status == FINISHED:  # what an earlier start met is over
        state, error = state if state == PRUNED else "", ""
    swept, value = _swept(found.tags.get(SWEPT, "")), found.metrics.get(f"best/{monitor}")
    return Job(found.id, found.status, swept, monitor, value, state, error)


def _before(store: Store, run: str, config: str) -> Job | None:
    """Return the job that can be gone on with; what can not, of this configuration or values, is deleted."""
    usable: Job | None = None
    for found in tracking.tagged(store, tracking.PARENT, run):
        same = found.tags.get(CONFIG_HASH) == config
        ended = found.status == FINISHED
        begun = (store.folder / "runs" / found.id / "config.yaml").is_file()
        if same and usable is None and (ended or begun):
            usable = _job(found)
        elif not ended and (same or (_swept(found.tags.get(SWEPT, "")) == swept() and not begun)):
            tracking.forget(store, found.id)
    return usable


def _conclude(run: Run, sweep: Sweep) -> list[Job]:
    """Log the best job and the table of all; those that fell are ended."""
    tracking.await_answer(sweep.uri, PATIENCE_S)
    _end_fallen(run, sweep.folder)
    found = jobs(run.store, run.id)
    first, table = best(found), markdown(found, sweep.keys)
    run.metrics({"jobs": len(found), "jobs/finished": sum(job.complete for job in found)}, 0)
    if first is not None and first.value is not None:
        run.metrics({f"best/{first.monitor}": first.value}, 0)
        run.tags({"best_run": first.id, "best_swept": json.dumps(first.swept, ensure_ascii=False)})
    run.text("sweep.csv", csv_table(found, sweep.keys))
    run.text("sweep.md", table)
    print(f"{table}{sweep.name}: run {run.id}\nlook: {run.url}")
    return found


def _end_fallen(run: Run, folder: Path) -> None:
    """End the jobs that run on record alone, as no process holds their place or trains them any more."""
    deadline = time.monotonic() + GRACE_S
    for found in tracking.tagged(run.store, tracking.PARENT, run.id):
        place = _lock(folder, f"{run.id}-{found.tags.get(CONFIG_HASH, '')}")
        locks = (place, folder / "runs" / found.id / "lock")
        if found.status == "RUNNING" and all(_is_free(lock, deadline) for lock in locks):
            fallen = tracking.attach(run.store, found.id)
            if fallen is not None:
                fallen.end_fallen()


def _is_free(lock: Path, deadline: float) -> bool:
    """Tell whether nobody holds a lock any more by a moment of the monotonic clock."""
    while True:
        with held(lock, wait=False) as free:
            if free or time.monotonic() >= deadline:
                return free
        time.sleep(0.1)
