"""Drop from a requirements file what Linux on x86_64 does not install: `make lock` calls it.

linux_hashes.py REQUIREMENTS PYLOCK: uv wrote both. Hashes that PYLOCK lacks are of Pythons before 3.10.
"""

import re
import sys
from pathlib import Path

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

FILE = re.compile(r'/([^/"]+)", [^}]*sha256 = "([0-9a-f]{64})"')
HASH = re.compile(r" \\\n +--hash=sha256:([0-9a-f]{64})")
PYTHONS = {"py3", "cp310", "cp311", "cp312"}


def fits(file: str | None) -> bool:
    """Tell whether Python 3.10 to 3.12 on Linux with glibc on x86_64 can install `file`; sources always."""
    if file is None:
        return False
    try:
        tags = parse_wheel_filename(file)[3]
    except InvalidWheelFilename:
        return True
    return any(
        (tag.interpreter in PYTHONS or tag.abi == "abi3")
        and (tag.platform == "any" or re.fullmatch(r"(many)?linux.*_x86_64", tag.platform))
        for tag in tags
    )


def main(requirements: Path, pylock: Path) -> None:
    """Rewrite `requirements`; a package left without a file ends the program, unless it is for Windows."""
    files = {digest: name for name, digest in FILE.findall(pylock.read_text())}
    kept = []
    for entry in re.split(r"\n(?=\S)", requirements.read_text()):
        rest = HASH.sub(lambda found: found[0] if fits(files.get(found[1])) else "", entry)
        if entry.startswith("#") or "--hash" in rest:
            kept.append(rest)
        elif "sys_platform == 'win32'" not in entry:
            sys.exit(f"{requirements}: no file for Linux on x86_64 of {entry.splitlines()[0]}")
    requirements.write_text("\n".join(kept).rstrip() + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
