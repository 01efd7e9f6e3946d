"""Align a text with several readings of it in columns, to show where they differ."""

from collections.abc import Sequence
from difflib import SequenceMatcher

Block = tuple[str, str]  # a stretch of the reference and what was read there
Column = tuple[str, Sequence[Sequence[Block]]]  # a stretch of the reference, its blocks in every reading

_Difference = tuple[int, int, int, str]  # start and end in the reference, number of the reading, text read


def collated(reference: str, readings: Sequence[str]) -> list[Column]:
    """Return the columns in order: whatever differs in a reading lies in one of them, as short as may be.

    Joined, the columns' stretches are the reference, and a reading's blocks are the reading.
    """
    columns: list[Column] = []
    place = 0
    for start, end, differences in _merged(sorted(_differences(reference, readings))):
        if place < start:
            columns.append(_same(reference[place:start], len(readings)))
        own = [[one for one in differences if one[2] == number] for number in range(len(readings))]
        columns.append((reference[start:end], [_blocks(reference, (start, end), one) for one in own]))
        place = end
    return [*columns, _same(reference[place:], len(readings))] if place < len(reference) else columns


def _differences(reference: str, readings: Sequence[str]) -> list[_Difference]:
    found = []
    for number, text in enumerate(readings):
        steps = SequenceMatcher(None, reference, text, autojunk=False).get_opcodes()
        found += [(a, b, number, text[c:d]) for tag, a, b, c, d in steps if tag != "equal"]
    return found


def _merged(differences: Sequence[_Difference]) -> list[tuple[int, int, list[_Difference]]]:
    """Return (start, end, differences within) of differences in order, those that overlap together."""
    merged: list[tuple[int, int, list[_Difference]]] = []
    for one in differences:
        start, end = one[:2]
        if merged and (start < merged[-1][1] or (start, end) == merged[-1][:2]):
            first, last, members = merged.pop()
            merged.append((first, max(last, end), [*members, one]))
        else:
            merged.append((start, end, [one]))
    return merged


def _same(text: str, readings: int) -> Column:
    return text, [[(text, text)]] * readings


def _blocks(reference: str, column: tuple[int, int], differences: Sequence[_Difference]) -> list[Block]:
    """Return a reading's blocks of a column: what differs, and the same text between."""
    blocks: list[Block] = []
    place = column[0]
    for start, end, _, text in [*differences, (column[1], column[1], 0, "")]:
        if place < start:
            blocks.append((reference[place:start], reference[place:start]))
        if reference[start:end] != text:
            blocks.append((reference[start:end], text))
        place = end
    return blocks or [("", "")]
