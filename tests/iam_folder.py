"""Folders shaped like the IAM, with made-up words: for the tests of its reader and of trainings on it."""

import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw

LISTS = {
    "official": {"train": ["trainset"], "valid": ["validationset1", "validationset2"], "test": ["testset"]},
    "aachen": {"train": ["lines_tr"], "valid": ["lines_va"], "test": ["lines_te"]},
    "forms": {"train": ["forms_tr"], "valid": ["forms_va"], "test": ["forms_te"]},
}
LINES = [("ok", "&amp;quot;I&apos;m here&amp;quot; &amp;amp; there"), ("err", "second line"), ("ok", "third")]


def write_form(root: Path, name: str, *, forms: str = "forms", writer: str = "000") -> None:
    """Write one form of 2479 x 3542: line n lies at y = 700 + 100 n, two words of two parts each."""
    lines = []
    for n, (segmentation, text) in enumerate(LINES):
        line, y = f"{name}-{n:02}", 700 + 100 * n
        words = "".join(
            f'<word id="{line}-{w:02}" tag="AT" text="w{w}">'
            f'<cmp x="{x}" y="{y}" width="50" height="40"/>'
            f'<cmp x="{x + 60}" y="{y + 10}" width="40" height="40"/></word>'
            for w, x in enumerate((400, 600))
        )
        empty = f'<word id="{line}-02" tag="." text="."/>'
        lines.append(f'<line id="{line}" segmentation="{segmentation}" text="{text}">{words}{empty}</line>')
        for kind, ids in (("lines", [line]), ("words", [f"{line}-00", f"{line}-01"])):
            for image in ids:
                picture(root / kind / name[:3] / name / f"{image}.png", (60, 20))
    picture(root / forms / f"{name}.png", (70, 100))  # a small scan of the same aspect
    (root / "xml").mkdir(parents=True, exist_ok=True)
    (root / "xml" / f"{name}.xml").write_text(
        f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<form created="2002-01-14" height="3542" id="{name}" version="3.0_beta" width="2479" writer-id="{writer}">
  <machine-printed-part><machine-print-line text="A MOVE to stop"/></machine-printed-part>
  <handwritten-part>{"".join(lines)}</handwritten-part>
</form>""",
        encoding="latin-1",
    )


def picture(path: Path, size: tuple[int, int]) -> None:
    """Draw strokes that only this file's name gives: pictures of different names are different."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image, draw = Image.new("L", size, 255), random.Random(path.stem)
    points = [(x, draw.randrange(size[1])) for x in range(2, size[0] - 2, 3)]
    ImageDraw.Draw(image).line(points, fill=0, width=2)
    image.save(path)


def write_lists(root: Path, **lists: str) -> None:
    """Write the official lists, each with the ids given or with one that no form has."""
    names = [name for sets in LISTS["official"].values() for name in sets]
    (root / "splits").mkdir(exist_ok=True)
    for name in names:
        (root / "splits" / f"{name}.txt").write_text(lists.get(name, f"{name}-unused") + "\n")


def first_of(lists: Path, names: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    """Yield the first id of each split's first list in the folder `lists`, and the split."""
    for split, (name, *_) in names.items():
        path = next(lists.glob(f"{name}.*"))
        yield path.read_text().split("\n", 1)[0], split
