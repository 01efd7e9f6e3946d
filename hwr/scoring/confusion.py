"""Which characters were read as which, counted from alignments."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from hwr.scoring import tsv
from hwr.scoring.edits import Pair

COLUMNS = ("count", "kind", "reference", "hypothesis", "reference_code_point", "hypothesis_code_point")


def count(alignments: Iterable[Iterable[Pair]]) -> Counter[Pair]:
    """Count the unequal pairs of all alignments; (None, "x") is an inserted x, ("x", None) a deleted one."""
    return Counter(pair for alignment in alignments for pair in alignment if pair[0] != pair[1])


def write(path: Path, pairs: Mapping[Pair, int]) -> None:
    """Write `pairs` as TSV, most frequent first; code points tell look-alikes and spaces apart."""
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0][0] or "", item[0][1] or ""))
    tsv.write(
        path, COLUMNS, ((number, _kind(pair), *pair, *map(_code_point, pair)) for pair, number in ranked)
    )


def _kind(pair: Pair) -> str:
    reference, hypothesis = pair
    if reference is None:
        return "insertion"
    return "deletion" if hypothesis is None else "substitution"


def _code_point(character: str | None) -> str | None:
    return None if character is None else f"U+{ord(character):04X}"
