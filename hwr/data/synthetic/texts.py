"""Sentences to write: chains of English bigrams, or the sentences of a text file; none is used twice."""

import re
from collections.abc import Callable, Iterator
from itertools import accumulate, groupby, islice
from operator import itemgetter
from pathlib import Path

import numpy as np

from hwr.errors import InputError
from hwr.files import package_folder, read_text
from hwr.text import nfc

_BIGRAMS = "frequency_bigramdictionary_en_243_342.txt"  # symspellpy (MIT): "first second count" a line
_WORDS = "frequency_dictionary_en_82_765.txt"  # likewise: "word count" a line, most frequent first
_TEMPER = 0.6  # counts span five decades; flattened, chains use more of the vocabulary
# The pairs were counted on the Web, where these words, names of groups of people among them, come mostly from
# advertisements of adult sites: such pairs are not what anybody writes by hand. Recorded trainings were drawn
# without exactly these, so the list stays as it is. data.text=FILE writes a text that needs none.
_LEFT_OUT = re.compile(
    r"(sex|porn|xxx|nud|naked|gay|lesbian|teen|viagra|casino|poker|fuck|rapist|bikini|thong|lingerie|suicid|bomb"
    r"|escort|erotic|erecti|penis|breast|nipple|virgins|orgasm|bondage|slut|bitch|shit|blowjob|boob|bestial|clit|cunt"
    r"|dildo|ejacul|fetish|genital|incest|masturb|milf|molest|nigg|panties|panty|piss|pussy|stripper|swinger|threesome"
    r"|topless|trans[sv]e|vagin|valium|vibrator|voyeur|whore)"
    r"|(anal|tits?|ass|dick|cocks?|cum|cumming|adults?|rape|hardcore|horny|kinky|orgy|squirts?|interracial|babes?)$"
)
_SHORTENED = {
    "do not": "don't", "is not": "isn't", "it is": "it's", "we are": "we're", "would not": "wouldn't",
    "I have": "I've", "they are": "they're", "that is": "that's", "did not": "didn't", "I am": "I'm",
}  # fmt: skip
ACCENTED = {
    "a": "àâäáåã", "c": "ç", "e": "éèêë", "i": "îïí", "n": "ñ", "o": "ôöóœ", "u": "ûüùú", "s": "ß", "y": "ÿ",
    "A": "ÀÂÄ", "C": "Ç", "E": "ÉÈÊ", "I": "Î", "O": "ÔÖ", "U": "ÛÜ",
}  # fmt: skip


class Bigrams:
    """A first-order chain over English words."""

    def __init__(self) -> None:
        following: dict[str, tuple[list[str], list[float]]] = {}
        for line in _lines(_BIGRAMS):
            first, second, count = line.split()
            if _LEFT_OUT.match(first) or _LEFT_OUT.match(second):
                continue
            words, weights = following.setdefault(first, ([], []))
            words.append(second)
            weights.append(float(count) ** _TEMPER)
        self._following = {word: (words, _cumulated(weights)) for word, (words, weights) in following.items()}
        self._words = list(following)
        common = (line.split()[0] for line in islice(_lines(_WORDS), 30_000))
        names = sorted(word for word in common if word.isalpha() and not _LEFT_OUT.match(word))
        self._by_initial = [list(group) for _, group in groupby(names, key=itemgetter(0))]
        self._starts = _cumulated([sum(weights) for _, weights in following.values()])

    def sentences(self, rng: np.random.Generator) -> Iterator[str]:
        """Yield sentences without end, punctuated and capitalised in the manner of the LOB corpus."""
        while True:
            yield _punctuate(self._chain(int(rng.integers(4, 14)), rng), rng)

    def _chain(self, length: int, rng: np.random.Generator) -> list[str]:
        words = [_pick(self._words, self._starts, rng)]
        while len(words) < length:
            if rng.random() < 0.05:  # a name: all initials are as likely, so that every capital occurs
                names = self._by_initial[int(rng.integers(len(self._by_initial)))]
                words.append(names[int(rng.integers(len(names)))].capitalize())
            elif words[-1] in self._following:
                words.append(_pick(*self._following[words[-1]], rng))
            else:
                words.append(_pick(self._words, self._starts, rng))
        return words


