"""Train a stage: build it, record the run, train, save the weights."""

import json
import shutil
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hwr import runtime, tracking, weights
from hwr.config import ROOT
from hwr.config.compose import Composed
from hwr.config.roots import TrainConfig
from hwr.errors import InputError, NoRoomError, optional
from hwr.files import as_input_error, make_folder, write_json
from hwr.networks import arrays, set_arrays
from hwr.runs import resume as resuming
from hwr.runs import sweep
from hwr.runs.job_table import FINISHED, PRUNED
from hwr.stages.build import Training, build_training
from hwr.stages.kind import DataSource, Recipe
from hwr.stages.recipe import parse_recipe
from hwr.tracking import Run, SystemMetrics
from hwr.tracking.notes import about_training, write_note
from hwr.training import checkpoint
from hwr.training.loop import Plan, Step, Tracker, fit, nothing_left
from hwr.training.shares import Shares

Watch = Callable[[Mapping[str, float], int], None]
Join = Callable[[Sequence[Any]], Shares]  # makes the share that devices of this process have of a training


def train_stage(composed: Composed, *, watch: Watch | None = None, join: Join = Shares) -> float:
    """Train as configured, and return the best monitored error; a finished job of a sweep is not repeated.

    `watch` hears of the metrics of every epoch, and may raise `sweep.Pruned` to end the training. Where
    workers share it this is the first of them, and the others `follow`.
    """
    if tracking.parent_run() is None:
        return _resumed_or_new(composed, watch, join)
    store = sweep.opened_store(composed.root)
    with sweep.claim(store, sweep.config_hash(composed.values)) as before:
        if before is not None and before.status == FINISHED and before.value is not None:
            best = f"best {before.monitor} {before.value:.4f}"
            print(f"{sweep.job_name()}: trained already, {best}, run {before.id}")
            return before.value
        resume = None if before is None else before.id
        root = replace(composed.root, resume=resume)
        return _resumed_or_new(replace(composed, root=root), watch, join)


def follow(composed: Composed, *, join: Join) -> None:
    """Train beside the first worker, which alone validates, records the run and keeps its state."""
    folder = None
    if composed.root.resume:
        folder = resuming.find(Path(composed.root.folder), composed.root.resume)
        composed = resuming.configuration(folder, composed)
    recipe, shares = _prepared(composed.root, folder, join)
    if shares.first(False):  # nothing is left to train
        return
    training = build_training(recipe, progress=False)
    state, _ = _state(training, folder or Path(composed.root.folder), shares)
    stage, unheard = training.built.stage, _Unheard()
    fit(stage, recipe.plan, checkpoint=state, tracker=unheard, report=unheard.step, shares=shares)


def _resumed_or_new(composed: Composed, watch: Watch | None, join: Join) -> float:
    """Train in a new run, or go on with one that no other process trains."""
    if not composed.root.resume:
        return _train(composed, None, watch, join)
    folder = resuming.find(Path(composed.root.folder), composed.root.resume)
    with resuming.alone(folder):
        return _train(resuming.configuration(folder, composed), folder, watch, join)


def _train(composed: Composed, resumed: Path | None, watch: Watch | None, join: Join) -> float:
    """Train in a new run, or in the folder of the one that is `resumed`."""
    config: TrainConfig = composed.root
    recipe, shares = _prepared(config, resumed, join)
    make_folder(Path(config.folder))
    store = tracking.open_store(config.tracking.uri, Path(config.folder), config.tracking.experiment)
    before = None if resumed is None else _ended_with(recipe.plan, resumed, store)
    shares.first(before is not None)  # the other workers end as well
    if before is not None:
        return before
    training = build_training(recipe, progress=True)
    start = _start(training, composed)
    differences = resuming.compare(resumed, start) if resumed is not None else []
    for difference in differences:
        print(f"resume: {difference}: the bits may be others than without an interruption")
    name, tags = sweep.job_name() or config.name, _tags(composed, training)
    run_id = resumed.name if resumed is not None else None
    with tracking.start_run(store, name, run_id=run_id, tags=tags) as current, ExitStack() as held:
        folder = _folder(current, composed)
        make_folder(folder)
        if resumed is None:
            held.enter_context(resuming.alone(folder))
        resuming.describe(folder, composed.yaml, start)
        _describe(current, composed, training, resumed=resumed is not None)
        _log_data(current, recipe.data, training)
        if resumed is None:
            write_note(current, about_training(current, composed, recipe.data.name))
        if shares.count > 1:
            current.tags({"shared by": f"{shares.workers} workers with {len(shares.contexts)} devices each"})
        if differences:
            _tell_differences(current, start, differences)
        tracker: Tracker = resuming.Once(current) if resumed is not None else current
        if watch is not None:
            tracker = _Watched(tracker, watch)
        state, position = _state(training, folder, shares)
        print(position, end="")
        train = partial(fit, training.built.stage, recipe.plan, tracker=tracker, shares=shares)
        best = _fit(current, composed, training, state, train)
        print(f"best {config.monitor} {best:.4f}\nweights {folder / 'weights' / 'best'}")
        print(f"run {current.id}\nlook: {current.url}")
    return best


