"""Recorded results made again: published weights are evaluated anew, smoke experiments are trained anew.

Counts are demanded as recorded. A training is held to every bit of its recorded curve where processor and
packages are those of the record; elsewhere rounding differs, a training amplifies it, and tolerances count.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from hwr import board, evaluation, published, runtime, tracking, training, weights
from hwr.config import Composed, DecodersConfig, EvaluateConfig, TrainConfig, composed, stored
from hwr.errors import InputError
from hwr.runtime import PINNED

PACKAGES = ("mxnet", "numpy", "opencv-python-headless", "pillow", "albumentations")
LOSS_TOLERANCE = 0.05  # of the first epoch's loss, relative
ERROR_TOLERANCE = (
    0.15  # of the lowest monitored and of the test error, absolute; half of what is learnt at most
)
DECIMALS = 4  # of rates, where counts are exact
FOLDER = "outputs/reproduced"
LOSS = "train/loss"

_COUNTS = ("reference", "substitutions", "deletions", "insertions")
_EDITS = tuple(f"{unit}.{name}" for unit in ("characters", "words") for name in _COUNTS)
_KEPT = {  # what a record of a training keeps of scores.json, by stage; first what `error` is made of
    "line": ("lines", "cer", "wer", "characters", "words"),
    "paragraph": ("pages", "mean_iou", "median_iou", "worst_iou"),
    "segmentation": ("pages", "mean_iou", "true", "predicted", "matched_50", "matched_75", "f1_50", "f1_75"),
}
_FIGURES: dict[str, Sequence[str]] = {  # what is demanded of an evaluation, by target
    **_KEPT,
    "line": ("lines", *_EDITS),
    "denoiser": ("line_weights_sha256", "lines", "before.cer", "before.wer", *_EDITS),
    "page": (
        *("pages", "lines", "missed_lines", "extra_lines", "ignored_lines", *_EDITS),
        *(f"{text}.{name}" for text in ("page_text", "bag_of_words") for name in _COUNTS),
        *(f"line_boxes.{name}" for name in ("true", "predicted", "matched_50", "matched_75")),
    ),
    "decoders": ("lines",),
}
_EACH = {  # and of each of its parts
    "page": ("budget", (*_COUNTS, "missed_lines", "extra_lines")),
    "decoders": ("decoders", _EDITS),
}
_ORIGIN = ("data_fingerprint", "weights_sha256")
_FREE = ("data", "device", "folder", "scorer", "tracking")  # keys of evaluate.py that no count depends on


@dataclass
class _Data:
    """A data node alone, of whatever source."""

    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """A figure of a result: what is recorded and what was got; `same` as far as it can be demanded."""

    name: str
    recorded: Any
    got: Any
    same: bool


@dataclass(frozen=True)
class Outcome:
    """What was demanded, and how each figure came out."""

    demand: str
    figures: Sequence[Figure]

    @property
    def kept(self) -> bool:
        """Whether every figure is as recorded."""
        return all(figure.same for figure in self.figures)

    def table(self) -> str:
        """Return the figures as rows of text, and whether the result is reproduced."""
        rows = [("", "recorded", "got", "")]
        rows += [(own.name, *_shown(own), "" if own.same else "differs") for own in self.figures]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows
        ]
        count = sum(not own.same for own in self.figures)
        verdict = "reproduced" if self.kept else f"not reproduced: {count} of {len(self.figures)} differ"
        return "\n".join([f"demanded: {self.demand}", *(line.rstrip() for line in lines), verdict])


def name_of(given: str) -> str:
    """Return the name of an experiment given as line/copiste, experiments/line/copiste or with .yaml."""
    name = given.rstrip("/").removeprefix("experiments/").removesuffix(".yaml")
    places = (f"{name}.yaml", f"{name}/{published.RESULT}")
    if not any((published.EXPERIMENTS / place).is_file() for place in places):
        known = published.EXPERIMENTS.glob(f"*/*/{published.RESULT}")
        names = sorted(path.parent.relative_to(published.EXPERIMENTS).as_posix() for path in known)
        raise InputError(f"{given}: no such experiment; results are recorded of {', '.join(names)}")
    return name


def recorded(name: str) -> dict[str, Any]:
    """Return the recorded result of an experiment; raise InputError where there is none."""
    path = published.EXPERIMENTS / name / published.RESULT
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise InputError(f"{name}: no result is recorded of it; publish one with publish={name}") from None
    except (OSError, ValueError):
        raise InputError(f"{path}: damaged; fetch it again") from None


def evaluate(name: str, overrides: Sequence[str]) -> Outcome:
    """Evaluate published weights on their data, as they were, and hold the counts to the recorded ones.

    `overrides` are keys of evaluate.py, data.root where the data are not drawn. Raises InputError where no
    evaluation is published, the data are not at hand, or an override changes what is recorded.
    """
    result = recorded(name)
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
    scores = _scores(_composed(result, others), settings)
    other = _elsewhere(result.get("environment", {}), scores["environment"])
    demand = f"the recorded counts, exactly{f'; {other}' if other else ''}"
    return Outcome(demand, score_figures(result, scores))


def train(name: str, overrides: Sequence[str]) -> Outcome:
    """Train an experiment as its overlay says, and hold curve, weights and scores to the recorded ones.

    `overrides` are keys of train.py. Raises InputError where no curve is recorded, before it trains.
    """
    before = recorded(name)
    if LOSS not in before:
        raise InputError(f"{name}: no curve is recorded of its training; --record FILE trains and writes one")
    return held(before, trained(name, overrides))


def held(before: Mapping[str, Any], found: Mapping[str, Any]) -> Outcome:
    """Hold what a training gave to what is recorded."""
    return Outcome(_demand(before, found), curve_figures(before, found))


def trained(name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Train an experiment and evaluate its best weights; return what is recorded of that."""
    made = composed("train", [f"experiments={name}", f"folder={FOLDER}", *overrides], TrainConfig)
    config: TrainConfig = made.root
    runs = Path(config.folder) / "runs"
    before = set(runs.glob("*"))
    training.run(made)
    (place,) = set(runs.glob("*")) - before
    best = place / "weights" / "best"
    about = weights.load(best)
    return {
        "command": f"python -m hwr reproduce {name} --train",
        "environment": environment(),
        "data_fingerprint": about.about["data_fingerprint"],
        "weights_sha256": about.sha256,
        **_curve(config, place.name),
        "test": _tested(config, best),
    }


