"""A decoder that is told the texts of `tests.evaluation.tiny`, and makes the mistakes it is asked for."""

from collections.abc import Hashable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hwr.decoding import Probs, Reading, greedy
from hwr.errors import InputError
from hwr.text import Alphabet

TEXTS = ("ab ba", "ba", "ab ba", "ba")
TARGET = "hwr.decoding.greedy.told"
SAW = SimpleNamespace(path=Path("model.arpa"), seen=lambda lines, fingerprint: f"line {min(lines)}")


class Told:
    """Reads the lines of two pages, the first `mistakes` characters of each as another; `records` as told."""

    def __init__(self, mistakes: int, records: tuple[Any, ...] = ()) -> None:
        self.mistakes, self.records = mistakes, records

    def read(self, lines: Sequence[Probs], pages: Sequence[Hashable] = ()) -> list[Reading]:
        """Return the texts, whatever the probabilities are."""
        assert len(lines) == len(TEXTS)
        return [Reading("-" * self.mistakes + text[self.mistakes :], 0.5) for text in TEXTS]


def told(*, alphabet: Alphabet, mistakes: int, width: int, file: str | None, seen: bool) -> Told:
    """Return the decoder; a width below 20 costs a mistake more, and a `file` is one that is not there."""
    if file is not None:
        raise InputError(f"{file}: no such file")
    return Told(mistakes + (width < 20), (SAW,) if seen else ())


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the decoder known as TARGET."""
    monkeypatch.setattr(greedy, "told", told, raising=False)


def node(place: str, mistakes: int = 1) -> list[str]:
    """Return the overrides that make a node (decoder) with one."""
    numbers = [
        f"+{place}.mistakes={mistakes}",
        f"+{place}.width=50",
        f"+{place}.file=null",
        f"+{place}.seen=false",
    ]
    return [f"{place}._target_={TARGET}", *numbers]
