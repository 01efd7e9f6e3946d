"""Inspect a data set before training: its contents, its problems by id, and what is left out for them."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any
from unicodedata import bidirectional

import numpy as np

from hwr.data.records import SPLITS, Dataset, Findings, LeftOut, Line, Page, image_sha256, page_image
from hwr.data.remembered import length
from hwr.data.report import KINDS, Report, SplitSize, split_name, visible
from hwr.data.sources import image_header
from hwr.errors import InputError
from hwr.images.line_crop import LineCrop, image_width
from hwr.images.load import check_size
from hwr.images.page_files import Loading, reduced_size

POLICIES = ("keep", "drop", "drop_train", "refuse")
SAME_SHAPE = 0.02  # a page may differ this much in aspect: files round their sizes
# In heights of its line a character is 0.07 to 1.1 wide, in 15,000 lines drawn with care; a short text may
# stand in a longer line, and one of fewer than four characters may be a dash across the page.
NARROWEST, WIDEST, SPARE, FEWEST = 0.05, 1.0, 10.0, 4
QUANTILES = {"min": 0.0, "q05": 0.05, "median": 0.5, "q95": 0.95, "max": 1.0}

_ANY_WIDTH = 10**9  # px
_Notes = dict[str, str]  # id -> what is wrong with it


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What pages are held to: how lines are cut, the steps of a line image's width, how pages are loaded.

    `sample_flaw` says why a page makes no sample of a training on whole pages.
    """

    crop: LineCrop
    steps: Callable[[int], int]
    loading: Loading
    sample_flaw: Callable[[Page], str] = lambda page: ""


def inspect_pages(dataset: Dataset, limits: Limits, *, full: bool = False) -> Report:
    """Look through the pages of `dataset`; decode every image when `full`, else read the headers alone."""
    pages = dataset.pages
    by_split = {split: [page for page in pages if page.split == split] for split in (*SPLITS, "")}
    seen = _characters(by_split["train"] or pages)
    headers, unreadable = _image_headers(pages, limits.loading, full)
    sizes = {name: (height, width) for name, (height, width, _, _) in headers.items()}
    aspects, no_area = _line_aspects(pages, sizes, limits)
    widths = {name: min(width, limits.crop.max_width) for name, width in aspects.items()}
    shares = np.quantile(list(widths.values()) or [0], list(QUANTILES.values()))
    lines = [line for page in pages for line in page.lines]
    readable = [page for page in pages if page.id in sizes]
    findings = {
        **dataset.findings,
        "unreadable_image": unreadable,
        "other_shape": _noted(readable, lambda page: _other_shape(page.size, sizes[page.id])),
        "exif_turn": {name: doubt for name, (_, _, doubt, _) in headers.items() if doubt},
        "more_pages": _noted(readable, lambda page: _place_in_file(page.number, headers[page.id][3])),
        "duplicate_image": _duplicates(readable),
        "region_text": _noted(pages, lambda page: f"{page.unlined} characters" if page.unlined else ""),
        "no_sample": _noted(readable, limits.sample_flaw),
        "no_area": no_area,
        "made_outline": _noted(lines, lambda line: line.mended),
        "odd_shape": _noted(lines, lambda line: _odd_shape(line, aspects, limits.crop.height)),
        "empty_text": {line.id: "" for line in lines if not line.text},
        "too_long_for_ctc": _too_long(lines, widths, limits.steps),
        "outside_alphabet": _noted(lines, lambda line: _unknown_characters(line.text, seen)),
        "right_to_left": _noted(lines, lambda line: _right_to_left(line.text)),
        "shared_writer": _shared_writers(pages),
        "shared_text": _shared_texts(pages),
    }
    return Report(
        decoded=full,
        height=limits.crop.height,
        splits={split: _split_size(own) for split, own in by_split.items() if own or split},
        alphabet=seen,
        unseen={
            split: {c: n for c, n in _characters(own).items() if c not in seen}
            for split, own in by_split.items()
            if split != "train" and (own or split)
        },
        widths={name: round(value) for name, value in zip(QUANTILES, shares.tolist(), strict=True)},
        findings={name: findings.get(name, {}) for name in KINDS},
        left_out=dataset.left_out,
        replacements=dataset.replacements,
    )


