"""Two pages of two lines, the smallest networks with drawn parameters, and evaluations of them."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from PIL import Image

from hwr import weights
from hwr.config.compose import composed
from hwr.config.roots import EvaluateConfig, TrainConfig
from hwr.evaluation import evaluate
from hwr.stages.line import MODEL as LINE_MODEL
from hwr.stages.line import line_network
from hwr.stages.paragraph import MODEL as PARAGRAPH_MODEL
from hwr.stages.paragraph import area_finder
from hwr.stages.recipe import parse_model
from hwr.stages.segmentation import MODEL as SEGMENTATION_MODEL
from hwr.stages.segmentation import box_detector
from hwr.text import Alphabet

SIZE = (160, 120)  # height, width px
UPPER, LOWER = (20, 20, 100, 40), (20, 60, 100, 80)  # px; around them 80 x 60 px
TEXTS = ("ab ba", "ba")
ALPHABET = Alphabet(" ab")
_PAGE = """<?xml version="1.0" encoding="UTF-8"?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#">
 <Description><MeasurementUnit>pixel</MeasurementUnit>
  <sourceImageInformation><fileName>{name}.png</fileName></sourceImageInformation></Description>
 <Layout><Page WIDTH="{width}" HEIGHT="{height}" ID="p" PHYSICAL_IMG_NR="1"><PrintSpace><TextBlock ID="b">
{lines}</TextBlock></PrintSpace></Page></Layout></alto>
"""
_LINE = """<TextLine ID="l{n}" HPOS="{x1}" VPOS="{y1}" WIDTH="{width}" HEIGHT="{height}">
 <String CONTENT="{text}"/></TextLine>
"""
PARAGRAPH = ["stage=paragraph", "network.stem=4", "network.channels=[4]", "network.hidden=4",
             f"stage.size=[{SIZE[0]},{SIZE[1]}]", "stage.growth=0"]  # fmt: skip
SEGMENTATION = ["stage=segmentation", "network.stem=4", "network.channels=[4]", "network.strides=[[2,2]]",
                "network.blocks=[1]", "network.reach=0", "network.anchors=[[[0.9,0.3]]]",
                "stage.size=[60,80]", "stage.growth=0", "stage.topk=5"]  # fmt: skip
LINE = ["stage=line", "network.stem=4", "network.channels=[4,4]", "network.blocks=[1,1]", "network.hidden=4",
        "network.layers=1", "stage.crop.height=16"]  # fmt: skip


def write_pages(root: Path, *texts: tuple[str, str], split: str = "test") -> Path:
    """Write a page for each pair of texts, p0, p1 and so on, its lines bars; return `root`."""
    root.mkdir(parents=True)
    rows = ["page,writer,split"]
    for number, own in enumerate(texts or (TEXTS, TEXTS)):
        image = np.full(SIZE, 255, np.uint8)
        lines = ""
        for n, (text, (x1, y1, x2, y2)) in enumerate(zip(own, (UPPER, LOWER), strict=True)):
            image[y1 + 6 : y2 - 6, x1 + 4 : x2 - 4 - number] = 0
            lines += _LINE.format(n=n, x1=x1, y1=y1, width=x2 - x1, height=y2 - y1, text=text)
        Image.fromarray(image).save(root / f"p{number}.png")
        page = _PAGE.format(name=f"p{number}", width=SIZE[1], height=SIZE[0], lines=lines)
        (root / f"p{number}.xml").write_text(page, encoding="utf-8")
        rows.append(f"p{number},ann,{split}")
    (root / "pages.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def move_into_tiff(root: Path, name: str) -> None:
    """Make the image of a page that `write_pages` wrote the second of a TIFF; the first is blank."""
    blank = Image.new("L", SIZE[::-1], 255)
    with Image.open(root / f"{name}.png") as image:
        blank.save(root / f"{name}.tif", save_all=True, append_images=[image])
    (root / f"{name}.png").unlink()
    path = root / f"{name}.xml"
    page = path.read_text(encoding="utf-8").replace(f"{name}.png", f"{name}.tif")
    path.write_text(page.replace('PHYSICAL_IMG_NR="1"', 'PHYSICAL_IMG_NR="2"'), encoding="utf-8")


def write_weights(root: Path, *kinds: str, data: Sequence[str] = ()) -> list[str]:
    """Write weights of these stages, or of each, not trained; return them as overrides of an evaluation."""
    kinds = kinds or ("paragraph", "segmentation", "line")
    for overrides in (
        own for own in (PARAGRAPH, SEGMENTATION, LINE) if own[0].removeprefix("stage=") in kinds
    ):
        made = composed("train", [*overrides, *data], TrainConfig)
        kind = overrides[0].removeprefix("stage=")
        alphabet = ALPHABET if kind == "line" else None
        weights.save(root / kind, drawn_network(kind, made.root), made.yaml, alphabet, about={})
    return [f"weights.{kind}={root / kind}" for kind in kinds]


def drawn_network(kind: str, config: TrainConfig) -> Any:
    """Return the network of a stage with drawn parameters, one that reads ALPHABET for stage `line`."""
    if kind == "line":
        return line_network(parse_model(LINE_MODEL, config), ALPHABET, mx.cpu())
    if kind == "paragraph":
        return area_finder(parse_model(PARAGRAPH_MODEL, config), batch_size=1, context=mx.cpu()).network
    return box_detector(parse_model(SEGMENTATION_MODEL, config), batch_size=1, context=mx.cpu()).network


class Place:
    """Where evaluations happen: pages, weights, a tracking database, and what was written."""

    def __init__(self, folder: Path, database: Path, weights: list[str]) -> None:
        self.folder, self.weights, self.output = folder, weights, folder / "scores"
        shutil.copy(database, folder / "mlflow.db")

    def evaluate(self, target: str, *overrides: str) -> float:
        """Evaluate the pages in `data`, two as they come where there are none yet."""
        data = self.folder / "data"
        if not data.exists():
            write_pages(data)
        places = ["data=alto", f"data.root={data}", f"folder={self.folder}", f"output={self.output}"]
        settings = [f"target={target}", "scorer=edit_distance", *self.weights, *places, *overrides]
        return evaluate(composed("evaluate", settings, EvaluateConfig))

    @property
    def scores(self) -> dict[str, Any]:
        """What scores.json holds."""
        found: dict[str, Any] = json.loads((self.output / "scores.json").read_text(encoding="utf-8"))
        return found

    @property
    def picture(self) -> tuple[int, int]:
        """Width and height of the picture of pages."""
        with Image.open(self.output / "pages.png") as drawn:
            return drawn.size
