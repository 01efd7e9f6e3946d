"""Describe a folder as a model of pages that MLflow loads and serves: its signature and an example."""

import json
from pathlib import Path

from mlflow import pyfunc
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array, Object, Property

_LINE = Object([
    Property("text", DataType.string),
    Property("confidence", DataType.double),
    Property("box", Array(DataType.double)),
])  # fmt: skip
_INPUTS = Schema([ColSpec(DataType.string, "image")])
_OUTPUTS = Schema([
    ColSpec(DataType.string, "text"), ColSpec(Array(_LINE), "lines"), ColSpec(DataType.string, "error"),
])  # fmt: skip


def describe_pages(folder: Path, loader: str, example: str) -> None:
    """Write MLmodel and an input example into a folder.

    `loader` is the module whose `_load_pyfunc` loads it, `example` an image in base64.
    """
    table = {"columns": ["image"], "data": [[example]]}
    about = {"artifact_path": "input_example.json", "type": "dataframe", "pandas_orient": "split"}
    for name, content in (("input_example", table), ("serving_input_example", {"dataframe_split": table})):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    about["serving_input_path"] = "serving_input_example.json"
    model = Model(signature=ModelSignature(_INPUTS, _OUTPUTS), saved_input_example_info=about)
    pyfunc.add_to_model(model, loader_module=loader)
    model.save(str(folder / "MLmodel"))
