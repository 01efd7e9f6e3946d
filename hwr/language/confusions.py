"""What a recogniser makes of each true character, counted from alignments of true texts with read ones."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from hwr.errors import InputError
from hwr.language import files

Pair = tuple[str | None, str | None]  # (true, read); None: nothing there

_EXPECTED = "expected JSON with 'counts', a list of [true, read, count], and where they come 'from'"


@dataclass(frozen=True)
class Source:
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
    source: Source

    @classmethod
    def of(cls, alignments: Iterable[Iterable[Pair]], source: Source) -> "Confusions":
        """Count the pairs of all alignments."""
        return cls(Counter(pair for alignment in alignments for pair in alignment), source)

    @classmethod
    def load(cls, name: str) -> "Confusions":
        """Return those of a file, a folder or a published name; raise InputError where there are none."""
        path = files.find(name, files.CONFUSIONS)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read as UTF-8 ({error}); name another file") from None
        return cls.from_json(text, str(path))

    @classmethod
    def from_json(cls, text: str, name: str) -> "Confusions":
        """Read what `to_json` wrote; raise InputError that begins with `name` for anything else."""
        try:
            found = json.loads(text)
            counts = {(true, read): count for true, read, count in found["counts"]}
            source = Source(**found["from"])
            if [type(value) for value in asdict(source).values()] != [str, str, str, int]:
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{name}: not a file of confusions; {_EXPECTED}") from None
        if len(counts) != len(found["counts"]):
            raise InputError(f"{name}: a pair of characters is there twice; count the confusions anew")
        for pair, count in counts.items():
            _check(pair, count, name)
        return cls(counts, source)

    def to_json(self) -> str:
        """Return JSON with a pair a line, most frequent first."""
        rows = [json.dumps([*pair, count], ensure_ascii=False) for pair, count in _ranked(self.counts)]
        source = json.dumps(asdict(self.source), ensure_ascii=False)
        return f'{{"from": {source},\n"counts": [\n' + ",\n".join(rows) + "\n]}\n"

    @cached_property
    def totals(self) -> Mapping[str, int]:
        """How often each character was true, whatever was read."""
        totals: Counter[str] = Counter()
        for (true, _), count in self.counts.items():
            if true is not None:
                totals[true] += count
        return totals

    @cached_property
    def symbols(self) -> str:
        """All characters that were true or read, in code point order."""
        return "".join(
            sorted({character for pair in self.counts for character in pair if character is not None})
        )

    def most_frequent(self, number: int) -> list[tuple[Pair, int]]:
        """Return so many of the pairs that are no matches, with their counts, most frequent first."""
        return _ranked({pair: count for pair, count in self.counts.items() if pair[0] != pair[1]})[:number]


def _ranked(counts: Mapping[Pair, int]) -> list[tuple[Pair, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0][0] or "", item[0][1] or ""))


def _check(pair: tuple[Any, Any], count: Any, name: str) -> None:
    good = all(side is None or (isinstance(side, str) and len(side) == 1) for side in pair)
    if not good or pair == (None, None) or type(count) is not int or count < 1:
        raise InputError(f"{name}: {[*pair, count]} is not a pair of characters and a count; {_EXPECTED}")
