"""The lines of a split with what the network makes of each: class probabilities, which any decoder reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from tqdm import tqdm

from hwr.config.compose import LinesConfig
from hwr.data import inspection
from hwr.data.batches.lines import Image
from hwr.data.cache import line_images
from hwr.data.fingerprint import fingerprint
from hwr.data.records import Line, Page
from hwr.decoding.reading import Decoder, Probs, Reading
from hwr.evaluation.task import Task
from hwr.language.record import refuse_seen
from hwr.scoring.report import Texts
from hwr.stages import build, parts
from hwr.stages.line.training import check_characters, line_set, lines_of
from hwr.text import Alphabet
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
    config, trained = task.config, build.config_of(found)
    crop = build.crop_of(trained)
    pages = task.pages(whole=False)
    lines_of(pages, config.split)  # refuses a split without any
    limits = inspection.Limits(crop=crop, steps=build.steps_of(trained), max_pixels=config.max_pixels)
    pages = inspection.apply(pages, inspection.inspect(pages, limits), trained.inspect.policy)
    check_characters(lines_of(pages, config.split), build.alphabet_of(found), config.unknown)
    images = line_images(pages, crop, folder=task.cache, max_pixels=config.max_pixels, progress=True)
    parts.refuse_problems(images.problems, "line")
    own = line_set(pages, images, config.split)
    by_id: dict[str, tuple[Page, Line]] = {line.id: (page, line) for page in pages for line in page.lines}
    return Lines(
        own.ids,
        own.images,
        own.texts,
        [by_id[name][0].writer for name in own.ids],
        [by_id[name][1].kind or "other" for name in own.ids],
        build.alphabet_of(found),
        fingerprint(pages),
    )


def read_chunks(task: Task[LinesConfig], found: Weights, lines: Lines) -> Iterator[list[Probs]]:
    """Yield the probabilities of the lines in order, CHUNK lines at once, so that few are held."""
    context = build.device(task.config.device)
    reader = build.line_reader(found, batch_size=task.config.batch_size, context=context)
    for start in tqdm(range(0, len(lines.ids), CHUNK), desc="reading", unit=f"{CHUNK} lines", disable=None):
        yield reader.probs(lines.images[start : start + CHUNK])
