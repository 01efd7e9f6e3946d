"""The IAM Handwriting Database as distributed: XML, pictures of forms, lines or words, and lists of ids.

U.-V. Marti and H. Bunke, "The IAM-database", IJDAR 5 (2002), pages 39-46.
"""

import html
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree.ElementTree import Element

from hwr.data.records import NOWHERE, Dataset, LeftOut, Line, Page, Word
from hwr.data.sources import PageImages, existing_folder, size_or_flaw
from hwr.data.sources.splits import read_lists, warn_of_missing
from hwr.data.sources.xml import locate, parse_number, read_documents
from hwr.errors import InputError
from hwr.images.boxes import WHOLE, Box, clip, union
from hwr.images.load import IMAGE_SUFFIXES
from hwr.text import nfc

_ENTITY = re.compile(r"&(?:quot|amp|lt|gt|apos|#\d+);")
_DAMAGED = frozenset({"a01-117-05-02", "r06-022-03-05"})  # words whose pictures are broken as distributed
_Chosen = list[tuple[Line, str]]  # with the split of each


def read_iam(
    root: str | Path, *, images: str, splits: str, task: str, segmentation: str, whole_forms: bool,
    lists: Mapping[str, Mapping[str, Sequence[str]]],
) -> Dataset:  # fmt: skip
    """Return forms (`images` "forms"), or one page a line ("lines") or a word ("words").

    `root` holds `xml/` and `forms/` (or `formsA-D/` …), `lines/` or `words/`. `splits`, from `root` when
    relative, is a folder of id lists (of lines or forms), or holds a folder `task` of them; `lists[task]`
    names the lists of each split. On a form with listed lines the others are left out, unless `whole_forms`;
    a form without any has no split. `segmentation` "ok" leaves out lines whose segmentation is marked `err`.
    A form's area is the union of all its lines. Raise InputError for lists and settings that do not fit.
    """
    root = existing_folder(root)
    _check_choice("images", images, ("forms", "lines", "words"))
    _check_choice("segmentation", segmentation, ("all", "ok"))
    _check_choice("task", task, lists)
    folder = _list_folder(root, splits, task)
    split_of = read_lists(folder, lists[task])
    pictures = _Pictures.found(root, images)
    folder_of_xml = root / "xml" if (root / "xml").is_dir() else root
    forms, findings = read_documents(folder_of_xml, "form", lambda _, path, tree: _form(tree, path))
    pages: list[Page] = []
    unlisted: list[tuple[str, str]] = []
    doubted: list[tuple[str, str]] = []
    for form in forms:
        listed = _chosen_lines(form, split_of, whole_forms=whole_forms)
        names = {line.id for line, _ in listed}
        chosen = [pair for pair in listed if segmentation == "all" or pair[0].segmented]
        unlisted += [("", line.id) for line in form.lines if line.id not in names]
        doubted += [(split, line.id) for line, split in listed if (line, split) not in chosen]
        pages.extend(_PAGES[images](form, chosen, pictures))
    ids = {own for form in forms for own in (form.id, *(line.id for line in form.lines))}
    warn_of_missing(split_of, ids, folder)
    rules = {f"data.splits={splits}": unlisted, f"data.segmentation={segmentation}": doubted}
    left_out = [LeftOut.of(rule, lines=lines) for rule, lines in rules.items()]
    return Dataset(tuple(pages), findings, tuple(filter(None, left_out)))


@dataclass(frozen=True)
class _Form:
    """One XML file: a form of `size` (height, width) in pixels and all its lines."""

    id: str
    writer: str
    size: tuple[int, int]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class _Pictures:
    """The pictures of forms, lines or words by id, wherever they lie in the folders of that name."""

    images: PageImages
    kind: str
    paths: dict[str, Path]

    @classmethod
    def found(cls, root: Path, kind: str) -> "_Pictures":
        folders = [own for own in sorted(root.glob(f"{kind}*")) if own.is_dir()]  # formsA-D, formsE-H, …
        files = [file for folder in folders for file in folder.rglob("*")]
        paths = {file.stem: file for file in files if file.suffix.lower() in IMAGE_SUFFIXES}
        if not paths:
            remedy = "unpack them there or set data.images"
            raise InputError(f"{root} holds no folder {kind} with images; {remedy}")
        return cls(PageImages(root), kind, paths)

    def of(self, name: str) -> tuple[Path, str]:
        """Return an image, or the data folder and why there is none."""
        if name not in self.paths:
            return self.images.root, f"{name} has no image in {self.kind}; add it, or remove its XML"
        try:
            return self.images.inside(self.paths[name]), ""
        except InputError as error:
            return self.images.root, str(error)

    def page(self, form: "_Form", line: Line, split: str) -> Page:
        """Return the page of a line, or a word, that has an image of its own."""
        image, flaw = self.of(line.id)
        size, unread = size_or_flaw(image)
        alone = Line(line.id, line.text, WHOLE, segmented=line.segmented)
        return Page(line.id, form.writer, split, image, size, (alone,), flaw=flaw or unread)


