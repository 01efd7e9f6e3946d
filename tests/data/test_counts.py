"""What `hwr inspect` reads and leaves out of real data, beside the counts of a program of another kind.

The program below reads the XML with ElementTree alone, and says of each rule which lines it must leave out.
"""

import csv
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hwr.__main__ import main

SETS = {
    "data/copiste": "alto",
    "data/csafe_en": "alto",
    "data/hooker_en": "pagexml",
    "data/lectaurep_tables_fr": "alto",
    "data/letters_fr": "alto",
    "data/poilus_fr": "alto",
    "data/timeus_fr": "alto",
    "cases/angle_brackets/page": "pagexml",
    "cases/angle_brackets/set": "alto",
    "cases/appledouble/set": "alto",
    "cases/dropped_lines/set": "pagexml",
    "cases/duplicate_ids/set": "pagexml",
    "cases/one_line_without_place/set": "pagexml",
    "cases/region_text_only/set": "pagexml",
}
SPLITS = ("train", "valid", "test")
EXCLUDED_TYPE, MARKS = "consent", "<>"  # of conf/data/alto.yaml and conf/data/pagexml.yaml


@dataclass
class Counted:
    """Lines by split: all, those of each rule, and those left that have text."""

    lines: Counter[str] = field(default_factory=Counter)
    rules: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))


def count(root: Path) -> Counted:
    """Count the lines of a set as its files have them; without a table of splits all pages train."""
    files = [path for path in sorted(root.rglob("*.xml")) if not path.name.startswith("._")]
    splits = {path.stem: "train" for path in files}
    if (root / "pages.csv").exists():
        with (root / "pages.csv").open(encoding="utf-8", newline="") as file:
            splits = {row["page"]: row["split"] for row in csv.DictReader(file)}
    counted = Counted()
    pages: dict[str, list[tuple[str, str, str]]] = {}
    for path in files:
        split = splits[path.stem]
        for kind, text, outline in _lines(path):
            counted.lines[split] += 1
            pages.setdefault(path.stem, []).append((kind, text, outline))
    copies = _copies(root, splits, pages)
    for page, lines in pages.items():
        for kind, text, outline in lines:
            if rule := _rule(kind, text, outline, page in copies):
                counted.rules[rule][splits[page]] += 1
    return counted


def _rule(kind: str, text: str, outline: str, copied: bool) -> str:
    """Return the first rule that leaves a line out, as far as no network has to be asked."""
    if kind == EXCLUDED_TYPE:
        return f"data.exclude.types={kind}"
    if set(text) & set(MARKS):
        return f"data.exclude.pattern=[{MARKS}]"
    if copied:
        return "inspect.policy.duplicate_image=drop_train"
    if outline == "flat":
        return "inspect.policy.no_area=drop"
    return "" if text else "inspect.policy.empty_text=drop"


def _copies(root: Path, splits: dict[str, str], pages: dict[str, object]) -> set[str]:
    """Return the training pages whose image is, byte for byte, that of another page."""
    groups = defaultdict(list)
    for image in sorted(path for path in root.rglob("*") if path.stem in pages and path.suffix != ".xml"):
        groups[sha256(image.read_bytes()).hexdigest()].append(image.stem)
    rank = {split: number for number, split in enumerate(SPLITS)}
    copies = set()
    for group in groups.values():
        stays = max(group, key=lambda page: rank[splits[page]])
        copies |= {page for page in group if page != stays and splits[page] == "train"}
    return copies


def _lines(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield type, text and the state of the outline of every line of an ALTO or PAGE file."""
    root = ElementTree.parse(path).getroot()
    local = {element: element.tag.rpartition("}")[2] for element in root.iter()}
    labels = {e.get("ID"): e.get("LABEL", "") for e in root.iter() if local[e].endswith("Tag")}
    (page,) = (e for e in root.iter() if local[e] == "Page")
    alto = local[root] == "alto"
    width, height = (
        float(page.get(key, 0)) for key in (("WIDTH", "HEIGHT") if alto else ("imageWidth", "imageHeight"))
    )
    for line in (e for e in root.iter() if local[e] == "TextLine"):
        if alto:
            kind = next((labels[tag] for tag in line.get("TAGREFS", "").split() if tag in labels), "")
            text = " ".join(e.get("CONTENT", "") for e in line if local[e] == "String")
            points = next((e.get("POINTS", "") for e in line.iter() if local[e] == "Polygon"), _corners(line))
        else:
            kind = ""
            text = next(
                (e.text or "" for r in line if local[r] == "TextEquiv" for e in r if local[e] == "Unicode"),
                "",
            )
            points = next((e.get("points", "") for e in line if local[e] == "Coords"), "")
        yield kind, text.strip(), _state(points, width, height)


def _corners(line: ElementTree.Element) -> str:
    x, y, width, height = (float(line.get(key, 0)) for key in ("HPOS", "VPOS", "WIDTH", "HEIGHT"))
    return f"{x} {y} {x + width} {y} {x + width} {y + height} {x} {y + height}"


def _state(points: str, width: float, height: float) -> str:
    """Say whether an outline, cut to the page, holds a pixel: by the shoelace formula, and by its sides."""
    numbers = [float(number) for number in points.replace(",", " ").split()]
    xs = [min(max(x, 0.0), width) for x in numbers[::2]]
    ys = [min(max(y, 0.0), height) for y in numbers[1::2]]
    if not xs:
        return "flat"
    sides = max(xs) - min(xs), max(ys) - min(ys)
    area = abs(math.fsum(xs[i - 1] * ys[i] - xs[i] * ys[i - 1] for i in range(len(xs)))) / 2
    return "flat" if min(sides) < 1 or (area if len(xs) > 2 else math.prod(sides)) < 1 else ""


@pytest.mark.parametrize("name", SETS)
def test_inspection_agrees_with_another_program(shared: Path, tmp_path: Path, name: str) -> None:
    root = shared / name
    if not root.is_dir():
        pytest.skip(f"no folder {root}: its counts are not compared with those of another program")
    output = tmp_path / "report.json"
    data = [f"data={SETS[name]}", f"data.root={root}", "data.shares=[1,0,0]"]
    main(["inspect", *data, f"folder={tmp_path}", f"output={output}"])
    report = json.loads(output.read_text(encoding="utf-8"))
    left_out = {
        rule["rule"]: {split: len(ids) for split, ids in rule["lines"].items()} for rule in report["left_out"]
    }
    counted = count(root)

    # Every line is used, or left out by one rule.
    for split in SPLITS:
        told = report["used"][split] + sum(lines.get(split, 0) for lines in left_out.values())
        assert told == counted.lines[split]
    # All rules for lines but those that ask the network, or measure along baselines, agree, line for line.
    asked = {"too_long_for_ctc", "outside_alphabet", "odd_shape"}
    others = {
        rule: lines
        for rule, lines in left_out.items()
        if lines and rule.split(".")[-1].partition("=")[0] not in asked
    }
    assert others == {rule: dict(lines) for rule, lines in counted.rules.items()}
    # The ids that are listed are those that are counted, and no line is listed twice.
    ids = [own for rule in report["left_out"] for lines in rule["lines"].values() for own in lines]
    assert len(ids) == len(set(ids)) == sum(sum(lines.values()) for lines in left_out.values())
