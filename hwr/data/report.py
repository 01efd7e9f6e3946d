"""What is told of data: counts, problems by id, what is left out; as text and as plain values."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from textwrap import fill
from typing import Any
from unicodedata import combining

from hwr.data.records import SPLITS, Findings, LeftOut, Page, Replacements
from hwr.errors import InputError
from hwr.tables import text_table

TABLE_WIDTH = 100  # characters: a terminal beside an editor
RARE = 10  # a character with fewer examples is hardly learnt


@dataclass(frozen=True)
class FindingKind:
    """A kind of finding: the `unit` of its ids (file, page, line, writer), what is wrong, and the remedy."""

    unit: str
    meaning: str
    remedy: str


KINDS = {
    "unused_file": FindingKind("file", "that no page is made of", "look whether pages are missing"),
    "damaged_file": FindingKind("file", "that cannot be read", "export them again"),
    "duplicate_id": FindingKind("line", "with the id of another line", "give every line an id of its own"),
    "unreadable_image": FindingKind("page", "without a readable image", "restore the files"),
    "other_shape": FindingKind(
        "page", "with an image of another shape than described", "export text and images again"
    ),
    "exif_turn": FindingKind(
        "page",
        "that EXIF turns by 180 degrees or mirrors, often wrongly",
        "look whether outlines fit the image as shown; if not, remove the orientation from the file",
    ),
    "more_pages": FindingKind(
        "page",
        "whose image file holds several; the one is read whose number the description gives, else the first",
        "where that is another one, save each page as a file",
    ),
    "duplicate_image": FindingKind("page", "with the image of another page", "remove one of the two"),
    "region_text": FindingKind(
        "page", "with text that stands in a region, in no line", "draw lines and give each its text"
    ),
    "no_sample": FindingKind("page", "that a training on whole pages cannot use", "correct the outlines"),
    "no_area": FindingKind("line", "that cannot be cut out", "correct the outlines"),
    "made_outline": FindingKind(
        "line",
        "without an outline about their baseline; one was made from the distance between baselines",
        "draw their outlines",
    ),
    "odd_shape": FindingKind("line", "too flat or too tall for their text", "correct outlines or text"),
    "empty_text": FindingKind("line", "without text", "transcribe them"),
    "too_long_for_ctc": FindingKind(
        "line", "with more text than time steps", "correct text or outline, or raise the height"
    ),
    "outside_alphabet": FindingKind(
        "line", "with characters outside the alphabet", "correct the text or extend the alphabet"
    ),
    "right_to_left": FindingKind(
        "line",
        "in a script that runs from right to left",
        "nothing here is tested on one; write each text as it stands in the image, from left to right",
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
    `unseen`: the same for the other splits and the characters it lacks. `widths`: quantiles of the
    widths in px of line images at `height`. `findings`: for every name of KINDS, the ids with a note each.
    `left_out`: what each rule leaves out of a training, a line by one rule alone, and `used`: how many lines
    of each split are left, of each of several sets in `sets`. `splits` counts what `data.exclude` leaves.
    `replacements`: what `data.replace` has replaced in them.
    """

    decoded: bool
    height: int
    splits: Mapping[str, SplitSize]
    alphabet: Mapping[str, int]
    unseen: Mapping[str, Mapping[str, int]]
    widths: Mapping[str, int]
    findings: Findings
    left_out: Sequence[LeftOut]
    replacements: Replacements = field(default_factory=dict)
    used: Mapping[str, int] = field(default_factory=dict)
    sets: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def problems(self) -> dict[str, list[str]]:
        """The ids of every finding, in the order of the pages."""
        return {name: list(notes) for name, notes in self.findings.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values for JSON; the keys are always the same."""
        return {**asdict(self), "left_out": [rule.as_dict() for rule in self.left_out]}

    def after(self, left_out: Iterable[LeftOut], pages: Iterable[Page]) -> "Report":
        """Return the report of which rules have left out more, and left `pages`."""
        pages = list(pages)
        used = Counter(page.split for page in pages for _ in page.lines)
        rules = (*self.left_out, *filter(None, left_out))
        used_splits = {split: used[split] for split in SPLITS}
        return replace(self, left_out=rules, used=used_splits, sets=_set_sizes(pages))

    def refuse(self, policy: Mapping[str, str]) -> None:
        """Raise InputError where something was found that `policy` refuses."""
        refused = [name for name, notes in self.findings.items() if notes and policy.get(name) == "refuse"]
        if refused:
            told = [f"{_number(len(self.findings[n]), KINDS[n].unit)} {KINDS[n].meaning}" for n in refused]
            name = refused[0]
            raise InputError(
                f"{'; '.join(told)}: {_examples(self.findings[name], 3)}; {KINDS[name].remedy}, "
                f"or set inspect.policy.{name} to drop or keep"
            )

    def refuse_empty(self, split: str, keys: str) -> None:
        """Raise InputError where nothing of a split is left, of which `keys` decide what it holds."""
        if not self.used.get(split):
            raise InputError(nothing_left(split, self.left_out, self.findings, keys))

    def table(self, *, examples: int) -> str:
        """Return the report as text for a terminal, with up to `examples` ids a finding."""
        lines, findings = _line_rows(self), _finding_rows(self.findings, examples)
        parts = [[_split_table(self.splits)], lines, findings, [*self.summary(), self._used()]]
        return "\n\n".join("\n".join(part) for part in parts)

    def told(self) -> list[str]:
        """Return what is left out, a line for each rule."""
        return told(rule.counts() for rule in self.left_out)

    def summary(self) -> list[str]:
        """Return what is left out and what is replaced, a line for each, and a table of several sets."""
        head = ("set", "pages", "writers", *(f"{split} lines" for split in SPLITS))
        rows = [[name, *(f"{count:,}" for count in own.values())] for name, own in self.sets.items()]
        table = [text_table(head, rows)] if rows else []
        return [*self.told(), *told_replaced(self.replacements), *table]

    def _used(self) -> str:
        """Return in one line how many lines of each split are left, of all that were read."""
        counts = []
        for split in SPLITS:
            used, left_out = self.used.get(split, 0), (len(r.lines.get(split, ())) for r in self.left_out)
            counts.append(f"{split} {used:,} of {used + sum(left_out):,}")
        return f"lines used: {', '.join(counts)}"


def told(counts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what is left out, `LeftOut.counts` of each rule, a line for each."""
    return [f"left out by {own['rule']}: {_amounts(own)}" for own in counts]


def told_replaced(replacements: Replacements) -> list[str]:
    """Return in a line how often texts were replaced, if any, the most frequent first."""
    total: Counter[str] = Counter()
    for counts in replacements.values():
        total.update(counts)
    return [f"replaced: {', '.join(f'{what} {n:,}' for what, n in total.most_common())}"] if total else []


def told_unread(reasons: Mapping[str, str], unit: str) -> list[str]:
    """Return in a line what could not be read, if anything, by id with the reasons."""
    missed = f"could not be read, count as missed: {_number(len(reasons), unit)}: {_examples(reasons, 3)}"
    return [missed] if reasons else []


def nothing_left(
    split: str, left_out: Iterable[LeftOut], findings: Findings, keys: str, *, unit: str = "lines"
) -> str:
    """Return the one line that says why a split is empty, with an example of each rule from `findings`.

    `keys` of the configuration decide what it holds.
    """
    lost = []
    for rule in (own.of_split(split) for own in left_out):
        name = rule.rule.removeprefix("inspect.policy.").partition("=")[0]
        if rule.pages or rule.lines or name == "damaged_file":
            ids = (*rule.files, *rule.pages.get(split, ()), *rule.lines.get(split, ()))
            notes = [f" ({own}: {findings[name][own]})" for own in ids if findings.get(name, {}).get(own)]
            lost.append(f"{_amounts(rule.counts())} by {rule.rule}{''.join(notes[:1])}")
    if lost:
        return f"the split {split} has no {unit} left; left out: {'; '.join(lost)}; change that, or the data"
    return f"the split {split} has no {unit}; see {keys}"


def _set_sizes(pages: Iterable[Page]) -> dict[str, dict[str, int]]:
    """Return pages, writers and the lines of each split of every set that has a name."""
    sets: dict[str, list[Page]] = {}
    for page in pages:
        sets.setdefault(page.dataset, []).append(page)
    return {
        name: {
            "pages": len(own),
            "writers": len({page.writer for page in own if page.writer}),
            **{split: sum(len(page.lines) for page in own if page.split == split) for split in SPLITS},
        }
        for name, own in sets.items()
        if name
    }


def _amounts(counts: Mapping[str, Any]) -> str:
    """Return how many files, pages or lines a rule leaves out, and of which splits."""
    if counts["files"]:
        return _number(counts["files"], "file")
    by_split = counts["pages"] or counts["lines"]
    splits = ", ".join(f"{split_name(split)} {count:,}" for split, count in by_split.items())
    pages, lines = (sum(counts[unit].values()) for unit in ("pages", "lines"))
    if not pages:
        return f"{_number(lines, 'line')} ({splits})"
    return f"{_number(pages, 'page')} ({splits})" + (f" with {_number(lines, 'line')}" if lines else "")


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
    counts = {split_name(split): asdict(own).values() for split, own in splits.items()}
    rows = [[name, *(f"{count:,}" for count in own)] for name, own in counts.items()]
    return text_table(("split", *(field.name for field in fields(SplitSize))), rows)


def _line_rows(report: Report) -> list[str]:
    rare = {c: n for c, n in report.alphabet.items() if n < RARE}
    widths = "  ".join(f"{name} {value}" for name, value in report.widths.items())
    rows = [
        _row("widths", f"{widths}  (px at height {report.height})"),
        _row("alphabet", f"{len(report.alphabet)} characters: {' '.join(map(visible, report.alphabet))}"),
        _row("rare", f"{len(rare)} seen fewer than {RARE} times: {_tally(rare)}") if rare else "",
    ]
    rows += [_row(f"new in {split_name(split)}", _tally(own)) for split, own in report.unseen.items() if own]
    images = _row("images", "all decoded" if report.decoded else "headers read, not decoded")
    return [*filter(None, rows), images]


def _finding_rows(findings: Findings, examples: int) -> list[str]:
    rows = []
    for name, notes in findings.items():
        if notes:
            kind = KINDS[name]
            rows.append(_row(name, f"{_number(len(notes), kind.unit)} {kind.meaning}: {kind.remedy}"))
            rows.append(_row("", _examples(notes, examples)))
    clean = [name for name, notes in findings.items() if not notes]
    return [*rows, _row("none of", ", ".join(clean))] if clean else rows


def _row(name: str, text: str) -> str:
    return fill(f"{name:<18}{text}", TABLE_WIDTH, subsequent_indent=" " * 18,
                break_on_hyphens=False, break_long_words=False)  # fmt: skip


def _examples(notes: Mapping[str, str], number: int) -> str:
    shown = [f"{name} ({note})" if note else name for name, note in list(notes.items())[:number]]
    return ", ".join(shown) + (", …" if len(notes) > number else "")


def _tally(counts: Mapping[str, int]) -> str:
    # A no-break space: fill keeps a character and its count on one line.
    return "  ".join(f"{visible(c)}\u00a0{n}" for c, n in counts.items())


def _number(count: int, unit: str) -> str:
    return f"{count:,} {unit}{'' if count == 1 else 's'}"
