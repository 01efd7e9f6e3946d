"""A registered model, as MLflow loads it and as every command finds its weights."""

import base64
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
import pytest
from PIL import Image

from hwr import tracking
from hwr.__main__ import main
from hwr.config.roots import StoreConfig, TrackingConfig
from hwr.errors import InputError
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


def test_file_of_several_pages_is_refused_rather_than_read_in_part(model: Any, tmp_path: Path) -> None:
    page, file = Image.new("L", (60, 40), 255), tmp_path / "two.tif"
    page.save(file, save_all=True, append_images=[page])
    (read,) = model.predict(pd.DataFrame({"image": [str(file)]}))
    assert (read["error"], read["lines"]) == ("image: holds 2 pages; send each as an image of its own", [])


def test_weights_of_a_registered_model_are_refused_where_no_stage_or_another_is_asked(folder: Path) -> None:
    config = StoreConfig(folder=str(folder), tracking=TrackingConfig())
    held = f"^{NAME}: holds weights of line, paragraph, segmentation"
    with pytest.raises(InputError, match=f"{held}; name the folder of one: (.*)$") as refused:
        find_weights(NAME, None, config)
    folder_of_line = str(refused.value).partition("one: ")[2]
    assert find_weights(folder_of_line, None, config).sha256 == find_weights(NAME, "line", config).sha256
    with pytest.raises(InputError, match=f"{held}, not of denoiser; choose others"):
        find_weights(NAME, "denoiser", config)


@pytest.mark.parametrize("shipped", ["paragraph/synthetic", "segmentation/synthetic_line", "line/synthetic"])
def test_registered_model_gives_the_weights_of_every_stage(folder: Path, shipped: str) -> None:
    config, step = StoreConfig(folder=str(folder), tracking=TrackingConfig()), shipped.partition("/")[0]
    assert find_weights(NAME, step, config).sha256 == find_weights(shipped, step, config).sha256
