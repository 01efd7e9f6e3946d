"""List the best runs of a data set, and the data sets that there are: hwr board."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from hwr import tracking
from hwr.config.compose import Composed
from hwr.config.roots import BoardConfig
from hwr.errors import InputError
from hwr.runs.job_table import named, repeated, without_seed
from hwr.runs.sweep import SWEEP_HASH, stored_job
from hwr.tables import ABSENT, text_table
from hwr.tracking import StoredRun
from hwr.tracking.delivery import DIGEST

FINGERPRINT = "data_fingerprint"  # tag of trainings
_RISING = {"cer": False, "mean_iou": True, "f1_50": True}  # score of evaluations -> more is better
_SHORT = 12  # characters of a fingerprint that are shown


@dataclass(frozen=True)
class Place:
    """A row of a board: the `value` of a `measure`, which run or group has it, and `order`, least first."""

    measure: str
    order: float
    value: str
    name: str
    run: str
    code: str


def print_board(composed: Composed, *, names: Sequence[str]) -> None:
    """Print the best runs of the data with a fingerprint that begins so; of none, all data sets."""
    config: BoardConfig = composed.root
    wanted = next(iter(names), None)
    if wanted is not None and not re.fullmatch(r"[0-9a-f]{1,64}", wanted):
        raise InputError(f"{wanted}: not the beginning of a fingerprint; see hwr board")
    store = tracking.open_store(config.tracking.uri, Path(config.folder), config.tracking.experiment)
    if wanted is None:
        print(data_table(tracking.search_runs(store, "")))
        return
    queries = f"tags.`{FINGERPRINT}` LIKE '{wanted}%'", f"dataset.digest LIKE '{wanted[:DIGEST]}%'"
    runs = {run.id: run for query in queries for run in tracking.search_runs(store, query)}
    digests = dict.fromkeys(
        own for run in runs.values() for own in _data(run) if own.startswith(wanted[:DIGEST])
    )
    if len(digests) != 1:
        several = f"begins {len(digests)} fingerprints ({', '.join(digests)}); give more of it"
        reason = several if digests else f"no run of such data in {store.uri}; see hwr board"
        raise InputError(f"{wanted}: {reason}")
    print(board(list(runs.values()), next(iter(digests)), config.top))


def data_table(runs: Sequence[StoredRun]) -> str:
    """Return the data sets of runs: name, fingerprint, how many trainings and evaluations read each."""
    trainings = [run for run in runs if _is_training(run)]
    others = [run for run in runs if tracking.WEIGHTS_RUN in run.tags]
    digests = dict.fromkeys(digest for run in runs for digest in _data(run))
    names = {digest: name for run in runs for digest, name in _data(run).items() if name != ABSENT}
    rows = [
        [
            names.get(digest, ABSENT),
            digest[:_SHORT],
            *(str(sum(digest in _data(run) for run in own)) for own in (trainings, others)),
        ]
        for digest in digests
    ]
    return (
        text_table(["data", "fingerprint", "trainings", "evaluations"], rows) if rows else "no runs of data"
    )


def board(runs: Sequence[StoredRun], digest: str, top: int) -> str:
    """Return the best runs of the data with a digest, at most `top` by each measure, as tables."""
    name = next((run.data[digest] for run in runs if digest in run.data), ABSENT)
    own = [run for run in runs if digest in _data(run)]
    places = sorted([*_trainings(own), *_evaluations(own)], key=lambda place: (place.measure, place.order))
    blocks = [f"data {name}, fingerprint {digest}"]
    for measure, group in groupby(places, key=lambda place: place.measure):
        ranked = list(group)
        rows = [[str(n), p.value, p.name, p.run, p.code] for n, p in enumerate(ranked[:top], 1)]
        blocks.append(text_table(["rank", measure, "name", "run", "code"], rows))
        if len(ranked) > top:
            blocks[-1] += f"\n{len(ranked) - top} more; top={len(ranked)} shows them"
    return "\n\n".join(blocks if places else [*blocks, "no run of it has a score"])


def _trainings(runs: Iterable[StoredRun]) -> Iterator[Place]:
    """Yield trainings that have an error; those of a sweep that differ in their seed alone as one."""
    groups: dict[tuple[str, ...], list[StoredRun]] = {}
    for run in filter(_is_training, runs):
        job = stored_job(run)
        if job.value is not None:
            key: tuple[str, ...] = (run.id,)
            if job.complete and "seed" in job.swept:
                key = (run.tags[tracking.PARENT], job.monitor, named(without_seed(job.swept)))
            groups.setdefault(key, []).append(run)
    for own in groups.values():
        yield _repeated(own) if len(own) > 1 else _training(own[0])


def _training(run: StoredRun) -> Place:
    job = stored_job(run)
    ended = "" if job.complete else f" ({(job.state or job.status).lower()})"
    value = job.value or 0.0
    return Place(f"best/{job.monitor}", value, f"{value:.4f}", _name(run) + ended, run.id, _code(run))


def _repeated(runs: Sequence[StoredRun]) -> Place:
    (group,) = repeated(list(map(stored_job, runs)))
    low, high = group.interval
    value = f"{group.mean:.4f} [{low:.4f}, {high:.4f}]"
    name = " ".join(filter(None, (runs[0].parameters.get("name"), named(group.swept))))
    parent = runs[0].tags[tracking.PARENT]
    return Place(
        f"best/{group.monitor}", group.mean, value, f"{name}, {len(runs)} seeds", parent, _code(runs[0])
    )


def _evaluations(runs: Iterable[StoredRun]) -> Iterator[Place]:
    for run in (run for run in runs if tracking.WEIGHTS_RUN in run.tags):
        for metric, value in run.metrics.items():
            where, _, score = metric.rpartition("/")
            if score in _RISING and where in ("test", "evaluation/valid", "evaluation/train"):
                order = -value if _RISING[score] else value
                yield Place(metric, order, f"{value:.4f}", _name(run), run.id, _code(run))


def _is_training(run: StoredRun) -> bool:
    return FINGERPRINT in run.tags and SWEEP_HASH not in run.tags


def _data(run: StoredRun) -> dict[str, str]:
    """Return the digests of the data that a run reads, with names; older runs have tags alone."""
    tagged = {run.tags[FINGERPRINT][:DIGEST]: ABSENT} if _is_training(run) else {}
    return {**tagged, **run.data}


def _name(run: StoredRun) -> str:
    return run.tags.get("mlflow.runName", "")


def _code(run: StoredRun) -> str:
    """Return the commit that a run was made with, and whether it was changed."""
    commit = run.tags.get("mlflow.source.git.commit", "")[:8]
    return f"{commit}+" if run.tags.get("changed") == "true" else commit
