"""Confusions of a recogniser, counted from alignments of true and read texts; edit costs and noise from them.

Edits are named as errors of the recogniser: it deletes a true character, inserts one that is not there, or
substitutes one for another.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwr.config.roots import NonNegative, Probability
from hwr.errors import InputError
from hwr.files import parse_json, read_text
from hwr.language import CONFUSIONS, find_language_file

FloatArray = NDArray[np.float64]
Pair = tuple[str | None, str | None]  # (true, read); None: nothing there

FLOOR = 0.05  # no edit is free, however often it was seen
UNSEEN = 1.0  # what an edit costs that was never seen, and any edit of a character outside the symbols

# The tables of the original program (AWS Labs) describe how a text as read is mended: a deletion there takes
# back an insertion by the recogniser. Indices are ASCII codes, of the substitutions [read, true].
DELETIONS, INSERTIONS, SUBSTITUTIONS = "deletion_costs.txt", "insertion_costs.txt", "substitute_costs.txt"
_ASCII = "".join(map(chr, range(128)))

_EXPECTED = "expected JSON with 'counts', a list of [true, read, count], and where they come 'from'"


@dataclass(frozen=True)
class CountedLines:
    """The lines that were read: fingerprint of the data, split, SHA-256 of the weights, number of lines."""

    data_fingerprint: str
    split: str
    weights_sha256: str
    lines: int


@dataclass(frozen=True)
class Confusions:
    """How often each true character was read as what.

    `counts` has matches ("a", "a"), substitutions ("a", "o"), deletions ("a", None), insertions (None, "o").
    """

    counts: Mapping[Pair, int]
    source: CountedLines

    @classmethod
    def of(cls, alignments: Iterable[Iterable[Pair]], source: CountedLines) -> "Confusions":
        """Count the pairs of all alignments."""
        return cls(Counter(pair for alignment in alignments for pair in alignment), source)

    @classmethod
    def load(cls, name: str) -> "Confusions":
        """Return those of a file, a folder or a published name; raise InputError where there are none."""
        path = find_language_file(name, CONFUSIONS)
        return cls.from_json(read_text(path), str(path))

    @classmethod
    def from_json(cls, text: str, name: str) -> "Confusions":
        """Read what `to_json` wrote; raise InputError that begins with `name` for anything else."""
        try:
            found = parse_json(text)
            counts = {(true, read): count for true, read, count in found["counts"]}
            source = CountedLines(**found["from"])
            if [type(value) for value in asdict(source).values()] != [str, str, str, int]:
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{name}: not a file of confusions; {_EXPECTED}") from None
        if len(counts) != len(found["counts"]):
            raise InputError(f"{name}: a pair of characters is there twice; count the confusions anew")
        for pair, count in counts.items():
            good = all(side is None or (isinstance(side, str) and len(side) == 1) for side in pair)
            if not good or pair == (None, None) or type(count) is not int or count < 1:
                wrong = f"{[*pair, count]} is not a pair of characters and a count"
                raise InputError(f"{name}: {wrong}; {_EXPECTED}")
        return cls(counts, source)

    def to_json(self) -> str:
        """Return JSON with a pair a line, most frequent first."""
        rows = [json.dumps([*pair, count], ensure_ascii=False) for pair, count in _ranked(self.counts)]
        source = json.dumps(asdict(self.source), ensure_ascii=False)
        return f'{{"from": {source},\n"counts": [\n' + ",\n".join(rows) + "\n]}\n"

    @cached_property
    def totals(self) -> Mapping[str, int]:
        """How often each character was true, whatever was read."""
        true = zip(self.symbols, self.matrix[:-1].sum(axis=1).tolist(), strict=True)
        return {symbol: total for symbol, total in true if total}

    @cached_property
    def symbols(self) -> str:
        """All characters that were true or read, in code point order."""
        return "".join(sorted({symbol for pair in self.counts for symbol in pair if symbol is not None}))

    @cached_property
    def matrix(self) -> NDArray[np.int64]:
        """Counts of [true, read] among the n symbols, (n + 1, n + 1); the last place is nothing."""
        places: dict[str | None, int] = {symbol: place for place, symbol in enumerate(self.symbols)}
        matrix = np.zeros((len(places) + 1, len(places) + 1), np.int64)
        for (true, read), count in self.counts.items():
            matrix[places.get(true, -1), places.get(read, -1)] = count
        return matrix

    def most_frequent(self, number: int) -> list[tuple[Pair, int]]:
        """Return so many of the pairs that are no matches, with their counts, most frequent first."""
        return _ranked({pair: count for pair, count in self.counts.items() if pair[0] != pair[1]})[:number]


@dataclass(frozen=True)
class Costs:
    """Costs of edits between the n `symbols`, float64.

    `deletion` (n,) of a true character that is not read, `insertion` (n,) of a character that is read where
    none is, `substitution` (n, n) of [true, read]; its diagonal is 0, as a match costs nothing.
    """

    symbols: str
    deletion: FloatArray
    insertion: FloatArray
    substitution: FloatArray

    @classmethod
    def plain(cls) -> "Costs":
        """Return costs of 1 for every edit: the Levenshtein distance."""
        return cls("", np.ones(0), np.ones(0), np.ones((0, 0)))

    @classmethod
    def of(cls, confusions: Confusions) -> "Costs":
        """Estimate costs from counted confusions.

        An event seen c times among T occasions, each with one of K outcomes, has with Laplace's rule of
        succession the probability p = (c + 1) / (T + K), an unseen one 1 / (T + K). Costs are logarithms of
        probabilities in units of the unseen event's: log p / log (1 / (T + K)) = 1 - log(c + 1) / log(T + K),
        not below FLOOR. So what was never seen costs 1, and what is rare stays close to 1 whatever its
        share. The occasions of a substitution or deletion are those at which its character was true, its
        outcomes any character read, or none; those of an insertion are all true characters, its outcomes any
        character inserted, or none.
        """
        true, inserted = confusions.matrix[:-1], confusions.matrix[-1, :-1]
        occasions = true.sum(axis=1, keepdims=True) + len(confusions.matrix)  # T + K of each symbol
        costs = _cost(true, occasions)
        np.fill_diagonal(costs, 0.0)
        insertion = _cost(inserted, true.sum() + len(confusions.matrix))
        return cls(confusions.symbols, costs[:, -1].copy(), insertion, costs[:, :-1].copy())

    @classmethod
    def from_tables(cls, folder: Path) -> "Costs":
        """Read the three tables of the original program, over ASCII codes; InputError for a damaged one."""
        insertion = _table(folder / DELETIONS, (128,))
        deletion = _table(folder / INSERTIONS, (128,))
        substitution = _table(folder / SUBSTITUTIONS, (128, 128)).T.copy()
        np.fill_diagonal(substitution, 0.0)
        return cls(_ASCII, deletion, insertion, substitution)

    def write_tables(self, folder: Path) -> None:
        """Write the three tables of the original program; characters outside ASCII have no place there."""
        codes = [ord(character) for character in self.symbols if ord(character) < 128]
        own = [index for index, character in enumerate(self.symbols) if ord(character) < 128]
        insertion, deletion, substitution = np.ones(128), np.ones(128), np.ones((128, 128))
        insertion[codes], deletion[codes] = self.insertion[own], self.deletion[own]
        substitution[np.ix_(codes, codes)] = self.substitution[np.ix_(own, own)].T
        np.fill_diagonal(substitution, 1.0)  # as there: a match is never looked up
        for name, table in ((DELETIONS, insertion), (INSERTIONS, deletion), (SUBSTITUTIONS, substitution)):
            np.savetxt(folder / name, table, fmt="%.6f")

    def indices(self, codes: NDArray[np.uint32]) -> NDArray[np.intp]:
        """Return the index in `symbols` of each code point, n for one that is not there."""
        found: NDArray[np.intp] = self._places[np.minimum(codes, len(self._places) - 1)]
        return found

    @cached_property
    def padded(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Deletion (n + 1,), insertion (n + 1,), substitution (n + 1, n + 1): the last place is outside."""
        deletion, insertion, substitution = (
            np.pad(own, (0, 1), constant_values=UNSEEN)
            for own in (self.deletion, self.insertion, self.substitution)
        )
        return deletion, insertion, substitution

    @cached_property
    def _places(self) -> NDArray[np.intp]:
        """The index of every code point up to the highest of the symbols, and of the one behind it."""
        codes = [ord(character) for character in self.symbols]
        places = np.full(max(codes, default=0) + 2, len(codes))
        places[codes] = np.arange(len(codes))
        return places


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How many errors texts get, as conf/augmentation/noise.yaml explains; 0 switches a part off."""

    strength: NonNegative
    spread: NonNegative
    bursts: NonNegative
    clean: Probability
    most: Probability
    smoothing: NonNegative


class Recogniser:
    """Adds errors to texts as the recogniser makes them whose confusions were counted.

    Characters that it was never shown are left alone.
    """

    def __init__(self, confusions: Confusions, noise: Noise) -> None:
        self.noise = noise
        self._symbols = confusions.symbols
        self._places = {symbol: place for place, symbol in enumerate(confusions.symbols)}
        self._wrong, self._read = _misreading(confusions, noise.smoothing)
        # How often something is read before a character where nothing is, and what: cumulated shares.
        inserted, true = confusions.matrix[-1, :-1].astype(np.float64), confusions.matrix[:-1].sum()
        self._added, self._put = float(inserted.sum() / max(true, 1)), _cumulated(inserted)

    def __call__(self, text: str, *, seed: int, epoch: int, index: int) -> str:
        """Return `text` misread, the same for the same numbers."""
        generator = np.random.default_rng([seed, epoch, index])
        if not text or not self._symbols or generator.random() < self.noise.clean:
            return text
        factors = self._factors(text, generator)  # a character
        places = np.array([self._places.get(character, -1) for character in text])
        chances = np.where(places < 0, 0.0, self._wrong[places])
        wrong = generator.random(len(text)) < np.minimum(self.noise.most, factors * chances)
        more = np.minimum(self.noise.most, np.append(factors, factors[-1]) * self._added)
        added = generator.random(len(text) + 1) < more
        draws = generator.random((len(text) + 1, 2))  # what is read, what is put before it
        pieces = []
        for at, character in enumerate([*text, ""]):
            if added[at]:
                pieces.append(self._symbols[int(np.searchsorted(self._put, draws[at, 1], side="right"))])
            if at < len(text) and wrong[at]:
                read = int(np.searchsorted(self._read[places[at]], draws[at, 0], side="right"))
                character = self._symbols[read : read + 1]  # behind the last one is nothing
            pieces.append(character)
        return "".join(pieces)

    def _factors(self, text: str, generator: np.random.Generator) -> FloatArray:
        """Return the factor of every character's error rate: the text's, times its word's."""
        words = np.cumsum([character == " " for character in text])
        own = _heavy_tailed(self.noise.spread, 1, generator)
        words_own = _heavy_tailed(self.noise.bursts, words[-1] + 1, generator)[words]
        return np.asarray(self.noise.strength * own * words_own)


