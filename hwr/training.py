"""A whole training: build it, track it, fit it, keep its weights."""

import json
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hwr import building, checkpoint, runtime, tracking, weights
from hwr.building.parts import Training
from hwr.config import ROOT, Composed, TrainConfig, stored
from hwr.errors import InputError
from hwr.plan import Step
from hwr.revision import Revision
from hwr.trainer import fit


def run(composed: Composed) -> float:
    """Train as configured, and return the best monitored error."""
    folder, run_id = Path(composed.root.folder), composed.root.resume
    if run_id:
        composed = _resumed(folder / "runs" / run_id, composed)
    config: TrainConfig = composed.root
    building.check(config)
    runtime.start()
    tracking.make_folder(folder)
    store = tracking.open_store(config.tracking.uri, folder, config.tracking.experiment)
    training = building.training(config, store, progress=True)
    if run_id:
        _refuse_other_data(folder / "runs" / run_id, training.fingerprint)
    with tracking.run(store, config.name, run_id=run_id, tags=_tags(composed, training)) as current:
        place = folder / "runs" / current.id
        _describe(current, composed, training, place)
        state = checkpoint.Checkpoint(training.stage.network, place / "state")
        state.restore()
        try:
            with Bar() as bar:
                best = fit(training.stage, training.plan, checkpoint=state, tracker=current, report=bar)
        finally:
            _keep(current, composed, training, state, place)
        print(f"best {config.monitor} {best:.4f}\nweights {place / 'weights' / 'best'}")
        print(f"run {current.id}\nlook: {current.url}")
    return best


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


def _resumed(place: Path, now: Composed) -> Composed:
    """Return the configuration of the run in `place`; single keys of the command line still win."""
    path = place / "config.yaml"
    if not path.is_file():
        raise InputError(
            f"resume={place.name}: no training in {place}; give the id of a run made in this folder"
        )
    text = path.read_text(encoding="utf-8")
    own = stored(text, (), TrainConfig)
    single = []
    for override in now.overrides:
        key = override.lstrip("+").partition("=")[0]
        if not _chooses_parts(key, now):
            single += [override] * (key != "resume")
        elif _choice(own, key) != _choice(now, key):
            raise InputError(
                f"resume={place.name}: the run has another {key} than {override}; leave that out"
            )
    return stored(text, single, TrainConfig)


def _choice(composed: Composed, key: str) -> Any:
    """Return what tells choices of `key` apart; single keys of a stage may differ, they are set anew."""
    node = composed.values.get(key, composed.root.name)
    return node["kind"] if key == "stage" else node


def _chooses_parts(key: str, composed: Composed) -> bool:
    """Tell whether a key picks whole files, as in data=alto or experiments=line/copiste."""
    return "." not in key and isinstance(composed.values.get(key, {}), Mapping)


def _tags(composed: Composed, training: Training) -> dict[str, str]:
    revision = Revision.of(ROOT)
    tags = {"stage": composed.root.stage["kind"], "data_fingerprint": training.fingerprint,
            "overrides": " ".join(composed.overrides)}  # fmt: skip
    if training.alphabet is not None:
        tags["alphabet"] = training.alphabet.hash
    if revision is not None:
        tags |= {"mlflow.source.git.commit": revision.commit, "changed": str(bool(revision.diff)).lower()}
    return tags | ({tracking.PARENT: parent} if (parent := tracking.parent_run()) else {})


def _describe(current: tracking.Run, composed: Composed, training: Training, place: Path) -> None:
    tracking.make_folder(place)
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
    print(f"run {current.id}: {training.size}")


def _keep(
    current: tracking.Run, composed: Composed, training: Training, state: checkpoint.Checkpoint, place: Path
) -> None:
    """Write and log the last and the best weights that there are, whatever ended the training."""
    about = {
        "run": current.id,
        "data_fingerprint": training.fingerprint,
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    network, folder = training.stage.network, place / "weights"
    for name, values in (("last", state.last()), ("best", state.best)):
        if values:
            checkpoint.set_arrays(network, values)
            weights.save(folder / name, network, composed.yaml, training.alphabet, about=about)
    current.folder("weights", folder)
    if state.best:
        current.picture("pictures/predictions.png", training.predicted(12))
        _point(place.parent.parent / "latest", place)


def _point(link: Path, place: Path) -> None:
    """Let `link` lead to the run that ended last, in one move."""
    fresh = link.with_name(f".{link.name}-{place.name}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(place.relative_to(link.parent))
    fresh.replace(link)


def _refuse_other_data(place: Path, fingerprint: str) -> None:
    path = place / "data.json"
    earlier = json.loads(path.read_text(encoding="utf-8"))["fingerprint"] if path.exists() else fingerprint
    if earlier != fingerprint:
        raise InputError(
            f"resume={place.name}: the data changed since ({earlier[:12]}, now {fingerprint[:12]})"
        )


def _packages() -> Mapping[str, str]:
    return dict(
        sorted((d.metadata["Name"], d.version) for d in metadata.distributions() if d.metadata["Name"])
    )
