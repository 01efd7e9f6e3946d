"""Lexicons: words with counts from a table, from texts or from symspellpy; finding words in a text."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hwr.errors import InputError
from hwr.files import package_folder, read_text
from hwr.language import WORDS, TextRecord, find_language_file
from hwr.text import nfc

ENGLISH = "english"  # the name of the words that come with symspellpy

_DICTIONARY = "frequency_dictionary_en_82_765.txt"  # symspellpy (MIT): "word count" a line
_JOINTS = "'\u2019-\u2010\u2011"  # apostrophes and hyphens, which join words to one token
_PART = re.compile(f"[^{re.escape(_JOINTS)}]+")


@dataclass(frozen=True)
class Lexicon:
    """Words as they are written, in NFC, with how often each occurs, 1 or more."""

    counts: Mapping[str, int]

    @classmethod
    def load(cls, name: str) -> "Lexicon":
        """Return the lexicon `english`, or that of a file, folder or published name; InputError for none."""
        return cls.english() if name == ENGLISH else cls.read(find_language_file(name, WORDS))

    @classmethod
    def of(cls, lines: Iterable[str]) -> "Lexicon":
        """Count the words of texts, parts of l'eau and vis-à-vis one by one; raise InputError for none."""
        counts = Counter(word for line in lines for word in _spelled(line))
        if not counts:
            raise InputError("the texts hold no word; a lexicon needs one")
        return cls(counts)

    @classmethod
    def read(cls, path: Path) -> "Lexicon":
        """Read a UTF-8 file with `word<TAB>count` or a word alone a line; raise InputError for another."""
        counts: Counter[str] = Counter()
        for number, row in enumerate(read_text(path).split("\n"), 1):
            if row.strip():
                word, count = _parsed(row, f"{path}, line {number}")
                counts[word] += count
        if not counts:
            raise InputError(f"{path}: holds no word; a lexicon has a word and its count a line")
        return cls(counts)

    @classmethod
    def english(cls) -> "Lexicon":
        """Return the 82,834 lower-case English words that come with symspellpy."""
        remedy = "the lexicon english comes with symspellpy: run `pip install symspellpy`"
        text = (package_folder("symspellpy", remedy) / _DICTIONARY).read_text(encoding="utf-8-sig")
        rows = (row.split() for row in text.splitlines())
        return cls({word: int(count) for word, count in rows})

    @property
    def words(self) -> Collection[str]:
        """The words alone."""
        return self.counts.keys()

    def write(self, path: Path) -> None:
        """Write the words as `read` takes them, most frequent first."""
        ranked = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        rows = (f"{word}\t{count}\n" for word, count in ranked)
        path.write_text("".join(rows), encoding="utf-8", newline="\n")


def lexicon_records(name: str) -> tuple[TextRecord, ...]:
    """Return the record of the lexicon `name`, where it was made here: words from elsewhere have none."""
    if name == ENGLISH:
        return ()
    path = find_language_file(name, WORDS)
    return (TextRecord.load(path),) if path.with_suffix(".json").exists() else ()


def words_in(text: str) -> Iterator[tuple[int, int]]:
    """Yield where words begin and end: what stands between white space, without punctuation at its ends."""
    for token in re.finditer(r"\S+", text):
        yield from _stripped(text, *token.span())


def parts_in(word: str) -> Iterator[tuple[int, int]]:
    """Yield where the parts of a word begin and end that apostrophes and hyphens join."""
    for part in _PART.finditer(word):
        yield from _stripped(word, *part.span())


def joints_in(word: str) -> str:
    """Return the apostrophes and hyphens of a word, in order."""
    return "".join(character for character in word if character in _JOINTS)


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield `start` and `end` moved inwards over punctuation; nothing where there is nothing else."""
    while start < end and not _in_words(text[start]):
        start += 1
    while start < end and not _in_words(text[end - 1]):
        end -= 1
    if start < end:
        yield start, end


def _in_words(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"  # letters, marks on them, numbers


def _spelled(line: str) -> Iterator[str]:
    """Yield the parts of words that are letters alone."""
    text = nfc(line)
    for start, end in words_in(text):
        for first, last in parts_in(text[start:end]):
            part = text[start + first : start + last]
            if all(unicodedata.category(character)[0] in "LM" for character in part):
                yield part


def _parsed(row: str, where: str) -> tuple[str, int]:
    cells = row.split("\t")
    word, count = nfc(cells[0]), cells[1].strip() if len(cells) > 1 else "1"
    if len(cells) > 2 or not word or " " in word or not count.isdecimal() or int(count) < 1:
        raise InputError(f"{where}: {row!r} is not a word, or a word, a tabulator and its count")
    return word, int(count)
