"""The scores of a data set: counts from SClite, checked in process, with intervals, written to a folder."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hwr.errors import InputError
from hwr.scoring import bootstrap, confusion, edits, line_table, sclite
from hwr.scoring.bootstrap import Resampling
from hwr.scoring.counts import Counts
from hwr.scoring.edits import Pair
from hwr.scoring.line_table import LineScore
from hwr.text import nfc

SCORERS = ("sclite", "edit_distance")
CONVENTION = (
    "errors / reference length, summed over all lines, in SClite's alignment (the least 4 S + 3 D + 3 I);"
    " texts in NFC, white-space runs one space, none at the ends; characters are code points, spaces too;"
    " words are white-space separated, punctuation attached; case matters"
)
_LOGGER = logging.getLogger(__name__)
_UNITS: tuple[sclite.Unit, ...] = ("characters", "words")
_RATES: tuple[tuple[str, sclite.Unit], ...] = (("cer", "characters"), ("wer", "words"))

ByLine = dict[str, Counts]


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """Who counts: `name` is one of SCORERS; `command` and `timeout_s` are for SClite."""

    name: str
    command: str | None
    timeout_s: float

    def check(self) -> None:
        """Raise InputError for an unknown name or a missing SClite: worth asking before reading lines."""
        if self.name not in SCORERS:
            raise InputError(f"scorer {self.name!r} is none of {', '.join(SCORERS)}")
        if self.name == "sclite":
            sclite.find(self.command)


@dataclass(frozen=True)
class Texts:
    """Line id -> reference, hypothesis, writer ("" = unknown) and group; a line may have no group.

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


def compare(
    texts: Texts, scorer: Scorer, resampling: Resampling, *, output: Path, about: Mapping[str, object]
) -> Scores:
    """Score `texts`; write scores.json, lines.tsv, confusions.tsv and SClite's reports (sclite/) to `output`.

    `about` (data_fingerprint, weights_sha256, …) joins scores.json. Line 7 of lines.tsv is `line-000007` in
    SClite's reports. Raise InputError for differing id sets, no reference text at all, a missing SClite and
    an `output` that cannot be written.
    """
    scorer.check()
    sclite.check_ids(texts.references, texts.hypotheses)
    texts = Texts(_nfc(texts.references), _nfc(texts.hypotheses), texts.writers, texts.groups)
    if not any(texts.references.values()):
        raise InputError("no line has a reference text; choose a split with transcriptions")
    alignments = {line: edits.align(*pair) for line, pair in _pairs(texts).items()}
    in_process = {
        "characters": {line: edits.count(alignment) for line, alignment in alignments.items()},
        "words": {line: edits.words(*pair) for line, pair in _pairs(texts).items()},
    }
    counts = in_process if scorer.name == "edit_distance" else _sclite(texts, scorer, output / "sclite")
    summary = (
        _summary(texts, scorer, resampling, counts)
        | {"in_process": _check(scorer, counts, in_process)}
        | dict(about)
    )
    _write(output, texts, Scores(counts["characters"], counts["words"], summary), alignments)
    return Scores(counts["characters"], counts["words"], summary)


def _nfc(texts: Mapping[str, str]) -> dict[str, str]:
    return {line: nfc(text) for line, text in texts.items()}


def _pairs(texts: Texts) -> dict[str, tuple[str, str]]:
    return {line: (reference, texts.hypotheses[line]) for line, reference in texts.references.items()}


def _sclite(texts: Texts, scorer: Scorer, folder: Path) -> dict[str, ByLine]:
    return {
        unit: sclite.score(
            texts.references,
            texts.hypotheses,
            unit=unit,
            command=scorer.command,
            timeout_s=scorer.timeout_s,
            folder=folder,
        ).lines
        for unit in _UNITS
    }


