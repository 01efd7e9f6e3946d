"""python -m hwr inspect: what a data set holds, and what is wrong with it."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from hwr.config.compose import composed
from hwr.config.roots import InspectConfig
from hwr.errors import InputError


def run(overrides: Sequence[str]) -> None:
    """Print the report on a data set, and write it as JSON where asked."""
    config: InspectConfig = composed("inspect", overrides, InspectConfig).root
    from hwr.stages.build import inspect_data  # takes seconds: bad keys and --help need not wait
    from hwr.stages.recipe import parse_recipe

    report, _ = inspect_data(parse_recipe(config), full=config.full)
    said = json.dumps(report.as_dict(), indent=1, ensure_ascii=False) + "\n"
    if config.output == "-":
        sys.stdout.write(said)
        return
    print(report.table(examples=config.inspect.examples))
    if config.output is not None:
        try:
            Path(config.output).write_text(said, encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"output={config.output}: cannot be written ({error.strerror}); choose another file"
            ) from None
