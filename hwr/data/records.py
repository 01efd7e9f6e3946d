"""Records that every source yields: pages, lines, words. Coordinates are fractions of the page in [0, 1]."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hwr.data.remembered import remembered
from hwr.errors import InputError
from hwr.files import parse_json, read_text, sha256
from hwr.images.boxes import Box, Point
from hwr.images.load import GreyImage
from hwr.images.page_files import Loading, load_page

SPLITS = ("train", "valid", "test")
NOWHERE: Box = (0.0, 0.0, 0.0, 0.0)  # box of a line whose place is not known
_ENCODER = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))

Findings = Mapping[str, Mapping[str, str]]  # name of a finding -> id of a file, page, line or writer -> note
Replacements = Mapping[str, Mapping[str, int]]  # split -> what is replaced, "’ → '" -> how often


@dataclass(frozen=True)
class Word:
    """A written word: `text` in NFC inside `box`."""

    id: str
    text: str
    box: Box


@dataclass(frozen=True, slots=True)
class Line:
    """A written line.

    `id` is unique in the data set; `text` is NFC; `polygon` and `baseline` are empty where there is none;
    `kind` is the source's line type; `segmented` is False where the source doubts its own segmentation (IAM's
    `err`); `corrected` is True where it says that a person checked the text. `flaw` says why its place is not
    known: the box is then NOWHERE. `mended` says why its outline is not that of the source, if so.
    """

    id: str
    text: str
    box: Box
    polygon: tuple[Point, ...] = ()
    baseline: tuple[Point, ...] = ()
    kind: str = ""
    words: tuple[Word, ...] = ()
    segmented: bool = True
    flaw: str = ""
    corrected: bool = False
    mended: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A scanned page (IAM: form) of `size` (height, width) pixels; `split` is train, valid, test or empty.

    `flaw` says why it has no image: `image` is then the file that describes it. `unlined` are the characters
    that stand in its regions alone, in no line. A `part` of a page has some of its lines, others the rest. Of
    a file with several pages it is the one of this `number`, from 1.
    """

    id: str
    writer: str
    split: str
    image: Path
    size: tuple[int, int]
    lines: tuple[Line, ...]
    area: Box | None = None
    flaw: str = ""
    unlined: int = 0
    dataset: str = ""
    part: bool = False
    number: int = 1


@dataclass(frozen=True)
class LeftOut:
    """What a rule leaves out: files, or ids of pages and lines by split, lines with their pages too."""

    rule: str
    files: tuple[str, ...] = ()
    pages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def between(cls, rule: str, before: Iterable[Page], after: Iterable[Page]) -> "LeftOut":
        """Return what a rule left out that made the pages `after` of those `before`."""
        kept = {page.id: {line.id for line in page.lines} for page in after}
        before = list(before)
        pages = [(page.split, page.id) for page in before if page.id not in kept]
        own = ((page, line.id) for page in before for line in page.lines)
        lines = [(page.split, name) for page, name in own if name not in kept.get(page.id, ())]
        return cls.of(rule, pages=pages, lines=lines)

    @classmethod
    def of(
        cls, rule: str, *, pages: Iterable[tuple[str, str]] = (), lines: Iterable[tuple[str, str]] = ()
    ) -> "LeftOut":
        """Return what a rule leaves out, given as (split, id)."""
        return cls(rule, (), _by_split(pages), _by_split(lines))

    def __bool__(self) -> bool:
        """Tell whether it left out anything."""
        return bool(self.files or self.pages or self.lines)

    def as_dict(self) -> dict[str, Any]:
        """Return the rule and the ids as plain values for JSON."""
        return self._with(list)

    def counts(self) -> dict[str, Any]:
        """Return the rule, and numbers in place of the ids."""
        return self._with(len)

    def _with(self, tell: Callable[[tuple[str, ...]], Any]) -> dict[str, Any]:
        units = {"pages": self.pages, "lines": self.lines}
        told = {unit: {split: tell(ids) for split, ids in own.items()} for unit, own in units.items()}
        return {"rule": self.rule, "files": tell(self.files), **told}

    def of_split(self, split: str) -> "LeftOut":
        """Return the part of one split; files belong to all of them."""
        pages, lines = ({split: part[split]} if split in part else {} for part in (self.pages, self.lines))
        return replace(self, pages=pages, lines=lines)


