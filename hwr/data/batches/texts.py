"""Batches of noisy and true texts of similar length; each epoch cuts other pieces of running text."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwr.config.roots import Count, Probability
from hwr.data.batches import pad_rows, shuffled_pools
from hwr.data.records import Page
from hwr.text import Alphabet

LENGTH_STEP = 8  # lengths are rounded up to a multiple of this: MXNet keeps something for every shape
HYPHENS = ("-", "\N{HYPHEN}", "\N{NOT SIGN}")  # at the end of a line a word may go on behind them

Change = Callable[[str, int], str]  # text and number of the sample to a noisy one


@dataclass(frozen=True)
class Passage:
    """Running text: lines that follow each other, with their ids."""

    ids: tuple[str, ...]
    lines: tuple[str, ...]

    @cached_property
    def words(self) -> list[str]:
        """The words of all lines."""
        return " ".join(self.lines).split(" ")

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where each word starts in the text, and one place behind its end."""
        return np.cumsum([0, *(len(word) + 1 for word in self.words)])

    def window(self, length: int, generator: np.random.Generator) -> str:
        """Return whole words from a random place, as many as fit into `length` characters, at least one."""
        enough = self.starts[-1] - 1 - length  # characters before a word that has so many from it on
        early = np.searchsorted(self.starts, enough, side="right")
        first = int(generator.integers(max(1, early)))
        end = int(np.searchsorted(self.starts, self.starts[first] + length + 1, side="right")) - 1
        return " ".join(self.words[first : max(end, first + 1)])


@dataclass(frozen=True)
class TextBatch:
    """Texts of like length as classes, float32, padded with -1; E, the last class, ends a text.

    noisy (N, S): the noisy text, then E; before (N, T): E, then the true text; labels (N, T): the true text,
    then E.
    """

    ids: Sequence[str]
    noisy: NDArray[np.float32]
    before: NDArray[np.float32]
    labels: NDArray[np.float32]


def passages(pages: Sequence[Page], split: str) -> list[Passage]:
    """Return the running text of a split's pages.

    A line that ends with a hyphen ends its passage, because the next line begins with the rest of a word.
    """
    found = []
    for page in pages:
        if page.split == split:
            found += running_text([line.id for line in page.lines], [line.text for line in page.lines])
    return found


def running_text(ids: Sequence[str], texts: Sequence[str]) -> list[Passage]:
    """Return lines that follow each other as running text; empty lines and hyphens part it."""
    found: list[Passage] = []
    own: list[tuple[str, str]] = []
    for name, text in zip(ids, texts, strict=True):
        own += [(name, text)] * bool(text)
        if own and (not text or text.endswith(HYPHENS)):
            found.append(Passage(*zip(*own, strict=True)))
            own = []
    return [*found, Passage(*zip(*own, strict=True))] if own else found


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How samples are drawn: each line `repeats` times an epoch, a share `windows` cut from running text.

    No sample is longer than `longest` characters.
    """

    repeats: Count
    windows: Probability
    longest: Count


def draw_samples(texts: Sequence[Passage], how: Sampling, *, seed: Sequence[int]) -> list[tuple[str, str]]:
    """Return (id, text) of an epoch's samples: lines, and windows as long as the line that they stand for."""
    found = []
    for number in range(how.repeats):
        for place, passage in enumerate(texts):
            generator = np.random.default_rng([*seed, number, place])
            for name, line in zip(passage.ids, passage.lines, strict=True):
                drawn = generator.random() < how.windows
                text = passage.window(min(len(line), how.longest), generator) if drawn else line
                found.append((name, text[: how.longest]))
    return found


def text_training_batches(
    pairs: Sequence[tuple[str, str]], alphabet: Alphabet, *, batch_size: int, seed: Sequence[int],
    change: Change, start: int = 0,
) -> Iterator[TextBatch]:  # fmt: skip
    """Yield every (id, text) once, in an order drawn from `seed`; `change` gets the text and its place.

    Batches before `start` are left out.
    """
    for pool, turns in shuffled_pools(len(pairs), batch_size, seed=seed, start=start):
        ranked = sorted(pool.tolist(), key=lambda place: len(pairs[place][1]))
        cuts = [ranked[at : at + batch_size] for at in range(0, len(ranked), batch_size)]
        for cut in turns:
            ids, true = zip(*(pairs[place] for place in cuts[cut]), strict=True)
            noisy = [change(text, place) for text, place in zip(true, cuts[cut], strict=True)]
            before, labels = encode_written(true, alphabet)
            yield TextBatch(ids, encode_read(noisy, alphabet), before, labels)


def encode_read(texts: Sequence[str], alphabet: Alphabet) -> NDArray[np.float32]:
    """Return texts as read, each with its end, as classes (N, S) padded with -1."""
    return pad_rows([[*alphabet.encode(text), alphabet.blank] for text in texts], step=LENGTH_STEP)


def encode_written(
    texts: Sequence[str], alphabet: Alphabet
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what stands before each character of texts, and the characters with their end: (N, T) each."""
    classes = [alphabet.encode(text) for text in texts]
    end = alphabet.blank
    rows = [[end, *own] for own in classes], [[*own, end] for own in classes]
    return pad_rows(rows[0], step=LENGTH_STEP), pad_rows(rows[1], step=LENGTH_STEP)
