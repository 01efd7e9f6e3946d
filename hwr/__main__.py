"""The command line: python -m hwr COMMAND."""

import sys
from collections.abc import Sequence
from importlib import import_module

from hwr.config import clear_errors
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

COMMANDS = ("transcribe", "inspect", "anchors", "models")  # modules of hwr.commands


def main(arguments: Sequence[str]) -> None:
    """Run a command."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return
    if arguments[0] not in COMMANDS:
        raise InputError(f"{arguments[0]}: no such command; use {', '.join(COMMANDS)}")
    import_module(f"hwr.commands.{arguments[0].replace('-', '_')}").run(arguments[1:])


if __name__ == "__main__":
    with clear_errors():
        main(sys.argv[1:])
