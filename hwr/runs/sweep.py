"""The parent run of a sweep or a search, and its finished and unfinished jobs.

A sweep is identified by a hash of what is swept, a job by a hash of its configuration, so that a killed one
continues when it is started again. Processes learn of their sweep by environment variables.
"""

import contextlib
import hashlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwr import runtime, tracking
from hwr.config import ROOT
from hwr.config.messages import one_line
from hwr.errors import InputError, masked
from hwr.files import held, make_folder, parse_json
from hwr.runs.job_table import (
    DIVERGED,
    FINISHED,
    PRUNED,
    SweepJob,
    bests,
    jobs_csv,
    jobs_markdown,
    named,
    repeated,
    repeated_markdown,
)
from hwr.tracking import Run, Store
from hwr.tracking.notes import repeating, write_note

SWEPT_VARIABLE = "HWR_SWEPT"  # what a job sweeps, as JSON
SWEEP_HASH, CONFIG_HASH, SWEPT, STATE, ERROR = "sweep_hash", "config_hash", "swept", "state", "error"  # tags
# Keys that change nothing of what is learnt: where a training lies, how it is recorded, how often it is kept.
NEUTRAL = ("folder", "tracking", "resume", "save_every", "max_pixels")
# Tags of jobs that their parent carries as well, with all their values.
COMMON = ("mlflow.source.git.commit", "changed", "data_fingerprint")
GRACE_S = 10.0  # a killed job has fallen by then
PATIENCE_S = 300.0  # a tracking server that is away when a job begins or ends is waited for


class Pruned(Exception):  # noqa: N818  (nothing went wrong)
    """A training is ended early, because others are better at the same epoch."""


