"""A folder of ALTO pages, one line each, for tests that read it or break it."""

from collections.abc import Mapping
from pathlib import Path
from zlib import crc32

import numpy as np
from PIL import Image

SIZE = (60, 400)  # height, width px
_XML = """<?xml version="1.0" encoding="UTF-8"?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#">
 <Description><MeasurementUnit>pixel</MeasurementUnit>
  <sourceImageInformation><fileName>{image}</fileName></sourceImageInformation></Description>
 <Layout><Page WIDTH="{width}" HEIGHT="{height}" ID="p" PHYSICAL_IMG_NR="1"><PrintSpace><TextBlock ID="b">
  <TextLine ID="l" HPOS="10" VPOS="10" WIDTH="380" HEIGHT="40"><String CONTENT="{text}"/></TextLine>
 </TextBlock></PrintSpace></Page></Layout></alto>
"""


def write_folder(root: Path, texts: Mapping[str, str]) -> Path:
    """Write a page for every split of `texts`, the image p-SPLIT.jpg beside it; return `root`."""
    root.mkdir(parents=True, exist_ok=True)
    rows = ["page,writer,split"]
    for split, text in texts.items():
        write_page(root / f"p-{split}.xml", text)
        rows.append(f"p-{split},writer-{split},{split}")
    (root / "pages.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def write_page(path: Path, text: str, *, image: str = "") -> None:
    """Write a page that names `image`, and a picture of its own beside it."""
    noise = np.random.default_rng(crc32(path.name.encode())).integers(0, 255, SIZE, np.uint8)
    Image.fromarray(noise).save(path.with_suffix(".jpg"))
    named = image or path.with_suffix(".jpg").name
    xml = _XML.format(image=named, height=SIZE[0], width=SIZE[1], text=text)
    path.write_text(xml, encoding="utf-8")