def _form_page(form: _Form, chosen: _Chosen, pictures: _Pictures) -> Iterator[Page]:
    splits = sorted({split for _, split in chosen})
    if len(splits) > 1:
        remedy = "list one, or set data.images=lines"
        raise InputError(f"form {form.id} has lines in {', '.join(splits)}; {remedy}")
    lines = tuple(line for line, _ in chosen)
    boxes = [line.box for line in form.lines if not line.flaw]
    area = union(boxes) if boxes else None
    split = splits[0] if splits else ""
    image, flaw = pictures.of(form.id)
    yield Page(form.id, form.writer, split, image, form.size, lines, area, flaw)


def _line_pages(form: _Form, chosen: _Chosen, pictures: _Pictures) -> Iterator[Page]:
    for line, split in chosen:
        yield pictures.page(form, line, split)


def _word_pages(form: _Form, chosen: _Chosen, pictures: _Pictures) -> Iterator[Page]:
    for line, split in chosen:
        for word in line.words:
            if word.id not in _DAMAGED:
                yield pictures.page(form, replace(line, id=word.id, text=word.text), split)


_PAGES = {"forms": _form_page, "lines": _line_pages, "words": _word_pages}


def _chosen_lines(form: _Form, split_of: Mapping[str, str], *, whole_forms: bool) -> _Chosen:
    """Return the lines to read and their splits; a form that no list names keeps all lines, without one."""
    chosen = [(line, split_of.get(line.id, split_of.get(form.id, ""))) for line in form.lines]
    splits = {split for _, split in chosen} - {""}
    if whole_forms and len(splits) == 1:
        return [(line, split) for line in form.lines for split in splits]
    return [(line, split) for line, split in chosen if split or not splits]


def _form(tree: Element, path: Path) -> _Form:
    height, width = (parse_number(tree.get(key) or "0", path) for key in ("height", "width"))
    if height < 1 or width < 1:
        raise InputError(f"{path}: <form> gives no height and width; restore the file")
    size = (round(height), round(width))
    name = tree.get("id") or path.stem
    lines = [
        _line(line, line.get("id") or f"{name}-{number:02d}", size, path)
        for number, line in enumerate(tree.iterfind("handwritten-part/line"))
    ]
    return _Form(name, tree.get("writer-id", "") or path.stem, size, tuple(lines))


def _line(element: Element, name: str, size: tuple[int, int], path: Path) -> Line:
    segmented = element.get("segmentation") != "err"
    line = Line(name, _clean(element.get("text", "")), NOWHERE, segmented=segmented)
    return locate(line, lambda: _placed(line, element, size, path))


def _placed(line: Line, element: Element, size: tuple[int, int], path: Path) -> Line:
    boxed = [(w.get("id", ""), w.get("text", ""), _box(w, size, path)) for w in element.iterfind("word")]
    words = tuple(Word(name, _clean(text), box) for name, text, box in boxed if box is not None)
    if not words:
        raise InputError("no word with a <cmp> box; restore the file")
    return replace(line, box=union(word.box for word in words), words=words)


def _box(word: Element, size: tuple[int, int], path: Path) -> Box | None:
    """Return the union of the word's connected components; None when it has none."""
    parts = []
    for part in word.iterfind("cmp"):
        x, y, width, height = (parse_number(part.get(key, ""), path) for key in ("x", "y", "width", "height"))
        parts.append((x / size[1], y / size[0], (x + width) / size[1], (y + height) / size[0]))
    return clip(union(parts)) if parts else None


def _clean(text: str) -> str:
    """Undo the distribution's second escaping: after parsing, a quotation mark still reads `&quot;`."""
    return nfc(_ENTITY.sub(lambda entity: html.unescape(entity[0]), text))


def _list_folder(root: Path, splits: str, task: str) -> Path:
    folder = root / Path(splits).expanduser()
    if not folder.is_dir():
        remedy = "set it to the folder of the split lists"
        raise InputError(f"data.splits: folder {folder} does not exist; {remedy}")
    return folder / task if (folder / task).is_dir() else folder


def _check_choice(key: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise InputError(f"data.{key}={value} is unknown; use one of {', '.join(known)}")