def _summary(
    texts: Texts, scorer: Scorer, resampling: Resampling, counts: dict[str, ByLine]
) -> dict[str, Any]:
    """Return scores.json without the check and what it is about."""
    return {
        **_pooled(counts),
        "scorer": scorer.name,
        "convention": CONVENTION,
        "exact_lines": sum(line.errors == 0 for line in counts["characters"].values()),
        "intervals": _intervals(texts, resampling, counts),
        **_macro(texts, counts),
        "groups": {group: _pooled(part) for group, part in _groups(texts, counts).items()},
        "levenshtein": {
            "characters": sum(edits.levenshtein(*pair) for pair in _pairs(texts).values()),
            "words": sum(edits.levenshtein(a.split(), b.split()) for a, b in _pairs(texts).values()),
        },
    }


def _pooled(counts: dict[str, ByLine]) -> dict[str, Any]:
    totals = {unit: Counts.total(counts[unit].values()) for unit in _UNITS}
    rates = {name: totals[unit].rate for name, unit in _RATES}
    return {
        **rates,
        **{unit: total.as_dict() for unit, total in totals.items()},
        "lines": len(counts["characters"]),
    }


def _by_writer(texts: Texts, lines: ByLine) -> list[Counts]:
    """Return one count a writer; nothing unless every line has a writer."""
    if not all(texts.writers.get(line) for line in lines):
        return []
    return list(bootstrap.by_cluster(lines, texts.writers).values())


def _intervals(texts: Texts, how: Resampling, counts: dict[str, ByLine]) -> dict[str, Any]:
    writers = len(_by_writer(texts, counts["characters"]))
    lines = len(counts["characters"])
    result: dict[str, Any] = (
        {"over": "writers", "units": writers} if writers > 1 else {"over": "lines", "units": lines}
    )
    for name, unit in _RATES:
        result[name] = bootstrap.interval(bootstrap.drawn(counts[unit], texts.writers), how)
    return result | {"confidence": bootstrap.CONFIDENCE, **asdict(how)}


def _macro(texts: Texts, counts: dict[str, ByLine]) -> dict[str, float]:
    """Return the means; a line without reference, such as one read where none is, has no rate of its own."""
    lines = {unit: [line for line in counts[unit].values() if line.reference] for unit in _UNITS}
    means = {f"macro_{name}_lines": bootstrap.macro(lines[unit]) for name, unit in _RATES}
    writers = {f"macro_{name}_writers": _by_writer(texts, counts[unit]) for name, unit in _RATES}
    return means | {name: bootstrap.macro(units) for name, units in writers.items() if units}


def _groups(texts: Texts, counts: dict[str, ByLine]) -> dict[str, dict[str, ByLine]]:
    """Return group -> unit -> line -> counts, groups in order of name."""
    members: dict[str, list[str]] = {}
    for line in texts.references:
        if line in texts.groups:
            members.setdefault(texts.groups[line], []).append(line)
    return {
        group: {unit: {line: counts[unit][line] for line in members[group]} for unit in _UNITS}
        for group in sorted(members)
    }


def _check(scorer: Scorer, counts: dict[str, ByLine], in_process: dict[str, ByLine]) -> dict[str, Any]:
    """Return the in-process counts and the lines where SClite differs; warn of those."""
    totals: dict[str, Any] = {unit: Counts.total(in_process[unit].values()).as_dict() for unit in _UNITS}
    if scorer.name == "edit_distance":
        return totals | {"agrees_with_sclite": None, "differing_lines": []}
    ids = counts["characters"]
    differing = [line for line in ids if any(counts[unit][line] != in_process[unit][line] for unit in _UNITS)]
    if differing:
        _LOGGER.warning(
            "SClite and the in-process counts differ in %d lines: %s", len(differing), ", ".join(differing)
        )
    return totals | {"agrees_with_sclite": not differing, "differing_lines": differing}


def _write(output: Path, texts: Texts, scores: Scores, alignments: Mapping[str, list[Pair]]) -> None:
    rows = [
        LineScore(line, *pair, scores.characters[line], scores.words[line], texts.writers.get(line, ""))
        for line, pair in _pairs(texts).items()
    ]
    try:
        output.mkdir(parents=True, exist_ok=True)
        line_table.write(output / line_table.NAME, rows)
        confusion.write(output / "confusions.tsv", confusion.count(alignments.values()))
        text = json.dumps(scores.summary, ensure_ascii=False, indent=1) + "\n"
        (output / "scores.json").write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot write scores to {output}: {error.strerror}; choose another output="
        ) from None
