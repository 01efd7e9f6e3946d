"""Targets `line` and `denoiser`: read the lines of a split with a decoder, and score them.

Of the denoiser, the lines are scored as read and as corrected.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hwr import pictures
from hwr.config.bind import current_target
from hwr.config.roots import EvaluateConfig, LinesConfig
from hwr.data.batches.lines import Image
from hwr.data.cache import line_images
from hwr.data.records import LeftOut, Line, Page, Replacements, fingerprint
from hwr.data.report import nothing_left
from hwr.decoding import Decoder, Probs, Reading, build_decoder, check_decoder
from hwr.decoding.denoise import DenoiseDecoder
from hwr.errors import InputError, optional
from hwr.evaluation import publish
from hwr.evaluation.task import EDITS, Evaluation, Outcome, Record, Result, Scored, Target, Task, rates
from hwr.language import refuse_seen
from hwr.scoring.report import RATES, Scores, Texts, score_texts
from hwr.scoring.sclite import check_scorer
from hwr.stages.build import alphabet_of, model_of, with_images
from hwr.stages.engine import Engine
from hwr.stages.line import MODEL, load_line_reader
from hwr.stages.line.training import check_characters, line_set, lines_of, reading_item
from hwr.stages.recipe import device_context
from hwr.tables import text_table
from hwr.text import Alphabet
from hwr.weights import Weights

Value = TypeVar("Value")

UNTOLD = "empty_text, nothing to compare with"  # lines that no one has transcribed
_BLANK = np.full((48, 48), 255, np.uint8)  # in place of the image of an unread line
DENOISE = "hwr.stages.denoiser.denoise_decoder"  # the only decoder of which weights are evaluated
CHUNK = 256  # lines whose probabilities are held at once, and those of the page that they end in


@dataclass(frozen=True)
class UnreadLine:
    """A line without an image, which counts as missed, and the reason why it has none."""

    id: str
    text: str
    writer: str
    group: str
    reason: str


@dataclass(frozen=True)
class Lines:
    """Lines of a split in order: ids, their pages' ids, line images (H, w) uint8, texts, writers and groups.

    A writer "" is unknown. A group is a set of the data, or where there is but one, a kind of lines.
    `alphabet` is that of the weights, `fingerprint` that of the split's pages; `probs` holds (T, C) float32 a
    line, softmax over the alphabet's classes, where the lines were read. Beside them stand the lines that are
    `unread`, and what rules have left out or replaced.
    """

    ids: Sequence[str]
    pages: Sequence[str]
    images: Sequence[Image]
    texts: Sequence[str]
    writers: Sequence[str]
    groups: Sequence[str]
    alphabet: Alphabet
    fingerprint: str
    probs: Sequence[Probs] = ()
    unread: Sequence[UnreadLine] = ()
    left_out: Sequence[LeftOut] = ()
    replacements: Replacements = field(default_factory=dict)

    @property
    def scored(self) -> Scored:
        """What is told of the lines beside scores."""
        unread = {line.id: line.reason for line in self.unread}
        return Scored(self.fingerprint, self.left_out, unread, self.replacements)

    def by_id(self, values: Sequence[Value]) -> dict[str, Value]:
        """Return the values, one a line, by line id."""
        return dict(zip(self.ids, values, strict=True))

    def with_readings(self, readings: Sequence[Reading]) -> Texts:
        """Return true texts and those of `readings`, one a line, for scoring; unread lines are missed."""
        read = [reading.text for reading in readings]
        rows = [
            *zip(self.ids, self.texts, read, self.writers, self.groups, strict=True),
            *((line.id, line.text, "", line.writer, line.group) for line in self.unread),
        ]
        ids, *columns = zip(*rows, strict=True)
        return Texts(*(dict(zip(ids, column, strict=True)) for column in columns))

    def refuse_seen_by(self, decoder: Decoder) -> None:
        """Raise InputError where a model of `decoder` was made from these lines."""
        refuse_seen(decoder, self.by_id(self.texts), self.fingerprint)


def read_lines(task: Task[LinesConfig], loaded: Weights) -> Lines:
    """Return the lines of the configured split with all their probabilities, for several decoders.

    A line of 230 steps and 134 classes takes 120 KB: 431 lines 53 MB. Raises InputError as `find_lines` does.
    """
    lines = find_lines(task, loaded)
    return replace(lines, probs=[probs for _, chunk in read_chunks(task, loaded, lines) for probs in chunk])


def find_lines(task: Task[LinesConfig], loaded: Weights) -> Lines:
    """Return the lines of the configured split with a text, cut out as the weights want them, not yet read.

    Raises InputError for a split without any that can be read.
    """
    config, dataset = task.config, task.dataset(whole=False)
    pages = [replace(page, lines=tuple(line for line in page.lines if line.text)) for page in dataset.pages]
    left_out = [*dataset.left_out, *filter(None, [LeftOut.between(UNTOLD, dataset.pages, pages)])]
    if not any(page.lines for page in pages):
        keys = task.data.split_keys(config.split)
        raise InputError(nothing_left(config.split, left_out, dataset.findings, keys))
    check_characters(lines_of(pages, config.split), alphabet_of(loaded), config.unknown)
    cache, crop = task.data.cache, model_of(loaded, MODEL).settings.crop
    images = line_images(pages, crop, folder=cache, loading=config.loading, progress=True)
    own, reasons = line_set(with_images(pages, images.problems), images, config.split), dict(images.problems)
    by_id: dict[str, tuple[Page, Line]] = {line.id: (page, line) for page in pages for line in page.lines}
    on = [by_id[name][0].id for name in own.ids]
    known = {n: (line.text, p.writer, p.dataset or line.kind or "other") for n, (p, line) in by_id.items()}
    texts, writers, groups = zip(*(known[name] for name in own.ids), strict=True)
    why = {name: reason.removeprefix(f"line {name} of ") for name, reason in reasons.items()}
    unread = [UnreadLine(name, *known[name], reason) for name, reason in why.items()]
    return Lines(
        own.ids, on, own.images, texts, writers, groups, alphabet_of(loaded), fingerprint(pages),
        unread=unread, left_out=left_out, replacements=dataset.replacements,
    )  # fmt: skip


def decoded_lines(task: Task[LinesConfig], loaded: Weights, lines: Lines, decoder: Decoder) -> list[Reading]:
    """Return the readings of the lines, of which few are held at once."""
    return [one for chunk, probs in read_chunks(task, loaded, lines) for one in decoder.read(probs, chunk)]


def read_chunks(
    task: Task[LinesConfig], loaded: Weights, lines: Lines, *, size: int = CHUNK
) -> Iterator[tuple[Sequence[str], list[Probs]]]:
    """Yield pages and probabilities of the lines in order: of whole pages, with `size` lines or more."""
    config = task.config
    context, engine = device_context(config.device), Engine.of(config)
    reader = load_line_reader(loaded, batch_size=config.batch_size, context=context, engine=engine)
    start, count = 0, len(lines.ids)
    ends = [n for n in range(1, count) if lines.pages[n] != lines.pages[n - 1]]
    with tqdm(total=count, desc="reading", unit=" lines", disable=None) as bar:
        for end in (*ends, count):
            if end - start >= size or end == count:
                yield lines.pages[start:end], reader.probs(lines.images[start:end])
                bar.update(end - start)
                start = end


def check_lines(config: EvaluateConfig) -> None:
    """Raise InputError for settings that no part takes."""
    check_decoder(config.decoder)


def load_counted(task: Task[EvaluateConfig], *stages: str) -> list[Weights]:
    """Return the weights of stages; raise InputError where they are missing, or what counts the errors."""
    check_scorer(task.config.scorer)
    return [task.weights(stage) for stage in stages]


def score_lines(evaluation: Evaluation) -> Outcome:
    """Read the lines, score them, and write scores, tables and pictures."""
    task, config, (own,) = evaluation.task, evaluation.config, evaluation.loaded
    decoder = build_decoder(config.decoder, alphabet_of(own))
    lines = find_lines(task, own)
    lines.refuse_seen_by(decoder)
    readings = decoded_lines(task, own, lines, decoder)
    about = evaluation.about(lines.scored)
    outcome = scored(config, lines, readings, about=about, output=evaluation.output)
    evaluation.log(values(outcome.summary))
    return outcome


def check_denoiser(config: EvaluateConfig) -> None:
    """Raise InputError for settings that no part takes."""
    if current_target(str(config.decoder.get("_target_"))) != DENOISE:
        raise InputError("target=denoiser evaluates the weights of decoder=denoise; add decoder=denoise")
    check_lines(config)


def load_denoiser_weights(task: Task[EvaluateConfig]) -> list[Weights]:
    """Return the weights that are evaluated; raise InputError for what is missing, before a page is read."""
    (reader,) = load_counted(task, "line")
    if task.config.publish is not None:
        publish.published_name(reader.folder)
    return [task.weights("denoiser", str(task.config.decoder["weights"]))]


def score_denoiser(evaluation: Evaluation) -> Outcome:
    """Read the lines, score them as read into the folder `before`, and as rewritten."""
    task, output = evaluation.task, evaluation.output
    config, reader = task.config, task.weights("line")
    decoder = build_decoder(config.decoder, alphabet_of(reader))
    assert isinstance(decoder, DenoiseDecoder)  # `check_denoiser` saw to it
    lines = find_lines(task, reader)
    lines.refuse_seen_by(decoder)
    read, mended = [], []
    for pages, probs in read_chunks(task, reader, lines):
        read += (readings := decoder.base.read(probs, pages))
        mended += decoder.rewritten(readings, probs)
    about = evaluation.about(lines.scored)
    about |= {"line_weights": str(reader.folder), "line_weights_sha256": reader.sha256}
    (output / "before").mkdir()
    plain = replace(config, kept_height=0)  # the lines are kept once
    before = scored(plain, lines, read, about=about, output=output / "before")
    about["before"] = {name: before.summary[name] for name in ("cer", "wer")}
    after = scored(config, lines, mended, about=about, output=output)
    earlier = {f"before/{name}": value for name, value in about["before"].items()}
    evaluation.log(values(after.summary) | earlier)
    return Outcome(after.summary, f"before: {before.table}\n\nafter: {after.table}", after.error)


def scored(
    config: EvaluateConfig, lines: Lines, readings: Sequence[Reading], *, about: dict[str, Any], output: Path
) -> Outcome:
    """Score readings of lines, one a line, and write scores, tables and pictures to `output`."""
    texts = lines.with_readings(readings)
    scores = score_texts(texts, config.scorer, config.resampling, output=output, about=about)
    with optional("lines.png"):
        pictures.save_picture(output / "lines.png", _picture(config, lines, texts, scores))
    if config.kept_height:
        images = [*lines.images, *[_BLANK] * len(lines.unread)]  # as many as lines.tsv has, in its order
        pictures.save_lines(output / pictures.LINE_ARCHIVE, images, height=config.kept_height)
    return Outcome(scores.summary, table(config.split, scores.summary), scores.cer)


def table(split: str, summary: dict[str, Any]) -> str:
    """Return the error rates with their intervals and counts, then those of groups, as a text table."""
    shown = [(rate.upper(), summary, rate, unit) for rate, unit in RATES.items()]
    groups = [(rate, name, own) for rate in RATES for name, own in several_groups(summary).items()]
    shown += [(f"{rate.upper()} of {name}", own, rate, RATES[rate]) for rate, name, own in groups]
    rows = []
    for title, scores, rate, unit in shown:
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

    def item(index: int) -> pictures.LineCard:
        name = lines.ids[index]
        return reading_item(lines.images[index], name, texts.references[name], texts.hypotheses[name])

    return pictures.readings({title: [item(index) for index in group] for title, group in groups.items()})


def rate_cell(result: Result, rate: str) -> str:
    """Return an error rate with its interval as a cell of a table."""
    return f"{100 * result[rate]:.2f} %{within(result.get('intervals', {}).get(rate), '.1f')}"


def within(interval: Sequence[float] | None, form: str) -> str:
    """Return an interval in percent behind a figure; nothing where there is none."""
    return "" if interval is None else " [" + ", ".join(f"{100 * end:{form}}" for end in interval) + "]"


def values(summary: dict[str, Any]) -> dict[str, float]:
    """Return the metrics that a summary holds: error rates, of all lines and of each group of them."""
    groups = several_groups(summary)
    return rates(summary) | {f"{rate}/{name}": own[rate] for rate in RATES for name, own in groups.items()}


def several_groups(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the scores of each group of lines; nothing where there is but one."""
    return summary["groups"] if len(summary["groups"]) > 1 else {}


