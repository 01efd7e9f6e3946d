"""Pictures for people, uint8 RGB (H, W, 3): sheets of line images, lines with what was read from them.

An archive keeps small images of many lines in one file, to show lines without their pages.
"""

import io
import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hwr.errors import InputError
from hwr.files import as_input_error, package_folder, replacing, scratch_folder
from hwr.images.load import GreyImage, check_size, decode_image, open_image

WIDTH_PX = 1600  # no picture is wider: a browser shows this much without scaling
TALLEST = 16  # times as high as the width that a page is drawn with
GAP_PX, PADDING_PX, ROW_PX = 12, 14, 32
LABEL_PX, LABEL_MOST_PX = 84, 240  # least and most room for what stands before a text
TITLE, TEXT, SMALL = 26, 22, 15  # font sizes in pixels
GROUND, CARD, BORDER, INK, MUTED = "#eef0f3", "#ffffff", "#d5d9e0", "#1f2430", "#6b7280"
MISSED = ("#7a4d00", "#ffe9b0")  # (ink, ground) of reference characters that were not read
WRONG = ("#b42318", "#fcd5d1")  # of read characters that are not written; an empty stretch: missing

LINE_ARCHIVE = "lines.zip"
_FORMAT, _QUALITY = "WEBP", 40  # 3.5 KB for a line 48 px high and 700 px wide; as JPEG it takes a third more
_MOST_PIXELS = 20_000_000
_WRITTEN = (1980, 1, 1, 0, 0, 0)  # the same pictures give the same bytes, whenever they are written

Picture = NDArray[np.uint8]
_Style = tuple[int, str, str | None]  # size, ink, ground
Block = tuple[str, str]  # a stretch of the reference and what was read there
Column = tuple[str, Sequence[Sequence[Block]]]  # a stretch of the reference, its blocks in every reading

_Difference = tuple[int, int, int, str]  # start and end in the reference, number of the reading, text read


@dataclass(frozen=True)
class ReadText:
    """A text that was read, and its number of wrong characters."""

    text: str
    errors: int


@dataclass(frozen=True)
class LineCard:
    """A grey line image (h, w), its id, the text written, and those read, one or more, by what read them."""

    image: NDArray[np.uint8]
    id: str
    reference: str
    read: Mapping[str, ReadText]


def sheet(images: Sequence[NDArray[np.uint8]], captions: Sequence[str], *, columns: int) -> Picture:
    """Return images, grey or RGB, set row by row, each scaled down to its column, with captions beneath."""
    width = (WIDTH_PX - GAP_PX * (columns + 1)) // columns
    cards = [_captioned(image, text, width) for image, text in zip(images, captions, strict=True)]
    return _joined([_beside(cards[first : first + columns]) for first in range(0, len(cards), columns)])


def picture_size(page: GreyImage, width_px: int) -> tuple[int, int]:
    """Return width and height in px of the picture of a page (H, W) that is to be `width_px` wide.

    That of a strip is narrower, TALLEST times `width_px` high: one a few pixels wide would take all memory.
    """
    height, width = page.shape
    tallest = TALLEST * width_px
    if height * width_px > tallest * width:
        return max(1, round(width * tallest / height)), tallest
    return width_px, max(1, round(height * width_px / width))


def boxed(image: NDArray[np.uint8], boxes: Mapping[str, NDArray[np.float64]]) -> Picture:
    """Return a grey image (h, w) with boxes (N, 4), fractions of it, outlined in the colour each is under."""
    shown = Image.fromarray(image).convert("RGB")
    draw = ImageDraw.Draw(shown)
    line = max(1, round(shown.width / 250))
    for colour, own in boxes.items():
        for x1, y1, x2, y2 in (own * [*shown.size, *shown.size]).tolist():
            left, top = min(x1, x2), min(y1, y2)
            right, bottom = max(x1, x2, left + 1) - 1, max(y1, y2, top + 1) - 1  # their last pixels
            draw.rectangle((left, top, right, bottom), outline=colour, width=line)
    return np.asarray(shown)


