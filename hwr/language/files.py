"""Where the files of a language are: in a published folder (language/copiste), another folder, or a file."""

from pathlib import Path

from hwr.errors import InputError

MODEL, WORDS, CONFUSIONS = "model.arpa", "words.tsv", "confusions.json"

_PUBLISHED = Path(__file__).resolve().parents[2] / "experiments"


def find(name: str, file: str) -> Path:
    """Return the file that `name` gives: a file, or a folder or published name that holds `file`.

    Raises InputError where there is none.
    """
    for path in (Path(name) / file, Path(name), _PUBLISHED / name / file):
        if path.is_file():
            return path
    known = sorted(path.parent.relative_to(_PUBLISHED).as_posix() for path in _PUBLISHED.glob(f"*/*/{file}"))
    published = f", or one of {', '.join(known)}" if known else ""
    raise InputError(f"{name}: no such file, and no folder with {file}; name one{published}")
