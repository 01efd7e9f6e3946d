"""The command line: python -m hwr inspect | models."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hwr.config import InspectConfig, clear_errors, composed
from hwr.errors import InputError

USAGE = """usage: python -m hwr COMMAND KEY=VALUE …

commands:
  inspect   count what a data set holds, name what is wrong with it: data=alto data.root=DIR
            full=true decodes every image, output=FILE writes the report as JSON
  models    list the published weights and what they score

Keys are those of train.py; see python train.py --cfg job."""


def inspect(overrides: Sequence[str]) -> None:
    """Print the report on a data set, and write it as JSON where asked."""
    config: InspectConfig = composed("inspect", overrides, InspectConfig).root
    from hwr.building import check, inspected, load_pages  # takes seconds: bad keys and --help need not wait

    check(config)
    report = inspected(load_pages(config.data, Path(config.folder) / "cache"), config, full=config.full)
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


def models(arguments: Sequence[str]) -> None:
    """Print the table of published weights."""
    if arguments:
        raise InputError(f"models takes no keys, not {arguments[0]}")
    from hwr.published import table  # imports MXNet: seconds

    print(table())


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {"inspect": inspect, "models": models}


def main(arguments: Sequence[str]) -> None:
    """Run a command."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return
    if arguments[0] not in COMMANDS:
        raise InputError(f"{arguments[0]}: no such command; use {', '.join(COMMANDS)}")
    COMMANDS[arguments[0]](arguments[1:])


if __name__ == "__main__":
    with clear_errors():
        main(sys.argv[1:])
