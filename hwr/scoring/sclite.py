"""Run SClite of NIST's SCTK on escaped texts, and read its counts; run MAPSSWE with SCTK's sc_stats."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from hwr.config.roots import Scorer
from hwr.errors import InputError
from hwr.files import as_input_error, scratch_folder
from hwr.scoring.edits import Counts
from hwr.scoring.significance import MatchedPairs

Unit = Literal["characters", "words"]
Texts = Mapping[str, str]  # by line id

SPACE = "␣"  # the token of a space; a real ␣ is escaped
_PLAIN = frozenset(".,!?'-")  # punctuation that SClite and its sgml report leave alone; the rest is escaped
_LONGEST = 40  # bytes; from 1,000 on SClite fills the disk with an alignment report that never ends
_DEBIAN = Path("/usr/lib/sctk/bin/sclite")  # outside PATH
_UTTERANCE = re.compile(
    r"^id: \(line-(\d+)\)\n(?:[^\n]+\n)*?Scores: \(#C #S #D #I\) (\d+) (\d+) (\d+) (\d+)$", re.MULTILINE
)
_MATCHED_PAIRS = re.compile(r"MTCH_PR_RESULTS .*\(# segs: (\d+)\).*\(Z Stat: +(-?[\d.]+)\)")
# Both systems read it at the end of every line: what the second inserts there, sc_stats overlooks.
_END = "_end_"
_SUM = re.compile(r"^ *\| Sum +\| *(\d+) +(\d+) *\| *(\d+) +(\d+) +(\d+) +(\d+) +\d+ +\d+ *\|$", re.MULTILINE)


def count_with_sclite(
    references: Texts, hypotheses: Texts, scorer: Scorer, *, unit: Unit, folder: Path | None = None
) -> dict[str, Counts]:
    """Count the edits of `hypotheses` against `references` by id; case matters, neither side is normalised.

    Words are white-space separated, punctuation attached. Ids are free text: in SClite's files line 1 of
    `references` is `line-000001`. With a `folder`, SClite's input and reports stay there: `{unit}.ref.trn`,
    `{unit}.hyp.trn`, `{unit}.raw` (sums), `{unit}.pra` (alignments), `{unit}.dtl` (confusions). Raise
    InputError when the id sets differ and when SClite is missing, fails or takes too long.
    """
    check_ids(references, hypotheses)
    program = find_sclite(scorer.command)
    if not references:
        return {}
    tokens = _Tokens(unit)
    sides = [[tokens.of(side[line]) for line in references] for side in (references, hypotheses)]
    with scratch_folder() as scratch:
        for side, lines in zip(("ref", "hyp"), sides, strict=True):
            _write_trn(scratch / f"{unit}.{side}.trn", lines)
        reports = ["-f", "0", "-n", unit, "-O", ".", "-o", "rsum", "pra", "dtl"]
        _align(program, (f"{unit}.ref.trn", f"{unit}.hyp.trn", unit), reports, scratch, scorer.timeout_s)
        counts = _read_counts(scratch, unit)
        _check_counts(list(references), sides, counts)
        if folder is not None:
            with as_input_error(folder, "choose another output="):
                folder.mkdir(parents=True, exist_ok=True)
                for file in scratch.iterdir():
                    shutil.copy(file, folder)
    return dict(zip(references, counts, strict=True))


def sctk_matched_pairs(references: Texts, first: Texts, second: Texts, scorer: Scorer) -> MatchedPairs:
    """Return the matched-pairs test on the words of two systems' texts, made by SCTK's sc_stats.

    sc_stats lies beside SClite; it tells z to three decimals. Raises InputError where one of the two is
    missing, fails or takes too long.
    """
    for hypotheses in (first, second):
        check_ids(references, hypotheses)
    program = find_sclite(scorer.command)
    if all(references[line].split() == side[line].split() for side in (first, second) for line in references):
        return MatchedPairs(0, 0.0)  # of texts without any error sc_stats dies
    tokens, timeout_s = _Tokens("words"), scorer.timeout_s
    with scratch_folder() as scratch:
        for side, texts in {"ref": references, "first": first, "second": second}.items():
            _write_trn(scratch / f"{side}.trn", ([*tokens.of(texts[line]), _END] for line in references))
        how, sides = ["-f", "0", "-o", "sgml", "stdout"], ("first", "second")
        aligned = [_align(program, ("ref.trn", f"{s}.trn", s), how, scratch, timeout_s) for s in sides]
        stats = str(Path(program).with_name("sc_stats"))
        command = [stats, "-p", "-t", "mapsswe", "-v", "-n", "compared"]
        _run_sctk(command, scratch, timeout_s, given=b"".join(aligned))
        report = scratch / "compared.stats.mapsswe"
        found = _MATCHED_PAIRS.search(report.read_text("utf-8", "replace") if report.is_file() else "")
    if found is None:
        raise InputError("sc_stats wrote no matched-pairs result; is scorer.command really SClite of SCTK?")
    return MatchedPairs(int(found[1]), float(found[2]))


def check_ids(references: Texts, hypotheses: Texts) -> None:
    """Raise InputError naming the ids that only one side has; SClite would ignore them silently."""
    for here, there, side in ((references, hypotheses, "hypothesis"), (hypotheses, references, "reference")):
        lacking = [line for line in here if line not in there]
        if lacking:
            shown = ", ".join(map(repr, lacking[:5])) + (" …" if len(lacking) > 5 else "")
            raise InputError(
                f"{len(lacking)} lines have no {side} ({shown}); every line needs both, an empty text counts"
            )


def check_scorer(scorer: Scorer) -> None:
    """Raise InputError where SClite is wanted and cannot work; call it before lines are read."""
    if scorer.name == "sclite":
        find_sclite(scorer.command)
        with scratch_folder():
            pass


def find_sclite(command: str | None) -> str:
    """Return the path of `command`, or of SClite (PATH, then Debian's place); InputError if there is none."""
    program = shutil.which(command or "sclite") or (command is None and shutil.which(_DEBIAN)) or None
    if program is None:
        raise InputError(
            f"SClite ({command or 'sclite'}) is not installed: apt-get install sctk, or build src/sclite of"
            " github.com/usnistgov/SCTK and set scorer.command to it; scorer=edit_distance counts without it"
        )
    return str(Path(program).absolute())


def _escape(text: str) -> str:
    """Return `text` with all but letters, digits and .,!?'- as `_HEX_`; distinct texts stay distinct."""
    return "".join(c if c.isalnum() or c in _PLAIN else f"_{ord(c):x}_" for c in text)


class _Tokens:
    """Texts as SClite tokens: one a character or a word, and short, whatever the text."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._long: dict[str, str] = {}

    def of(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        if self._unit == "words":
            return [self._short(_escape(word)) for word in text.split()]
        return [SPACE if character == " " else _escape(character) for character in text]

    def _short(self, token: str) -> str:
        if len(token.encode()) <= _LONGEST:
            return token
        return self._long.setdefault(token, f"_w{len(self._long) + 1}_")  # w: not a hexadecimal digit


def _write_trn(path: Path, lines: Iterable[list[str]]) -> None:
    """Write lines of tokens; every one ends with a newline, for SClite loses a last line without."""
    numbered = enumerate(lines, 1)
    text = "".join(" ".join([*tokens, f"(line-{number:06d})"]) + "\n" for number, tokens in numbered)
    path.write_text(text, encoding="utf-8", newline="\n")


def _align(
    program: str, files: tuple[str, str, str], reports: list[str], scratch: Path, timeout_s: float
) -> bytes:
    """Run SClite on reference, hypothesis and title: -s keeps case, and no -c, which would drop spaces."""
    reference, hypothesis, title = files
    sides = ["-r", reference, "trn", "-h", hypothesis, "trn", title]
    command = [program, *sides, "-i", "rm", "-s", "-e", "utf-8", *reports]
    return _run_sctk(command, scratch, timeout_s)


def _run_sctk(command: Sequence[str], scratch: Path, timeout_s: float, *, given: bytes = b"") -> bytes:
    """Run a program of SCTK in `scratch` and return what it prints; raise InputError where it fails."""
    program = command[0]
    try:
        done = subprocess.run(
            command, cwd=scratch, env={**os.environ, "LC_ALL": "C"}, input=given,
            capture_output=True, timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise InputError(f"{program} took more than {timeout_s:g} s; raise scorer.timeout_s") from None
    except OSError as error:
        raise InputError(f"{program} does not run ({error.strerror}); set scorer.command to SClite") from None
    if done.returncode != 0:
        line = (done.stderr or done.stdout).decode(errors="replace").strip().replace("\n", " ")
        raise InputError(f"{program} failed with status {done.returncode}: {line[:300]}")
    return done.stdout


def _read_counts(scratch: Path, unit: Unit) -> list[Counts]:
    """Read the lines' counts, in order, from the alignments; hold their sum against the Sum row."""
    try:
        reports = [(scratch / f"{unit}.{kind}").read_text("utf-8", "replace") for kind in ("pra", "raw")]
    except OSError:
        raise InputError("SClite wrote no report; is scorer.command really SClite?") from None
    found = {int(number): _row(*map(int, row)) for number, *row in _UTTERANCE.findall(reports[0])}
    rows = [found[number] for number in sorted(found)]
    total = _SUM.search(reports[1])
    if total is None:
        raise InputError("SClite's summary has no Sum row; is scorer.command really SClite?")
    lines, reference, *row = map(int, total.groups())
    if (len(rows), Counts.total(rows)) != (lines, _row(*row)) or reference != _row(*row).reference:
        pooled = f"{Counts.total(rows)} over {len(rows)}"
        raise InputError(f"SClite's lines sum to {pooled}, its Sum row is {total[0]!r}")
    return rows


def _row(correct: int, substitutions: int, deletions: int, insertions: int) -> Counts:
    return Counts(correct + substitutions + deletions, substitutions, deletions, insertions)


def _check_counts(ids: list[str], sides: list[list[list[str]]], counts: list[Counts]) -> None:
    """Raise InputError unless SClite saw every line, and each with the tokens it was given."""
    if len(counts) != len(ids):
        raise InputError(f"SClite read {len(counts)} of {len(ids)} lines; is scorer.command really SClite?")
    for line, reference, hypothesis, seen in zip(ids, *sides, counts, strict=True):
        written = seen.reference - seen.deletions + seen.insertions
        if (seen.reference, written) != (len(reference), len(hypothesis)):
            raise InputError(f"SClite read line {line!r} otherwise than it was written: {seen}")
