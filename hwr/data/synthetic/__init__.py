"""Synthetic handwriting: whole IAM-like forms written by pseudo-writers (a font family in a drawn style).

Splits share no writer and no sentence. Families in `held_out` write in the test split only, and their lines
have `kind` "held-out", so that scores can be told apart; all other lines have an empty `kind`. A writer is
named after its family: `caveat-0012`.
"""

import hashlib
import json
import string
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from pydantic import Field
from tqdm import tqdm

from hwr.config.roots import Amount, Count, NonNegative, Positive, Probability, Split
from hwr.data.records import SPLITS, Dataset, Page, pages_from_json, pages_to_json
from hwr.data.synthetic import hands, texts
from hwr.data.synthetic.forms import Form, Layout, draw_form
from hwr.data.synthetic.hands import FontFamily, draw_hand, in_pencil
from hwr.errors import InputError
from hwr.files import as_input_error, built, read_text, sha256
from hwr.images import boxes

HELD_OUT = "held-out"
SMALLEST = 32  # px to a side: a page that blurs and resizes are defined on
_VERSION = 1  # of the drawing: raise it when the same settings give other pages
_LATIN = string.ascii_letters + string.digits
_RECORDS = "records.json"
_QUALITY = 90  # of the JPEG files

PerSplit = Mapping[Split, Amount]
Pair = Annotated[Sequence[Count], Field(min_length=2, max_length=2)]
Slants = Annotated[Sequence[Annotated[float, Field(ge=-1, le=1)]], Field(min_length=2, max_length=2)]
Languages = Annotated[Sequence[texts.Language], Field(min_length=1)]
Sizes = Annotated[Sequence[Positive], Field(min_length=2, max_length=2)]


@dataclass(frozen=True, kw_only=True)
class _Settings:
    seed: int
    pages: Mapping[str, int]
    writers: Mapping[str, int]
    lines: tuple[int, int]
    size: tuple[int, int]
    body: tuple[float, float]
    families: Sequence[str]
    held_out: Sequence[str]
    printed: str
    fonts: Path | None
    text: Path | None
    accents: float
    variation: float
    ruled: float
    languages: Sequence[texts.Language]
    short_lines: float
    slant: tuple[float, float]
    capitals: float
    pencil: float
    struck: float
    worn: float


@dataclass(frozen=True)
class _Task:
    page: str
    split: str
    writer: str
    writer_number: int
    family: FontFamily
    sentences: tuple[str, ...]


def read_synthetic(
    *, folder: str | Path | None, processes: int, seed: Amount, pages: PerSplit, writers: PerSplit,
    lines: Pair, size: Pair, body: Sizes, families: Sequence[str], held_out: Sequence[str], printed: str,
    fonts: str | Path | None, text: str | Path | None, accents: Probability, variation: NonNegative,
    ruled: Probability, languages: Languages = ("english",), short_lines: Probability = 0,
    slant: Slants = (-0.19, 0.25), capitals: Probability = 0, pencil: Probability = 0,
    struck: Probability = 0, worn: Probability = 0,
) -> Dataset:  # fmt: skip
    """Return the pages that conf/data/synthetic.yaml describes, drawing them into `folder` the first time.

    `folder` and `processes` do not change the pages. Weights of before know the last seven settings by their
    defaults. Raises InputError.
    """
    settings = _Settings(
        seed=seed, pages=dict(pages.items()), writers=dict(writers.items()),
        lines=(lines[0], lines[1]), size=(size[0], size[1]), body=(body[0], body[1]), families=families,
        held_out=held_out, printed=printed, fonts=Path(fonts) if fonts else None,
        text=Path(text) if text else None, accents=accents,
        variation=variation, ruled=ruled, languages=list(languages), short_lines=short_lines,
        slant=(slant[0], slant[1]), capitals=capitals, pencil=pencil, struck=struck, worn=worn,
    )  # fmt: skip
    if folder is None:
        raise InputError("data.folder is not set: name a folder in which synthetic pages can be kept")
    _check(settings)
    known = _families(settings)
    home = Path(folder) / _key(settings, known)

    def draw(fresh: Path) -> None:
        pages = _build(settings, known, processes, fresh)
        (fresh / _RECORDS).write_text(pages_to_json(pages), encoding="utf-8")

    with as_input_error(home, "choose another data.folder"):
        drawn = built(home, draw, lambda folder: pages_from_json(folder / _RECORDS))
    return Dataset(tuple(drawn))


