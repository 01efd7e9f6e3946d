"""python -m hwr reproduce: a recorded result, made again and held to what is recorded."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hwr import runtime
from hwr.errors import InputError


def run(arguments: Sequence[str]) -> None:
    """Evaluate published weights again, or train again; exit with 1 where a figure is not as recorded."""
    given = _parsed(arguments)
    if any(os.environ.get(name) != value for name, value in runtime.PINNED.items()):
        raise SystemExit(_in_a_process_of_its_own(arguments))
    runtime.start()  # MXNet takes seconds: --help need not wait
    from hwr.published import reproduce

    name = reproduce.name_of(given.name)
    if given.record is not None:
        _write(given.record, json.dumps(reproduce.trained(name, given.overrides), indent=1) + "\n")
        print(f"\n{name}: written to {given.record}")
        return
    make = reproduce.train if given.train else reproduce.evaluate
    outcome = make(name, given.overrides)
    print(f"\n{name}: {outcome.table()}")
    raise SystemExit(0 if outcome.kept else 1)


def _in_a_process_of_its_own(arguments: Sequence[str]) -> int:
    """Start over with what is pinned in the environment: libraries read it when they are imported."""
    command = [sys.executable, "-m", "hwr", "reproduce", *arguments]
    return subprocess.run(command, env={**os.environ, **runtime.PINNED}, check=False).returncode


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m hwr reproduce", description="Make a recorded result again.")
    parser.add_argument("name", help="of an experiment: line/copiste, or experiments/line/copiste")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="data.root=DIR, folder=… (with --train keys of train.py)",
    )
    parser.add_argument("--train", action="store_true", help="train it again, and compare the whole curve")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="train it, compare nothing, and write the record to FILE"
    )
    return parser.parse_intermixed_args(arguments)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"--record {path}: cannot be written ({error.strerror}); choose another file"
        ) from None
