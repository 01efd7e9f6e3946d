"""Target `page`: read and score whole pages, and measure what each step of the pipeline costs."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hwr import pictures
from hwr.config.roots import EvaluateConfig
from hwr.data.batches.boxes import area_of
from hwr.data.records import LeftOut, Page, fingerprint, page_image
from hwr.data.report import nothing_left
from hwr.errors import InputError, optional
from hwr.evaluation import lines
from hwr.evaluation import task as common
from hwr.evaluation.task import COUNTS, EDITS, Evaluation, Outcome, Record, Result, Scored, Target
from hwr.files import write_json
from hwr.images.boxes import FloatArray, box_areas
from hwr.images.line_crop import cut_flaw
from hwr.images.load import WHITE, GreyImage
from hwr.language import refuse_seen
from hwr.scoring import detection, edits
from hwr.scoring import page as page_scoring
from hwr.scoring.edits import Counts
from hwr.scoring.page import Alignment, FoundLine, TrueLine
from hwr.scoring.report import Texts, score_texts
from hwr.stages.boxes import PREDICTED, TRUE
from hwr.tables import text_table
from hwr.transcription.page_reader import STEPS, Found, Given, PageReader, build_page_reader

AUTOMATIC = "nothing"
GIVEN = (AUTOMATIC, "area", "line boxes", "line outlines")  # what is given, from nothing to everything
PICTURE_PX = 900  # width of a page in the picture of the worst


@dataclass(frozen=True)
class _Result:
    """A page that was read: what was found by what was given, and the pairings with the true lines.

    `image` is PICTURE_PX wide, as the picture of the worst pages wants it. `unread` says why scored lines, by
    id, could not be read; on a page that could not, nothing was found in no time.
    """

    page: Page
    image: GreyImage
    found: dict[str, Found]
    alignments: dict[str, Alignment]
    seconds: float
    unread: dict[str, str]


def score_pages(evaluation: Evaluation) -> Outcome:
    """Read the pages, score them, and write scores, tables and pictures."""
    config, loaded, output = evaluation.config, evaluation.loaded, evaluation.output
    dataset = evaluation.task.dataset(whole=True)
    pages, kept = dataset.pages, dataset.for_reading()
    reader = build_page_reader(dict(zip(STEPS, loaded, strict=True)), config)
    scored = {own.id: own.text for page in kept.pages for own in page.lines if own.text}
    texts = [replace(page, lines=tuple(own for own in page.lines if own.text)) for page in kept.pages]
    untold = LeftOut.between(lines.UNTOLD, kept.pages, texts)
    left_out = [*kept.left_out, *filter(None, [untold])]
    digest = fingerprint(pages)
    refuse_seen(reader.text.decoder, scored, digest)
    results = [
        _read(reader, page, scored, config)
        for page in tqdm(pages, desc="pages", unit="page", disable=None)
        if any(own.id in scored for own in page.lines)
    ]
    if not results:
        keys = evaluation.task.data.split_keys(config.split)
        raise InputError(nothing_left(config.split, left_out, dataset.findings, keys))
    unread = {name: reason for own in results for name, reason in own.unread.items()}
    without = {"pages_without_lines_to_score": len(pages) - len(results)}
    told = Scored(digest, left_out, unread, dataset.replacements)
    about = evaluation.about(told) | _about(results) | without
    scores = score_texts(_texts(results), config.scorer, config.resampling, output=output, about=about)
    budgets = {own.page.id: {name: _budget([own], name) for name in GIVEN} for own in results}
    by_page = {own.page.id: {"seconds": round(own.seconds, 3), **budgets[own.page.id]} for own in results}
    write_json(output / "pages.json", by_page)
    with optional("pages.png"):
        pictures.save_picture(output / "pages.png", _picture(results, config.pictures))
    evaluation.log(_values(scores.summary))
    return Outcome(scores.summary, _table(config.split, scores.summary), scores.cer)


def _read(reader: PageReader, page: Page, scored: Collection[str], config: EvaluateConfig) -> _Result:
    true = [TrueLine(own.id, own.text, own.box, own.id in scored) for own in page.lines]
    try:
        image = page_image(page, config.loading)
    except InputError as error:
        return _unread(page, true, str(error))
    size = (image.shape[0], image.shape[1])
    flaws = {own.id: own.flaw or cut_flaw(own, size, reader.text.crop) for own in page.lines}
    given = {
        "area": Given(area=area_of(page)),
        "line boxes": Given(lines=reader.cut(image, _boxes(page))),
        "line outlines": Given(lines=[own for own in page.lines if not flaws[own.id]]),
    }
    start = time.perf_counter()
    found = {AUTOMATIC: reader(image)}
    seconds = time.perf_counter() - start
    found |= {name: reader(image, known) for name, known in given.items()}
    alignments = {
        name: page_scoring.pair_lines(page.id, true, [FoundLine(own.text, own.box) for own in read.lines])
        for name, read in found.items()
    }
    nowhere = [own.id for own in page.lines if own.id in scored and not box_areas(np.array([own.box])).any()]
    unread = {name: flaws[name] for name in nowhere}
    shown = pictures.picture_size(image, PICTURE_PX)
    small = np.asarray(cv2.resize(image, shown, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return _Result(page, small, found, alignments, seconds, unread)


def _unread(page: Page, true: Sequence[TrueLine], reason: str) -> _Result:
    """Return the result of a page that cannot be read: all its lines are missed."""
    blank = np.full((PICTURE_PX, PICTURE_PX), WHITE, np.uint8)
    nothing = page_scoring.pair_lines(page.id, true, [])
    found, alignments = dict.fromkeys(GIVEN, Found(None, ())), dict.fromkeys(GIVEN, nothing)
    return _Result(page, blank, found, alignments, 0.0, dict.fromkeys(nothing.missed, reason))


def _texts(results: Sequence[_Result]) -> Texts:
    """Return the lines of the automatic reading, extra ones with their page's writer; groups are sets."""
    pairs = [(own.page, pair) for own in results for pair in own.alignments[AUTOMATIC].pairs]
    ids, *columns = zip(*((*pair, page.writer, page.dataset) for page, pair in pairs), strict=True)
    return Texts(*(dict(zip(ids, column, strict=True)) for column in columns))