def _check(settings: _Settings) -> None:
    for split, count in settings.pages.items():
        if count and not settings.writers.get(split):
            none = f"data.writers.{split} is 0: pages need a writer"
            raise InputError(f"data.pages.{split} is {count} but {none}")
    for name, (low, high) in (("lines", settings.lines), ("body", settings.body), ("slant", settings.slant)):
        if low > high:
            raise InputError(f"data.{name} takes the smaller number first, not [{low}, {high}]")
    if min(settings.size) < SMALLEST:
        raise InputError(f"data.size={list(settings.size)}: too small to write on; use {SMALLEST} or more")


def _families(settings: _Settings) -> dict[str, FontFamily]:
    found = [hands.packaged_family(slug) for slug in settings.families]
    found += hands.families_in(settings.fonts) if settings.fonts else []
    known = {family.name: family for family in found}
    unknown = [name for name in settings.held_out if name not in known]
    if unknown:
        families = ", ".join(known)
        raise InputError(f"data.held_out names {unknown[0]!r}, which is not among the families {families}")
    if set(known) <= set(settings.held_out):
        remedy = "add families, or a folder with data.fonts"
        raise InputError(f"data.held_out leaves no font family to train on: {remedy}")
    return known


def _key(settings: _Settings, known: Mapping[str, FontFamily]) -> str:
    """Return what names the pages: a hash of the settings, and of the bytes of fonts and text."""
    files = [file for family in known.values() for file in family.files]
    files += hands.packaged_family(settings.printed).files[:1] + ((settings.text,) if settings.text else ())
    named = {**asdict(settings), "fonts": None, "text": None}
    described = json.dumps([_VERSION, named, list(known), list(map(sha256, files))], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()[:16]


def _build(settings: _Settings, known: Mapping[str, FontFamily], processes: int, folder: Path) -> list[Page]:
    tasks = list(_tasks(settings, known))
    draw = partial(_draw, settings, folder)
    bar = partial(tqdm, total=len(tasks), desc="drawing synthetic pages", unit="page", disable=None)
    if processes < 2 or len(tasks) < 2 * processes:
        return list(bar(map(draw, tasks)))
    with ProcessPoolExecutor(processes, get_context("spawn"), cv2.setNumThreads, (1,)) as pool:
        return list(bar(pool.map(draw, tasks, chunksize=4)))


def _tasks(settings: _Settings, known: Mapping[str, FontFamily]) -> Iterator[_Task]:
    rng = np.random.default_rng(settings.seed)
    sentences = _sentences(settings, rng)
    usable = _usable(settings, known)
    first_writer = first_page = 0
    for split in SPLITS:
        count, hands = settings.pages.get(split, 0), settings.writers.get(split, 0)
        order = list(islice(cycle(_order(usable, settings.held_out, split, rng)), hands))
        for index in range(count):
            number = first_writer + index % hands
            family = order[index % hands]
            page, writer = f"s{first_page + index:05d}", f"{family.name}-{number:04d}"
            enough = tuple(_take(sentences[split], settings))
            yield _Task(page, split, writer, number, family, enough)
        first_writer, first_page = first_writer + hands, first_page + count


def _order(
    usable: Sequence[FontFamily], held_out: Sequence[str], split: str, rng: np.random.Generator
) -> list[FontFamily]:
    """Return the families of a split in the order in which its writers take them."""
    shuffled = [usable[index] for index in rng.permutation(len(usable))]
    shared = [family for family in shuffled if family.name not in held_out]
    if split != "test":
        return shared
    apart = [family for family in shuffled if family.name in held_out]
    order = [family for pair in zip(apart, shared, strict=False) for family in pair]  # few show both kinds
    return order + [family for family in apart + shared if family not in order]


def _usable(settings: _Settings, known: Mapping[str, FontFamily]) -> list[FontFamily]:
    """Return the families that can write nearly all of the text."""
    text = read_text(settings.text) if settings.text else _LATIN
    letters = [character for character in text[:20_000] if not character.isspace()]
    usable = []
    for family in known.values():
        share = sum(hands.can_write(family.files[0], letter) for letter in letters) / max(len(letters), 1)
        usable += [family] if share > 0.9 else []
    if not any(family.name not in settings.held_out for family in usable):
        remedy = "give a folder of fonts with data.fonts"
        raise InputError(f"no font family has the characters of the text: {remedy}")
    return usable


def _sentences(settings: _Settings, rng: np.random.Generator) -> dict[str, Iterator[str]]:
    """Return every split's own sentences; a text file's are repeated where they do not suffice."""
    if not settings.text:
        endless = texts.unseen_sentences(
            texts.endless_sentences(settings.languages, settings.short_lines, rng)
        )
        return dict.fromkeys(SPLITS, endless)
    found = texts.sentences_in(settings.text, rng)
    splits = [split for split in SPLITS if settings.pages.get(split)]
    if len(found) < len(splits):
        counts = f"{len(found)} sentences, too few for {len(splits)} splits"
        raise InputError(f"text file {settings.text} holds {counts}")
    total = sum(settings.pages[split] for split in splits)
    parts: dict[str, Iterator[str]] = {}
    start = 0
    for left, split in zip(reversed(range(len(splits))), splits, strict=True):
        share = max(1, len(found) * settings.pages[split] // total)
        stop = min(start + share, len(found) - left) if left else len(found)
        parts[split] = cycle(found[start:stop])
        start = stop
    return parts


def _take(sentences: Iterator[str], settings: _Settings) -> Iterator[str]:
    """Yield enough sentences for the fullest page."""
    missing = settings.lines[1] * settings.size[1] / (0.7 * settings.body[0])  # a letter is 0.7 body or wider
    while missing > 0:
        sentence = next(sentences)
        missing -= len(sentence) + 1
        yield sentence


def _draw(settings: _Settings, folder: Path, task: _Task) -> Page:
    habits = np.random.default_rng([settings.seed, 1, task.writer_number])
    hand = draw_hand(task.family, settings.body, settings.variation, habits, settings.slant)
    if settings.pencil and habits.random() < settings.pencil:
        hand = in_pencil(hand, habits)
    sentences = task.sentences
    if settings.capitals and habits.random() < settings.capitals:
        sentences = tuple(sentence.upper() for sentence in sentences)
    printed = hands.packaged_family(settings.printed).files[0]
    layout = Layout(
        settings.size,
        settings.lines,
        settings.ruled,
        settings.accents,
        settings.struck,
        settings.worn,
        printed,
    )
    kind = HELD_OUT if task.family.name in settings.held_out else ""
    rng = np.random.default_rng([settings.seed, 2, int(task.page[1:])])
    image, lines = draw_form(Form(task.page, kind, hand, sentences), layout, rng)
    if not lines:
        page = f"page {task.page} ({task.family.name})"
        raise InputError(f"no word fits on {page}: raise data.size, or change data.text")
    path = folder / f"{task.page}.jpg"
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]):
        raise OSError(f"writing {path.name} failed")
    area = boxes.union(line.box for line in lines)
    return Page(task.page, task.writer, task.split, path, settings.size, lines, area)