def _ended_with(plan: Plan, place: Path, store: tracking.Store) -> float | None:
    """Say so where nothing is left to train of a run that finished, and return its best error."""
    at = checkpoint.stored_progress(place / resuming.STATE)
    if not nothing_left(plan, at) or tracking.status(store, place.name) != FINISHED:
        return None
    best = f"best {plan.monitor} {at.best:.4f}"
    print(f"resume={place.name}: finished at epoch {at.epoch}, {best}; nothing is left to train")
    return at.best


class Bar:
    """A training's progress bar: loss, samples a second, time left of the phase."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._phase = ""

    def __enter__(self) -> "Bar":
        """Open nothing yet: the first step tells how many there are."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()

    def __call__(self, step: Step) -> None:
        """Show a step."""
        if self._bar is None or self._phase != step.phase:
            self.__exit__()
            seldom = 0.5 if sys.stderr.isatty() else 30.0  # s
            self._bar = tqdm(
                total=step.total, initial=step.step - 1, desc=step.phase, unit="batch", mininterval=seldom
            )
            self._phase = step.phase
        rate = step.samples / step.seconds
        said = f"epoch {step.epoch + 1}, loss {step.loss:.3f}, {rate:.1f} samples/s"
        self._bar.set_postfix_str(said, refresh=False)
        self._bar.update()


@dataclass(frozen=True)
class _Watched:
    """A tracker whose metrics another hears of as well."""

    tracker: Tracker
    watch: Watch

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self.tracker.metrics(values, step)
        self.watch(values, step)


def _tags(composed: Composed, training: Training) -> dict[str, str]:
    revision = runtime.Revision.of(ROOT)
    tags = {"stage": composed.root.stage["kind"], "data_fingerprint": training.fingerprint,
            "left_out": "; ".join(training.report.told()) or "nothing",
            "overrides": " ".join(composed.overrides)}  # fmt: skip
    if training.built.alphabet is not None:
        tags["alphabet"] = training.built.alphabet.hash
    code = revision.tags if revision is not None else {}
    return tags | code | {sweep.CONFIG_HASH: sweep.config_hash(composed.values)} | sweep.job_tags()


def _start(training: Training, composed: Composed) -> dict[str, str]:
    """Return what a resumed training is compared with: data, and what the bits depend on."""
    described, revision = runtime.describe(), runtime.Revision.of(ROOT)
    about = ("mxnet", "numpy", "processor", "instruction_set", "threads", "engine")
    packages = {name: metadata.version(name) for name in ("opencv-python-headless", "albumentations")}
    return {
        "started": datetime.now(timezone.utc).isoformat(timespec="microseconds"),
        "fingerprint": training.fingerprint,
        **resuming.digests(composed.root),
        resuming.OVERRIDES: json.dumps(composed.overrides),
        "code": "unknown" if revision is None else revision.code,
        **{key: described[key] for key in about},
        **packages,
    }


def _folder(current: Run, composed: Composed) -> Path:
    return Path(composed.root.folder) / "runs" / current.id


def _describe(current: Run, composed: Composed, training: Training, *, resumed: bool) -> None:
    current.parameters(composed.values)
    current.text("config.yaml", composed.yaml)
    if not resumed:
        current.text("overrides.txt", "\n".join(composed.overrides) + "\n")
    inspection = training.report.as_dict()
    current.json("data/inspection.json", inspection)
    write_json(_folder(current, composed) / "inspection.json", inspection)
    current.json("environment.json", {**runtime.describe(), "packages": _packages()})
    revision = runtime.Revision.of(ROOT)
    if revision is not None and revision.diff and not resumed:
        current.text("git/diff.patch", revision.diff)
    if training.took and not resumed:
        current.tags({"init": training.took})
        print(f"init: {training.took}")
    with optional("picture of augmented samples"):
        current.picture("pictures/augmented.png", training.built.augmented(composed.root.seed))
    print(*training.report.summary(), f"run {current.id}: {training.built.size}", sep="\n")


def _log_data(current: Run, data: DataSource, training: Training) -> None:
    used = training.report.used
    profile = {"num_rows": sum(used.values()), "lines": used, "sets": training.report.sets}
    current.inputs(data.name, training.fingerprint, context="training", root=data.root, profile=profile)