def _about(results: Sequence[_Result]) -> dict[str, Any]:
    alignments = [own.alignments[AUTOMATIC] for own in results]
    pairs = [(_boxes(own.found[AUTOMATIC]), _boxes(own.page)) for own in results]
    boxes = [detection.count_boxes(*pair, np.zeros((0, 4))) for pair in pairs]
    texts = [_page_texts(own) for own in results]
    words = Counts.total(page_scoring.bag_of_words(" ".join(true), " ".join(read)) for true, read in texts)
    ordered = Counts.total(page_scoring.page_text_errors(true, read) for true, read in texts)
    return {
        "pages": len(results),
        "lines": sum(reference != "" for own in alignments for _, reference, _ in own.pairs),
        "missed_lines": sum(len(own.missed) for own in alignments),
        "extra_lines": sum(len(own.extra) for own in alignments),
        "ignored_lines": sum(len(own.ignored) for own in alignments),
        "pairing": page_scoring.PAIRING,
        "bag_of_words_wer": words.rate,
        "bag_of_words": words._asdict(),
        "page_text_cer": ordered.rate,
        "page_text": ordered._asdict(),
        "budget": {name: _budget(results, name) for name in GIVEN},
        "line_boxes": detection.Detection.total(boxes).as_dict(),
        "seconds_a_page": float(np.median([own.seconds for own in results if own.seconds] or [0.0])),
    }


def _budget(results: Sequence[_Result], given: str) -> dict[str, Any]:
    """Return the character errors, counted in process, with so much given."""
    own = [result.alignments[given] for result in results]
    counts = Counts.total(
        edits.character_edits(reference, read) for found in own for _, reference, read in found.pairs
    )
    missed, extra = sum(len(found.missed) for found in own), sum(len(found.extra) for found in own)
    return {"cer": counts.rate, **counts._asdict(), "missed_lines": missed, "extra_lines": extra}


