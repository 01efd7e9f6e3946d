"""Inspect a data set before training: its contents, and its problems by id."""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwr.data.records import SPLITS, Line, Page
from hwr.data.report import KINDS, Report, SplitSize, split_name, visible
from hwr.data.sources.files import image_size
from hwr.errors import InputError
from hwr.files import sha256
from hwr.images.line_crop import MIN_WIDTH, LineCrop
from hwr.images.load import check_size
from hwr.images.page_files import Loading, load_page
from hwr.text import Alphabet

POLICIES = ("keep", "drop", "drop_train", "refuse")
SAME_SHAPE = 0.02  # a page may differ this much in aspect: files round their sizes
QUANTILES = {"min": 0.0, "q05": 0.05, "median": 0.5, "q95": 0.95, "max": 1.0}

_LOG = logging.getLogger(__name__)
_Notes = dict[str, str]  # id -> what is wrong with it


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What pages are held to: how lines are cut, the steps of a line image's width, how pages are loaded."""

    crop: LineCrop
    steps: Callable[[int], int]
    loading: Loading


def inspect_pages(
    pages: Sequence[Page], limits: Limits, *, alphabet: Alphabet | None = None, full: bool = False
) -> Report:
    """Look through `pages`; decode every image when `full`, else read the headers alone.

    `alphabet` is one to keep to, as of weights to start from; without it, it is the characters of train.
    """
    by_split = {split: [page for page in pages if page.split == split] for split in (*SPLITS, "")}
    seen = _characters(by_split["train"] or pages)
    known = set(alphabet.symbols) if alphabet else set(seen)
    widths = {line.id: line_width(line, page.size, limits.crop) for page in pages for line in page.lines}
    positive = [width for width in widths.values() if width] or [0]
    shares = np.quantile(positive, list(QUANTILES.values()))
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
        findings={
            **_image_findings(pages, limits.loading, full),
            **_line_findings(pages, widths, limits.steps, known),
            "shared_writer": _shared_writers(pages),
            "shared_text": _shared_texts(pages),
        },
    )


def apply_policy(pages: Sequence[Page], report: Report, policy: Mapping[str, str]) -> list[Page]:
    """Return the pages without what `policy` drops; a page whose lines are all dropped stays.

    `policy` gives each name of KINDS one of POLICIES: `keep`; `drop`; `drop_train`, from train alone, so that
    a score still counts the others; `refuse`. Of what splits share, the copy in the last of them stays. Raise
    InputError for findings to refuse, and for a policy that is not known.
    """
    check_policy(policy)
    for name, notes in report.findings.items():
        if notes and policy[name] == "refuse":
            raise InputError(report.refusal(name))
        if notes and policy[name] != "keep":
            kept = _without(pages, KINDS[name].unit, notes, train_only=policy[name] == "drop_train")
            lost = len(pages) - len(kept), _line_count(pages) - _line_count(kept)
            _LOG.info("%s=%s leaves out %d pages and %d lines", name, policy[name], *lost)
            pages = kept
    return list(pages)


def check_policy(policy: Mapping[str, str]) -> None:
    """Raise InputError unless `policy` gives each name of KINDS one of POLICIES."""
    for name in KINDS.keys() ^ policy.keys():
        state = "is not set" if name in KINDS else f"is no finding; these are {', '.join(KINDS)}"
        raise InputError(f"inspect.policy.{name} {state}")
    for name, choice in policy.items():
        if choice not in POLICIES:
            raise InputError(f"inspect.policy.{name}={choice} is unknown; use one of {', '.join(POLICIES)}")


def needed_steps(text: str) -> int:
    """Return the length of the shortest CTC path of `text`: blanks part equal neighbours (Graves 2006)."""
    return len(text) + sum(first == second for first, second in pairwise(text))


