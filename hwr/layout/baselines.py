"""Estimate the baseline of each line box: the boundary between ink above and paper below."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hwr.images.boxes import FloatArray
from hwr.layout.ink import HEIGHT, InkSheet

_STEEPEST = 0.08  # slope of a page; 0.07 is the steepest line of Copiste
_LEVEL_BIAS = 0.2  # how much more regular a page must look at the steepest slope than level
_LEEWAY = 0.03  # by which a line's slope may differ from the page's
_PLACE = 0.68  # of the height from the top: the median of Copiste's outlines
_STRAY = 0.3  # of the height the baseline may lie off that place
_STRAY_BIAS, _TURN_BIAS = 0.3, 0.1  # share of its evidence that a line must win at the farthest of each
_CORE = 0.25  # of the height: the band of letters without ascenders, which ends at the baseline
_INKED = 0.04  # more ink above than below, from which a stretch as wide as high tells something
_WOBBLE = 0.15  # of the height a stretch may lie off the straight baseline
_WOBBLE_BIAS = 0.4  # share of its evidence that a stretch must win at the farthest
_STIFF = np.array([0.1, 0.1, 0.5])  # how much evidence a shift, a turn and a bend of the line must overcome
_DOUBT = 0.05  # of the height off the curve at which a stretch counts half


@dataclass(frozen=True)
class Baselines:
    """Baselines: `curves` are c0 + c1 u + c2 u², with u measured from the box's centre, in px."""

    boxes: FloatArray  # (N, 4)
    heights: FloatArray  # (N,) without what the slope adds to the box
    curves: FloatArray  # (N, 3)

    def at(self, xs: FloatArray) -> FloatArray:
        """Return the row of every baseline at `xs` (n,), kept inside its box: (N, n)."""
        u = xs - self.boxes[:, ::2].mean(axis=1)[:, None]
        c0, c1, c2 = self.curves.T[:, :, None]
        return np.asarray(np.clip(c0 + u * (c1 + u * c2), self.boxes[:, 1:2], self.boxes[:, 3:4]))


def find_baselines(sheet: InkSheet) -> Baselines:
    """Return the baseline of every box of `sheet`; a level one if a box has too little ink."""
    skew = _skew(sheet.ink)
    curves = np.array([_curve(sheet.ink, box, skew) for box in sheet.boxes])
    return Baselines(sheet.boxes, _level_heights(sheet.boxes, curves[:, 1]), curves)


def _level_heights(boxes: FloatArray, slopes: FloatArray) -> FloatArray:
    """Return the boxes' heights (N,) less what the lines rise over their length, at least half of them."""
    widths, heights = (boxes[:, 2:] - boxes[:, :2]).T
    return np.asarray(np.maximum(heights - np.abs(slopes) * widths, heights / 2))


