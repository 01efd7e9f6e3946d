"""A registered model, as MLflow loads it and as every command finds its weights."""

import base64
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
import pytest

from hwr import tracking
from hwr.__main__ import main
from hwr.config.roots import StoreConfig, TrackingConfig
from hwr.published.served import example
from hwr.stages.build import find_weights

NAME = "models:/synthetic@champion"


@pytest.fixture(scope="module")
def folder(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a store with a registered model."""
    folder = tmp_path_factory.mktemp("registry")
    (folder / "mlflow.db").write_bytes(database.read_bytes())
    main(["models", "publish", "synthetic", "mlflow", f"folder={folder}"])
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    store = tracking.open_store(None, folder, "hwr")
    return mlflow.pyfunc.load_model(str(tracking.download(NAME, store, folder / "found")))


def test_model_tells_what_it_takes_and_gives_with_an_example(model: Any) -> None:
    assert model.metadata.signature.inputs.input_names() == ["image"]
    assert model.metadata.signature.outputs.input_names() == ["text", "lines", "error"]
    assert model.input_example["image"].tolist() == [example()]


def test_images_are_read_from_base64_and_from_files(model: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.png"
    page.write_bytes(base64.b64decode(example()))
    images = [example(), f"data:image/png;base64,{example()}", str(page)]
    first, *others = model.predict(pd.DataFrame({"image": images}))
    assert all(other == first for other in others)
    assert (first["error"], first["text"]) == ("", "".join(f"{line['text']}\n" for line in first["lines"]))
    assert first["lines"]
    for line in first["lines"]:
        x1, y1, x2, y2 = line["box"]
        assert 0 <= x1 < x2 <= 1
        assert 0 <= y1 < y2 <= 1


@pytest.mark.parametrize(
    ("image", "said"),
    [("/no/such.png", "neither a file here nor base64"), ("aGVsbG8=", "image: "), ("", "image")],
)
def test_image_that_cannot_be_read_is_told_and_the_others_are_read(model: Any, image: str, said: str) -> None:
    bad, good = model.predict(pd.DataFrame({"image": [image, example()]}))
    assert said in bad["error"]
    assert (bad["text"], bad["lines"], good["error"]) == ("", [], "")


@pytest.mark.parametrize("shipped", ["paragraph/synthetic", "segmentation/synthetic_line", "line/synthetic"])
def test_registered_model_gives_the_weights_of_every_stage(folder: Path, shipped: str) -> None:
    config, step = StoreConfig(folder=str(folder), tracking=TrackingConfig()), shipped.partition("/")[0]
    assert find_weights(NAME, step, config).sha256 == find_weights(shipped, step, config).sha256
