"""Outlines of lines of which a file holds the baseline alone, from the distance to the lines around them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hwr.data.records import NOWHERE, Line
from hwr.images.boxes import Point, around

# How far writing reaches from its baseline, as shares of the distance to the next one: medians of 2,109
# outlines of "Copiste d'un jour".
ABOVE, BELOW = 0.7, 0.3
_FLAT = 1.0  # px: an outline that leaves its baseline no further than that holds no writing

_Points = NDArray[np.float64]  # (P, 2) px


def with_outlines(lines: Sequence[Line], size: tuple[int, int]) -> list[Line]:
    """Return the lines of a page of `size` (height, width) px; those with a baseline alone get an outline.

    It reaches to 0.7 of the distance to the baseline above and 0.3 of that to the one below. Where there is
    none, or the distance is not between half and twice the median of the page, that median counts. On a page
    without such distances the place of these lines is not known.
    """
    bare = [_is_bare(line, size) for line in lines]
    if not any(bare):
        return list(lines)
    bases = [_base(line, size) for line in lines]
    ends = np.array([(base[0], base[-1]) for base in bases])  # (L, 2, 2)
    gaps = np.array([_gaps(base, ends) for base in bases])  # (L, 2)
    if not np.isfinite(gaps).any():
        flaw = "a baseline alone, and no line beside it that tells its height; draw its outline"
        return [
            replace(line, box=NOWHERE, polygon=(), baseline=(), flaw=flaw) if own else line
            for line, own in zip(lines, bare, strict=True)
        ]
    usual = np.median(gaps[np.isfinite(gaps)])
    reach = np.where((gaps > usual / 2) & (gaps < usual * 2), gaps, usual) * (ABOVE, BELOW)
    return [
        _outlined(line, base, own, size) if is_bare else line
        for line, base, own, is_bare in zip(lines, bases, reach, bare, strict=True)
    ]


def _is_bare(line: Line, size: tuple[int, int]) -> bool:
    """Tell whether a line has a baseline, and no outline but what lies on it."""
    if len(line.baseline) < 2:
        return False
    base = _px(line.baseline, size)
    if np.hypot(*(base[-1] - base[0])) < 2:
        return False
    if line.polygon:
        return bool(np.abs(_below(_turned(_px(line.polygon, size), base), base)).max() <= _FLAT)
    beyond = np.abs(_px((line.box[:2], line.box[2:]), size) - [base.min(axis=0), base.max(axis=0)])
    return bool(beyond[:, 1].max() <= _FLAT)


def _base(line: Line, size: tuple[int, int]) -> _Points:
    """Return the baseline, or a level one where the line has none."""
    if len(line.baseline) > 1:
        return _px(line.baseline, size)
    x1, y1, x2, y2 = line.box
    level = y1 + ABOVE / (ABOVE + BELOW) * (y2 - y1)
    return _px(((x1, level), (x2, level)), size)


def _gaps(base: _Points, ends: _Points) -> tuple[float, float]:
    """Return how far the next baselines above and below are, those given by their `ends` (L, 2, 2)."""
    own = _turned(base, base)
    others = _turned(ends.reshape(-1, 2), base).reshape(ends.shape)
    (x1, y1), (x2, y2) = others[:, 0].T, others[:, 1].T
    low, high = (
        np.maximum(np.minimum(x1, x2), own[:, 0].min()),
        np.minimum(np.maximum(x1, x2), own[:, 0].max()),
    )
    beside = high > low
    middle = (low + high)[beside] / 2
    slope = (y2 - y1)[beside] / (x2 - x1)[beside]
    below = y1[beside] + (middle - x1[beside]) * slope  # from chord to chord: lines of a page bend alike
    return _nearest(-below), _nearest(below)


def _nearest(distances: NDArray[np.float64]) -> float:
    return float(min(distances[distances > _FLAT], default=np.inf))


def _outlined(line: Line, base: _Points, reach: _Points, size: tuple[int, int]) -> Line:
    down = _axes(base)[:, 1]
    edges = np.concatenate([base - reach[0] * down, (base + reach[1] * down)[::-1]]) / size[::-1]
    polygon: tuple[Point, ...] = tuple((float(x), float(y)) for x, y in np.clip(edges, 0, 1))
    return replace(line, polygon=polygon, box=around(polygon))


def _px(points: Sequence[Point], size: tuple[int, int]) -> _Points:
    return np.array(points, dtype=np.float64) * size[::-1]


def _axes(base: _Points) -> _Points:
    """Return the unit vectors along a baseline and down from it, as columns (2, 2).

    Right to left is how some scripts are drawn, and no page that stands on its head.
    """
    x, y = base[-1] - base[0]
    if abs(x) > abs(y) and x < 0:
        x, y = -x, -y
    return np.asarray(np.array([[x, -y], [y, x]]) / max(np.hypot(x, y), _FLAT))


def _turned(points: _Points, base: _Points) -> _Points:
    return np.asarray((points - base[0]) @ _axes(base))


def _below(turned: _Points, base: _Points) -> NDArray[np.float64]:
    """Return how far points (P, 2) on a baseline's axes lie below it."""
    own = _turned(base, base)
    own = own[np.argsort(own[:, 0], kind="stable")]
    return np.asarray(turned[:, 1] - np.interp(turned[:, 0], own[:, 0], own[:, 1]))