def _skew(ink: NDArray[np.uint8]) -> float:
    """Return the slope along which the rows of the page differ most: the projection's energy (Postl 1986)."""
    count = int(np.clip(ink.shape[1] // HEIGHT, 1, 24))
    profile = np.asarray(cv2.resize(ink, (count, ink.shape[0]), interpolation=cv2.INTER_AREA), np.float64)
    slopes = np.linspace(-_STEEPEST, _STEEPEST, 17)
    slopes = slopes[np.argsort(np.abs(slopes), kind="stable")]  # among equals, the most level
    xs = ((np.arange(count) + 0.5) / count - 0.5) * ink.shape[1]
    rows = np.arange(len(profile), dtype=np.float64)
    energy = (_sheared(profile, rows, slopes, xs) ** 2).sum(axis=1)  # (S,)
    if energy[0] == 0:
        return 0.0
    return float(slopes[np.argmax(energy / energy[0] - _LEVEL_BIAS * (slopes / _STEEPEST) ** 2)])


def _sheared(table: FloatArray, rows: FloatArray, slopes: FloatArray, xs: FloatArray) -> FloatArray:
    """Sum `table` (R, C), whose columns are at `xs` (C,), along lines through `rows` (K,) at 0: (S, K)."""
    framed = np.pad(table, ((1, 1), (0, 0)))  # what lies outside counts as nothing
    at = np.rint(rows[None, :, None] + slopes[:, None, None] * xs).astype(int) + 1  # (S, K, C)
    return np.asarray(framed[np.clip(at, 0, len(framed) - 1), np.arange(len(xs))].sum(axis=2))


def _curve(ink: NDArray[np.uint8], box: FloatArray, skew: float) -> FloatArray:
    """Return the curve (3,) on which the ink in `box` stands."""
    height = float(_level_heights(box[None], np.array([skew]))[0])
    usual = (box[1] + box[3]) / 2 + (_PLACE - 0.5) * height
    table, top, us = _edges(ink, box, height)
    best = table.max(axis=0)  # (C,)
    if not (best > _INKED).any():
        return np.array([usual, skew, 0.0])
    stray = np.linspace(-_STRAY, _STRAY, 2 * max(1, round(_STRAY * height)) + 1)  # (K,)
    turns = np.linspace(-_LEEWAY, _LEEWAY, 13)  # (S,)
    score = _sheared(table, usual - top + stray * height, skew + turns, us) / best[best > _INKED].sum()
    score -= _STRAY_BIAS * (stray / _STRAY) ** 2 + _TURN_BIAS * (turns[:, None] / _LEEWAY) ** 2
    turn, place = np.unravel_index(np.argmax(score), score.shape)
    start, slope = usual + stray[place] * height, skew + turns[turn]
    return np.array([start, slope, 0.0]) + _bend(table, start - top + slope * us, us, height)


def _edges(ink: NDArray[np.uint8], box: FloatArray, height: float) -> tuple[FloatArray, float, FloatArray]:
    """Return how much more ink is above than below each row of a box, for columns as wide as the box is high.

    Returns the table (R, C), the row of `ink` where it starts, and its columns' offsets from the centre.
    """
    reach = max(1, round(_CORE * height))
    top, bottom = int(box[1]) - reach, int(np.ceil(box[3])) + reach
    left, right = int(box[0]), max(int(np.ceil(box[2])), int(box[0]) + 1)
    window = ink[max(top, 0) : bottom, left:right]
    count = int(np.clip((right - left) // height, 1, min(64, window.shape[1])))
    profile = np.asarray(cv2.resize(window, (count, len(window)), interpolation=cv2.INTER_AREA), np.float64)
    above, under = max(-top, 0) + reach, max(bottom - len(ink), 0) + reach
    total = np.pad(profile.reshape(-1, count) / 255, ((above + 1, under), (0, 0))).cumsum(axis=0)
    table = (2 * total[reach:-reach] - total[: -2 * reach] - total[2 * reach :]) / reach
    us = ((np.arange(count) + 0.5) / count - 0.5) * (box[2] - box[0])
    return table, float(top), us


def _bend(table: FloatArray, rows: FloatArray, us: FloatArray, height: float) -> FloatArray:
    """Return the curve (3,) that bends a straight baseline, at `rows` (C,) of `table`, a little."""
    count, reach = len(us), max(1, round(_WOBBLE * height))
    off = np.arange(-reach, reach + 1)[:, None]  # (K, 1)
    at = np.clip(np.rint(rows).astype(int) + off, 0, len(table) - 1)  # (K, C)
    values = table[at, np.arange(count)]
    best = np.argmax(values - _WOBBLE_BIAS * values.max(axis=0) * (off / reach) ** 2, axis=0)
    gap = np.rint(rows) - rows + off[best, 0]  # (C,)
    weight = values[best, np.arange(count)] * (values.max(axis=0) > _INKED)
    half = max(float(np.abs(us).max()), 1.0)
    powers = np.vander(us / half, 1 + (count >= 4) + (count >= 8), increasing=True)
    prior = (weight.mean() + 1e-9) * np.diag(_STIFF[: len(powers.T)] * (powers**2).sum(axis=0))
    fit = np.zeros(powers.shape[1])
    for _ in range(3):  # Cauchy's weights: a word of descenders does not pull the line down
        trust = weight.clip(0) / (1 + ((gap - powers @ fit) / (_DOUBT * height)) ** 2)
        fit = np.linalg.solve(powers.T @ (trust[:, None] * powers) + prior, powers.T @ (trust * gap))
    return np.asarray(np.pad(fit, (0, 3 - len(fit))) / np.array([1.0, half, half**2]))
