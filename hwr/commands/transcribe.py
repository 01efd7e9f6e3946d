"""python -m hwr transcribe: pages to text, ALTO, PAGE and JSON."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from hwr.config.compose import composed
from hwr.config.roots import TranscribeConfig


def run(arguments: Sequence[str]) -> None:
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
    from hwr.transcription import files as transcribing

    formats = [name for names in given.format for name in names.split(",")] or ["txt"]
    files = transcribing.expand(given.files)
    job = transcribing.Job(files, list(dict.fromkeys(formats)), given.overlay, given.output, given.force)
    raise SystemExit(transcribing.run(job, config))
