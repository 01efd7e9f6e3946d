"""Reproduce recorded results: evaluate published weights, or repeat a training, and compare every figure.

Counts must be equal. A training must repeat its recorded curve to the bit if processor and packages are those
of the record; otherwise rounding differs, a training amplifies it, and tolerances apply.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from hwr import runtime, tracking, weights
from hwr.config.bind import texts
from hwr.config.compose import UNFILLED, Composed, composed, stored
from hwr.config.roots import DecodersConfig, EvaluateConfig, TrainConfig
from hwr.errors import InputError
from hwr.evaluation import RECORDS, decoders, evaluate, publish
from hwr.files import as_input_error, check_output_file, parse_json
from hwr.runs.train import train_stage
from hwr.runtime import PINNED
from hwr.tables import text_table

PACKAGES = ("mxnet", "numpy", "opencv-python-headless", "pillow", "albumentations")
FOLDER = "outputs/reproduced"
LOSS_TOLERANCE = 0.05  # of the first epoch's loss, relative
ERROR_TOLERANCE = 0.15  # of the lowest monitored error (half of what is learnt at most) and of the test error
DECIMALS = 4  # of rates, where counts are exact
LOSS = "train/loss"

_FREE = ("data", "device", "folder", "scorer", "tracking")  # keys of evaluate.py that no count depends on
_ORIGIN = ("data_fingerprint", "weights_sha256")


@dataclass(frozen=True)
class Figure:
    """A figure of a result: what is recorded and what was got; `same` as far as it can be demanded."""

    name: str
    recorded: Any
    got: Any
    same: bool


@dataclass(frozen=True)
class Reproduction:
    """What was demanded, and how each figure came out."""

    demand: str
    figures: Sequence[Figure]

    @property
    def kept(self) -> bool:
        """Whether every figure is as recorded."""
        return all(figure.same for figure in self.figures)

    def table(self) -> str:
        """Return the figures as rows of text, and whether the result is reproduced."""
        rows = [(own.name, *_shown(own), "" if own.same else "differs") for own in self.figures]
        table = text_table(("figure", "recorded", "got", ""), rows)
        count = sum(not own.same for own in self.figures)
        verdict = "reproduced" if self.kept else f"not reproduced: {count} of {len(self.figures)} differ"
        return f"demanded: {self.demand}\n{table}\n{verdict}"


@dataclass
class _Data:
    """A data node alone, of whatever source."""

    data: dict[str, Any] = field(default_factory=dict)


def reproduce_result(
    overrides: Sequence[str],
    *,
    names: Sequence[str],
    train: bool,
    record: str | None,
    config_dir: str | None = None,
) -> int:
    """Evaluate published weights again, or train again, and return 1 where a figure is not as recorded.

    With `record` the training's figures are written to that file, and compared with nothing.
    """
    name = experiment_name(names[0])
    if record is not None:
        check_output_file(Path(record), f"--record {record}")
        figures = record_training(name, overrides, config_dir=config_dir)
        with as_input_error(f"--record {record}", "choose another file"):
            Path(record).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        print(f"\n{name}: written to {record}")
        return 0
    outcome = (reproduce_training if train else reproduce_evaluation)(name, overrides, config_dir=config_dir)
    print(f"\n{name}: {outcome.table()}")
    return 0 if outcome.kept else 1


def experiment_name(given: str) -> str:
    """Return the name of an experiment given as line/copiste, experiments/line/copiste or with .yaml."""
    name = given.rstrip("/").removeprefix("experiments/").removesuffix(".yaml")
    places = (f"{name}.yaml", f"{name}/{publish.RESULT}")
    if not any((publish.EXPERIMENTS / place).is_file() for place in places):
        known = publish.EXPERIMENTS.glob(f"*/*/{publish.RESULT}")
        names = sorted(path.parent.relative_to(publish.EXPERIMENTS).as_posix() for path in known)
        raise InputError(f"{given}: no such experiment; results are recorded of {', '.join(names)}")
    return name


def recorded_result(name: str) -> dict[str, Any]:
    """Return the recorded result of an experiment; raise InputError where there is none."""
    path = publish.EXPERIMENTS / name / publish.RESULT
    try:
        return dict(parse_json(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise InputError(f"{name}: no result is recorded of it; publish one with publish={name}") from None
    except (OSError, ValueError):
        raise InputError(f"{path}: damaged; fetch it again") from None


def reproduce_evaluation(
    name: str, overrides: Sequence[str], *, config_dir: str | None = None
) -> Reproduction:
    """Evaluate published weights on their data, as they were, and hold the counts to the recorded ones.

    `overrides` are keys of evaluate.py, data.root where the data are not drawn. Raises InputError where no
    evaluation is published, the data are not at hand, or an override changes what is recorded.
    """
    result = recorded_result(name)
    if "target" not in result:
        raise InputError(f"{name}: no weights are published of it; train it again with --train")
    for override in overrides:
        if re.split(r"[.@/=]", override.lstrip("+~"))[0] not in _FREE:
            free = ", ".join(_FREE)
            raise InputError(
                f"{override}: {name} is evaluated as it was recorded; keys of {free} may be given"
            )
    own = [override for override in overrides if override.startswith("data.")]
    others = [override for override in overrides if override not in own]
    settings = _settings(result)
    settings["data"] = _filled(name, settings["data"], own)
    scores = _scores(_composed(result, others, config_dir), settings)
    other = environment_differences(result.get("environment", {}), scores["environment"])
    demand = f"the recorded counts, exactly{f'; {other}' if other else ''}"
    return Reproduction(demand, compare_scores(result, scores))


def reproduce_training(name: str, overrides: Sequence[str], *, config_dir: str | None = None) -> Reproduction:
    """Train an experiment as its file says, and hold curve, weights and scores to the recorded ones.

    `overrides` are keys of train.py. Raises InputError where no curve is recorded, before it trains.
    """
    before = recorded_result(name)
    if LOSS not in before:
        raise InputError(f"{name}: no curve is recorded of its training; --record FILE trains and writes one")
    return compare_training(before, record_training(name, overrides, config_dir=config_dir))


def record_training(name: str, overrides: Sequence[str], *, config_dir: str | None = None) -> dict[str, Any]:
    """Train an experiment and evaluate its best weights; return what is recorded of that."""
    keys = [f"experiments={name}", f"folder={FOLDER}", *overrides]
    made = composed("train", keys, TrainConfig, config_dir=config_dir)
    config: TrainConfig = made.root
    runs = Path(config.folder) / "runs"
    before = set(runs.glob("*"))
    train_stage(made)
    (place,) = set(runs.glob("*")) - before
    best = place / "weights" / "best"
    about = weights.load(best)
    return {
        "command": f"python -m hwr reproduce {name} --train",
        "environment": reproduction_environment(),
        "data_fingerprint": about.about["data_fingerprint"],
        "weights_sha256": about.sha256,
        **_curve(config, place.name),
        "test": _tested(config, best),
    }


def reproduction_environment() -> dict[str, str]:
    """Return what the bits depend on besides the code."""
    described = runtime.describe()
    own = {key: described[key] for key in ("processor", "instruction_set")}
    pinned = {name: os.environ.get(name, "") for name in PINNED}
    return {**own, **pinned, **{name: metadata.version(name) for name in PACKAGES}}


def compare_scores(before: Mapping[str, Any], scores: Mapping[str, Any]) -> list[Figure]:
    """Compare scores with recorded ones: counts exactly, rates to DECIMALS."""
    record = RECORDS[before["target"]]
    part, figures = record.each
    each = (f"{part}.{name}.{figure}" for name in before.get(part, ()) for figure in figures)
    names = (*_ORIGIN, *record.figures, *each)
    pairs = ((name, _at(before, name), _at(scores, name)) for name in names)
    return [Figure(name, own, got, _alike(own, got)) for name, own, got in pairs]


def compare_curves(recorded: Mapping[str, Any], repeated: Mapping[str, Any]) -> list[Figure]:
    """Compare trainings: all that is recorded in the recorded environment, elsewhere by the tolerances."""
    if not environment_differences(recorded["environment"], repeated["environment"]):
        keys = [key for key in recorded if key not in ("command", "environment")]
        return [
            Figure(key, recorded[key], repeated.get(key), recorded[key] == repeated.get(key)) for key in keys
        ]
    first, other = (
        [own[LOSS][0], min(own[_monitor(own)]), *_error(own["test"])] for own in (recorded, repeated)
    )
    names = ("first epoch's loss", f"lowest {_monitor(recorded)}", "test error")[: len(first)]
    learnt = recorded[_monitor(recorded)][0] - first[1]
    bounds = (LOSS_TOLERANCE * first[0], min(ERROR_TOLERANCE, learnt / 2), ERROR_TOLERANCE)[: len(first)]
    return [
        Figure(name, own, got, abs(got - own) <= bound)
        for name, own, got, bound in zip(names, first, other, bounds, strict=True)
    ]


def compare_training(recorded: Mapping[str, Any], repeated: Mapping[str, Any]) -> Reproduction:
    """Hold what a training gave to what is recorded."""
    other = environment_differences(recorded["environment"], repeated["environment"])
    within = f"errors within {ERROR_TOLERANCE:g} and half of what is learnt"
    elsewhere = f"the first loss within {LOSS_TOLERANCE:.0%}, {within}; {other}"
    demand = elsewhere if other else "every bit of what is recorded"
    return Reproduction(demand, compare_curves(recorded, repeated))


def environment_differences(recorded: Mapping[str, str], here: Mapping[str, str]) -> str:
    """Return in words what of the environment is not as recorded; nothing where all is, or none is."""
    other = [name for name in {**recorded, **here} if recorded and recorded.get(name) != here.get(name)]
    return f"recorded with other {', '.join(other)}" if other else ""


def _composed(result: Mapping[str, Any], overrides: Sequence[str], config_dir: str | None) -> Composed:
    """Return the configuration of a recorded evaluation, of which `_settings` are not set yet."""
    target, used = result["target"], result["weights"]
    scorer = [f"scorer={result['scorer']}"] if "scorer" in result else []
    task = [f"split={result['split']}", f"folder={FOLDER}", *scorer]
    if target == "denoiser":  # whose weights are the decoder's
        used = result["line_weights"]
    names = [used] if isinstance(used, str) else used
    task += [f"weights.{name.partition('/')[0]}={publish.EXPERIMENTS / name / publish.WEIGHTS}"
                 for name in names]  # fmt: skip
    if target == decoders.TARGET:
        own = [f"baseline={result['baseline']}", "repeats=1"]  # speed is not demanded
        return composed("decoders", [*task, *own, *overrides], DecodersConfig, config_dir=config_dir)
    keys = [f"target={target}", *task, *overrides]
    return composed("evaluate", keys, EvaluateConfig, config_dir=config_dir)


def _settings(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is set over the configuration of an evaluation, so that it is made as it was."""
    settings = dict(result.get("settings", {}))
    folder = publish.EXPERIMENTS / str(result["weights"]) / publish.WEIGHTS
    if "data" not in settings:  # older results; they were evaluated on what the weights were trained on
        trained = stored((folder / weights.CONFIG).read_text(encoding="utf-8"), (), TrainConfig)
        settings["data"] = trained.root.data
    if result["target"] == "denoiser":
        settings["decoder"] = {**settings["decoder"], "weights": str(folder)}
    return settings


