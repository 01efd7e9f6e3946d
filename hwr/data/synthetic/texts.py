"""Sentences to write: made-up English and French, or those of a text file; none is used twice."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, groupby
from operator import itemgetter
from pathlib import Path
from typing import Literal

import numpy as np
from faker.providers import job
from faker.providers.company import en_US as companies
from faker.providers.lorem import en_US as english_words
from faker.providers.lorem import fr_FR as french_words
from faker.providers.person import en_GB as english_names
from faker.providers.person import en_US as american_names
from faker.providers.person import fr_FR as french_names

from hwr.errors import InputError
from hwr.files import package_folder, read_text
from hwr.text import nfc

_BIGRAMS = "frequency_bigramdictionary_en_243_342.txt"  # symspellpy (MIT): "first second count" a line
_TEMPER = 0.6  # counts span five decades; flattened, chains use more of the vocabulary
_SHORTENED = {
    "do not": "don't", "is not": "isn't", "it is": "it's", "we are": "we're", "would not": "wouldn't",
    "I have": "I've", "they are": "they're", "that is": "that's", "did not": "didn't", "I am": "I'm",
}  # fmt: skip
ACCENTED = {
    "a": "àâäáåã", "c": "ç", "e": "éèêë", "i": "îïí", "n": "ñ", "o": "ôöóœ", "u": "ûüùú", "s": "ß", "y": "ÿ",
    "A": "ÀÂÄ", "C": "Ç", "E": "ÉÈÊ", "I": "Î", "O": "ÔÖ", "U": "ÛÜ",
}  # fmt: skip


Language = Literal["english", "french"]
_MONTHS: Mapping[Language, str] = {
    "english": "January February March April May June July August September October November December Oct.",
    "french": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre 7bre",
}
# What letters, registers and notebooks hold besides sentences; {name} is a surname, {first} a given name.
_SHORT_LINES: Mapping[Language, str] = {
    "english": """
        {month} {day}th, {year} | {day} {month} {year} | {day}/{n}/{year} | {first}, {month} {day} |
        My dear {first}, | Dear Sir, | Dear Mrs. {name}, | Yours very truly, | Your affectionate
        son, {first} | Mr. {first} {name} | £ {n} 10s. 6d. | No. {n}, {name} Street | St. {first} |
        $ {n}.50 | ditto | " " {n} | {n} do. | &c. &c. | Chapter {n}. {first} | p. {n} | {n} x {day}
        = {year} | {name} & Co. | P.S. {first} | {day}th inst. | {n} % | Dr. {name}, M.D. | {n}
        lbs., {day} oz. | {first} {name}: {n} | + {n} | * {name} [{n}] | {first}@{name}.com | #{n}""",
    "french": """
        {first}, le {day} {month} {year} | Le {day} {month} {year} | {day}/{n}/{year} | le 1er
        {month} {year} | Cher Monsieur, | Ma chère {first}, | Mon cher ami, | Madame, | Bien à vous,
        | Je t'embrasse bien fort, | M. {name} | Mme {name} | Mlle {first} {name} | Me {name},
        notaire | née {name} | Vve {name} | n° {n}, rue de {name} | St {first} | {n} fr. {day} c. |
        {n} francs | idem | id. | d° | " " {n} | folio {n} | {day}e R.I. | Monsieur le Maire, | âgé
        de {day} ans | {n} h. {day} | P.-S. : {first} | N. B. {name} | {n} % | (voir p. {n}) |
        {name} & Cie | etc. | {n} m² | [{name}] | {first} {name}, fils de {first}""",
}
# Every second word of a French sentence; what stands twice is twice as frequent.
_FRENCH_SMALL = """de de de de la la la le le le les les et et et à à un une des des en que que qui dans dans
    ce il il ne pas sur se est est pour pour par au aux plus du du avec elle son sa ses nous vous je je mais
    ou leur a ont été être sont cette mon ma me si y"""
_ELIDED = {"le", "la", "de", "ne", "que", "je", "se", "me", "ce"}
_ENDINGS = ("er", "é", "ée", "és", "ées", "e", "ent", "ait", "aient", "a", "èrent", "ant", "ons", "ez", "era")


def endless_sentences(
    languages: Sequence[Language], short_lines: float, rng: np.random.Generator
) -> Iterator[str]:
    """Yield sentences without end, each in one of `languages`; `short_lines`: share of dates and the like."""
    sources: dict[Language, type[Bigrams | French]] = {"english": Bigrams, "french": French}
    written = [(language, sources[language]().sentences(rng)) for language in languages]
    while True:
        language, sentences = written[int(rng.integers(len(written))) if len(written) > 1 else 0]
        short = short_lines and rng.random() < short_lines
        yield _short_line(language, rng) if short else next(sentences)


