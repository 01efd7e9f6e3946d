"""Compare a reproduced result with its record, figure by figure.

Counts must be equal. A training must repeat its recorded curve to the bit if processor and packages are those
of the record; otherwise rounding differs, a training amplifies it, and tolerances apply.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hwr.evaluation.targets import RECORDS
from hwr.tables import text_table

LOSS_TOLERANCE = 0.05  # of the first epoch's loss, relative
ERROR_TOLERANCE = 0.15  # of the lowest monitored error (half of what is learnt at most) and of the test error
DECIMALS = 4  # of rates, where counts are exact
LOSS = "train/loss"

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