def _tell_differences(current: Run, start: Mapping[str, str], differences: Sequence[str]) -> None:
    """Record what a resumed training depends on that has changed since it was started last."""
    current.tags({f"resumed {start['started'][:19]}": "; ".join(differences)})
    revision = runtime.Revision.of(ROOT)
    if revision is not None and revision.diff and any(one.startswith("code ") for one in differences):
        current.text(f"git/{revision.code.rpartition(' ')[2]}.patch", revision.diff)


def _prepared(config: TrainConfig, resumed: Path | None, join: Join) -> tuple[Recipe[Any], Shares]:
    """Prepare the process, and return what is trained, and the share that this process has of it."""
    recipe = parse_recipe(config)
    if config.few_shapes:
        runtime.keep_few_shapes()
    runtime.start()
    if resumed is not None and resuming.has_state(resumed):  # then what it started from is not needed
        recipe = replace(recipe, init=None)
    shares = join(recipe.contexts)
    if recipe.batch_size < shares.count:
        reason = f"{shares.count} workers or devices cannot share so few samples"
        raise InputError(f"batch_size={recipe.batch_size}: {reason}; raise it, or take fewer")
    return recipe, shares


def _state(training: Training, run_folder: Path, shares: Shares) -> tuple[checkpoint.Checkpoint, str]:
    """Return where the run in `run_folder` is, and a text that says so; a new run is at its beginning.

    Raises InputError where another worker starts with other data or weights than the first one.
    """
    stage, said = training.built.stage, ""
    if len(shares.contexts) > 1:
        stage.network.collect_params().reset_ctx(list(shares.contexts))
    state = checkpoint.Checkpoint(stage.network, run_folder / resuming.STATE)
    if resuming.has_state(run_folder):
        damage = state.restore()
        position = f"resume: on from epoch {state.progress.epoch + 1}, batch {state.progress.step + 1}"
        said = "".join(f"{line}\n" for line in (damage, position) if line)
    if shares.workers > 1:
        digest = zlib.crc32(f"{training.fingerprint} {stage.steps()} {state.progress}".encode())
        for value in arrays(stage.network).values():
            digest = zlib.crc32(value.tobytes(), digest)
        if shares.first(digest) != digest:
            reason = "starts with other data or weights than worker 0"
            raise InputError(
                f"worker {shares.rank} {reason}; let folder and data be the same on all machines"
            )
    return state, said


class _Unheard:
    """A tracker and a report of steps that nobody hears of."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        pass

    def step(self, step: Step) -> None:
        pass


def _fit(
    current: Run, composed: Composed, training: Training, state: checkpoint.Checkpoint,
    train: Callable[..., float],
) -> float:  # fmt: skip
    """Train from where the run is, and keep the weights that there are, whatever ends the training."""
    try:
        with Bar() as bar:
            report = _reporting(bar, current, composed.root.system_metrics)
            best = train(checkpoint=state, report=report)
    except sweep.Pruned:
        current.tags({sweep.STATE: PRUNED})
        best = state.progress.best
    except BaseException:
        with suppress(InputError):  # what ended it is told
            _keep(current, composed, training, state)
        raise
    _keep(current, composed, training, state)
    return best


def _reporting(bar: Bar, current: Run, every_s: float | None) -> Callable[[Step], None]:
    """Return what hears of every step: the bar, and what logs the load of the machine where asked."""
    if every_s is None:
        return bar
    load = SystemMetrics(current, every_s)

    def report(step: Step) -> None:
        bar(step)
        load()

    return report


def _keep(current: Run, composed: Composed, training: Training, state: checkpoint.Checkpoint) -> None:
    """Write and log the last and the best weights that there are; NoRoomError where they find no room."""
    about = {
        "run": current.id,
        "data_fingerprint": training.fingerprint,
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    network, place = training.built.stage.network, _folder(current, composed)
    with as_input_error(place / "weights", "make room there, then resume the run", NoRoomError):
        for left in (place / "weights").glob(".*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        for name, values in (("last", state.last()), ("best", state.best)):
            if values:
                set_arrays(network, values)
                own = place / "weights" / name
                weights.save(own, network, composed.yaml, training.built.alphabet, about=about)
        current.folder("weights", place / "weights")
    if state.best:
        with optional("picture of predictions"):
            current.picture("pictures/predictions.png", training.built.predicted(12))
        with optional(f"link {place.parent.parent / 'latest'}"):
            _point(place.parent.parent / "latest", place)


def _point(link: Path, place: Path) -> None:
    """Let `link` lead to the run that ended last, in one move."""
    fresh = link.with_name(f".{link.name}-{place.name}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(place.relative_to(link.parent))
    fresh.replace(link)


def _packages() -> Mapping[str, str]:
    """Return the versions of the installed packages; one that is half installed has none."""
    versions = {}
    for package in metadata.distributions():
        with suppress(OSError, TypeError):  # without a file METADATA, by version of Python
            versions[package.metadata["Name"] or ""] = package.version
    return {name: versions[name] for name in sorted(versions) if name}
