"""Language models: n-grams, lexicons, confusions of a recogniser, edit costs.

This module finds them, and records beside each model and lexicon, in JSON, the text it was made from.

A model made from the lines that it helps to read has memorised them. So its record keeps hashes of all
lines, and every evaluation refuses a decoder whose models were made from the lines to be read.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import TypeAdapter

from hwr.config import EXPERIMENTS
from hwr.errors import InputError
from hwr.files import parse_json, sha256, write_json
from hwr.text import nfc

MODEL, WORDS, CONFUSIONS = "model.arpa", "words.tsv", "confusions.json"
LEAST_LENGTH = 20  # characters; shorter lines (dates, page numbers, headings) are in many texts
MOST_SHARED = 0.05  # of the evaluated lines of that length may be in a text file: some are formulas
_DIGITS = 12  # of a line's SHA-256: with a million lines, one in 3e8 is taken for another


@dataclass(frozen=True)
class TextSource:
    """Lines of a split of data, known by its fingerprint, or of a text file, by its SHA-256, split empty."""

    name: str
    sha256: str
    split: str
    lines: int


@dataclass(frozen=True)
class Origin:
    """All lines that something is made from.

    `lines` holds hashes of id and text of the lines of data sets, `texts` of the text alone of the lines of
    text files that have LEAST_LENGTH characters or more.
    """

    sources: tuple[TextSource, ...]
    lines: frozenset[str]
    texts: frozenset[str]

    @classmethod
    def of_data(cls, source: TextSource, lines: Mapping[str, str]) -> "Origin":
        """Return the origin of what is made from a data set's lines, texts by id."""
        return cls((source,), frozenset(_line_hash(name, text) for name, text in lines.items()), frozenset())

    @classmethod
    def of_file(cls, source: TextSource, texts: Iterable[str]) -> "Origin":
        """Return the origin of what is made from the lines of a text file."""
        return cls((source,), frozenset(), frozenset(map(_hash, _long(texts))))

    def __add__(self, other: "Origin") -> "Origin":
        """Return the origin of what is made from both."""
        return Origin(self.sources + other.sources, self.lines | other.lines, self.texts | other.texts)


@dataclass(frozen=True)
class TextRecord:
    """What the file `path` with this SHA-256 is: tokens, length of n-grams, known characters, and origin.

    A lexicon is a model of words without n-grams: its order is 1.
    """

    path: Path
    sha256: str
    unit: str
    order: int
    symbols: str
    origin: Origin

    @classmethod
    def load(cls, path: Path) -> "TextRecord":
        """Read the record of a file; raise InputError where it is missing, damaged or of another file."""
        beside = path.with_suffix(".json")
        try:
            found = parse_json(beside.read_text(encoding="utf-8"))
            record = _record(path, found)
        except FileNotFoundError:
            raise InputError(f"{path}: its record {beside.name} is missing; {_REMEDY}") from None
        except OSError as error:
            raise InputError(f"{beside}: cannot be read ({error.strerror}); {_REMEDY}") from None
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{beside}: damaged; {_REMEDY}") from None
        if record.sha256 != sha256(path):
            raise InputError(f"{path}: changed since {beside.name} was written; {_REMEDY}")
        return record

    def seen(self, lines: Mapping[str, str], fingerprint: str) -> str:
        """Return which of these lines, texts by id, the file was made from; nothing where from none."""
        if any(source.split and source.sha256 == fingerprint for source in self.origin.sources):
            return "this very data"
        for name, text in lines.items():
            if _line_hash(name, text) in self.origin.lines:
                return f"line {name}"
        texts = _long(lines.values())
        found = sum(_hash(text) in self.origin.texts for text in texts)
        return f"{found} of {len(texts)} lines" if found > MOST_SHARED * len(texts) else ""


def write_record(path: Path, origin: Origin, *, unit: str, order: int, symbols: str) -> TextRecord:
    """Write the record of the file `path`, as it is now, beside it; raise InputError where it cannot be."""
    record = TextRecord(path, sha256(path), unit, order, symbols, origin)
    own = {"sha256": record.sha256, "unit": unit, "order": order, "symbols": symbols}
    sources = [asdict(source) for source in origin.sources]
    said = own | {"sources": sources, "lines": _packed(origin.lines), "texts": _packed(origin.texts)}
    write_json(path.with_suffix(".json"), said)
    return record


class MadeFromText(Protocol):
    """What was made from text, as a decoder from the models it reads with."""

    @property
    def records(self) -> tuple[TextRecord, ...]:
        """The records of all that it was made from."""


def refuse_seen(decoder: MadeFromText, lines: Mapping[str, str], fingerprint: str) -> None:
    """Raise InputError where a model of `decoder` was made from the lines, texts by id, it is to read."""
    for record in decoder.records:
        if seen := record.seen(lines, fingerprint):
            raise InputError(
                f"{record.path}: made from {seen} of what is read; "
                "read another split, or make it from other text with python -m hwr language-model"
            )


def find_language_file(name: str, file: str) -> Path:
    """Return the file of a name: itself, or `file` in a folder or published; raise InputError for none."""
    for folder in (Path(name), EXPERIMENTS / name):
        for path in (folder / file, folder / f"{file}.gz", folder):
            if path.is_file():
                return path
    known = {path.parent.relative_to(EXPERIMENTS).as_posix() for path in EXPERIMENTS.glob(f"*/*/{file}*")}
    published = "".join(f", or {name}" for name in sorted(known))
    raise InputError(f"{name}: no such file, and no folder with {file}; name one{published}")


def shared_texts(texts: Iterable[str], others: Iterable[str]) -> set[str]:
    """Return the texts of LEAST_LENGTH characters or more that are among `others`."""
    return set(_long(texts)).intersection(_long(others))


_REMEDY = "make it anew with python -m hwr language-model"


def _record(path: Path, found: Mapping[str, Any]) -> TextRecord:
    """Return what JSON says; raise ValueError, KeyError or TypeError where it is no record."""
    own = {name: found[name] for name in ("sha256", "unit", "order", "symbols")}
    if [type(value) for value in own.values()] != [str, str, int, str]:
        raise ValueError("not a record")
    hashes = {name: _unpacked(found[name]) for name in ("lines", "texts")}
    return TextRecord(path, **own, origin=TypeAdapter(Origin).validate_python({**found, **hashes}))


def _packed(hashes: Iterable[str]) -> str:
    """Return hashes as one string: in JSON, less than half the length of a list of them."""
    return base64.b64encode(bytes.fromhex("".join(sorted(hashes)))).decode()


def _unpacked(found: Any) -> Any:
    """Return the hashes of a string, or of an older record's list; raise ValueError for a damaged string."""
    if not isinstance(found, str):
        return found
    digits = base64.b64decode(found, validate=True).hex()
    if len(digits) % _DIGITS:
        raise ValueError("not all of the hashes")
    return [digits[at : at + _DIGITS] for at in range(0, len(digits), _DIGITS)]


def _long(texts: Iterable[str]) -> list[str]:
    return [text for text in map(nfc, texts) if len(text) >= LEAST_LENGTH]


def _line_hash(name: str, text: str) -> str:
    return _hash(f"{name}\t{nfc(text)}")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
