"""Texts in Unicode NFC, cut where they are long; characters as class indices, blank the last class."""

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile

from hwr.errors import InputError
from hwr.files import parse_json


class UnknownCharacterError(InputError):
    """A text holds a character that the alphabet lacks."""

    def __init__(self, character: str) -> None:
        super().__init__(f"{character!r} (U+{ord(character):04X}) is not in the alphabet")
        self.character = character


def nfc(text: str) -> str:
    """Return `text` in NFC, with each run of white space as one space and none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def shortened(text: str, longest: int) -> str:
    """Return a text of at most so many characters, cut with an ellipsis."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def common_beginning(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many characters two texts, or how many parts two sequences, begin with in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


@dataclass(frozen=True)
class Alphabet:
    """The characters that a recogniser can write, in class order; class `blank` comes last."""

    symbols: str

    def __post_init__(self) -> None:
        if len(set(self.symbols)) != len(self.symbols):
            raise InputError(f"the alphabet {self.symbols!r} holds a character twice")

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Alphabet":
        """Return the alphabet of all characters in `texts`, in code point order."""
        return cls("".join(sorted(set().union(*texts))))

    @classmethod
    def from_json(cls, text: str) -> "Alphabet":
        """Parse the output of `to_json`; raise InputError for anything else."""
        try:
            symbols = parse_json(text)["symbols"]
        except (ValueError, KeyError, TypeError):
            symbols = None
        if not isinstance(symbols, list) or not all(isinstance(s, str) and len(s) == 1 for s in symbols):
            raise InputError("not an alphabet file: expected JSON with a list of characters under 'symbols'")
        return cls("".join(symbols))

    def to_json(self) -> str:
        """Return the alphabet as JSON, one list entry a character."""
        return json.dumps({"symbols": list(self.symbols), "hash": self.hash}, ensure_ascii=False, indent=1)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the symbols in class order, in hexadecimal."""
        return hashlib.sha256(self.symbols.encode()).hexdigest()

    @property
    def blank(self) -> int:
        """The class of the CTC blank."""
        return len(self.symbols)

    def __len__(self) -> int:
        """Return the number of classes, blank included."""
        return len(self.symbols) + 1

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {symbol: index for index, symbol in enumerate(self.symbols)}

    @cached_property
    def _written(self) -> tuple[str, ...]:
        """What each class is written as; nothing for blank."""
        return (*self.symbols, "")

    def unknown(self, text: str) -> str:
        """Return the characters of `text` outside the alphabet, each once, in order."""
        return "".join(dict.fromkeys(c for c in text if c not in self._indices))

    def encode(self, text: str) -> list[int]:
        """Return the class of every character; raise UnknownCharacterError for one outside the alphabet."""
        try:
            return [self._indices[character] for character in text]
        except KeyError as error:
            raise UnknownCharacterError(error.args[0]) from None

    def decode(self, indices: Sequence[int]) -> str:
        """Return the characters of `indices`; blanks are left out."""
        return "".join(map(self._written.__getitem__, indices))
