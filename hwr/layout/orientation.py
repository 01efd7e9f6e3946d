"""Orientation of pages: turns of images and points, the tilt of a page, and which way it stands.

It stands as it is read most surely. Knows no recogniser. Turns are clockwise, in degrees; a tilt is the slope
of lines, above 0 where they fall. The constants are tuned on pages of seven sets of handwriting, most of them
foreign to the recogniser, turned by 0, 90, 180 and 270 degrees.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hwr.images.boxes import Box, FloatArray, Point, around, clip, corners
from hwr.images.load import GreyImage
from hwr.layout.ink import HEIGHT, extract_ink

SURE = 0.8  # score of a page that stands upright: upside down the most legible hands reach 0.77
LINES, LINES_ASIDE = 10, 4  # read once more: upside down, and of the page turned aside
LINES_FIRST = 3  # of those upside down: most pages need no more

_ASIDE = 0.58  # score that no page reaches when it is read aside
_LEGIBLE, _LEGIBLE_ASIDE = 0.55, 0.5  # score, the way it is turned, of a page that is turned
_SURER, _SURER_ASIDE = 0.03, 0.05  # by how much it must be higher than as given
_UPRIGHT = 0.1  # by how much less surely the first lines are read upside down where no more are
_DEVIATIONS = 2.0  # of the mean of the lines' differences, by which they must differ from 0

# Of tilted pages.
_TILT, _TILT_STEPS = 0.3, (0.02, 0.005)  # the largest slope that is looked for, coarsely, then finely
_TILT_BIAS = 0.25  # how much more the rows must differ at the largest tilt than level
_TILT_PX = 8  # between the places at which rows are followed: tilted boxes are higher than their lines
_STEPS = 12  # along each side of a box at which it is asked where it lies
_THICK = HEIGHT // 4  # px: no stroke of a line is so thick


@dataclass(frozen=True)
class Legibility:
    """How surely lines were read: their confidences (N,) and texts."""

    confidences: FloatArray
    texts: Sequence[str]

    @property
    def score(self) -> float:
        """The mean confidence of a character, 0 for one that is no letter: strokes read aside are `/1{`."""
        lengths = [len(text.replace(" ", "")) for text in self.texts]
        letters = [sum(map(str.isalpha, text)) for text in self.texts]
        return float(self.confidences @ letters) / sum(lengths) if any(lengths) else 0.0

    def with_lines(self, others: "Legibility") -> "Legibility":
        """Return how surely these lines and others were read."""
        return Legibility(np.append(self.confidences, others.confidences), [*self.texts, *others.texts])


def is_upright(given: Legibility, flipped: Legibility) -> bool:
    """Tell whether a few legible lines are read so much less surely upside down that others need no look."""
    return given.score >= _ASIDE and bool((given.confidences - flipped.confidences).mean() > _UPRIGHT)


def is_upside_down(given: Legibility, flipped: Legibility) -> bool:
    """Tell whether lines are read more surely upside down, by more than they differ among themselves."""
    gain = flipped.confidences - given.confidences
    if len(gain) < 3 or flipped.score < _LEGIBLE or gain.mean() < _SURER:
        return False
    return bool(gain.mean() > _DEVIATIONS * gain.std(ddof=1) / np.sqrt(len(gain)))


def may_lie_aside(*read: Legibility) -> bool:
    """Tell whether lines, read either way up, are so illegible that the page may lie on its side.

    Of a page that lies aside and is tilted as well, no line may have been found.
    """
    return all(one.score < _ASIDE for one in read)


def lies_aside(given: Legibility, aside: Legibility) -> bool:
    """Tell whether a page is read more surely when it is turned aside."""
    return aside.score >= max(_LEGIBLE_ASIDE, given.score + _SURER_ASIDE)


def find_tilt(page: GreyImage, boxes: FloatArray) -> float:
    """Return the slope of the lines of a page (H, W), found as `boxes` (N, 4); 0 where there is none.

    It is that of the rows that differ most in ink (Postl 1986), and bears boxes that hold several lines.
    """
    if not len(boxes):
        return 0.0
    ink = _thin(extract_ink(page, np.asarray(boxes, dtype=np.float64)).ink)
    count = max(1, ink.shape[1] // _TILT_PX)
    profile = np.asarray(cv2.resize(ink, (count, ink.shape[0]), interpolation=cv2.INTER_AREA), np.float32)
    columns = np.ascontiguousarray(profile.T)
    best, reach = 0.0, _TILT
    for step in _TILT_STEPS:
        slopes = best + step * np.arange(-round(reach / step), round(reach / step) + 1)
        energy = np.array([_row_energy(columns, slope * ink.shape[1] / count) for slope in slopes])
        if not energy.any():
            return 0.0
        best = float(slopes[np.argmax(energy * (1 - _TILT_BIAS * (slopes / _TILT) ** 2))])
        reach = step
    return best


@dataclass(frozen=True)
class LevelPage:
    """A page turned so that its lines are level, on a larger canvas of paper.

    `back` (2, 3) takes a point (x, y, 1) of `image` to that of the page, both in fractions.
    """

    image: GreyImage  # (H, W)
    back: FloatArray

    @classmethod
    def of(cls, page: GreyImage, slope: float) -> "LevelPage":
        """Return a page (H, W) whose lines fall by `slope`, or rise where it is negative."""
        angle = np.arctan(slope)
        size = np.array(page.shape[::-1], dtype=np.float64)  # width, height
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        wide, high = np.ceil(np.abs(turn) @ size).astype(int).tolist()
        canvas = np.array([wide, high], dtype=np.float64)
        # cv2 counts pixel centres, the geometry pixel edges: half a pixel apart.
        centred = turn @ ((1 - size) / 2) + (canvas - 1) / 2
        paper = (float(np.median(page[::8, ::8])),)
        image = cv2.warpAffine(
            page, np.column_stack([turn, centred]), (wide, high), flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT, borderValue=paper,
        )  # fmt: skip
        linear = turn.T * canvas / size[:, None]
        return cls(np.asarray(image, dtype=np.uint8), np.column_stack([linear, 0.5 - linear @ (0.5, 0.5)]))

    def to_page(self, points: Iterable[Point]) -> tuple[Point, ...]:
        """Return where points of the image are on the page."""
        moved = np.array([(*point, 1.0) for point in points]).reshape(-1, 3) @ self.back.T
        return tuple((float(x), float(y)) for x, y in moved)

    def box_of_page(self, box: Box) -> Box:
        """Return the box on the image around a box of the page."""
        linear, start = self.back[:, :2], self.back[:, 2]
        moved = np.linalg.solve(linear, (np.array(corners(box)) - start).T).T
        return clip(around((float(x), float(y)) for x, y in moved))

    def shares_on_page(self, boxes: FloatArray) -> FloatArray:
        """Return how much of each box (N, 4) on the image shows the page, not the paper around it: (N,)."""
        steps = (np.arange(_STEPS) + 0.5) / _STEPS
        x, y = (boxes[:, low, None] + (boxes[:, low + 2] - boxes[:, low])[:, None] * steps for low in (0, 1))
        grid = np.stack(np.broadcast_arrays(x[:, None, :], y[:, :, None], 1.0), axis=-1) @ self.back.T
        return np.asarray(((grid >= 0) & (grid <= 1)).all(axis=-1).mean(axis=(1, 2)))

    def box_to_page(self, box: Box) -> Box:
        """Return the box on the page around a box of the image."""
        return clip(around(self.to_page(corners(box))))


def turned_image(image: GreyImage, degrees: int) -> GreyImage:
    """Return an image (H, W) turned by a multiple of 90 degrees."""
    return np.ascontiguousarray(np.rot90(image, -degrees // 90))


def turned_point(point: Point, degrees: int) -> Point:
    """Return where a point of an image, in fractions, is when that is turned by a multiple of 90 degrees."""
    x, y = point
    return {0: (x, y), 90: (1 - y, x), 180: (1 - x, 1 - y), 270: (y, 1 - x)}[degrees % 360]


def turned_box(box: Box, degrees: int) -> Box:
    """Return a box of an image that is turned by a multiple of 90 degrees."""
    return around(turned_point(corner, degrees) for corner in corners(box))


def _row_energy(columns: NDArray[np.float32], fall: float) -> float:
    """Return the energy of the sums of ink (C, R) along rows that fall by `fall` from column to column."""
    count, height = columns.shape
    shifts = np.rint(fall * (np.arange(count) - count / 2)).astype(int)
    sums = np.zeros(height + np.ptp(shifts), np.float32)
    for column, start in zip(columns, (shifts.max() - shifts).tolist(), strict=True):
        sums[start : start + height] += column
    return float(sums @ sums)


def _thin(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return ink (H, W) without what is thicker than strokes: the table beside a photographed page."""
    thick = cv2.morphologyEx((ink > 0).astype(np.uint8), cv2.MORPH_OPEN, np.ones((_THICK, _THICK), np.uint8))
    return np.asarray(
        np.where(cv2.dilate(thick, np.ones((_THICK, _THICK), np.uint8)), 0, ink), dtype=np.uint8
    )
