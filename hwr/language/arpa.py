"""Read and write n-gram models as ARPA files, the format of SRILM and KenLM, and score texts by them.

An ARPA file holds logarithms to base 10: a line `log probability <TAB> tokens <TAB> log back-off weight` for
every n-gram, a section for every order. Scores here are natural logarithms.
"""

import contextlib
import gzip
import io
import math
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TextIO

import numpy as np

from hwr.errors import InputError
from hwr.files import as_input_error, replacing
from hwr.language.ngrams import BEGIN, END, SPACE, SPELT, SPELT_END, UNKNOWN, Grams, Ngrams, text_tokens

NEVER = -99.0  # log probability of begin of line, which follows nothing: SRILM's
UNSEEN = -100.0  # log probability of unknown tokens where a file has none: KenLM's
DECIMALS = 7  # more than any estimate is worth
_MANY = 1 << 16  # n-grams written at once
_REMEDY = "make the model anew with python -m hwr language-model"


def write_arpa(path: Path, model: Ngrams, *, decimals: int = DECIMALS) -> None:
    """Write an ARPA file in one move, compressed for the suffix .gz; InputError if it cannot be written.

    Logarithms are rounded to so many decimals.
    """
    with as_input_error(path, "name another file"), replacing(path) as fresh, _opened(path, fresh) as file:
        file.write("\\data\\\n")
        file.writelines(f"ngram {n}={len(g.probabilities)}\n" for n, g in enumerate(model.orders, start=1))
        for n, grams in enumerate(model.orders, start=1):
            file.write(f"\n\\{n}-grams:\n")
            file.writelines(_rows(grams, model.vocabulary, decimals=decimals, highest=n == len(model.orders)))
        file.write("\n\\end\\\n")


@contextlib.contextmanager
def _opened(path: Path, fresh: Path) -> Iterator[TextIO]:
    """Open the new file `fresh` of `path`; the same model gives the same bytes."""
    if path.suffix != ".gz":
        with fresh.open("w", encoding="utf-8") as file:
            yield file
        return
    with (
        fresh.open("wb") as binary,
        gzip.GzipFile("", "wb", 9, binary, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8") as file,
    ):
        yield file


@dataclass(frozen=True)
class NgramModel:
    """An n-gram model in memory.

    `vocabulary` gives every token a character of its own, so that an n-gram is a text of n characters and a
    part of a line is a slice of it. Logarithms in `probabilities` and `backoffs` are natural; a weight of 1
    is left out.
    """

    unit: str
    order: int
    vocabulary: Mapping[str, str]
    probabilities: Mapping[str, float]
    backoffs: Mapping[str, float]

    @classmethod
    def load(cls, path: Path) -> "NgramModel":
        """Read an ARPA file; raise InputError, with file and line, for one that is damaged."""
        try:
            opened = gzip.open if path.suffix == ".gz" else Path.open
            with opened(path, "rt", encoding="utf-8") as file:
                return _Reader(path, enumerate(file, start=1)).model()
        except UnicodeDecodeError:
            raise InputError(f"{path}: not UTF-8, so no model; {_REMEDY}") from None
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise InputError(f"{path}: damaged, it cannot be decompressed; {_REMEDY}") from None
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); name another model") from None

    @cached_property
    def words(self) -> frozenset[str]:
        """The words that are tokens; empty for a model of characters."""
        return _words(self.vocabulary) if self.unit == "word" else frozenset()

    @cached_property
    def symbols(self) -> str:
        """The characters that it can write, in code point order."""
        return written_symbols(self.vocabulary, self.unit)

    def score(self, text: str) -> float:
        """Return log p of a whole line, its end included; of texts in NFC, parted by single spaces."""
        places, unknown = self.vocabulary, self.vocabulary[UNKNOWN]
        own = [places.get(token, unknown) for token in text_tokens(text, self.unit, known=self.words)]
        return self._sum("".join((places[BEGIN], *own, places[END])))

    def perplexity(self, lines: Iterable[str]) -> float:
        """Return the perplexity of the model on lines; ends of lines count as tokens."""
        texts = list(lines)
        count = sum(len(text_tokens(text, self.unit, known=self.words)) + 1 for text in texts)
        return math.exp(-sum(map(self.score, texts)) / count)

    def _sum(self, line: str) -> float:
        """Return log p of all but the first of a line's tokens, each after those before it."""
        probabilities, backoffs, reach = self.probabilities, self.backoffs, self.order - 1
        total = 0.0
        for place in range(1, len(line)):
            start = max(0, place - reach)
            while (found := probabilities.get(line[start : place + 1])) is None:
                total += backoffs.get(line[start:place], 0.0)
                start += 1
            total += found
        return total


def written_symbols(vocabulary: Iterable[str], unit: str) -> str:
    """Return the characters that tokens can write, in code point order."""
    if unit == "character":
        return "".join(sorted(c for c in map(_character, vocabulary) if len(c) == 1))
    spelt = {token.removeprefix(SPELT) for token in vocabulary if token.startswith(SPELT)}
    single = {character for character in map(_character, spelt) if len(character) == 1}
    return "".join(sorted({" ", *single}.union(*_words(vocabulary))))


def _words(vocabulary: Iterable[str]) -> frozenset[str]:
    return frozenset(token for token in vocabulary if not token.startswith("<"))


