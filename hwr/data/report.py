"""The report of an inspection: counts, characters and problems by id, as a table and as plain values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from textwrap import fill
from typing import Any
from unicodedata import combining

from hwr.tables import text_table

TABLE_WIDTH = 100  # characters: a terminal beside an editor
RARE = 10  # a character with fewer examples is hardly learnt


@dataclass(frozen=True)
class FindingKind:
    """A kind of finding: the `unit` its ids name (page, line, writer), what is wrong, and the remedy."""

    unit: str
    meaning: str
    remedy: str


KINDS = {
    "unreadable_image": FindingKind("page", "without a readable image", "restore the files"),
    "other_shape": FindingKind(
        "page", "with an image of another shape than described", "export text and images again"
    ),
    "duplicate_image": FindingKind("page", "with the image of another page", "remove one of the two"),
    "no_area": FindingKind("line", "without area on the page", "correct the outlines"),
    "empty_text": FindingKind("line", "without text", "transcribe them"),
    "too_long_for_ctc": FindingKind(
        "line", "with more text than time steps", "correct text or outline, or raise the height"
    ),
    "outside_alphabet": FindingKind(
        "line", "with characters outside the alphabet", "correct the text or extend the alphabet"
    ),
    "shared_writer": FindingKind("writer", "in more than one split", "split the pages by writer"),
    "shared_text": FindingKind("line", "whose text a later split holds too", "split the pages by text"),
}


@dataclass(frozen=True)
class SplitSize:
    """How much a split holds."""

    pages: int
    lines: int
    writers: int
    characters: int
    words: int


@dataclass(frozen=True)
class Report:
    """What `inspect_pages` found.

    `decoded`: every image was decoded, not its header read alone. `splits`: train, valid, test, and '' where
    pages have none. `alphabet`: how often train (all pages, where there is no train) has each character;
    `unseen`: the same for the other splits and the characters it lacks. `widths`: quantiles of the estimated
    widths in px of line images at `height`. `findings`: for every name of KINDS, the ids with a note each.
    """

    decoded: bool
    height: int
    splits: Mapping[str, SplitSize]
    alphabet: Mapping[str, int]
    unseen: Mapping[str, Mapping[str, int]]
    widths: Mapping[str, int]
    findings: Mapping[str, Mapping[str, str]]

    @property
    def problems(self) -> dict[str, list[str]]:
        """The ids of every finding, in the order of the pages."""
        return {name: list(notes) for name, notes in self.findings.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values for JSON; the keys are always the same."""
        return asdict(self)

    def refusal(self, name: str) -> str:
        """Return the one line that refuses the data for what was found under `name`."""
        kind, notes = KINDS[name], self.findings[name]
        return (
            f"{_number(len(notes), kind.unit)} {kind.meaning}: {_examples(notes, 3)}; "
            f"{kind.remedy}, or set inspect.policy.{name} to drop or keep"
        )

    def table(self, *, examples: int) -> str:
        """Return the report as text for a terminal, with up to `examples` ids a finding."""
        lines, findings = _line_rows(self), _finding_rows(self.findings, examples)
        return "\n\n".join([_split_table(self.splits), "\n".join(lines), "\n".join(findings)])


def split_name(split: str) -> str:
    """Return how a split is called in texts."""
    return split or "no split"


def visible(character: str) -> str:
    """Return a character, or what stands for one that cannot be seen on its own."""
    if character == " ":
        return "␣"
    plain = character.isprintable() and not combining(character)
    return character if plain else f"U+{ord(character):04X}"


def _split_table(splits: Mapping[str, SplitSize]) -> str:
    rows = [
        [split_name(split), *(f"{count:,}" for count in asdict(counts).values())]
        for split, counts in splits.items()
    ]
    return text_table(("split", *(field.name for field in fields(SplitSize))), rows)


def _line_rows(report: Report) -> list[str]:
    rare = {c: n for c, n in report.alphabet.items() if n < RARE}
    widths = "  ".join(f"{name} {value}" for name, value in report.widths.items())
    rows = [
        _row("widths", f"{widths}  (px at height {report.height}, estimated)"),
        _row("alphabet", f"{len(report.alphabet)} characters: {' '.join(map(visible, report.alphabet))}"),
        _row("rare", f"{len(rare)} seen fewer than {RARE} times: {_tally(rare)}") if rare else "",
    ]
    rows += [_row(f"new in {split_name(split)}", _tally(own)) for split, own in report.unseen.items() if own]
    return [
        *filter(None, rows),
        _row("images", "all decoded" if report.decoded else "headers read, not decoded"),
    ]


def _finding_rows(findings: Mapping[str, Mapping[str, str]], examples: int) -> list[str]:
    rows = []
    for name, notes in findings.items():
        if notes:
            kind = KINDS[name]
            rows.append(_row(name, f"{_number(len(notes), kind.unit)} {kind.meaning}: {kind.remedy}"))
            rows.append(_row("", _examples(notes, examples)))
    clean = [name for name, notes in findings.items() if not notes]
    return [*rows, _row("none of", ", ".join(clean))] if clean else rows


def _row(name: str, text: str) -> str:
    return fill(
        f"{name:<18}{text}",
        TABLE_WIDTH,
        subsequent_indent=" " * 18,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _examples(notes: Mapping[str, str], number: int) -> str:
    shown = [f"{name} ({note})" if note else name for name, note in list(notes.items())[:number]]
    return ", ".join(shown) + (", …" if len(notes) > number else "")


def _tally(counts: Mapping[str, int]) -> str:
    # A no-break space: fill keeps a character and its count on one line.
    return "  ".join(f"{visible(c)}\u00a0{n}" for c, n in counts.items())


def _number(count: int, unit: str) -> str:
    return f"{count:,} {unit}{'' if count == 1 else 's'}"
