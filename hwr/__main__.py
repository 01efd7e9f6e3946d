"""The command line: python -m hwr transcribe | inspect | anchors | models."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hwr.config import InspectConfig, TranscribeConfig, clear_errors, composed
from hwr.errors import InputError

USAGE = """usage: python -m hwr COMMAND …

commands:
  transcribe FILE …   read pages: files, folders, patterns; see python -m hwr transcribe --help
  inspect KEY=VALUE   count what a data set holds, name what is wrong with it: data=alto data.root=DIR
                      full=true decodes every image, output=FILE writes the report as JSON
  anchors KEY=VALUE   tell how well a detector's anchors fit the boxes of a data set:
                      stage=segmentation data=alto data.root=DIR
  models              list the published weights and what they score

KEY=VALUE are those of train.py; see python train.py --cfg job."""


def transcribe(arguments: Sequence[str]) -> None:
    """Read pages and write what is on them; exit with 1 where one of them failed."""
    parser = argparse.ArgumentParser("python -m hwr transcribe", description="Read handwritten pages.")
    parser.add_argument("files", nargs="+", metavar="FILE", help="image, PDF, folder of them, or pattern")
    parser.add_argument(
        "--format", action="append", default=[], metavar="FORMAT",
        help="txt (default), alto, page or json; several with commas or by repeating it",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder for the outputs; default: beside each page"
    )
    parser.add_argument(
        "--overlay", action="store_true", help="also draw area, lines and texts over the page"
    )
    parser.add_argument("--force", action="store_true", help="read pages again whose outputs are there")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a key of conf/transcribe.yaml"
    )
    given = parser.parse_args(arguments)
    config: TranscribeConfig = composed("transcribe", given.set, TranscribeConfig).root
    from hwr import runtime

    runtime.start()  # MXNet takes seconds: bad keys and --help need not wait
    from hwr import transcribing

    formats = [name for names in given.format for name in names.split(",")] or ["txt"]
    files = transcribing.expand(given.files)
    job = transcribing.Job(files, list(dict.fromkeys(formats)), given.overlay, given.output, given.force)
    raise SystemExit(transcribing.run(job, config))


def inspect(overrides: Sequence[str]) -> None:
    """Print the report on a data set, and write it as JSON where asked."""
    config: InspectConfig = composed("inspect", overrides, InspectConfig).root
    from hwr.building import check, inspected, pages_of  # takes seconds: bad keys and --help need not wait

    check(config)
    report = inspected(pages_of(config), config, full=config.full)
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


def anchors(overrides: Sequence[str]) -> None:
    """Print how many boxes of each split the anchors of a detector cover."""
    config: InspectConfig = composed("inspect", ["stage=segmentation", *overrides], InspectConfig).root
    from hwr import runtime  # takes seconds: bad keys and --help need not wait
    from hwr.building import check, segmentation

    check(config)
    runtime.start()
    print(segmentation.anchor_table(config))


def models(arguments: Sequence[str]) -> None:
    """Print the table of published weights."""
    if arguments:
        raise InputError(f"models takes no keys, not {arguments[0]}")
    from hwr import runtime  # takes seconds: --help need not wait
    from hwr.published import table

    runtime.start()
    print(table())


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "transcribe": transcribe,
    "inspect": inspect,
    "anchors": anchors,
    "models": models,
}


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
