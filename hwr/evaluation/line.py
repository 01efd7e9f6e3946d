"""Target `line`: true lines are read and scored."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hwr import assembly, decoders, pictures
from hwr.binding import make
from hwr.building import parts
from hwr.building.line import check_characters, line_set, lines_of, reading_item
from hwr.config import EvaluateConfig
from hwr.data import inspection
from hwr.data.cache import line_images
from hwr.data.fingerprint import fingerprint
from hwr.data.records import Line, Page
from hwr.data.samples import LineSet
from hwr.evaluation import common
from hwr.evaluation.common import Outcome, Task
from hwr.scoring.bootstrap import Resampling
from hwr.scoring.report import Scorer, Scores, Texts, compare
from hwr.tracking import Run
from hwr.weights import Weights

CHUNK = 256  # lines between two moves of the progress bar


def check(config: EvaluateConfig) -> None:
    """Raise InputError for settings that no part takes."""
    make(Scorer, config.scorer, "scorer")
    make(Resampling, config.resampling, "resampling")
    decoders.check(config.decoder)


def prepare(task: Task) -> list[Weights]:
    """Return the weights that are evaluated; raise InputError for what is missing, before a page is read."""
    make(Scorer, task.config.scorer, "scorer").check()
    return [task.weights(task.config.weights.line, kind="line")]


def run(task: Task, found: Sequence[Weights], current: Run, output: Path) -> Outcome:
    """Read the lines, score them, and write scores, tables and pictures to `output`."""
    config, (own,) = task.config, found
    pages, lines = _lines(task, own)
    texts = _read(config, own, pages, lines)
    about = common.about(config, found, fingerprint(pages), current)
    resampling = make(Resampling, config.resampling, "resampling")
    scores = compare(texts, make(Scorer, config.scorer, "scorer"), resampling, output=output, about=about)
    pictures.save(output / "lines.png", _picture(config, lines, texts, scores))
    current.metrics(common.metrics(config.split, _values(scores.summary)), 0)
    return Outcome(scores.summary, table(config.split, scores.summary), scores.cer)


def table(split: str, summary: dict[str, Any]) -> str:
    """Return the error rates with their intervals and counts, as rows of text."""
    rows = [f"{split}: {summary['lines']} lines, scored by {summary['scorer']}"]
    for name, unit in (("cer", "characters"), ("wer", "words")):
        interval, counts = summary["intervals"][name], summary[unit]
        within = (
            f"[{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]" if interval else "(one line: no interval)"
        )
        sums = "  ".join(
            f"{key[0].upper()} {counts[key]}" for key in ("substitutions", "deletions", "insertions")
        )
        rows.append(
            f"{name.upper()} {100 * summary[name]:6.2f} %  {within}  {counts['reference']} {unit}  {sums}"
        )
    groups = summary["groups"] if len(summary["groups"]) > 1 else {}
    for name, group in groups.items():
        rows.append(f"CER {100 * group['cer']:6.2f} %  {name} ({group['lines']} lines)")
    return "\n".join(rows)


def _lines(task: Task, found: Weights) -> tuple[list[Page], LineSet]:
    config, trained = task.config, assembly.config_of(found)
    crop = assembly.crop_of(trained)
    pages = task.pages(whole=False)
    lines_of(pages, config.split)  # refuses a split without any
    limits = inspection.Limits(crop=crop, steps=assembly.steps_of, max_pixels=config.max_pixels)
    pages = inspection.apply(pages, inspection.inspect(pages, limits), trained.inspect.policy)
    check_characters(lines_of(pages, config.split), assembly.alphabet_of(found), config.unknown)
    images = line_images(pages, crop, folder=task.cache, max_pixels=config.max_pixels, progress=True)
    parts.refuse_problems(images.problems, "line")
    return pages, line_set(pages, images, config.split)


def _read(config: EvaluateConfig, found: Weights, pages: Sequence[Page], lines: LineSet) -> Texts:
    alphabet, context = assembly.alphabet_of(found), assembly.device(config.device)
    reader = assembly.line_reader(found, batch_size=config.batch_size, context=context)
    decoder = decoders.decoder(config.decoder, alphabet)
    read: list[str] = []
    for start in tqdm(range(0, len(lines.ids), CHUNK), desc="reading", unit=f"{CHUNK} lines", disable=None):
        probs = reader.probs(lines.images[start : start + CHUNK])
        read += [reading.text for reading in decoder.read(probs)]
    by_id: dict[str, tuple[Page, Line]] = {line.id: (page, line) for page in pages for line in page.lines}
    return Texts(
        dict(zip(lines.ids, lines.texts, strict=True)),
        dict(zip(lines.ids, read, strict=True)),
        {name: by_id[name][0].writer for name in lines.ids},
        {name: by_id[name][1].kind or "other" for name in lines.ids},
    )


def _picture(config: EvaluateConfig, lines: LineSet, texts: Texts, scores: Scores) -> NDArray[np.uint8]:
    """Draw the lines with the highest error rates, and those around the median."""
    ranked = sorted(range(len(lines.ids)), key=lambda i: -scores.characters[lines.ids[i]].rate)
    middle = max(0, len(ranked) // 2 - config.pictures // 2)
    groups = {"worst lines": ranked[: config.pictures], "median lines": ranked[middle:][: config.pictures]}

    def item(index: int) -> pictures.Reading:
        name = lines.ids[index]
        return reading_item(lines.images[index], name, texts.references[name], texts.hypotheses[name])

    return pictures.readings({title: [item(index) for index in group] for title, group in groups.items()})


def _values(summary: dict[str, Any]) -> dict[str, float]:
    plain = {name: value for name, value in summary.items() if isinstance(value, float)}
    groups = {f"{group}/cer": scores["cer"] for group, scores in summary["groups"].items()}
    return plain | (groups if len(groups) > 1 else {})