def line_width(line: Line, size: tuple[int, int], crop: LineCrop) -> int:
    """Estimate the width in px of a line's image on a page of `size` (height, width); 0 without area.

    Measured along the baseline as drawn, which `crop_line` smooths: the two differ by a few per cent.
    """
    x1, y1, x2, y2 = line.box
    outline = line.polygon if len(line.polygon) > 2 else ((x1, y1), (x2, y1), (x2, y2), (x1, y2))
    points = np.clip(np.array(outline), 0, 1) * size[::-1]  # (P, 2)
    if crop.deskew and len(line.baseline) > 1:
        points = _along(np.array(line.baseline) * size[::-1], points)
    width, height = map(float, np.ptp(points, axis=0))
    if not (width >= 1 and height >= 1):  # so is a coordinate that is not a number
        return 0
    margin = 2 * crop.margin * height
    scaled = round(crop.height * (width + margin) / (height + margin))
    return min(max(scaled, MIN_WIDTH), crop.max_width)


def _along(baseline: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points (P, 2) px as distances along and from the baseline (B, 2) px."""
    chord = baseline[-1] - baseline[0]
    length = np.hypot(*chord)
    if not length >= 2:
        return points
    turn = np.array([[chord[0], -chord[1]], [chord[1], chord[0]]]) / length
    base, turned = (baseline - baseline[0]) @ turn, (points - baseline[0]) @ turn
    base = base[np.argsort(base[:, 0], kind="stable")]
    turned[:, 1] -= np.interp(turned[:, 0], base[:, 0], base[:, 1])
    return np.asarray(turned)


def _image_findings(pages: Sequence[Page], loading: Loading, full: bool) -> dict[str, _Notes]:
    unreadable: _Notes = {}
    other: _Notes = {}
    for page in pages:
        try:
            height, width = image_size(page.image)
            check_size(page.image, (width, height), loading.max_pixels)
            if full:
                load_page(page.image, loading)
        except InputError as error:
            unreadable[page.id] = str(error)
            continue
        aspect = height * page.size[1] / (width * page.size[0])
        if abs(aspect - 1) > SAME_SHAPE:
            other[page.id] = f"{width} x {height} px, described as {page.size[1]} x {page.size[0]}"
    readable = [page for page in pages if page.id not in unreadable]
    return {"unreadable_image": unreadable, "other_shape": other, "duplicate_image": _duplicates(readable)}


def _duplicates(pages: Sequence[Page]) -> _Notes:
    """Hash files of equal length alone, for only these can be equal."""
    by_length = _grouped(pages, lambda page: page.image.stat().st_size)
    hashed = [page for group in by_length if len(group) > 1 for page in group]
    notes: _Notes = {}
    for group in _grouped(hashed, lambda page: sha256(page.image)):
        stays = max(group, key=lambda page: _rank(page.split))
        notes |= {page.id: f"as {stays.id}, {split_name(stays.split)}" for page in group if page is not stays}
    return {page.id: notes[page.id] for page in pages if page.id in notes}


def _line_findings(
    pages: Sequence[Page], widths: Mapping[str, int], steps: Callable[[int], int], known: set[str]
) -> dict[str, _Notes]:
    found: dict[str, _Notes] = {
        "no_area": {},
        "empty_text": {},
        "too_long_for_ctc": {},
        "outside_alphabet": {},
    }
    for line in (line for page in pages for line in page.lines):
        width, needed = widths[line.id], needed_steps(line.text)
        if not width:
            found["no_area"][line.id] = "box " + " ".join(f"{value:.4f}" for value in line.box)
        elif needed > steps(width):
            found["too_long_for_ctc"][line.id] = f"needs {needed} steps, has {steps(width)}"
        if not line.text:
            found["empty_text"][line.id] = ""
        if unknown := dict.fromkeys(c for c in line.text if c not in known):
            found["outside_alphabet"][line.id] = " ".join(map(visible, unknown))
    return found


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


def _without(pages: Sequence[Page], unit: str, ids: Mapping[str, str], *, train_only: bool) -> list[Page]:
    last = {
        writer: max((p.split for p in pages if p.writer == writer), key=_rank)
        for writer in ids
        if unit == "writer"
    }

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


def _line_count(pages: Sequence[Page]) -> int:
    return sum(len(page.lines) for page in pages)


def _grouped(pages: Iterable[Page], key: Callable[[Page], Any]) -> list[list[Page]]:
    groups: defaultdict[Any, list[Page]] = defaultdict(list)
    for page in pages:
        groups[key(page)].append(page)
    return list(groups.values())


def _rank(split: str) -> int:
    """Order the splits by who needs a shared copy most: a test set is not to change."""
    return ("", *SPLITS).index(split)