def _character(token: str) -> str:
    """Return the character that `character_token` names so; of another token itself."""
    named = re.fullmatch(r"<U\+([0-9A-F]{4,5})>", token)
    return chr(int(named[1], 16)) if named else " " if token == SPACE else token


def _rows(grams: Grams, vocabulary: tuple[str, ...], *, decimals: int, highest: bool) -> Iterator[str]:
    with np.errstate(divide="ignore"):
        probabilities = np.log10(grams.probabilities).round(decimals)
    logs = np.where(np.isfinite(probabilities), np.minimum(probabilities, 0.0), NEVER)
    backoffs = np.log10(grams.backoffs).round(decimals) + 0.0  # no -0
    for start in range(0, len(logs), _MANY):
        part = slice(start, start + _MANY)
        texts = [" ".join([vocabulary[t] for t in row]) for row in grams.tokens[part].tolist()]
        rows = zip(logs[part].tolist(), texts, backoffs[part].tolist(), strict=True)
        if highest:
            yield "".join([f"{log:.7g}\t{text}\n" for log, text, _ in rows])
        else:
            yield "".join([f"{log:.7g}\t{text}\t{backoff:.7g}\n" for log, text, backoff in rows])


class _Reader:
    """The lines of an ARPA file, read once from the top; whatever is not as it should be is an InputError."""

    def __init__(self, path: Path, lines: Iterator[tuple[int, str]]) -> None:
        self._path = path
        self._lines = lines
        self._number = 0
        self._vocabulary: dict[str, str] = {}
        self._probabilities: dict[str, float] = {}
        self._backoffs: dict[str, float] = {}

    def model(self) -> NgramModel:
        counts = self._counts()
        for n, count in enumerate(counts, start=1):
            self._section(n, count, highest=n == len(counts))
        if self._filled() != "\\end\\":
            raise self._error(f"expected \\end\\ after {counts[-1]} {len(counts)}-grams")
        return self._made(len(counts))

    def _counts(self) -> list[int]:
        """Read the head: the number of n-grams of every order, and the line that opens the unigrams."""
        if self._filled() != "\\data\\":
            raise self._error("expected \\data\\: not an ARPA file")
        counts: list[int] = []
        while (line := self._filled()) != "\\1-grams:":
            order, _, count = line.removeprefix("ngram ").partition("=")
            if order.strip() != str(len(counts) + 1) or not count.strip().isdecimal():
                raise self._error(f"expected 'ngram {len(counts) + 1}=' and a number, or \\1-grams:")
            counts.append(int(count))
        if not counts:
            raise self._error("no 'ngram 1=' and a number before it")
        if counts[0] > sys.maxunicode:
            raise self._error(f"more than {sys.maxunicode} 1-grams; raise --min-count")
        return counts

    def _section(self, n: int, count: int, *, highest: bool) -> None:
        if n > 1 and self._filled() != f"\\{n}-grams:":
            raise self._error(f"expected \\{n}-grams: after the {n - 1}-grams that the head announces")
        before = len(self._probabilities)
        for _ in range(count):
            self._gram(self._next(), n, highest=highest)
        if len(self._probabilities) - before != count:
            raise self._error(f"one of the {n}-grams before it is there twice")

    def _gram(self, line: str, n: int, *, highest: bool) -> None:
        try:
            log, text, *weight = line.split("\t")
            names = text.split(" ")
            if n == 1:
                self._vocabulary.setdefault(text, chr(len(self._vocabulary)))
            key = "".join([self._vocabulary[name] for name in names])
            probability, backoff = float(log), float(weight[0]) if weight else 0.0
        except KeyError as error:
            raise self._error(f"{error.args[0]!r} is none of the 1-grams") from None
        except ValueError:
            raise self._error(f"expected a {n}-gram: number, tab, {n} tokens, tab, number") from None
        if len(names) != n or "" in names or len(weight) > 1 or (weight and highest):
            raise self._error(f"expected {n} tokens{' and no back-off weight' if highest else ''}")
        if not (-math.inf < probability <= 0 and math.isfinite(backoff)):
            raise self._error(f"{line!r} holds a number that is no logarithm of a probability or weight")
        self._probabilities[key] = probability * math.log(10)
        if backoff:
            self._backoffs[key] = backoff * math.log(10)

    def _made(self, order: int) -> NgramModel:
        for mark in (BEGIN, END):
            if mark not in self._vocabulary:
                raise self._error(f"{mark} is none of the 1-grams above")
        if UNKNOWN not in self._vocabulary:
            self._vocabulary[UNKNOWN] = chr(len(self._vocabulary))
            self._probabilities[self._vocabulary[UNKNOWN]] = UNSEEN * math.log(10)
        # Of a model of words tokens are longer than a character, or are spelt.
        words = any(t == SPELT_END or (len(t) > 1 and t[0] != "<") for t in self._vocabulary)
        unit = "word" if words else "character"
        return NgramModel(unit, order, self._vocabulary, self._probabilities, self._backoffs)

    def _filled(self) -> str:
        """Return the next line that is not empty."""
        while not (line := self._next()):
            pass
        return line

    def _next(self) -> str:
        self._number, line = next(self._lines, (self._number + 1, "\\nothing\\"))
        return line.rstrip("\n")

    def _error(self, said: str) -> InputError:
        return InputError(f"{self._path}, line {self._number}: {said}; {_REMEDY}")
