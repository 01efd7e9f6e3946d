"""Target `line`: true lines are read and scored."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwr.config.bind import make
from hwr.config.compose import EvaluateConfig
from hwr.decoding.build import build_decoder, check_decoder
from hwr.decoding.reading import Reading
from hwr.evaluation import task as common
from hwr.evaluation.probabilities import Lines, find_lines, read_chunks
from hwr.evaluation.task import Outcome, Task
from hwr.pictures import cards, line_archive
from hwr.scoring.report import Scores, Texts, score_texts
from hwr.scoring.sclite import Scorer
from hwr.scoring.significance import Resampling
from hwr.stages import build
from hwr.stages.line.training import reading_item
from hwr.tables import text_table
from hwr.tracking import Run
from hwr.weights import Weights


def check(config: EvaluateConfig) -> None:
    """Raise InputError for settings that no part takes."""
    make(Scorer, config.scorer, "scorer")
    make(Resampling, config.resampling, "resampling")
    check_decoder(config.decoder)


def prepare(task: Task[EvaluateConfig]) -> list[Weights]:
    """Return the weights that are evaluated; raise InputError for what is missing, before a page is read."""
    make(Scorer, task.config.scorer, "scorer").check()
    return [task.weights(task.config.weights.line, kind="line")]


def run(task: Task[EvaluateConfig], found: Sequence[Weights], current: Run, output: Path) -> Outcome:
    """Read the lines, score them, and write scores, tables and pictures to `output`."""
    config, (own,) = task.config, found
    decoder = build_decoder(config.decoder, build.alphabet_of(own))
    lines = find_lines(task, own)
    lines.refuse_seen_by(decoder)
    readings = [reading for probs in read_chunks(task, own, lines) for reading in decoder.read(probs)]
    about = common.about(config, config.target, found, lines.fingerprint, current)
    outcome = scored(config, lines, readings, about=about, output=output)
    current.metrics(common.metrics(config.split, values(outcome.summary)), 0)
    return outcome


def scored(
    config: EvaluateConfig,
    lines: Lines,
    readings: Sequence[Reading],
    *,
    about: dict[str, Any],
    output: Path,
) -> Outcome:
    """Score readings of lines, one a line, and write scores, tables and pictures to `output`."""
    texts, resampling = lines.with_readings(readings), make(Resampling, config.resampling, "resampling")
    scores = score_texts(texts, make(Scorer, config.scorer, "scorer"), resampling, output=output, about=about)
    cards.save(output / "lines.png", _picture(config, lines, texts, scores))
    if config.kept_height:
        line_archive.save(output / line_archive.NAME, lines.images, height=config.kept_height)
    return Outcome(scores.summary, table(config.split, scores.summary), scores.cer)


def table(split: str, summary: dict[str, Any]) -> str:
    """Return the error rates with their intervals and counts, then those of groups, as a text table."""
    groups = summary["groups"] if len(summary["groups"]) > 1 else {}
    rates = [("CER", summary, "cer", "characters"), ("WER", summary, "wer", "words")]
    rates += [(f"CER of {name}", group, "cer", "characters") for name, group in groups.items()]
    rows = []
    for title, scores, rate, unit in rates:
        interval = scores["intervals"][rate] if "intervals" in scores else None
        within = f"[{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]" if interval else ""
        counts = [str(count) for count in scores[unit].values()]
        rows.append([title, f"{100 * scores[rate]:.2f} %", within, str(scores["lines"]), *counts])
    head = ("", "rate", "95 % interval", "lines", "length", "substituted", "deleted", "inserted")
    return f"{split}: {summary['lines']} lines, scored by {summary['scorer']}\n{text_table(head, rows)}"


def _picture(config: EvaluateConfig, lines: Lines, texts: Texts, scores: Scores) -> NDArray[np.uint8]:
    """Draw the lines with the highest error rates, and those around the median."""
    ranked = sorted(range(len(lines.ids)), key=lambda i: -scores.characters[lines.ids[i]].rate)
    middle = max(0, len(ranked) // 2 - config.pictures // 2)
    groups = {"worst lines": ranked[: config.pictures], "median lines": ranked[middle:][: config.pictures]}

    def item(index: int) -> cards.Reading:
        name = lines.ids[index]
        return reading_item(lines.images[index], name, texts.references[name], texts.hypotheses[name])

    return cards.readings({title: [item(index) for index in group] for title, group in groups.items()})


def values(summary: dict[str, Any]) -> dict[str, float]:
    """Return the metrics that a summary holds: error rates, of all lines and of each kind of them."""
    plain = {name: value for name, value in summary.items() if isinstance(value, float)}
    groups = {f"{group}/cer": scores["cer"] for group, scores in summary["groups"].items()}
    return plain | (groups if len(groups) > 1 else {})