def apply_policy(
    pages: Sequence[Page], findings: Findings, policy: Mapping[str, str]
) -> tuple[list[Page], list[LeftOut]]:
    """Return the pages without what `policy` drops, and that by rule; a page whose lines all go stays.

    `policy` gives names of KINDS one of POLICIES: `keep`, as where it names none; `drop`; `drop_train`, from
    train alone, so that a score still counts the others; `refuse`, see `Report.refuse`. Of what is twice in
    the data, or in two splits, the copy in the last split stays. What one rule has left out no other counts.
    """
    left_out: list[LeftOut] = []
    for name, notes in findings.items():
        choice = policy.get(name, "keep")
        if notes and choice in ("drop", "drop_train") and KINDS[name].unit != "file":
            own = _AMONG[name](pages, findings) if name in _AMONG and left_out else notes
            kept = _without(pages, KINDS[name].unit, own, train_only=choice == "drop_train")
            if rule := LeftOut.between(f"inspect.policy.{name}={choice}", pages, kept):
                left_out.append(rule)
                pages = kept
    return list(pages), left_out


def check_policy(policy: Mapping[str, str]) -> None:
    """Raise InputError unless `policy` gives names of KINDS one of POLICIES."""
    for name, choice in policy.items():
        if name not in KINDS:
            raise InputError(f"inspect.policy.{name} is no finding; these are {', '.join(KINDS)}")
        if choice not in POLICIES:
            raise InputError(f"inspect.policy.{name}={choice} is unknown; use one of {', '.join(POLICIES)}")


def needed_steps(text: str) -> int:
    """Return the length of the shortest CTC path of `text`: blanks part equal neighbours (Graves 2006)."""
    return len(text) + sum(first == second for first, second in pairwise(text))


def _image_headers(
    pages: Sequence[Page], loading: Loading, full: bool
) -> tuple[dict[str, tuple[int, int, str, int]], _Notes]:
    """Return the `image_header` of every page's image, and why the others cannot be read."""
    headers: dict[str, tuple[int, int, str, int]] = {}
    unreadable: _Notes = {}
    for page in pages:
        try:
            if page.flaw:
                raise InputError(page.flaw)
            height, width, *_ = header = image_header(page.image, page.number)
            check_size(page.image, (width, height), loading.max_pixels)
            if full:
                page_image(page, loading)
            headers[page.id] = header
        except InputError as error:
            unreadable[page.id] = str(error)
    return headers, unreadable


def _line_aspects(
    pages: Sequence[Page], sizes: Mapping[str, tuple[int, int]], limits: Limits
) -> tuple[dict[str, int], _Notes]:
    """Return the width in px of every line's image if none were squeezed, and why the others have none."""
    crop = replace(limits.crop, max_width=_ANY_WIDTH)
    widths: dict[str, int] = {}
    without: _Notes = {}
    for page, line in ((own, line) for own in pages if own.id in sizes for line in own.lines):
        try:
            if line.flaw:
                raise InputError(line.flaw)
            size = reduced_size(sizes[page.id], limits.loading.working_pixels)
            widths[line.id] = image_width(line, size, crop)
        except InputError as error:
            without[line.id] = str(error)
    return widths, without


def _noted(records: Iterable[Any], note: Callable[[Any], str]) -> _Notes:
    """Return the ids of pages or lines that have a note."""
    return {record.id: text for record in records if (text := note(record))}


def _place_in_file(number: int, count: int) -> str:
    return f"page {number} of {count}" if count > 1 else ""


def _other_shape(described: tuple[int, int], size: tuple[int, int]) -> str:
    aspect = size[0] * described[1] / (size[1] * described[0])
    if abs(aspect - 1) <= SAME_SHAPE:
        return ""
    return f"{size[1]} x {size[0]} px, described as {described[1]} x {described[0]}"


def _duplicates(pages: Sequence[Page]) -> _Notes:
    """Hash files of equal length alone, for only these can be equal."""
    whole = [page for page in pages if not page.part]
    by_length = _grouped(whole, lambda page: length(page.image))
    hashed = [page for group in by_length if len(group) > 1 for page in group]
    notes: _Notes = {}
    for group in _grouped(hashed, image_sha256):
        stays = max(group, key=lambda page: _rank(page.split))
        notes |= {page.id: f"as {stays.id}, {split_name(stays.split)}" for page in group if page is not stays}
    return {page.id: notes[page.id] for page in pages if page.id in notes}


