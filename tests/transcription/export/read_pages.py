"""Read pages of 200 x 100 pixels, for tests of what is made of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from PIL import Image

from hwr.images.boxes import Box
from hwr.text import nfc
from hwr.transcription import ReadLine, ReadPage, ReadWord

SPLITTING: dict[str, Any] = {"splits": None, "shares": (0.8, 0.1, 0.1), "seed": 0}
SIZE = (100, 200)  # height, width px
BOX = (0.1, 0.1, 0.6, 0.35)  # 20,10 to 120,35 px
POLYGON = ((0.1, 0.12), (0.6, 0.1), (0.6, 0.33), (0.1, 0.35))  # 20,12 120,10 120,33 20,35 px
BASELINE = ((0.1, 0.3), (0.35, 0.31), (0.6, 0.3))  # 20,30 70,31 120,30 px
AREA = (0.05, 0.05, 0.95, 0.9)  # 10,5 to 190,90 px
ODD = "a<b> & \"c\" 'd' ]]> <!-- é\u0301 œ ß Ω 😀 \x01\x1b \ufffe"  # the last three are forbidden in XML
TEXTS = st.text(st.sampled_from("&<>\"'] éÅœß—😀\x00\x1b\ufffe\u0301") | st.characters(codec="utf-8")).map(
    nfc
)


def line(text: str, box: Box = BOX) -> ReadLine:
    """Return a line whose words lie side by side in ten pixels each."""
    words = tuple(
        ReadWord(word, (0.1 + 0.05 * n, 0.1, 0.15 + 0.05 * n, 0.35), 0.75)
        for n, word in enumerate(text.split(" "))
        if word
    )
    return ReadLine(text, box, POLYGON, BASELINE, 0.875, words)


def page(*lines: ReadLine, area: Box | None = AREA) -> ReadPage:
    return ReadPage("p", "scans/p.png", 1, SIZE, area, lines)


def two_columns() -> ReadPage:
    """Return a page with two columns of four lines, `0` to `7`; each is a block."""
    boxes = [(x, y, x + 0.3, y + 0.1) for x in (0.1, 0.6) for y in (0.1, 0.3, 0.5, 0.7)]
    return page(*(replace(bare(str(n), box), block=n // 4) for n, box in enumerate(boxes)))


def bare(text: str, box: Box = BOX) -> ReadLine:
    """Return a line of which only the box is known."""
    return replace(line(text, box), polygon=(), baseline=())


def write(root: Path, name: str, text: str) -> Path:
    """Write an exported page, and the picture p.png that it names; return `root`."""
    root.mkdir(exist_ok=True)
    Image.new("L", SIZE[::-1], 255).save(root / "p.png")
    (root / name).write_text(text, encoding="utf-8")
    return root
