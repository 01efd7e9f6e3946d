"""Lexicon search: replace words outside the lexicon by the nearest one, by a weighted edit distance.

Candidates are the words within a few plain edits, found by symmetric deletion (symspellpy, MIT).
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import editdistance
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from symspellpy import SymSpell

from hwr.config.roots import NonNegative, Positive, Probability
from hwr.decoding import Decoder, Probs, Reading, mean_confidence, rewrite_reading
from hwr.language import WORDS, TextRecord, find_language_file
from hwr.language.confusions import SUBSTITUTIONS, Confusions, Costs
from hwr.language.lexicon import ENGLISH, Lexicon, joints_in, lexicon_records, parts_in, words_in
from hwr.scoring.edits import align
from hwr.text import Alphabet

_BEGINNING = 7  # characters of a word in which deletions are made: more take memory, fewer time
_REMEMBERED = 1 << 16  # words whose corrections a decoder keeps
_PLAIN = str.maketrans("\u2019\u2010\u2011", "'--")  # joints as lexicons write them


class Index:
    """The words of a lexicon in lower case, with counts: 3 s and 120 MB for 80,000 words and two edits.

    `deletes` lists the words behind each text that up to `edits` deletions leave of a word's beginning.
    """

    def __init__(self, lexicon: Lexicon, edits: int) -> None:
        made = SymSpell(edits, _BEGINNING)
        for word, count in lexicon.counts.items():
            made.create_dictionary_entry(word.lower(), count)
        self.counts: Mapping[str, int] = made.words
        self.deletes: Mapping[str, Sequence[str]] = made.deletes
        self.edits, self.total = edits, sum(made.words.values())

    def logarithm(self, word: str) -> float:
        """Return the natural logarithm of the share of `word` among all that were counted."""
        return math.log(self.counts[word] / self.total)

    def near(self, word: str) -> list[str]:
        """Return the words within the edits of a lower-case `word`, insertions, deletions, substitutions.

        They share a text with it that deletions leave (Garbe 2012). symspellpy's own lookup takes three times
        as long, as it sorts what it finds.
        """
        shortened = {word[:_BEGINNING]}
        keys = set(shortened)
        for _ in range(self.edits):
            shortened = {key[:n] + key[n + 1 :] for key in shortened for n in range(len(key))}
            keys |= shortened
        found = set[str]().union(*(self.deletes.get(key, ()) for key in keys))
        return [known for known in found if editdistance.eval(known, word) <= self.edits]


@dataclass(frozen=True, kw_only=True)
class WordCorrector:
    """What a word is corrected to, by the words of `index` and the `costs` of edits.

    A word is taken when its distance is below `limit`, and below `share` for each character read. Its rank is
    its distance, less `frequency` times the natural logarithm of the word's share in the lexicon.
    """

    index: Index
    costs: Costs
    limit: float
    share: float
    frequency: float

    def __call__(self, word: str) -> str:
        """Return the word that was most probably written, in the case of `word`; `word` where none is near.

        Known words, words with digits and single characters are left alone. A word with apostrophes or
        hyphens is looked for as a whole, among words that have the same, and then part by part.
        """
        plain = word.translate(_PLAIN)
        known, joints = plain.lower(), joints_in(plain)
        if len(word) < 2 or known in self.index.counts or any(map(str.isdigit, word)):
            return word
        candidates = self.index.near(known)
        if joints:
            candidates = [candidate for candidate in candidates if joints_in(candidate) == joints]
        nearest = self._nearest(plain, candidates)
        if nearest is not None:
            return _with_joints_of(word, nearest)
        return replace_spans(word, parts_in(word), self) if joints else word

    def _nearest(self, word: str, candidates: Sequence[str]) -> str | None:
        """Return the candidate with the least rank of those below the limits, in the case of `word`.

        Candidates are compared in that case, where it is mixed in lower case.
        """
        write = case_of(word)
        shown, cased = (word.lower(), candidates) if is_mixed(word) else (word, [*map(write, candidates)])
        limit = min(self.limit, self.share * len(word))
        distances = zip(weighted_distances(shown, cased, self.costs), candidates, strict=True)
        ranked = [
            (distance - self.frequency * self.index.logarithm(candidate), candidate)
            for distance, candidate in distances
            if distance < limit
        ]
        return write(min(ranked)[1]) if ranked else None


@dataclass(frozen=True)
class LexiconDecoder:
    """Correct the words that `base` reads with a confidence of at most `sure`.

    `records` tell which text the lexicon, and what `base` reads with, was made from.
    """

    base: Decoder
    search: Callable[[str], str]
    sure: float
    records: tuple[TextRecord, ...] = ()

    def read(self, lines: Sequence[Probs], pages: Sequence[Hashable] = ()) -> list[Reading]:
        """Return the readings of `base` with corrected words."""
        return [self.corrected(reading) for reading in self.base.read(lines, pages)]

    def corrected(self, reading: Reading) -> Reading:
        """Return a reading with its words corrected; spaces and punctuation stay as they are."""
        doubted = (span for span in words_in(reading.text) if not self._is_sure(reading, *span))
        return rewrite_reading(reading, replace_spans(reading.text, doubted, self.search))

    def _is_sure(self, reading: Reading, start: int, end: int) -> bool:
        return mean_confidence(reading.confidences[start:end]) > self.sure


def replace_spans(text: str, spans: Iterable[tuple[int, int]], search: Callable[[str], str]) -> str:
    """Return `text` with each span, in order, replaced by its correction."""
    pieces: list[str] = []
    done = 0
    for start, end in spans:
        pieces += [text[done:start], search(text[start:end])]
        done = end
    return "".join(pieces) + text[done:]


def lexicon_decoder(
    alphabet: Alphabet, *, base: Decoder, lexicon: str, confusions: str | None,
    edits: Annotated[int, Field(ge=1, le=3)], limit: Positive, share: Positive, frequency: NonNegative,
    sure: Probability,
) -> LexiconDecoder:  # fmt: skip
    """Return the search that conf/decoder/lexicon.yaml describes; raise InputError for damaged files."""
    path = None if lexicon == ENGLISH else find_language_file(lexicon, WORDS)
    own = Costs.plain() if confusions is None else _costs(confusions)
    index = _index(lexicon, 0 if path is None else path.stat().st_mtime_ns, edits)
    corrector = WordCorrector(index=index, costs=own, limit=limit, share=share, frequency=frequency)
    search = lru_cache(_REMEMBERED)(corrector.__call__)
    return LexiconDecoder(base, search, sure, lexicon_records(lexicon) + base.records)


def is_mixed(word: str) -> bool:
    """Tell whether a word is none of lower case, UPPER CASE and Title case."""
    uppers = _uppers(word)
    return any(uppers[1:]) and not all(uppers)


def case_of(word: str) -> Callable[[str], str]:
    """Return a function that writes a lower-case text in the case of `word`.

    Of a mixed word the letters keep theirs that its alignment with the text pairs; new ones are lower case.
    """
    if is_mixed(word):
        return lambda text: _letter_by_letter(word, text)
    uppers = _uppers(word)
    if len(uppers) > 1 and all(uppers):
        return lambda text: "".join(_single(character, str.upper) for character in text)
    return _titled if any(uppers) else str


def weighted_distances(read: str, candidates: Sequence[str], costs: Costs) -> NDArray[np.float64]:
    """Return the least cost of edits that turn each candidate, taken for true, into `read`, (N,) float64.

    A character of a candidate that is not read costs its deletion, one that is read beside the candidate its
    insertion, any other pair its substitution of [true, read]; equal characters cost nothing. One pass over
    the characters read holds the costs for all prefixes of all candidates (Wagner and Fischer 1974).
    """
    true = _code_points(candidates)  # (N, L)
    own = _code_points([read])[0, : len(read)]  # (R,)
    deletion, insertion, substitution = costs.padded
    true_index, read_index = costs.indices(true), costs.indices(own)
    deleted = np.zeros((len(true), true.shape[1] + 1))
    np.cumsum(deletion[true_index], axis=1, out=deleted[:, 1:])  # (N, L + 1): of whole prefixes
    row = deleted
    for code, index in zip(own, read_index, strict=True):
        best = row + insertion[index]
        replaced = row[:, :-1] + np.where(true == code, 0.0, substitution[true_index, index])
        np.minimum(best[:, 1:], replaced, out=best[:, 1:])
        row = np.minimum.accumulate(best - deleted, axis=1) + deleted  # the cheapest start to the left
    lengths = np.fromiter(map(len, candidates), np.intp, len(candidates))
    last: NDArray[np.float64] = row[np.arange(len(true)), lengths]
    return last


@lru_cache(maxsize=4)
def _index(lexicon: str, changed_ns: int, edits: int) -> Index:
    return Index(Lexicon.load(lexicon), edits)


def _costs(name: str) -> Costs:
    if (Path(name) / SUBSTITUTIONS).is_file():
        return Costs.from_tables(Path(name))
    return Costs.of(Confusions.load(name))


def _with_joints_of(word: str, found: str) -> str:
    """Return `found` with the apostrophes and hyphens as `word` writes them, where it has as many."""
    written = joints_in(word)
    if len(written) != len(joints_in(found)):
        return found
    left = iter(written)
    return "".join(next(left) if joints_in(character) else character for character in found)


def _uppers(word: str) -> list[bool]:
    """Tell of each letter that has a case whether it is a capital."""
    return [character.isupper() for character in word if character.isupper() or character.islower()]


def _titled(text: str) -> str:
    first = next((n for n, character in enumerate(text) if character.islower()), len(text))
    return text[:first] + "".join(_single(c, str.upper) for c in text[first : first + 1]) + text[first + 1 :]


def _letter_by_letter(word: str, text: str) -> str:
    written, place = [], 0
    for old, new in align([_single(character, str.lower) for character in word], text):
        if new is not None:
            is_capital = old is not None and word[place].isupper()
            written.append(_single(new, str.upper) if is_capital else new)
        place += old is not None
    return "".join(written)


def _single(character: str, change: Callable[[str], str]) -> str:
    """Return a character in another case; as it is where it becomes two, as ß does."""
    changed = change(character)
    return changed if len(changed) == 1 else character


def _code_points(words: Sequence[str]) -> NDArray[np.uint32]:
    """Return the code points of N words, (N, length of the longest, at least 1), zeros behind the shorter."""
    longest = max(1, max(map(len, words), default=0))
    return np.array(words, f"U{longest}").view(np.uint32).reshape(len(words), longest)
