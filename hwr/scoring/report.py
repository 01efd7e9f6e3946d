"""Write the scores of a data set, with intervals: scores.json, lines.tsv, confusions.tsv."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hwr.config.roots import Resampling, Scorer
from hwr.errors import InputError
from hwr.files import as_input_error, write_json
from hwr.scoring import edits, significance
from hwr.scoring.edits import Counts, Pair
from hwr.scoring.sclite import Unit, check_ids, check_scorer, count_with_sclite
from hwr.text import nfc

CONVENTION = (
    "errors / reference length, summed over all lines, in SClite's alignment (the least 4 S + 3 D + 3 I);"
    " texts in NFC, white-space runs one space, none at the ends; characters are code points, spaces too;"
    " words are white-space separated, punctuation attached; case matters"
)
LINES = "lines.tsv"  # what is written in every line, what was read there, and the edits between them
_LOGGER = logging.getLogger(__name__)
_UNITS: tuple[Unit, ...] = ("characters", "words")
RATES: dict[str, Unit] = {"cer": "characters", "wer": "words"}
_COUNTS = Counts._fields
_LINE_COLUMNS = ("id", "reference", "hypothesis", *(f"{u}_{n}" for u in _UNITS for n in _COUNTS), "writer")
_CONFUSION_COLUMNS = ("count", "kind", "reference", "hypothesis", "reference_code_point",
                      "hypothesis_code_point")  # fmt: skip
_ESCAPES = {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"}
_ESCAPED = {escape: character for character, escape in _ESCAPES.items()}

ByLine = dict[str, Counts]


@dataclass(frozen=True)
class Texts:
    """Line id -> reference, hypothesis, writer ("" = unknown) and group (a set, a kind), where it is of one.

    A line that was missed has hypothesis "": deletions. One that was read where none is has reference "":
    insertions; give it its page's writer.
    """

    references: Mapping[str, str]
    hypotheses: Mapping[str, str]
    writers: Mapping[str, str]
    groups: Mapping[str, str]


@dataclass(frozen=True)
class Scores:
    """Counts of every line by id, and `summary`: what scores.json holds."""

    characters: ByLine
    words: ByLine
    summary: dict[str, Any]

    @property
    def cer(self) -> float:
        """Character errors per reference character, over all lines."""
        return Counts.total(self.characters.values()).rate

    @property
    def wer(self) -> float:
        """Word errors per reference word, over all lines."""
        return Counts.total(self.words.values()).rate


@dataclass(frozen=True)
class LineScore:
    """A line: id, reference, hypothesis, edit counts, and writer ("" = unknown)."""

    id: str
    reference: str
    hypothesis: str
    characters: Counts
    words: Counts
    writer: str


def score_texts(
    texts: Texts, scorer: Scorer, resampling: Resampling, *, output: Path, about: Mapping[str, object]
) -> Scores:
    """Score `texts`; write scores.json, lines.tsv, confusions.tsv and SClite's reports (sclite/) to `output`.

    `about` (data_fingerprint, weights_sha256, …) joins scores.json. Line 7 of lines.tsv is `line-000007` in
    SClite's reports. Raise InputError for differing id sets, no reference text at all, a missing SClite and
    an `output` that cannot be written.
    """
    check_scorer(scorer)
    check_ids(texts.references, texts.hypotheses)
    references, hypotheses = (
        {line: nfc(text) for line, text in side.items()} for side in (texts.references, texts.hypotheses)
    )
    texts = Texts(references, hypotheses, texts.writers, texts.groups)
    if not any(references.values()):
        raise InputError("no line has a reference text; choose a split with transcriptions")
    pairs = {line: (reference, hypotheses[line]) for line, reference in references.items()}
    alignments = {line: edits.align(*pair) for line, pair in pairs.items()}
    in_process = {
        "characters": {line: edits.count_edits(alignment) for line, alignment in alignments.items()},
        "words": {line: edits.word_edits(*pair) for line, pair in pairs.items()},
    }
    counts: Mapping[str, ByLine] = in_process
    if scorer.name == "sclite":
        sides, folder = (references, hypotheses), output / "sclite"
        counts = {unit: count_with_sclite(*sides, scorer, unit=unit, folder=folder) for unit in _UNITS}
    summary = {
        **_pooled(counts),
        "scorer": scorer.name,
        "convention": CONVENTION,
        "exact_lines": sum(line.errors == 0 for line in counts["characters"].values()),
        "intervals": _intervals(texts, resampling, counts),
        **_macro_rates(texts, counts),
        "groups": {group: _pooled(part) for group, part in _by_group(texts, counts).items()},
        "levenshtein": {
            "characters": sum(edits.levenshtein(*pair) for pair in pairs.values()),
            "words": sum(edits.levenshtein(a.split(), b.split()) for a, b in pairs.values()),
        },
        "in_process": _compare_counts(scorer, counts, in_process),
        **about,
    }
    scores = Scores(counts["characters"], counts["words"], summary)
    _write_scores(output, texts, scores, alignments.values())
    return scores


def write_lines(path: Path, lines: Iterable[LineScore]) -> None:
    """Write lines.tsv."""
    rows = ((own.id, own.reference, own.hypothesis, *own.characters, *own.words, own.writer) for own in lines)
    write_tsv(path, _LINE_COLUMNS, rows)


def read_lines(path: Path) -> list[LineScore]:
    """Return the lines of lines.tsv, in order; raise InputError where a column lacks or holds no counts.

    Tables of before the column `writer` are read as of unknown writers.
    """
    lines = []
    for row in read_tsv(path):
        try:
            characters, words = (Counts(*(int(row[f"{unit}_{n}"]) for n in _COUNTS)) for unit in _UNITS)
            texts = (row["id"], row["reference"], row["hypothesis"])
        except (KeyError, ValueError) as error:
            raise InputError(f"{path}: no table of lines and their edits ({error}); evaluate anew") from None
        lines.append(LineScore(*texts, characters, words, row.get("writer", "")))
    return lines


def write_confusions(path: Path, pairs: Mapping[Pair, int]) -> None:
    """Write confusions.tsv, most frequent first; code points tell look-alikes and spaces apart."""
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0][0] or "", item[0][1] or ""))
    rows = []
    for (reference, hypothesis), number in ranked:
        kind = "insertion" if reference is None else "deletion" if hypothesis is None else "substitution"
        code_points = (c and f"U+{ord(c):04X}" for c in (reference, hypothesis))
        rows.append((number, kind, reference, hypothesis, *code_points))
    write_tsv(path, _CONFUSION_COLUMNS, rows)


def write_tsv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    r"""Write a header and `rows` as UTF-8; backslash, tab and line ends become \\ \t \n \r, None is empty.

    The standard csv module writes such cells with quotation marks, and reads no NUL before Python 3.11.
    """
    escapes = str.maketrans(_ESCAPES)
    lines = (
        "\t".join("" if cell is None else str(cell).translate(escapes) for cell in row) + "\n"
        for row in (columns, *rows)
    )
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def read_tsv(path: Path) -> list[dict[str, str]]:
    """Return the rows that `write_tsv` wrote, by column; raise InputError for what is no such table."""
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            columns, *rows = ([_unescaped(cell) for cell in line.rstrip("\n").split("\t")] for line in file)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no table ({getattr(error, 'strerror', None) or 'damaged'})") from None
    for number, row in enumerate(rows, 2):
        if len(row) != len(columns):
            raise InputError(f"{path}, line {number}: {len(row)} cells, the header has {len(columns)}")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _unescaped(cell: str) -> str:
    return re.sub(r"\\.", lambda match: _ESCAPED.get(match[0], match[0]), cell)


def _pooled(counts: Mapping[str, ByLine]) -> dict[str, Any]:
    totals = {unit: Counts.total(counts[unit].values()) for unit in _UNITS}
    return {
        **{name: totals[unit].rate for name, unit in RATES.items()},
        **{unit: total._asdict() for unit, total in totals.items()},
        "lines": len(counts["characters"]),
    }


def _by_writer(texts: Texts, lines: ByLine) -> list[Counts]:
    """Return one count a writer; nothing unless every line has a writer."""
    if not all(texts.writers.get(line) for line in lines):
        return []
    return list(significance.sum_by_cluster(lines, texts.writers).values())


def _intervals(texts: Texts, how: Resampling, counts: Mapping[str, ByLine]) -> dict[str, Any]:
    drawn = {name: significance.units_to_draw(counts[unit], texts.writers) for name, unit in RATES.items()}
    over = "writers" if len(_by_writer(texts, counts["characters"])) > 1 else "lines"
    return {
        "over": over,
        "units": len(drawn["cer"]),
        **{name: significance.rate_interval(units, how) for name, units in drawn.items()},
        "confidence": significance.CONFIDENCE,
        **asdict(how),
    }


def _macro_rates(texts: Texts, counts: Mapping[str, ByLine]) -> dict[str, float]:
    """Return the means; a line without reference, such as one read where none is, has no rate of its own."""
    units = {
        f"macro_{name}_lines": [line for line in counts[unit].values() if line.reference]
        for name, unit in RATES.items()
    }
    units |= {f"macro_{name}_writers": _by_writer(texts, counts[unit]) for name, unit in RATES.items()}
    return {name: significance.macro_rate(own) for name, own in units.items() if own}


def _by_group(texts: Texts, counts: Mapping[str, ByLine]) -> dict[str, dict[str, ByLine]]:
    """Return group -> unit -> line -> counts, groups in order of name."""
    group_of = texts.groups.get
    return {
        group: {unit: {n: own for n, own in counts[unit].items() if group_of(n) == group} for unit in _UNITS}
        for group in sorted({*texts.groups.values()} - {""})
    }


def _compare_counts(
    scorer: Scorer, counts: Mapping[str, ByLine], in_process: Mapping[str, ByLine]
) -> dict[str, Any]:
    """Return the in-process counts and the lines where SClite differs; warn of those."""
    totals: dict[str, Any] = {unit: Counts.total(in_process[unit].values())._asdict() for unit in _UNITS}
    if scorer.name == "edit_distance":
        return totals | {"agrees_with_sclite": None, "differing_lines": []}
    ids = counts["characters"]
    differing = [line for line in ids if any(counts[unit][line] != in_process[unit][line] for unit in _UNITS)]
    if differing:
        named = ", ".join(differing)
        _LOGGER.warning("SClite and the in-process counts differ in %d lines: %s", len(differing), named)
    return totals | {"agrees_with_sclite": not differing, "differing_lines": differing}


def _write_scores(output: Path, texts: Texts, scores: Scores, alignments: Iterable[list[Pair]]) -> None:
    lines = [
        LineScore(line, reference, texts.hypotheses[line], scores.characters[line], scores.words[line],
                  texts.writers.get(line, ""))
        for line, reference in texts.references.items()
    ]  # fmt: skip
    with as_input_error(output, "choose another output="):
        output.mkdir(parents=True, exist_ok=True)
        write_lines(output / LINES, lines)
        write_confusions(output / "confusions.tsv", edits.count_confusions(alignments))
        write_json(output / "scores.json", scores.summary)
