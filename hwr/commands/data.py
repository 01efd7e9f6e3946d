"""The commands inspect and anchors: contents and problems of a data set; boxes that anchors match."""

import json
import sys
from pathlib import Path

from hwr.config.compose import Composed
from hwr.config.roots import InspectConfig
from hwr.errors import InputError
from hwr.stages import build
from hwr.stages.recipe import parse_recipe
from hwr.stages.segmentation.training import anchor_table


def report_data(composed: Composed) -> None:
    """Print the report on a data set, and write it as JSON where asked."""
    config: InspectConfig = composed.root
    report, _ = build.inspect_data(parse_recipe(config), full=config.full)
    text = json.dumps(report.as_dict(), indent=1, ensure_ascii=False) + "\n"
    if config.output == "-":
        sys.stdout.write(text)
        return
    print(report.table(examples=config.inspect.examples))
    if config.output is not None:
        try:
            Path(config.output).write_text(text, encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"output={config.output}: cannot be written ({error.strerror}); choose another file"
            ) from None


def print_anchor_table(composed: Composed) -> None:
    """Print how many boxes of each split the anchors of a detector cover."""
    print(anchor_table(parse_recipe(composed.root)))