def sentences_in(path: Path, rng: np.random.Generator) -> list[str]:
    """Return the distinct sentences of a UTF-8 text file in random order; raise InputError for none."""
    pieces = (nfc(piece) for piece in re.split(r"(?<=[.!?…])\s+|\n\s*\n", read_text(path)))
    found = list(dict.fromkeys(piece for piece in pieces if piece))
    if not found:
        raise InputError(f"text file {path} holds no sentence")
    return [found[index] for index in rng.permutation(len(found))]


def unseen_sentences(sentences: Iterator[str]) -> Iterator[str]:
    """Drop sentences that came before."""
    seen: set[str] = set()
    for sentence in sentences:
        if sentence not in seen:
            seen.add(sentence)
            yield sentence


def with_accent(word: str, can_write: Callable[[str], bool], rng: np.random.Generator) -> str:
    """Return `word` with a diacritic on one letter that `can_write` allows, or as it is where none fits."""
    places = [index for index, letter in enumerate(word) if letter in ACCENTED]
    for index in rng.permutation(places):
        choices = [letter for letter in ACCENTED[word[index]] if can_write(letter)]
        if choices:
            return word[:index] + choices[int(rng.integers(len(choices)))] + word[index + 1 :]
    return word


def _punctuate(words: list[str], rng: np.random.Generator) -> str:
    words = [word if rng.random() > 0.05 else _number(rng) for word in _shorten(words, rng)]
    for index in range(1, len(words) - 1):
        if not words[index]:  # joined to the word before
            continue
        chance = rng.random()
        if chance < 0.07:
            words[index] += ","
        elif chance < 0.09:
            words[index] += ";:"[int(rng.integers(2))]
        elif chance < 0.11 and re.fullmatch(r"\w{3,}[a-rt-y]", words[index]):
            words[index] += "'s"
        elif chance < 0.13 and words[index][-1].isalpha() and words[index + 1].isalpha():
            words[index : index + 2] = [f"{words[index]}-{words[index + 1]}", ""]
        elif chance < 0.14:
            words[index] += " -"
        elif chance < 0.155:
            words[index] = f"({words[index]})"
        elif chance < 0.16:
            words[index] += " &"
    words = [word for word in words if word]
    words[0] = words[0][0].upper() + words[0][1:]
    end = "!?"[int(rng.integers(2))] if rng.random() < 0.15 else "."
    sentence = " ".join(words) + end
    chance = rng.random()
    mark = '"' if chance < 0.08 else "'" if chance < 0.11 else ""
    return f"{mark}{sentence}{mark}"


def _shorten(words: list[str], rng: np.random.Generator) -> list[str]:
    result: list[str] = []
    for word in words:
        pair = f"{result[-1]} {word}" if result else ""
        if pair in _SHORTENED and rng.random() < 0.5:
            result[-1] = _SHORTENED[pair]
        else:
            result.append("I" if word == "i" else word)
    return result


def _number(rng: np.random.Generator) -> str:
    year, small, large = rng.integers(1800, 2030), rng.integers(1, 100), rng.integers(1000, 100_000)
    forms = (f"{year}", f"{small}", f"{large:,}", f"{small}.{year % 10}", f"{small}th",
             f"{small}-{small + year % 9}")  # fmt: skip
    return forms[int(rng.integers(len(forms)))]


def _cumulated(weights: list[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    total = np.fromiter(accumulate(weights), np.float64, len(weights))
    return np.asarray(total / total[-1])


def _pick(
    words: list[str], cumulated: np.ndarray[tuple[int], np.dtype[np.float64]], rng: np.random.Generator
) -> str:
    return words[int(np.searchsorted(cumulated, rng.random(), side="right"))]


def _lines(file: str) -> list[str]:
    remedy = "the bigrams come with symspellpy: run `pip install symspellpy`, or set data.text=FILE"
    return (package_folder("symspellpy", remedy) / file).read_text(encoding="utf-8-sig").splitlines()
