"""A whole training: build it, track it, fit it, keep its weights."""

import json
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hwr import checkpoint, runtime, tracking, weights
from hwr.building import Training, line_training, optimizer_of
from hwr.config import ROOT, Composed, TrainConfig, stored
from hwr.errors import InputError
from hwr.revision import Revision
from hwr.tracking import Store
from hwr.trainer import Limits, Step, fit

BUILDERS = {"line": line_training}


def run(composed: Composed) -> float:
    """Train as configured, and return the best monitored error."""
    folder = Path(composed.root.folder)
    tracking.make_folder(folder)
    run_id = composed.root.resume
    if run_id:
        composed = _resumed(folder / "runs" / run_id, composed)
    config: TrainConfig = composed.root
    store = tracking.open_store(config.tracking["uri"], folder, config.tracking["experiment"])
    training = _build(config, store)
    limits = Limits(config.monitor, config.max_epochs, config.max_minutes, config.patience, config.clip, config.average, config.seed)
    with tracking.run(store, config.name, run_id=run_id, tags=_tags(composed, training)) as current:
        place = folder / "runs" / current.id
        _describe(current, composed, training, place)
        state = checkpoint.Checkpoint(training.stage.network, place / "state")
        try:
            with Bar() as bar:
                best = fit(training.stage, training.phases, limits, optimizer=optimizer_of(config), tracker=current,
                           checkpoint=state, report=bar)  # fmt: skip
        finally:
            _keep(current, composed, training, state, place)
        print(f"best {config.monitor} {best:.4f}\nweights {place / 'weights' / 'best'}\nrun {current.id}\nlook: {current.url}")
    return best


class Bar:
    """A progress bar for a training: loss, samples a second and the time left of the phase; lines where there is no terminal."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._phase, self._said = "", time.monotonic()

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
            plain = not sys.stderr.isatty()
            self._bar = tqdm(total=step.total, initial=step.step - 1, desc=step.phase, unit="batch", mininterval=30 if plain else 0.5)
            self._phase = step.phase
        self._bar.set_postfix_str(f"epoch {step.epoch + 1}, loss {step.loss:.3f}, {step.samples / step.seconds:.1f} lines/s", refresh=False)
        self._bar.update()


def _build(config: TrainConfig, store: Store) -> Training:
    kind = config.stage.get("kind")
    if kind not in BUILDERS:
        raise InputError(f"stage.kind={kind}: unknown; use one of {', '.join(BUILDERS)}")
    return BUILDERS[kind](config, store, progress=True)


def _resumed(place: Path, composed: Composed) -> Composed:
    path = place / "config.yaml"
    if not path.is_file():
        raise InputError(f"resume={place.name}: {place} holds no training; give the id of a run made in this folder")
    overrides = [o for o in composed.overrides if o.partition("=")[0] not in ("resume", "folder")]
    return stored(path.read_text(encoding="utf-8"), overrides, TrainConfig)


def _tags(composed: Composed, training: Training) -> dict[str, str]:
    revision = Revision.of(ROOT)
    tags = {"stage": composed.root.stage["kind"], "data_fingerprint": training.fingerprint,
            "overrides": " ".join(composed.overrides), "alphabet": training.alphabet.hash}  # fmt: skip
    if revision is not None:
        tags |= {"mlflow.source.git.commit": revision.commit, "changed": str(bool(revision.diff)).lower()}
    return tags | ({tracking.PARENT: parent} if (parent := tracking.parent_run()) else {})


def _describe(current: tracking.Run, composed: Composed, training: Training, place: Path) -> None:
    tracking.make_folder(place)
    earlier = _fingerprint_before(place)
    if earlier not in (None, training.fingerprint):
        raise InputError(f"resume={current.id}: the data changed since (fingerprint {earlier}, now {training.fingerprint})")
    (place / "config.yaml").write_text(composed.yaml, encoding="utf-8")
    (place / "data.json").write_text(json.dumps({"fingerprint": training.fingerprint}), encoding="utf-8")
    current.parameters(composed.values)
    current.text("config.yaml", composed.yaml)
    current.text("overrides.txt", "\n".join(composed.overrides) + "\n")
    current.json("data/inspection.json", training.report.as_dict())
    current.json("environment.json", {**runtime.describe(), "packages": _packages()})
    revision = Revision.of(ROOT)
    if revision is not None and revision.diff:
        current.text("git/diff.patch", revision.diff)
    if training.took:
        current.tags({"init": training.took})
        print(f"init: {training.took}")
    current.picture("pictures/augmented.png", training.augmented(composed.root.seed))
    print(f"run {current.id}: {len(training.stage.task.train.ids)} training and {len(training.stage.task.valid.ids)} validation lines")


def _keep(current: tracking.Run, composed: Composed, training: Training, state: checkpoint.Checkpoint, place: Path) -> None:
    """Write and log the last and the best weights that there are, whatever ended the training."""
    about = {"run": current.id, "data_fingerprint": training.fingerprint, "written": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    for name, values in (("last", state.averaged_arrays()), ("best", state.best)):
        if values:
            checkpoint.set_arrays(training.stage.network, values)
            folder = place / "weights" / name
            weights.save(folder, training.stage.network, composed.yaml, training.alphabet, about=about)
            current.folder(f"weights/{name}", folder)
    if state.best:
        current.picture("pictures/readings.png", training.readings(12))


def _fingerprint_before(place: Path) -> str | None:
    path = place / "data.json"
    return json.loads(path.read_text(encoding="utf-8"))["fingerprint"] if path.exists() else None


def _packages() -> Mapping[str, str]:
    return dict(sorted((d.metadata["Name"], d.version) for d in metadata.distributions() if d.metadata["Name"]))