def readings(groups: Mapping[str, Sequence[LineCard]]) -> Picture:
    """Return titled groups of cards: line image, what is written and each reading, its differences coloured.

    What is written is coloured where every reading differs.
    """
    items = [item for group in groups.values() for item in group]
    named = max((font(SMALL).getlength(name) for item in items for name in item.read), default=0)
    label = min(max(LABEL_PX, math.ceil(named) + GAP_PX), LABEL_MOST_PX)
    widest = max((max(item.image.shape[1], _advance(_columns(item))) for item in items), default=0)
    width = min(max(widest, WIDTH_PX // 3), WIDTH_PX - 2 * (GAP_PX + PADDING_PX) - label)
    rows = []
    for title, group in groups.items():
        rows += [_heading(title), *(_card_of(item, label, width) for item in group)]
    return _joined(rows)


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans as matplotlib ships it; Pillow's own font has neither accents nor Greek."""
    remedy = "pictures are lettered in a font that matplotlib ships: pip install matplotlib"
    folder = package_folder("matplotlib", remedy)  # to import it would take time and write a cache
    return ImageFont.truetype(folder / "mpl-data/fonts/ttf/DejaVuSans.ttf", size)


def save_picture(path: Path, picture: Picture) -> None:
    """Write `picture` as PNG in one move; raise InputError where that cannot be done."""
    with as_input_error(path, "name another file"), replacing(path) as fresh:
        fresh.write_bytes(png(picture))


def png(picture: Picture) -> bytes:
    """Return `picture`, grey or RGB, as PNG: a disk that is full then fails in one place."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    return content.getvalue()


def save_lines(path: Path, lines: Iterable[GreyImage], *, height: int) -> None:
    """Write grey lines (h, w), scaled down to `height` px, never up, under their numbers from 0."""
    failing = as_input_error(path, "name another file")
    with failing, replacing(path) as fresh, zipfile.ZipFile(fresh, "w", zipfile.ZIP_STORED) as file:
        for number, line in enumerate(lines):
            file.writestr(zipfile.ZipInfo(_member(number), _WRITTEN), _encoded(line, height))


def load_lines(path: Path, numbers: Sequence[int]) -> list[GreyImage]:
    """Return the lines of these numbers; raise InputError where the file is damaged or lacks one."""
    try:
        with zipfile.ZipFile(path) as file, scratch_folder() as scratch:
            lines = []
            for path in (Path(file.extract(_member(number), scratch)) for number in numbers):
                with open_image(path) as image:
                    check_size(path, image.size, _MOST_PIXELS)
                    lines.append(decode_image(path, image, least=None))
            return lines
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: no pictures of these lines ({error}); evaluate anew") from None


def collated(reference: str, readings: Sequence[str]) -> list[Column]:
    """Return the columns in order: whatever differs in a reading lies in one of them, as short as may be.

    Joined, the columns' stretches are the reference, and a reading's blocks are the reading.
    """
    columns: list[Column] = []
    place = 0
    for start, end, differences in _merged(sorted(_differences(reference, readings))):
        if place < start:
            columns.append(_same(reference[place:start], len(readings)))
        own = [[one for one in differences if one[2] == number] for number in range(len(readings))]
        columns.append((reference[start:end], [_blocks(reference, (start, end), one) for one in own]))
        place = end
    return [*columns, _same(reference[place:], len(readings))] if place < len(reference) else columns


def _differences(reference: str, readings: Sequence[str]) -> list[_Difference]:
    found = []
    for number, text in enumerate(readings):
        steps = SequenceMatcher(None, reference, text, autojunk=False).get_opcodes()
        found += [(a, b, number, text[c:d]) for tag, a, b, c, d in steps if tag != "equal"]
    return found


def _merged(differences: Sequence[_Difference]) -> list[tuple[int, int, list[_Difference]]]:
    """Return (start, end, differences within) of differences in order, those that overlap together."""
    merged: list[tuple[int, int, list[_Difference]]] = []
    for one in differences:
        start, end = one[:2]
        if merged and (start < merged[-1][1] or (start, end) == merged[-1][:2]):
            first, last, members = merged.pop()
            merged.append((first, max(last, end), [*members, one]))
        else:
            merged.append((start, end, [one]))
    return merged


def _same(text: str, readings: int) -> Column:
    return text, [[(text, text)]] * readings


def _blocks(reference: str, column: tuple[int, int], differences: Sequence[_Difference]) -> list[Block]:
    """Return a reading's blocks of a column: what differs, and the same text between."""
    blocks: list[Block] = []
    place = column[0]
    for start, end, _, text in [*differences, (column[1], column[1], 0, "")]:
        if place < start:
            blocks.append((reference[place:start], reference[place:start]))
        if reference[start:end] != text:
            blocks.append((reference[start:end], text))
        place = end
    return blocks or [("", "")]


def _columns(item: LineCard) -> list[Column]:
    return collated(item.reference, [read.text for read in item.read.values()])


def _column_width(column: Column, size: int) -> int:
    return max(sum(_block_width(block, size) for block in blocks) for blocks in column[1])


def _advance(columns: Sequence[Column]) -> int:
    """Return the width in pixels of all texts of a line in full size, set one above the other."""
    return sum(_column_width(column, TEXT) for column in columns)


def _block_width(block: Block, size: int) -> int:
    return round(max(font(size).getlength(text) for text in block))


def _captioned(image: NDArray[np.uint8], caption: str, width: int) -> Image.Image:
    inside = width - 2 * PADDING_PX
    shown = _fitted(image, inside)
    card, draw = _card(width, 2 * PADDING_PX + shown.height + ROW_PX - 8)
    card.paste(shown, (PADDING_PX, PADDING_PX))
    draw.text((PADDING_PX, shown.height + PADDING_PX + 10), _cut(caption, inside), MUTED, font(SMALL))
    return card


def _card_of(item: LineCard, label_px: int, width_px: int) -> Image.Image:
    """Return the card of a line with so much room for labels, and for its image and texts."""
    shown, left = _fitted(item.image, width_px), PADDING_PX + label_px
    right = left + width_px
    card, draw = _card(right + PADDING_PX, 2 * PADDING_PX + (2 + len(item.read)) * ROW_PX + shown.height)
    score, wrong = _score(item), any(read.errors for read in item.read.values())
    room = width_px - round(font(SMALL).getlength(score)) - GAP_PX
    draw.text((left, PADDING_PX), _cut(item.id, room), MUTED, font(SMALL))
    draw.text((right, PADDING_PX), score, WRONG[0] if wrong else MUTED, font(SMALL), anchor="ra")
    card.paste(shown, (left, PADDING_PX + ROW_PX - 4))
    top = PADDING_PX + ROW_PX + shown.height + 4
    columns = _columns(item)
    size = max(1, min(TEXT, int(TEXT * width_px / max(_advance(columns), 1))))
    for row, label in enumerate(("written", *item.read)):
        middle = top + ROW_PX * row + ROW_PX // 2
        draw.text((PADDING_PX, middle), _cut(label, label_px - GAP_PX), MUTED, font(SMALL), anchor="lm")
        x = left
        for column in columns:
            width, (text, readings) = _column_width(column, size), column
            if row == 0:
                missed = all(any(written != read for written, read in blocks) for blocks in readings)
                style = (size, *MISSED) if missed and text else (size, INK, None)
                _set(draw, (x, middle), text, width=width, style=style)
            else:
                _write(draw, (x, middle), readings[row - 1], width=width, size=size)
            x += width
    return card


def _write(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], blocks: Sequence[Block], *, width: int, size: int
) -> None:
    """Set what was read in a column from its left end `at`; alone a block takes the whole width."""
    x, middle = at
    for block in blocks:
        own = width if len(blocks) == 1 else _block_width(block, size)
        style = (size, *WRONG) if block[0] != block[1] else (size, INK, None)
        _set(draw, (x, middle), block[1], width=own, style=style)
        x += own


def _set(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, *, width: int, style: _Style) -> None:
    """Set a text of `style`, size, ink and ground, from its left end `at`; the ground is `width` wide."""
    (x, middle), (size, ink, ground) = at, style
    if ground is not None:
        draw.rectangle((x, middle - size * 2 // 3, x + width - 1, middle + size * 2 // 3), ground)
    draw.text((x, middle), text, ink, font(size), anchor="lm")


def _score(item: LineCard) -> str:
    if len(item.read) > 1:
        return "errors: " + " · ".join(f"{name} {read.errors}" for name, read in item.read.items())
    (read,) = item.read.values()
    if not read.errors:
        return "no error"
    share = f" · CER {100 * read.errors / len(item.reference):.1f} %" if item.reference else ""
    return f"{read.errors} error{'s' if read.errors > 1 else ''}{share}"


def _heading(title: str) -> Image.Image:
    size = round(font(TITLE).getlength(title)) + PADDING_PX, TITLE + GAP_PX
    image = Image.new("RGB", size, GROUND)
    ImageDraw.Draw(image).text((2, size[1] // 2), title, INK, font(TITLE), anchor="lm")
    return image


def _fitted(image: NDArray[np.uint8], width: int) -> Image.Image:
    """Scale an image down, never up, to at most `width`."""
    shown = Image.fromarray(image)
    size = (width, max(1, round(shown.height * width / shown.width)))
    return shown if shown.width <= width else shown.resize(size, Image.Resampling.LANCZOS)


def _cut(text: str, width: int) -> str:
    """Shorten small `text` to one line of at most `width` pixels."""
    text, end = " ".join(text.split()), ""
    while text and font(SMALL).getlength(text + end) > width:
        text, end = text[:-1], "…"
    return text + end


def _card(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    card = Image.new("RGB", (width, height), GROUND)
    draw = ImageDraw.Draw(card)
    draw.rounded_rectangle((0, 0, width - 1, height - 1), 6, CARD, BORDER)
    return card, draw


def _beside(cards: Sequence[Image.Image]) -> Image.Image:
    lefts = [0, *accumulate(card.width + GAP_PX for card in cards)]
    row = Image.new("RGB", (lefts[-1] - GAP_PX, max(card.height for card in cards)), GROUND)
    for left, card in zip(lefts, cards, strict=False):
        row.paste(card, (left, 0))
    return row


def _joined(rows: Sequence[Image.Image]) -> Picture:
    """Set rows below each other with a gap around each."""
    tops = [*accumulate((row.height + GAP_PX for row in rows), initial=GAP_PX)]
    width = max((row.width for row in rows), default=0) + 2 * GAP_PX
    canvas = Image.new("RGB", (width, tops[-1]), GROUND)
    for top, row in zip(tops, rows, strict=False):
        canvas.paste(row, (GAP_PX, top))
    return np.asarray(canvas)


def _member(number: int) -> str:
    return f"{number:06d}.webp"


def _encoded(line: GreyImage, height: int) -> bytes:
    picture = Image.fromarray(line)
    if picture.height > height:
        width = max(1, round(picture.width * height / picture.height))
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    picture.save(written, _FORMAT, quality=_QUALITY)
    return written.getvalue()