def score_figures(before: Mapping[str, Any], scores: Mapping[str, Any]) -> list[Figure]:
    """Compare scores with recorded ones: counts exactly, rates to DECIMALS."""
    target = before["target"]
    part, figures = _EACH.get(target, ("", ()))
    each = (f"{part}.{name}.{figure}" for name in before.get(part, ()) for figure in figures)
    names = (*_ORIGIN, *_FIGURES[target], *each)
    pairs = ((name, _at(before, name), _at(scores, name)) for name in names)
    return [Figure(name, own, got, _alike(own, got)) for name, own, got in pairs]


def curve_figures(before: Mapping[str, Any], found: Mapping[str, Any]) -> list[Figure]:
    """Compare trainings: all that is recorded in the recorded environment, elsewhere by the tolerances."""
    if not _elsewhere(before["environment"], found["environment"]):
        keys = [key for key in before if key not in ("command", "environment")]
        return [Figure(key, before[key], found.get(key), before[key] == found.get(key)) for key in keys]
    first, other = ([own[LOSS][0], min(own[_monitor(own)]), *_error(own["test"])] for own in (before, found))
    names = ("first epoch's loss", f"lowest {_monitor(before)}", "test error")[: len(first)]
    learnt = before[_monitor(before)][0] - first[1]
    bounds = (LOSS_TOLERANCE * first[0], min(ERROR_TOLERANCE, learnt / 2), ERROR_TOLERANCE)[: len(first)]
    return [
        Figure(name, own, got, abs(got - own) <= bound)
        for name, own, got, bound in zip(names, first, other, bounds, strict=True)
    ]


def environment() -> dict[str, str]:
    """Return what the bits depend on besides the code."""
    described = runtime.describe()
    own = {key: described[key] for key in ("processor", "instruction_set")}
    pinned = {name: os.environ.get(name, "") for name in PINNED}
    return {**own, **pinned, **{name: metadata.version(name) for name in PACKAGES}}


