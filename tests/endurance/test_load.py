"""Many clients ask one server: each is answered or put off, memory stays, and the end loses nothing.

`make test` lets 6 ask for 5 s; `make endurance` lets HWR_CLIENTS=64 ask for HWR_LOAD_S=600, on real pages.
"""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from hwr.data.sources.alto import read_alto
from tests.endurance.load import Body, Load, serving
from tests.serving.test_server import SMALL

CLIENTS = int(os.environ.get("HWR_CLIENTS", "64"))
LOAD_S = float(os.environ.get("HWR_LOAD_S", "600"))
GROWTH = 1.1  # of the memory after half of the time


@pytest.mark.slow
def test_few_clients_are_all_answered(tmp_path: Path) -> None:
    bodies = [Body("/v1/pages", _drawn(300, 200)), Body("/v1/lines", _drawn(300, 40))]
    with serving(tmp_path, *SMALL, "decoder=greedy", "orientation=0", "queue=3") as server:
        load = Load(server, bodies, 6, every_s=1)
        load.run(5)
    print(load)
    assert load.ended == (0, "")
    assert set(load.statuses) == {200, 429}
    assert all(load.seconds(body.path) for body in bodies)


@pytest.mark.endurance
def test_many_clients_are_answered_in_constant_memory(shared: Path, tmp_path: Path) -> None:
    bodies = [body for name in ("copiste", "letters_fr") for body in _real(shared / "data" / name)]
    with serving(tmp_path) as server:
        load = Load(server, bodies, CLIENTS)
        load.run(LOAD_S)
    print(load)
    assert load.ended == (0, "")
    assert set(load.statuses) <= {200, 429}
    assert all(load.seconds(path) for path in ("/v1/pages", "/v1/lines"))
    half = len(load.memory) // 2
    first, second = ([size for _, size in part] for part in (load.memory[:half], load.memory[half:]))
    assert max(second) <= GROWTH * max(first)


def _drawn(width: int, height: int) -> bytes:
    image, data = Image.new("L", (width, height), 255), io.BytesIO()
    for top in range(10, height - 20, 40):
        ImageDraw.Draw(image).text((20, top), "tea and toast", fill=0, font_size=20)
    image.save(data, "PNG")
    return data.getvalue()


def _real(root: Path) -> Iterator[Body]:
    """Give the pages of the test split, and of each two of its lines."""
    for page in read_alto(root, splits="pages.csv", shares=(1, 0, 0), seed=0).pages:
        if page.split != "test":
            continue
        yield Body("/v1/pages", page.image.read_bytes())
        with Image.open(page.image) as image:
            for line in page.lines[:2]:
                data, sizes = io.BytesIO(), 2 * image.size
                box = [round(part * size) for part, size in zip(line.box, sizes, strict=True)]
                image.crop((*box[:2], *box[2:])).save(data, "PNG")
                yield Body("/v1/lines", data.getvalue())