def _too_long(lines: Iterable[Line], widths: Mapping[str, int], steps: Callable[[int], int]) -> _Notes:
    cut = [(line.id, needed_steps(line.text), steps(widths[line.id])) for line in lines if line.id in widths]
    return {name: f"needs {needed} steps, has {given}" for name, needed, given in cut if needed > given}


def _odd_shape(line: Line, widths: Mapping[str, int], height: int) -> str:
    length, number = widths.get(line.id, 0) / height, len(line.text)
    if not length or number < FEWEST or NARROWEST * number <= length <= WIDEST * number + SPARE:
        return ""
    return f"{length:.2g} times as long as high, with {number} characters"


def _right_to_left(text: str) -> str:
    return "" if text.isascii() else next((visible(c) for c in text if bidirectional(c) in ("R", "AL")), "")


def _unknown_characters(text: str, known: Mapping[str, int]) -> str:
    unknown = set(text) - known.keys()
    return " ".join(visible(c) for c in dict.fromkeys(text) if c in unknown) if unknown else ""


def _shared_writers(pages: Sequence[Page]) -> _Notes:
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for page in pages:
        if page.writer and page.split:
            splits[page.writer].add(page.split)
    return {writer: ", ".join(sorted(own, key=_rank)) for writer, own in splits.items() if len(own) > 1}


def _shared_texts(pages: Sequence[Page]) -> _Notes:
    splits: defaultdict[str, set[str]] = defaultdict(set)
    lines = [(page.split, line) for page in pages if page.split for line in page.lines if line.text]
    for split, line in lines:
        splits[line.text].add(split)
    last = {text: max(own, key=_rank) for text, own in splits.items()}
    return {line.id: f"also in {last[line.text]}" for split, line in lines if split != last[line.text]}


# What is found by comparing pages is looked for again among those that are left.
_AMONG: dict[str, Callable[[Sequence[Page], Findings], _Notes]] = {
    "duplicate_image": lambda pages, findings: _duplicates(
        [page for page in pages if page.id not in findings["unreadable_image"]]
    ),
    "shared_writer": lambda pages, findings: _shared_writers(pages),
    "shared_text": lambda pages, findings: _shared_texts(pages),
}


def _without(pages: Sequence[Page], unit: str, ids: Mapping[str, str], *, train_only: bool) -> list[Page]:
    writers = ids if unit == "writer" else ()
    last = {name: max((p.split for p in pages if p.writer == name), key=_rank) for name in writers}

    def dropped(page: Page) -> bool:
        return page.id in ids if unit == "page" else page.split != last.get(page.writer, page.split)

    kept = []
    for page in pages:
        if train_only and page.split != "train":
            kept.append(page)
        elif unit == "line":
            kept.append(replace(page, lines=tuple(line for line in page.lines if line.id not in ids)))
        elif not dropped(page):
            kept.append(page)
    return kept


def _split_size(pages: Sequence[Page]) -> SplitSize:
    texts = [line.text for page in pages for line in page.lines]
    return SplitSize(
        pages=len(pages),
        lines=len(texts),
        writers=len({page.writer for page in pages if page.writer}),
        characters=sum(map(len, texts)),
        words=sum(len(text.split()) for text in texts),
    )


def _characters(pages: Sequence[Page]) -> dict[str, int]:
    """Count the characters of all lines, in code point order."""
    counts: Counter[str] = Counter()
    for page in pages:
        for line in page.lines:
            counts.update(line.text)
    return dict(sorted(counts.items()))


def _grouped(pages: Iterable[Page], key: Callable[[Page], Any]) -> list[list[Page]]:
    groups: defaultdict[Any, list[Page]] = defaultdict(list)
    for page in pages:
        groups[key(page)].append(page)
    return list(groups.values())


def _rank(split: str) -> int:
    """Order the splits by who needs a shared copy most: a test set is not to change."""
    return ("", *SPLITS).index(split)