def _filled(name: str, data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a data node with what is given; InputError where a folder of it is not known here."""
    filled: dict[str, Any] = stored(json.dumps({"data": data}), overrides, _Data).root.data
    if unknown := [f"{key}={UNFILLED}" for key, text in texts(filled, "data") if text == UNFILLED]:
        raise InputError(f"{name}: its data are not at hand; give {' '.join(unknown)}")
    return filled


def _scores(made: Composed, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Evaluate with `settings` set over those of the configuration; return what is written of the scores."""
    root = replace(made.root, **settings, output=str(Path(made.root.folder) / "evaluation"))
    together = isinstance(root, DecodersConfig)
    changed = replace(made, root=root, values={**made.values, **settings})
    if together:
        decoders.compare_decoders(changed)
    else:
        evaluate(changed)
    written = Path(root.output) / (decoders.NAME if together else "scores.json")
    return dict(parse_json(written.read_text(encoding="utf-8")))


def _tested(config: TrainConfig, best: Path) -> dict[str, Any]:
    """Return the test scores of weights; nothing for a stage whose weights are not evaluated alone."""
    target = config.stage["kind"]
    kept = RECORDS[target].kept if target in RECORDS else ()
    if not kept:
        return {}
    task = [f"target={target}", f"weights.{target}={best}", "scorer=edit_distance", f"folder={config.folder}"]
    scores = _scores(composed("evaluate", task, EvaluateConfig), {"data": config.data})
    return {key: scores[key] for key in kept}


def _curve(config: TrainConfig, run_id: str) -> dict[str, list[float]]:
    """Return loss and monitored error of a run, one an epoch, to the bit."""
    store = tracking.open_store(config.tracking.uri, Path(config.folder), config.tracking.experiment)
    with tracking.refusing(store.uri):
        histories = {name: store.client.get_metric_history(run_id, name) for name in (LOSS, config.monitor)}
    return {
        name: [one.value for one in sorted(history, key=lambda one: one.step)]
        for name, history in histories.items()
    }


def _monitor(record: Mapping[str, Any]) -> str:
    return next(name for name in record if name.startswith("valid/"))


def _error(test: Mapping[str, Any]) -> list[float]:
    """Return the error rate of a test, CER or one minus the mean IoU; none where nothing was tested."""
    return [float(test["cer"] if "cer" in test else 1 - test["mean_iou"])] if test else []


def _at(values: Any, name: str) -> Any:
    for part in name.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _alike(own: Any, got: Any) -> bool:
    if isinstance(own, float) and isinstance(got, int | float):
        return bool(abs(own - got) < 0.5 * 10**-DECIMALS)
    return bool(own == got)


def _shown(figure: Figure) -> tuple[str, str]:
    """Return both values in short: of curves the first epoch that differs, or the last one."""
    own, got = figure.recorded, figure.got
    if isinstance(own, list) and isinstance(got, list) and isinstance(own[0], float):
        pairs = enumerate(zip(own, got, strict=False))
        place = next((n for n, (a, b) in pairs if a != b), min(len(own), len(got)) - 1)
        own, got = (f"epoch {place + 1} of {len(side)}: {side[place]:.6g}" for side in (own, got))
        return own, got
    return _short(own), _short(got)


def _short(value: Any) -> str:
    if isinstance(value, list):  # of digests
        return " ".join(str(one)[:12] for one in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:40]
