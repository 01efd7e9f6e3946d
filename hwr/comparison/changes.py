"""The lines that two runs read most unlike, and a picture of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwr.comparison.recorded import Recorded
from hwr.comparison.tables import Comparison
from hwr.images.load import GreyImage
from hwr.pictures import cards, line_archive

_BLANK = np.full((1, 1), 255, np.uint8)  # in place of a line whose picture is not kept


@dataclass(frozen=True)
class Changed:
    """A line by its number in lines.tsv of the run against which others are held, and its id."""

    number: int
    id: str


def picture(comparison: Comparison, count: int) -> cards.Picture | None:
    """Draw for each run so many lines that got better, and that got worse; None where no line changed.

    Each has its picture, where one is kept, what is written, and what both runs read.
    """
    base, *runs = comparison.runs
    groups = {}
    for run in runs:
        better, worse = most_changed(base, run, count)
        groups[f"{run.label} reads better than {base.label}"] = _shown(base, run, better)
        groups[f"{run.label} reads worse than {base.label}"] = _shown(base, run, worse)
    groups = {title: group for title, group in groups.items() if group}
    return cards.readings(groups) if groups else None


def most_changed(base: Recorded, run: Recorded, count: int) -> tuple[list[Changed], list[Changed]]:
    """Return the lines of both runs with the largest loss and the largest gain of wrong characters."""
    gains = [
        (run.lines[name].characters.errors - line.characters.errors, number, name)
        for number, (name, line) in enumerate(base.lines.items())
        if name in run.lines
    ]
    better = sorted(gain for gain in gains if gain[0] < 0)
    worse = sorted((gain for gain in gains if gain[0] > 0), key=lambda gain: (-gain[0], gain[1]))
    first, second = ([Changed(number, name) for _, number, name in own[:count]] for own in (better, worse))
    return first, second


def _shown(base: Recorded, run: Recorded, changed: Sequence[Changed]) -> list[cards.Reading]:
    images = _images(base, run, changed)
    return [
        cards.Reading(image, one.id, base.lines[one.id].reference, {
            side.label: cards.Read(side.lines[one.id].hypothesis, side.lines[one.id].characters.errors)
            for side in (base, run)
        })
        for one, image in zip(changed, images, strict=True)
    ]  # fmt: skip


def _images(base: Recorded, run: Recorded, changed: Sequence[Changed]) -> list[GreyImage]:
    if base.album is not None:
        return line_archive.load(base.album, [one.number for one in changed])
    if run.album is not None:
        places = {name: number for number, name in enumerate(run.lines)}
        return line_archive.load(run.album, [places[one.id] for one in changed])
    return [_BLANK] * len(changed)
