"""Counts from NIST SClite, its input escaped so that it counts what is written and sees no mark-up."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hwr.errors import InputError
from hwr.scoring.counts import Counts

Unit = Literal["characters", "words"]

SPACE = "␣"  # the token of a space; a real ␣ is escaped
_PLAIN = frozenset(".,!?'-")  # punctuation that SClite and its sgml report leave alone; the rest is escaped
_LONGEST = 40  # bytes; from 1,000 on SClite fills the disk with an alignment report that never ends
_DEBIAN = Path("/usr/lib/sctk/bin/sclite")  # outside PATH
_UTTERANCE = re.compile(
    r"^id: \(line-(\d+)\)\n(?:[^\n]+\n)*?Scores: \(#C #S #D #I\) (\d+) (\d+) (\d+) (\d+)$", re.MULTILINE
)
_SUM = re.compile(r"^ *\| Sum +\| *(\d+) +(\d+) *\| *(\d+) +(\d+) +(\d+) +(\d+) +\d+ +\d+ *\|$", re.MULTILINE)


@dataclass(frozen=True)
class Result:
    """What SClite counted, by line id and in all; `files` are the reports kept."""

    lines: dict[str, Counts]
    total: Counts
    files: tuple[Path, ...]


def score(
    references: Mapping[str, str],
    hypotheses: Mapping[str, str],
    *,
    unit: Unit,
    command: str | None,
    timeout_s: float,
    folder: Path | None = None,
) -> Result:
    """Score `hypotheses` (line id -> text) against `references`; case matters, neither side is normalised.

    Words are white-space separated, punctuation attached. Ids are free text: in SClite's files line 1 of
    `references` is `line-000001`. With a `folder`, SClite's input and reports stay there: `{unit}.ref.trn`,
    `{unit}.hyp.trn`, `{unit}.raw` (sums), `{unit}.pra` (alignments), `{unit}.dtl` (confusions). Raise
    InputError when the id sets differ and when SClite is missing, fails or takes longer than `timeout_s`.
    """
    check_ids(references, hypotheses)
    program = find(command)
    if not references:
        return Result({}, Counts(), ())
    tokens = Tokens(unit)
    sides = [[tokens.of(side[line]) for line in references] for side in (references, hypotheses)]
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        for name, lines in zip(("ref", "hyp"), sides, strict=True):
            (place / f"{unit}.{name}.trn").write_text(transcript(lines), encoding="utf-8", newline="\n")
        _run(program, unit, place, timeout_s)
        counts, total = _counts(place, unit)
        _check(list(references), sides, counts)
        files = _keep(place, folder) if folder is not None else ()
    return Result(dict(zip(references, counts, strict=True)), total, files)


def check_ids(references: Mapping[str, str], hypotheses: Mapping[str, str]) -> None:
    """Raise InputError naming the ids that only one side has: SClite itself passes over them in silence."""
    for here, there, side in ((references, hypotheses, "hypothesis"), (hypotheses, references, "reference")):
        lacking = [line for line in here if line not in there]
        if lacking:
            shown = ", ".join(map(repr, lacking[:5])) + (" …" if len(lacking) > 5 else "")
            raise InputError(
                f"{len(lacking)} lines have no {side} ({shown}); every line needs both, an empty text counts"
            )


def find(command: str | None) -> str:
    """Return the path of `command`, or of SClite (PATH, then Debian's place); InputError if there is none."""
    program = shutil.which(command or "sclite") or (command is None and shutil.which(_DEBIAN)) or None
    if program is None:
        raise InputError(
            f"SClite ({command or 'sclite'}) is not installed: apt-get install sctk, or build src/sclite of"
            " github.com/usnistgov/SCTK and set scorer.command to it; scorer=edit_distance counts without it"
        )
    return str(Path(program).absolute())


def escape(text: str) -> str:
    """Return `text` with all but letters, digits and .,!?'- as `_HEX_`; distinct texts stay distinct."""
    return "".join(c if c.isalnum() or c in _PLAIN else f"_{ord(c):x}_" for c in text)


class Tokens:
    """Texts as SClite tokens: one a character or a word, and short, whatever the text."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._long: dict[str, str] = {}

    def of(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        if self._unit == "words":
            return [self._short(escape(word)) for word in text.split()]
        return [SPACE if character == " " else escape(character) for character in text]

    def _short(self, token: str) -> str:
        if len(token.encode()) <= _LONGEST:
            return token
        return self._long.setdefault(token, f"_w{len(self._long) + 1}_")  # w: not a hexadecimal digit


def transcript(lines: Iterable[list[str]]) -> str:
    """Return a trn file; every line ends with a newline, for SClite loses a last line without."""
    numbered = enumerate(lines, 1)
    return "".join(" ".join([*tokens, f"(line-{number:06d})"]) + "\n" for number, tokens in numbered)


def _run(program: str, unit: Unit, place: Path, timeout_s: float) -> None:
    """Run SClite in `place`: -s keeps case, and no -c, which would drop spaces."""
    files = ["-r", f"{unit}.ref.trn", "trn", "-h", f"{unit}.hyp.trn", "trn", unit]
    how = ["-i", "rm", "-s", "-e", "utf-8", "-f", "0", "-n", unit, "-O", ".", "-o", "rsum", "pra", "dtl"]
    call([program, *files, *how], place, timeout_s)


def call(command: Sequence[str], place: Path, timeout_s: float, *, said: bytes = b"") -> bytes:
    """Run a program of SCTK in `place`, `said` on its standard input; return what it prints.

    Raises InputError where it is missing, fails or takes longer than `timeout_s`.
    """
    program = command[0]
    try:
        done = subprocess.run(
            command,
            cwd=place,
            env={**os.environ, "LC_ALL": "C"},
            input=said,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"{program} took more than {timeout_s:g} s; raise scorer.timeout_s") from None
    except OSError as error:
        raise InputError(f"{program} does not run ({error.strerror}); set scorer.command to SClite") from None
    if done.returncode != 0:
        line = (done.stderr or done.stdout).decode(errors="replace").strip().replace("\n", " ")
        raise InputError(f"{program} failed with status {done.returncode}: {line[:300]}")
    return done.stdout


def _counts(place: Path, unit: Unit) -> tuple[list[Counts], Counts]:
    """Read the lines' counts, in order, from the alignments; hold their sum against the Sum row."""
    try:
        reports = [(place / f"{unit}.{kind}").read_text("utf-8", "replace") for kind in ("pra", "raw")]
    except OSError:
        raise InputError("SClite wrote no report; is scorer.command really SClite?") from None
    found = {int(number): _row(*map(int, row)) for number, *row in _UTTERANCE.findall(reports[0])}
    rows = [found[number] for number in sorted(found)]
    total = _SUM.search(reports[1])
    if total is None:
        raise InputError("SClite's summary has no Sum row; is scorer.command really SClite?")
    lines, reference, *row = map(int, total.groups())
    if (len(rows), Counts.total(rows)) != (lines, _row(*row)) or reference != _row(*row).reference:
        raise InputError(
            f"SClite's lines sum to {Counts.total(rows)} over {len(rows)}, its Sum row is {total[0]!r}"
        )
    return rows, Counts.total(rows)


def _row(correct: int, substitutions: int, deletions: int, insertions: int) -> Counts:
    return Counts(correct + substitutions + deletions, substitutions, deletions, insertions)


def _check(ids: list[str], sides: list[list[list[str]]], counts: list[Counts]) -> None:
    """Raise InputError unless SClite saw every line, and each with the tokens it was given."""
    if len(counts) != len(ids):
        raise InputError(f"SClite read {len(counts)} of {len(ids)} lines; is scorer.command really SClite?")
    for line, reference, hypothesis, seen in zip(ids, *sides, counts, strict=True):
        written = seen.reference - seen.deletions + seen.insertions
        if (seen.reference, written) != (len(reference), len(hypothesis)):
            raise InputError(f"SClite read line {line!r} otherwise than it was written: {seen}")


def _keep(place: Path, folder: Path) -> tuple[Path, ...]:
    """Copy all files to `folder`; return their new paths."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tuple(Path(shutil.copy(file, folder)) for file in sorted(place.iterdir()))
    except OSError as error:
        raise InputError(f"cannot write SClite's reports to {folder}: {error.strerror}") from None
