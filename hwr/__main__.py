"""The command line: python -m hwr COMMAND."""

import sys
from collections.abc import Sequence
from importlib import import_module

from hwr.config.messages import clear_errors
from hwr.errors import InputError

USAGE = """usage: python -m hwr COMMAND …

commands:
  transcribe FILE …   read pages: files, folders, patterns; see python -m hwr transcribe --help
  inspect KEY=VALUE   count what a data set holds, name what is wrong with it: data=alto data.root=DIR
                      full=true decodes every image, output=FILE writes the report as JSON
  anchors KEY=VALUE   tell how well a detector's anchors fit the boxes of a data set:
                      stage=segmentation data=alto data.root=DIR
  models              list the published weights and what they score
  search KEY=VALUE    search the best settings of a training: stage=line data.root=DIR --trials 40;
                      see python -m hwr search --help
  compare RUN RUN …   tell what differs between runs that evaluate.py scored, and test which reads better;
                      a run is an id, its beginning or `last`: compare 1a2b 3c4d output=DIR
  reproduce NAME …    make a recorded result again: line/copiste data.root=DIR evaluates published weights,
                      line/smoke --train trains; exit status 1 where it is not as recorded
  sync [FOLDER]       bring to the tracking server what it did not get while runs went on; FOLDER is outputs
  language-model …    make an n-gram model of text: FILE or data=alto data.root=DIR, --output MODEL.arpa;
                      see python -m hwr language-model --help
  confusion KEY=VALUE count what a recogniser misreads: data=alto data.root=DIR output=confusions.json;
                      published=DIR also writes the costs of edits as tables
  tune KEY=VALUE      choose a decoder's numbers on the validation split: decoder=beam data=alto data.root=DIR
  decoders KEY=VALUE  compare decoders on the same lines: data=alto data.root=DIR split=test

KEY=VALUE are those of train.py; see python train.py --cfg job."""

COMMANDS = (
    "transcribe",
    "inspect",
    "anchors",
    "models",
    "search",
    "compare",
    "reproduce",
    "sync",
    "language-model",
    "confusion",
    "tune",
    "decoders",
)  # modules of hwr.commands


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