class SweepRunsError(InputError):
    """Another process runs the sweep."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep: the `name` of its run, its store, the swept `keys`, and a `hash` of all of it.

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
    """Return the hash of a resolved configuration, without the keys that do not change what is learnt."""
    return hashed({key: value for key, value in values.items() if key not in NEUTRAL})


@contextlib.contextmanager
def parent(sweep: Sweep) -> Iterator[Run]:
    """Keep the run of a sweep open, as the parent of trainings in this process and its children.

    A sweep that did not finish is gone on with. At the end the run gets the best job and a table of all;
    where a job failed it ends as failed, and this exits with status 1. Raises SweepRunsError where another
    process has it.
    """
    make_folder(sweep.folder)
    store = tracking.open_store(sweep.uri, sweep.folder, sweep.experiment)
    with held(_lock(sweep.folder, sweep.hash), wait=False) as ours:
        if not ours:
            remedy = "wait until it ends, or end it first"
            raise SweepRunsError(f"{sweep.name}: runs already in {sweep.folder}; {remedy}")
        known = tracking.tagged(store, SWEEP_HASH, sweep.hash)
        here = (run for run in known if (sweep.folder / "runs" / run.id).is_dir())  # else another folder's
        before = next((run.id for run in here if sweep.again or run.status != FINISHED), None)
        revision = runtime.Revision.of(ROOT)
        code = {} if revision is None else revision.tags
        tags = {**sweep.tags, **code, SWEEP_HASH: sweep.hash, SWEPT: json.dumps(list(sweep.keys))}
        with tracking.start_run(store, sweep.name, run_id=before, tags=tags) as run, _announced(run):
            if before is not None:
                print(f"{sweep.name}: goes on in run {before}")
            try:
                yield run
            except BaseException as error:
                _conclude(run, sweep, ended=False)
                if isinstance(error, SystemExit) and error.code == 130:  # a job said so of an interrupt
                    raise KeyboardInterrupt from None
                raise
            ended_jobs = _conclude(run, sweep, ended=True)
            if any(job.status != FINISHED and job.state != DIVERGED for job in ended_jobs):
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


@contextlib.contextmanager
def claim(store: Store, config: str) -> Iterator[SweepJob | None]:
    """Lock the job of a configuration, given by its hash, and return the earlier job of it, if any.

    That is a job that ended, or was killed and can be resumed; None where this one is the first. No other
    process gets it meanwhile: it waits.
    """
    run = tracking.parent_run() or ""
    with held(_lock(store.folder, f"{run}-{config}")):
        yield _before(store, run, config)


def job(store: Store, config: str) -> SweepJob | None:
    """Return the job of this sweep with the configuration of this hash, where there is one."""
    stored_jobs = tracking.tagged(store, tracking.PARENT, tracking.parent_run() or "", _with(config))
    return next(map(stored_job, stored_jobs), None)


def opened_store(config: Any) -> Store:
    """Return the store of a training, waiting for it if it is away. Raises InputError if it stays away."""
    tracking.await_answer(config.tracking.uri, PATIENCE_S)
    return tracking.open_store(config.tracking.uri, Path(config.folder), config.tracking.experiment)


def record_failure(error: Exception, open_store: Callable[[], Store], *, state: str = "") -> None:
    """Print why the job of this process failed, and record it in its run, or in a new one if it has none.

    `state` is `job_table.DIVERGED` where that is an answer.
    """
    reason, details = one_line(error), masked("".join(traceback.format_exception(error)))
    if not isinstance(error, InputError):
        print(details, file=sys.stderr)
    print(f"error: job {job_name()}: {reason}", file=sys.stderr)
    try:
        _fail(open_store(), {ERROR: reason, **({STATE: state} if state else {})}, details)
    except InputError as away:  # the sweep finds at its end that this job has no result
        print(f"error: job {job_name()}: not recorded: {one_line(away)}", file=sys.stderr)


def _fail(store: Store, tags: Mapping[str, str], details: str) -> None:
    failed = "attributes.status = 'FAILED'"
    for job in tracking.tagged(store, tracking.PARENT, tracking.parent_run() or "", failed):
        if _swept(job.tags.get(SWEPT, "")) == swept():
            if (run := tracking.attach(store, job.id)) is not None:
                run.tags(tags)
                run.flush()
                return
            break
    tags = {**tags, **job_tags()}
    with contextlib.suppress(_Failed), tracking.start_run(store, job_name() or "job", tags=tags) as run:
        run.text("error.txt", details)
        raise _Failed


def threads(launcher: Mapping[str, Any], jobs: int, *, cores: int) -> int | None:
    """Return the threads for each of `jobs` that a launcher starts here; None: all of its machine."""
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


@contextlib.contextmanager
def _announced(run: Run) -> Iterator[None]:
    os.environ[tracking.PARENT_VARIABLE] = run.id
    try:
        yield
    finally:
        os.environ.pop(tracking.PARENT_VARIABLE, None)


def _swept(text: str) -> dict[str, Any]:
    try:
        values = parse_json(text)
    except ValueError:  # none, or cut
        return {}
    return values if isinstance(values, dict) else {}


def stored_job(stored: tracking.StoredRun) -> SweepJob:
    """Return the job of a sweep that a stored run is."""
    monitor, state = stored.parameters.get("monitor", ""), stored.tags.get(STATE, "")
    error = stored.tags.get(ERROR, "")
    if stored.status == FINISHED:  # what an earlier start met is over
        state, error = state if state == PRUNED else "", ""
    swept, value = _swept(stored.tags.get(SWEPT, "")), stored.metrics.get(f"best/{monitor}")
    return SweepJob(stored.id, stored.status, swept, monitor, value, state, error)


def _before(store: Store, run: str, config: str) -> SweepJob | None:
    """Return the job that can be gone on with; what can not, of this configuration or values, is deleted."""
    usable: SweepJob | None = None
    asked = (_with(config), f"attributes.status != '{FINISHED}'")  # not all: there may be ten thousand
    found = [stored for query in asked for stored in tracking.tagged(store, tracking.PARENT, run, query)]
    for stored in {stored.id: stored for stored in found}.values():
        same = stored.tags.get(CONFIG_HASH) == config
        ended = stored.status == FINISHED
        begun = (store.folder / "runs" / stored.id / "config.yaml").is_file()
        if same and usable is None and (ended or begun):
            usable = stored_job(stored)
        elif not ended and (same or (_swept(stored.tags.get(SWEPT, "")) == swept() and not begun)):
            tracking.forget(store, stored.id)
    return usable


def _with(config: str) -> str:
    return f"tags.{CONFIG_HASH} = '{config}'"


def _conclude(run: Run, sweep: Sweep, *, ended: bool) -> list[SweepJob]:
    """Log the best job of each monitor and the table of all; those that fell are ended.

    When all jobs have `ended`, also what they have in common, as MLflow's parameters never change.
    """
    tracking.await_answer(sweep.uri, PATIENCE_S)
    _end_fallen(run, sweep.folder)
    stored_jobs = list(reversed(tracking.tagged(run.store, tracking.PARENT, run.id)))
    ended_jobs = [stored_job(stored) for stored in stored_jobs]
    run.metrics({"jobs": len(ended_jobs), "jobs/finished": sum(job.complete for job in ended_jobs)}, 0)
    firsts = bests(ended_jobs)
    for monitor, first in firsts.items():
        run.metrics({f"best/{monitor}": first.value or 0.0}, 0)
        of = f"/{monitor}" if len(firsts) > 1 else ""
        swept = json.dumps(first.swept, ensure_ascii=False)
        run.tags({f"best_run{of}": first.id, f"best_swept{of}": swept})
    values = {name: [job.tags[name] for job in stored_jobs if name in job.tags] for name in COMMON}
    run.tags({name: " ".join(dict.fromkeys(own)) for name, own in values.items() if own})
    if ended:
        run.parameters(_common(stored_jobs, sweep.keys))
    groups = repeated(ended_jobs)
    for group in reversed(groups):  # the best of each monitor stays
        low, high = group.interval
        names = f"best/{group.monitor}"
        run.metrics({f"{names}/mean": group.mean, f"{names}/low": low, f"{names}/high": high}, 0)
    parts = [jobs_markdown(ended_jobs, sweep.keys), repeated_markdown(groups, sweep.keys)]
    table = "\n".join(filter(None, parts))
    run.text("sweep.csv", jobs_csv(ended_jobs, sweep.keys))
    run.text("sweep.md", table)
    about = f"{sweep.name} over {', '.join(sweep.keys)}: {len(ended_jobs)} jobs."
    write_note(run, [about, repeating(), table])
    print(f"{table}{sweep.name}: run {run.id}\nlook: {run.url}")
    return ended_jobs


def _common(stored_jobs: Sequence[tracking.StoredRun], keys: Sequence[str]) -> dict[str, str]:
    """Return the parameters that all jobs share, without the swept keys and what is below them."""
    shared = [set(stored.parameters.items()) for stored in stored_jobs if stored.parameters]
    below = tuple(f"{key}." for key in keys)
    common = sorted(set.intersection(*shared)) if shared else []
    return {key: value for key, value in common if key not in keys and not key.startswith(below)}


def _end_fallen(run: Run, folder: Path) -> None:
    """End the jobs that run on record alone, as no process holds their place or trains them any more."""
    deadline = time.monotonic() + GRACE_S
    for stored in tracking.tagged(run.store, tracking.PARENT, run.id, "attributes.status = 'RUNNING'"):
        of_configuration = _lock(folder, f"{run.id}-{stored.tags.get(CONFIG_HASH, '')}")
        locks = (of_configuration, folder / "runs" / stored.id / "lock")
        if all(_is_free(lock, deadline) for lock in locks):
            fallen = tracking.attach(run.store, stored.id)
            if fallen is not None:
                fallen.end_fallen()


def _is_free(lock: Path, deadline: float) -> bool:
    """Tell whether nobody holds a lock any more by a moment of the monotonic clock."""
    while True:
        with held(lock, wait=False) as free:
            if free or time.monotonic() >= deadline:
                return free
        time.sleep(0.1)