def _short_line(language: Language, rng: np.random.Generator) -> str:
    names, given = _names(language)
    lines, months = _SHORT_LINES[language].split("|"), _MONTHS[language].split()
    line = " ".join(_one_of(lines, rng).split())
    line = re.sub(r"{name}", lambda _: _one_of(names, rng), line)
    line = re.sub(r"{first}", lambda _: _one_of(given, rng), line)
    number, month = int(10 ** rng.uniform(0, 4)), _one_of(months, rng)
    return line.format(n=number, day=rng.integers(2, 31), year=rng.integers(1780, 2030), month=month)


@lru_cache
def _names(language: Language) -> tuple[list[str], list[str]]:
    """Return surnames and given names."""
    person = {"english": english_names, "french": french_names}[language].Provider
    return list(person.last_names), list(person.first_names)


def _one_of(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


class French:
    """Frequent words with endings and elisions: no grammar, but the letters and accents that French has."""

    def __init__(self) -> None:
        self._words = sorted(
            {word.replace("oe", "œ") for words in french_words.Provider.word_list for word in words.split()}
        )
        self._names = _names("french")[0]

    def sentences(self, rng: np.random.Generator) -> Iterator[str]:
        """Yield sentences without end, with capitals, punctuation, numbers and names."""
        small = _FRENCH_SMALL.split()
        while True:
            words: list[str] = []
            for _ in range(int(rng.integers(2, 8))):
                word = _inflected(_one_of(self._words, rng), rng)
                word = _one_of(self._names, rng) if rng.random() < 0.05 else word
                words += _elided(_one_of(small, rng), word)
            yield _punctuate(words, rng, "french")


def _inflected(word: str, rng: np.random.Generator) -> str:
    if word.endswith("er") and len(word) > 4:
        return word[:-2] + _one_of(_ENDINGS, rng)
    return word + "s" if word[-1] not in "sxz'" and rng.random() < 0.2 else word


def _elided(small: str, word: str) -> list[str]:
    """Return both words, joined as in l'eau and qu'il where French does so."""
    if small in _ELIDED and word[0].lower() in "aeiouhàâéèêîôœ":
        return [f"{small[:-1]}'{word}"]
    return [small, word]


class Bigrams:
    """A first-order chain over English words: pairs counted on the Web, of words that Faker's lists hold."""

    def __init__(self) -> None:
        known = _english_words()
        following: dict[str, tuple[list[str], list[float]]] = {}
        for line in _lines(_BIGRAMS):
            first, second, count = line.split()
            if first not in known or second not in known:
                continue
            words, weights = following.setdefault(first, ([], []))
            words.append(second)
            weights.append(float(count) ** _TEMPER)
        self._following = {word: (words, _cumulated(weights)) for word, (words, weights) in following.items()}
        self._words = list(following)
        person = american_names.Provider  # its names begin with every letter
        names = sorted({*person.last_names, *person.first_names})
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
                words.append(_one_of(names, rng))
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


def _punctuate(words: list[str], rng: np.random.Generator, language: Language = "english") -> str:
    english = language == "english"
    words = _shorten(words, rng) if english else words
    words = [word if rng.random() > 0.05 else _number(rng, "th" if english else "e") for word in words]
    for index in range(1, len(words) - 1):
        if not words[index]:  # joined to the word before
            continue
        chance = rng.random()
        if chance < 0.07:
            words[index] += ","
        elif chance < 0.09:
            words[index] += ";:"[int(rng.integers(2))]
        elif chance < 0.11 and english and re.fullmatch(r"\w{3,}[a-rt-y]", words[index]):
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
    if not english and chance < 0.04:
        return f"« {sentence} »"
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


def _number(rng: np.random.Generator, ordinal: str) -> str:
    year, small, large = rng.integers(1800, 2030), rng.integers(1, 100), rng.integers(1000, 100_000)
    forms = (f"{year}", f"{small}", f"{large:,}", f"{small}.{year % 10}", f"{small}{ordinal}",
             f"{small}-{small + year % 9}")  # fmt: skip
    return forms[int(rng.integers(len(forms)))]


def _english_words() -> set[str]:
    """Return the words of Faker's lists: frequent words, occupations, what companies say of themselves."""
    company = companies.Provider
    said = (word for words in (*company.catch_phrase_words, *company.bsWords) for word in words)
    texts = (*english_words.Provider.word_list, *job.Provider.jobs, *said)
    return {word for text in texts for word in re.findall("[a-z]+", text.lower())}


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