def _ranked(counts: Mapping[Pair, int]) -> list[tuple[Pair, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0][0] or "", item[0][1] or ""))


def _cost(counts: NDArray[np.int64], occasions: Any) -> FloatArray:
    return np.asarray(np.maximum(UNSEEN - np.log(counts + 1) / np.log(occasions), FLOOR))


def _table(path: Path, shape: tuple[int, ...]) -> FloatArray:
    rows = read_text(path)
    try:
        found = np.array(rows.split(), np.float64)
    except ValueError:
        raise InputError(f"{path}: not a table of numbers; write it anew") from None
    if found.size != math.prod(shape) or not np.isfinite(found).all() or (found < 0).any():
        wanted = " x ".join(map(str, shape))
        raise InputError(f"{path}: not {wanted} costs of 0 or more; write it anew")
    return found.reshape(shape)


def _misreading(confusions: Confusions, smoothing: float) -> tuple[FloatArray, FloatArray]:
    """Return of each symbol how often it is misread, (K,), and as what: cumulated shares, (K, K + 1).

    The last column is that nothing is read. With n(c) = how often c was true, n(c, b) = how often it was read
    as b, r(b) = the share of all characters that were wrongly read as b, k = smoothing:
    p(b | c) = (n(c, b) + k r(b)) / (n(c) + k), for b other than c. What was never true is not misread.
    """
    counts = confusions.matrix[:-1].astype(np.float64)  # (K, K + 1)
    totals = counts.sum(axis=1, keepdims=True)  # (K, 1)
    right = np.eye(counts.shape[0], counts.shape[1], dtype=bool)
    rates = np.where(right, 0.0, counts)
    shares = np.where(right, 0.0, rates.sum(axis=0) / max(totals.sum(), 1.0))
    rates = np.where(totals > 0, (rates + smoothing * shares) / np.maximum(totals + smoothing, 1.0), 0.0)
    return rates.sum(axis=1), _cumulated(rates)


def _cumulated(weights: FloatArray) -> FloatArray:
    """Return running shares of the last axis, which end with 1; zeros where there is no weight."""
    sums = np.cumsum(weights, axis=-1)
    total = sums[..., -1:]
    return np.where(total > 0, sums / np.where(total > 0, total, 1.0), 0.0)


def _heavy_tailed(spread: float, number: int, generator: np.random.Generator) -> FloatArray:
    """Draw so many log-normal factors with mean 1."""
    return np.asarray(np.exp(spread * generator.standard_normal(number) - spread**2 / 2))
