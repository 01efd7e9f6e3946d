"""Score a whole page: pair read lines with true lines, and count the errors of the page.

Positions decide which lines may be paired; among these, the pairing with the fewest character errors counts.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from hwr.images.boxes import Box, FloatArray, box_areas, share_of, shared_areas
from hwr.scoring import edits
from hwr.scoring.edits import Counts
from hwr.text import nfc

PAIRING = (
    "a read line may pair with a true one where the middle halves of their boxes share a quarter of the lower"
    " one's height and their boxes half of the narrower one's width, unless it lies on another line twice as"
    " well; of such pairings the one with the fewest character errors counts; parts of a line side by side"
    " are joined by spaces; a missed line is deletions, an extra one insertions; what was read on lines that"
    " are not scored is left out"
)
_HEIGHT = 0.25  # share of the lower core: boxes of one height may be off by three eighths of it
_HALF = 0.5

TextPair = tuple[str, str, str]  # line id, reference, hypothesis


@dataclass(frozen=True)
class TrueLine:
    """A true line of the page; readings of one that is not `scored` are ignored."""

    id: str
    text: str
    box: Box
    scored: bool


@dataclass(frozen=True)
class FoundLine:
    """A line as it was read."""

    text: str
    box: Box


@dataclass(frozen=True)
class Alignment:
    """Which found line reads which true one; every found line is in one of `matched`, `extra` and `ignored`.

    `pairs` holds every scored line once, in order and in NFC, with "" where it was missed; then the extra
    lines as `PAGE/extra1` and so on, with reference "". `matched` is line id -> indices of the found lines
    it was read as, left to right. `missed` are line ids, `extra` and `ignored` indices; ignored are what was
    found on lines that are not scored, and what is without text and pairs with nothing.
    """

    pairs: tuple[TextPair, ...]
    missed: tuple[str, ...]
    extra: tuple[int, ...]
    ignored: tuple[int, ...]
    matched: Mapping[str, tuple[int, ...]]


def pair_lines(page_id: str, true: Sequence[TrueLine], found: Sequence[FoundLine]) -> Alignment:
    """Pair `found` with the scored lines of `true`, as PAIRING says.

    A line found in halves costs no more than their errors. A found line over two true ones reads one of them,
    the other is missed. An empty box pairs with nothing.
    """
    scored = [line for line in true if line.scored]
    page = _page(true, found)
    readings, left = _join(page, _assign(page))
    extra = [f for f in left if page.leaving[f]]
    matched = {line.id: tuple(reading) for line, reading in zip(scored, readings, strict=True) if reading}
    pairs = [
        (line.id, written, page.joined(reading))
        for line, written, reading in zip(scored, page.written, readings, strict=True)
    ]
    pairs += [(f"{page_id}/extra{number}", "", page.read[f]) for number, f in enumerate(extra, 1)]
    return Alignment(
        pairs=tuple(pairs),
        missed=tuple(line.id for line in scored if line.id not in matched),
        extra=tuple(extra),
        ignored=tuple(f for f in left if not page.leaving[f]),
        matched=matched,
    )


def bag_of_words(reference: str, hypothesis: str) -> Counts:
    """Count word errors in any order: missing and surplus words are paired as substitutions.

    The errors are the larger of missing and surplus words: equation 8, bag of words WER, of Vidal, Toselli,
    Ríos-Vila and Calvo-Zaragoza, End-to-End Page-Level Assessment of Handwritten Text Recognition, arXiv
    2301.05935, 2023. What the WER of a page in reading order has beyond it is mostly due to the order.
    """
    written, read = Counter(nfc(reference).split()), Counter(nfc(hypothesis).split())
    missing, surplus = (written - read).total(), (read - written).total()
    both = min(missing, surplus)
    return Counts(written.total(), both, missing - both, surplus - both)


def page_text_errors(references: Sequence[str], hypotheses: Sequence[str]) -> Counts:
    """Count character errors of a page's whole text, its lines in reading order; a wrong order costs.

    A line break is one character, lines without text are left out. Leave out of `hypotheses` what
    `pair_lines` ignores. Takes 4 bytes for each pair of characters: 9 MB for a page of 1,500.
    """
    return edits.character_edits(_page_text(references), _page_text(hypotheses))


def _page_text(lines: Sequence[str]) -> str:
    return "\n".join(filter(None, map(nfc, lines)))


@dataclass(frozen=True)
class _Page:
    """The scored lines (S) and the found ones (F): texts in NFC, and how they lie to each other.

    `leaving` is what a found line costs when it pairs with nothing, `affinity` how well two lie together (0:
    no pair), `beside` whether two found lines lie left and right of each other.
    """

    written: list[str]  # (S,)
    read: list[str]  # (F,)
    leaving: list[int]  # (F,)
    affinity: FloatArray  # (S, F)
    beside: NDArray[np.bool_]  # (F, F)
    starts: list[float]  # (F,)

    def joined(self, reading: Iterable[int]) -> str:
        return nfc(" ".join(self.read[f] for f in reading))

    def errors(self, line: int, reading: Iterable[int]) -> int:
        return edits.levenshtein(self.written[line], self.joined(reading))

    def ordered(self, reading: Iterable[int]) -> list[int]:
        return sorted(reading, key=self.starts.__getitem__)


def _page(true: Sequence[TrueLine], found: Sequence[FoundLine]) -> _Page:
    read = [nfc(line.text) for line in found]
    places = _array(found)
    affinity, aside = _affinity(true, places)
    return _Page(
        written=[nfc(line.text) for line in true if line.scored],
        read=read,
        leaving=[0 if free else len(text) for text, free in zip(read, aside, strict=True)],
        affinity=affinity,
        beside=_share(places[:, 0::2], places[:, 0::2]) < _HALF,
        starts=places[:, 0].tolist(),
    )


def _assign(page: _Page) -> list[list[int]]:
    """Return at most one found line for each scored one: the fewest errors, ties to the larger affinity."""
    gain = np.zeros(page.affinity.shape)
    for line, f in np.argwhere(page.affinity > 0):
        saved = len(page.written[line]) + page.leaving[f] - page.errors(line, [f])
        if saved >= 0:  # the affinities of all pairs sum to less than one character
            gain[line, f] = saved + page.affinity[line, f] / (len(page.read) + 1)
    pairs = dict(np.transpose(linear_sum_assignment(gain, maximize=True)).tolist())
    return [[pairs[n]] if n in pairs and gain[n, pairs[n]] > 0 else [] for n in range(len(page.written))]


def _join(page: _Page, assigned: list[list[int]]) -> tuple[list[list[int]], list[int]]:
    """Join what is left over to the reading it is a part of, unless that costs more; and return the rest."""
    readings, remaining = list(assigned), list[int]()
    for part in sorted(set(range(len(page.read))).difference(*assigned)):
        rises = {
            line: page.errors(line, page.ordered([*reading, part])) - page.errors(line, reading)
            for line, reading in enumerate(readings)
            if page.affinity[line, part] > 0 and reading and page.beside[part, reading].all()
        }
        best = min(rises, key=lambda line: (rises[line], -page.affinity[line, part]), default=None)
        if best is None or rises[best] > page.leaving[part]:
            remaining.append(part)
        else:
            readings[best] = page.ordered([*readings[best], part])
    return readings, remaining


def _affinity(true: Sequence[TrueLine], places: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return how well scored and found lines lie together, (S, F), 0 for no pair; and what is no error, (F,).

    That is a found line that lies better on a line that is not scored, or with half of its own area.
    """
    scored, boxes = np.array([line.scored for line in true], bool), _array(true)
    tall = _share(_cores(boxes), _cores(places))  # (T, F)
    wide = _share(boxes[:, 0::2], places[:, 0::2])  # (T, F)
    affinity = np.where((tall >= _HEIGHT) & (wide >= _HALF), tall * wide, 0.0)
    own, other = affinity[scored], affinity[~scored].max(axis=0, initial=0.0)
    best = own.max(axis=0, initial=0.0)  # (F,)
    aside = shared_areas(places, boxes[~scored]).max(axis=1, initial=0.0)  # (F,)
    pairs = np.where((own >= _HALF * best) & (own >= other), own, 0.0)
    return pairs, (other > best) | (share_of(aside, box_areas(places)) >= _HALF)


def _array(lines: Sequence[TrueLine] | Sequence[FoundLine]) -> FloatArray:
    return np.array([line.box for line in lines], np.float64).reshape(-1, 4)


def _cores(boxes: FloatArray) -> FloatArray:
    """Return top and bottom of the middle halves, (N, 2): ascenders and descenders reach into neighbours."""
    return boxes[:, 1::2] + np.outer(boxes[:, 3] - boxes[:, 1], [0.25, -0.25])


def _share(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return what intervals (N, 2) and (M, 2) have in common as a share of the shorter, (N, M), or 0."""
    low = np.maximum(first[:, None, 0], second[None, :, 0])
    high = np.minimum(first[:, None, 1], second[None, :, 1])
    return share_of(np.clip(high - low, 0.0, None), np.minimum(np.diff(first), np.diff(second).T))