def _composed(result: Mapping[str, Any], overrides: Sequence[str]) -> Composed:
    """Return the configuration of a recorded evaluation, of which `_settings` are not set yet."""
    target, used = result["target"], result["weights"]
    scorer = [f"scorer={result['scorer']}"] if "scorer" in result else []
    task = [f"split={result['split']}", f"folder={FOLDER}", *scorer]
    if target == "denoiser":  # whose weights are the decoder's
        used = result["line_weights"]
    names = [used] if isinstance(used, str) else used
    task += [f"weights.{name.partition('/')[0]}={published.EXPERIMENTS / name / published.WEIGHTS}"
                 for name in names]  # fmt: skip
    if target == board.TARGET:
        own = [f"baseline={result['baseline']}", "repeats=1"]  # speed is not demanded
        return composed("decoders", [*task, *own, *overrides], DecodersConfig)
    return composed("evaluate", [f"target={target}", *task, *overrides], EvaluateConfig)


def _settings(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is set over the configuration of an evaluation, so that it is made as it was."""
    settings = dict(result.get("settings", {}))
    folder = published.EXPERIMENTS / str(result["weights"]) / published.WEIGHTS
    if "data" not in settings:  # older results; they were evaluated on what the weights were trained on
        trained = stored((folder / weights.CONFIG).read_text(encoding="utf-8"), (), TrainConfig)
        settings["data"] = trained.root.data
    if result["target"] == "denoiser":
        settings["decoder"] = {**settings["decoder"], "weights": str(folder)}
    return settings


def _filled(name: str, data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a data node with what is given; InputError where a folder of it is not known here."""
    found: dict[str, Any] = stored(json.dumps({"data": data}), overrides, _Data).root.data
    for key, value in found.items():
        if value == published.UNFILLED:
            raise InputError(f"{name}: its data are not at hand; give data.{key}=DIR")
    return found


def _scores(made: Composed, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Evaluate with `settings` set over those of the configuration; return what is written of the scores."""
    root = replace(made.root, **settings, output=str(Path(made.root.folder) / "evaluation"))
    together = isinstance(root, DecodersConfig)
    (board if together else evaluation).run(replace(made, root=root, values={**made.values, **settings}))
    written = Path(root.output) / (board.NAME if together else "scores.json")
    return dict(json.loads(written.read_text(encoding="utf-8")))


def _tested(config: TrainConfig, best: Path) -> dict[str, Any]:
    """Return the test scores of weights; nothing for a stage whose weights are not evaluated alone."""
    target = config.stage["kind"]
    if target not in _KEPT:
        return {}
    task = [f"target={target}", f"weights.{target}={best}", "scorer=edit_distance", f"folder={config.folder}"]
    scores = _scores(composed("evaluate", task, EvaluateConfig), {"data": config.data})
    return {key: scores[key] for key in _KEPT[target]}


def _curve(config: TrainConfig, run_id: str) -> dict[str, list[float]]:
    """Return loss and monitored error of a run, one an epoch, to the bit."""
    store = tracking.open_store(config.tracking.uri, Path(config.folder), config.tracking.experiment)
    histories = {name: store.client.get_metric_history(run_id, name) for name in (LOSS, config.monitor)}
    return {
        name: [one.value for one in sorted(history, key=lambda one: one.step)]
        for name, history in histories.items()
    }


def _demand(before: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    other = _elsewhere(before["environment"], found["environment"])
    if not other:
        return "every bit of what is recorded"
    within = f"errors within {ERROR_TOLERANCE:g} and half of what is learnt"
    return f"the first loss within {LOSS_TOLERANCE:.0%}, {within}; {other}"


def _elsewhere(own: Mapping[str, str], here: Mapping[str, str]) -> str:
    """Return in words what of the environment is not as recorded; nothing where all is, or none is."""
    other = [name for name in {**own, **here} if own and own.get(name) != here.get(name)]
    return f"recorded with other {', '.join(other)}" if other else ""


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
        return (
            f"epoch {place + 1} of {len(own)}: {own[place]:.6g}",
            f"epoch {place + 1} of {len(got)}: {got[place]:.6g}",
        )
    return _short(own), _short(got)


def _short(value: Any) -> str:
    if isinstance(value, list):  # of digests
        return " ".join(str(one)[:12] for one in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:40]