def _page_texts(result: _Result) -> tuple[list[str], list[str]]:
    """Return the scored lines of a page and what was read, both in reading order."""
    alignment, lines = result.alignments[AUTOMATIC], result.found[AUTOMATIC].lines
    ignored = set(alignment.ignored)
    return (
        [reference for _, reference, _ in alignment.pairs if reference],
        [own.text for place, own in enumerate(lines) if place not in ignored],
    )


def _boxes(of: Page | Found) -> FloatArray:
    """Return the boxes (N, 4) of lines that have an area."""
    boxes = np.array([own.box for own in of.lines]).reshape(-1, 4)
    return np.asarray(boxes[box_areas(boxes) > 0])


def _picture(results: Sequence[_Result], count: int) -> NDArray[np.uint8]:
    """Draw the pages with the highest error rates: true lines green, found ones red."""
    rates = [_budget([own], AUTOMATIC)["cer"] for own in results]
    worst = np.argsort(-np.array(rates), kind="stable")[:count]
    drawn = [
        pictures.boxed(own.image, {TRUE: _boxes(own.page), PREDICTED: _boxes(own.found[AUTOMATIC])})
        for own in (results[i] for i in worst)
    ]
    return pictures.sheet(
        drawn, [f"{results[i].page.id}: CER {100 * rates[i]:.1f} %" for i in worst], columns=3
    )


def _values(summary: dict[str, Any]) -> dict[str, float]:
    budget = {f"given/{name.replace(' ', '_')}/cer": own["cer"] for name, own in summary["budget"].items()}
    rates = {f"boxes/{name}": value for name, value in common.rates(summary["line_boxes"]).items()}
    return lines.values(summary) | budget | rates


def _table(split: str, summary: dict[str, Any]) -> str:
    budget = [[name, *_budget_cells(own)] for name, own in summary["budget"].items()]
    return (
        f"{lines.table(split, summary)}\n"
        f"{summary['pages']} pages, {summary['seconds_a_page']:.2f} s each; lines missed "
        f"{summary['missed_lines']}, extra {summary['extra_lines']}; "
        f"boxes F1 {summary['line_boxes']['f1_50']:.4f} at IoU 0.5\n"
        f"order-free: bag of words WER {100 * summary['bag_of_words_wer']:.2f} %; "
        f"in reading order: page CER {100 * summary['page_text_cer']:.2f} %\n"
        f"{text_table(('given', 'CER', 'missed', 'extra'), budget)}"
    )


def _budget_cells(own: Result) -> list[str]:
    return [f"{100 * own['cer']:.2f} %", str(own["missed_lines"]), str(own["extra_lines"])]


def _rows(link: str, result: Result) -> list[list[str]]:
    """Return a row for each part of the pipeline that is given, from nothing on, and for each set."""
    rows = [[_GIVEN.get(given, given), *_budget_cells(own)] for given, own in result["budget"].items()]
    sets = lines.several_groups(result).items()
    rows += [[f"nothing, {name}", f"{100 * own['cer']:.2f} %", "", ""] for name, own in sets]
    first = [f"{link}, {result['pages']} pages", *[""] * (len(rows) - 1)]
    return [[place, *row] for place, row in zip(first, rows, strict=True)]


# Names of rows, where those of result.json say too little.
_GIVEN = {
    "area": "the true area",
    "line boxes": "the true boxes of lines",
    "line outlines": "their true outlines",
}
TARGET = Target(
    name="page",
    check=lines.check_lines,
    load=lambda task: lines.load_counted(task, *STEPS),
    score=score_pages,
    record=Record(
        figures=(
            *("pages", "lines", "missed_lines", "extra_lines", "ignored_lines", *EDITS),
            *(f"{text}.{name}" for text in ("page_text", "bag_of_words") for name in COUNTS),
            *(f"line_boxes.{name}" for name in ("true", "predicted", "matched_50", "matched_75")),
        ),
        each=("budget", (*COUNTS, "missed_lines", "extra_lines")),
        head=["result", "given", "CER", "lines missed", "extra"],
        rows=_rows,
    ),
)
