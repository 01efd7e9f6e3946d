"""Target `line`: read the lines of a split with a decoder, and score them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hwr.config.bind import make
from hwr.config.roots import EvaluateConfig, LinesConfig
from hwr.data import inspection
from hwr.data.batches.lines import Image
from hwr.data.cache import line_images
from hwr.data.records import Line, Page, fingerprint
from hwr.decoding.reading import Decoder, Probs, Reading, build_decoder, check_decoder
from hwr.evaluation import task as common
from hwr.evaluation.task import Outcome, Target, Task
from hwr.language.record import refuse_seen
from hwr.pictures import cards, line_archive
from hwr.scoring.report import Scores, Texts, score_texts
from hwr.scoring.sclite import Scorer
from hwr.scoring.significance import Resampling
from hwr.stages.build import alphabet_of, config_of, model_of, refuse_problems
from hwr.stages.line.model import MODEL, line_crop, line_steps, load_line_reader
from hwr.stages.line.training import check_characters, line_set, lines_of, reading_item
from hwr.stages.recipe import device_context
from hwr.tables import text_table
from hwr.text import Alphabet
from hwr.tracking import Run
from hwr.weights import Weights

Value = TypeVar("Value")

CHUNK = 256  # lines between two moves of the progress bar


@dataclass(frozen=True)
class Lines:
    """Lines of a split in order: ids, line images (H, w) uint8, texts, writers ("" = unknown) and kinds.

    `alphabet` is that of the weights, `fingerprint` that of the split's pages; `probs` holds (T, C) float32 a
    line, softmax over the alphabet's classes, where the lines were read.
    """

    ids: Sequence[str]
    images: Sequence[Image]
    texts: Sequence[str]
    writers: Sequence[str]
    kinds: Sequence[str]
    alphabet: Alphabet
    fingerprint: str
    probs: Sequence[Probs] = ()

    def by_id(self, values: Sequence[Value]) -> dict[str, Value]:
        """Return the values, one a line, by line id."""
        return dict(zip(self.ids, values, strict=True))

    def with_readings(self, readings: Sequence[Reading]) -> Texts:
        """Return true texts and those of `readings`, one a line, for scoring."""
        read = [reading.text for reading in readings]
        return Texts(*(self.by_id(own) for own in (self.texts, read, self.writers, self.kinds)))

    def refuse_seen_by(self, decoder: Decoder) -> None:
        """Raise InputError where a model of `decoder` was made from these lines."""
        refuse_seen(decoder, self.by_id(self.texts), self.fingerprint)


def read_lines(task: Task[LinesConfig], found: Weights) -> Lines:
    """Return the lines of the configured split with all their probabilities, for several decoders.

    A line of 230 steps and 134 classes takes 120 KB: 431 lines 53 MB. Raises InputError as `find_lines` does.
    """
    lines = find_lines(task, found)
    return replace(lines, probs=[probs for chunk in read_chunks(task, found, lines) for probs in chunk])


def find_lines(task: Task[LinesConfig], found: Weights) -> Lines:
    """Return the lines of the configured split, cut out as the weights want them, not yet read.

    Raises InputError for pages and lines that cannot be used, and a split without any.
    """
    config, crop, policy = task.config, line_crop(found), config_of(found).inspect.policy
    pages = task.pages(whole=False)
    lines_of(pages, config.split)  # refuses a split without any
    limits = inspection.Limits(crop=crop, steps=line_steps(model_of(found, MODEL)), loading=config.loading)
    pages = inspection.apply_policy(pages, inspection.inspect_pages(pages, limits), policy)
    check_characters(lines_of(pages, config.split), alphabet_of(found), config.unknown)
    images = line_images(pages, crop, folder=task.data.cache, loading=config.loading, progress=True)
    refuse_problems(images.problems, "line")
    own = line_set(pages, images, config.split)
    by_id: dict[str, tuple[Page, Line]] = {line.id: (page, line) for page in pages for line in page.lines}
    return Lines(
        own.ids,
        own.images,
        own.texts,
        [by_id[name][0].writer for name in own.ids],
        [by_id[name][1].kind or "other" for name in own.ids],
        alphabet_of(found),
        fingerprint(pages),
    )


def read_chunks(
    task: Task[LinesConfig], found: Weights, lines: Lines, *, size: int = CHUNK
) -> Iterator[list[Probs]]:
    """Yield the probabilities of the lines in order, `size` lines at once, so that few are held."""
    context = device_context(task.config.device)
    reader = load_line_reader(found, batch_size=task.config.batch_size, context=context)
    for start in tqdm(range(0, len(lines.ids), size), desc="reading", unit=f"{size} lines", disable=None):
        yield reader.probs(lines.images[start : start + size])


def check_lines(config: EvaluateConfig) -> None:
    """Raise InputError for settings that no part takes."""
    make(Scorer, config.scorer, "scorer")
    make(Resampling, config.resampling, "resampling")
    check_decoder(config.decoder)


def load_line_weights(task: Task[EvaluateConfig]) -> list[Weights]:
    """Return the weights that are evaluated; raise InputError for what is missing, before a page is read."""
    make(Scorer, task.config.scorer, "scorer").check()
    return [task.weights("line")]


def score_lines(task: Task[EvaluateConfig], loaded: Sequence[Weights], current: Run, output: Path) -> Outcome:
    """Read the lines, score them, and write scores, tables and pictures to `output`."""
    config, (own,) = task.config, loaded
    decoder = build_decoder(config.decoder, alphabet_of(own))
    lines = find_lines(task, own)
    lines.refuse_seen_by(decoder)
    readings = [reading for probs in read_chunks(task, own, lines) for reading in decoder.read(probs)]
    about = common.about(config, config.target, loaded, lines.fingerprint, current)
    outcome = scored(config, lines, readings, about=about, output=output)
    current.metrics(common.metrics(config.split, values(outcome.summary)), 0)
    return outcome


TARGET = Target(name="line", check=check_lines, load=load_line_weights, score=score_lines)


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
    cards.save_picture(output / "lines.png", _picture(config, lines, texts, scores))
    if config.kept_height:
        line_archive.save_lines(output / line_archive.NAME, lines.images, height=config.kept_height)
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

    def item(index: int) -> cards.LineCard:
        name = lines.ids[index]
        return reading_item(lines.images[index], name, texts.references[name], texts.hypotheses[name])

    return cards.readings({title: [item(index) for index in group] for title, group in groups.items()})


def values(summary: dict[str, Any]) -> dict[str, float]:
    """Return the metrics that a summary holds: error rates, of all lines and of each kind of them."""
    plain = {name: value for name, value in summary.items() if isinstance(value, float)}
    groups = {f"{group}/cer": scores["cer"] for group, scores in summary["groups"].items()}
    return plain | (groups if len(groups) > 1 else {})