@dataclass(frozen=True)
class Dataset:
    """What a source yields: pages, what it found wrong beyond them, and what its settings leave out.

    Lines that are `excluded` are handwriting, but not for reading; `replacements` were made in the others.
    """

    pages: tuple[Page, ...]
    findings: Findings = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    excluded: tuple[LeftOut, ...] = ()
    replacements: Replacements = field(default_factory=dict)

    def for_reading(self) -> "Dataset":
        """Return the data set without the excluded lines."""
        if not self.excluded:
            return self
        ids = {name for rule in self.excluded for own in rule.lines.values() for name in own}
        pages = (replace(p, lines=tuple(own for own in p.lines if own.id not in ids)) for p in self.pages)
        return replace(self, pages=tuple(pages), left_out=(*self.left_out, *self.excluded), excluded=())

    def of_split(self, split: str) -> "Dataset":
        """Return the part of one split; files belong to all of them."""
        left_out, excluded = (
            tuple(part for rule in rules if (part := rule.of_split(split)))
            for rules in (self.left_out, self.excluded)
        )
        pages = tuple(page for page in self.pages if page.split == split)
        counts = {split: self.replacements.get(split, {})}
        return replace(self, pages=pages, left_out=left_out, excluded=excluded, replacements=counts)


def summed(first: Replacements, second: Replacements) -> Replacements:
    """Return what was replaced in all."""
    splits = dict.fromkeys((*first, *second))
    return {split: dict(Counter(first.get(split, {})) + Counter(second.get(split, {}))) for split in splits}


def fingerprint(pages: Iterable[Page]) -> str:
    """Return the hexadecimal SHA-256 over ids, splits, writers, texts, outlines and image bytes, in order.

    Where the files lie does not matter. An image that cannot be read counts as just that, and raises nothing.
    """
    total = hashlib.sha256()
    for page in pages:
        lines = [
            [line.id, line.text, line.box, line.polygon, line.baseline, line.kind, line.segmented,
             [[word.id, word.text, word.box] for word in line.words]]
            for line in page.lines
        ]  # fmt: skip
        values = [page.id, page.writer, page.split, page.area, lines, image_sha256(page)]
        total.update(_ENCODER.encode(values).encode() + b"\n")
    return total.hexdigest()


def pages_to_json(pages: Iterable[Page]) -> str:
    """Return pages as JSON, each image by its name alone."""
    return json.dumps([{**asdict(page), "image": page.image.name} for page in pages], ensure_ascii=False)


def pages_from_json(path: Path) -> list[Page]:
    """Return the pages that `pages_to_json` wrote to a file, images beside it; InputError for damage."""
    try:
        values = parse_json(read_text(path))
        return [_page(own, path.parent.resolve()) for own in values]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: damaged records ({error}); delete its folder") from None


def _by_split(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for split, name in pairs:
        found.setdefault(split, []).append(name)
    known = [split for split in SPLITS if split in found]
    return {split: tuple(found[split]) for split in dict.fromkeys([*known, *found])}


def page_image(page: Page, loading: Loading) -> GreyImage:
    """Return a page's image as `load_page` does; InputError as it does, and where the page has a flaw."""
    if page.flaw:
        raise InputError(page.flaw)
    return load_page(page.image, loading, page.number)


def image_sha256(page: Page) -> str:
    """Return the SHA-256 of a page's image file, or `unreadable`; of page 2 and later with `/number`."""
    try:
        found = "unreadable" if page.flaw else str(remembered("sha256", page.image, sha256))
    except InputError:
        found = "unreadable"
    return found if page.number == 1 else f"{found}/{page.number}"


def _page(values: dict[str, Any], folder: Path) -> Page:
    lines = tuple(_line(line) for line in values["lines"])
    area = tuple(values["area"]) if values["area"] else None
    image = folder / values["image"]
    return Page(**{**values, "image": image, "size": tuple(values["size"]), "lines": lines, "area": area})


def _line(values: dict[str, Any]) -> Line:
    words = tuple(Word(word["id"], word["text"], tuple(word["box"])) for word in values["words"])
    points = {key: tuple(tuple(point) for point in values[key]) for key in ("polygon", "baseline")}
    return Line(**{**values, **points, "box": tuple(values["box"]), "words": words})