def _rows(link: str, result: Result) -> list[list[str]]:
    """Return a row for all lines, and one for each set of several."""
    sets = [("", f"{own['lines']}, {name}", own) for name, own in several_groups(result).items()]
    return [
        [
            place,
            count,
            *(rate_cell(own, rate) for rate in RATES),
            " / ".join(map(str, own["characters"].values())),
        ]
        for place, count, own in [(link, str(result["lines"]), result), *sets]
    ]


def _denoiser_rows(link: str, result: Result) -> list[list[str]]:
    before = (f"{100 * result['before'][name]:.2f} %" for name in ("cer", "wer"))
    return [[link, str(result["lines"]), *before, rate_cell(result, "cer"), rate_cell(result, "wer")]]


LINE = Target(
    name="line",
    check=check_lines,
    load=lambda task: load_counted(task, "line"),
    score=score_lines,
    record=Record(
        figures=("lines", *EDITS), kept=("lines", "cer", "wer", "characters", "words"), rows=_rows,
        head=["weights", "test lines", "CER [95 %]", "WER [95 %]", "N / S / D / I of characters"],
    ),
)  # fmt: skip
DENOISER = Target(
    name="denoiser",
    check=check_denoiser,
    load=load_denoiser_weights,
    score=score_denoiser,
    record=Record(
        figures=("line_weights_sha256", "lines", "before.cer", "before.wer", *EDITS), rows=_denoiser_rows,
        head=["weights", "test lines", "CER before", "WER before", "CER [95 %]", "WER [95 %]"],
    ),
)  # fmt: skip
