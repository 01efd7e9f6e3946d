"""MAPSSWE from NIST SCTK: SClite's alignments of two systems, compared by sc_stats."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from hwr.errors import InputError
from hwr.scoring import sclite
from hwr.scoring.significance import MatchedPairs

# Both read it, so that nothing stands behind a line's last word: what the second inserts there is overlooked.
_END = "_end_"
_RESULT = re.compile(r"MTCH_PR_RESULTS .*\(# segs: (\d+)\).*\(Z Stat: +(-?[\d.]+)\)")


def matched_pairs(
    references: Mapping[str, str],
    first: Mapping[str, str],
    second: Mapping[str, str],
    *,
    command: str | None,
    timeout_s: float,
) -> MatchedPairs:
    """Return the matched-pairs test on the words of two systems' texts, all by line id.

    sc_stats lies beside SClite, whose `command` is given; it tells z to three decimals. Raises InputError
    where one of the two is missing, fails or takes longer than `timeout_s`.
    """
    for hypotheses in (first, second):
        sclite.check_ids(references, hypotheses)
    program = sclite.find(command)
    if all(references[line].split() == side[line].split() for side in (first, second) for line in references):
        return MatchedPairs(0, 0.0)  # of texts without any error sc_stats dies
    tokens = sclite.Tokens("words")
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        sides = {"ref": references, "first": first, "second": second}
        for name, texts in sides.items():
            lines = ([*tokens.of(texts[line]), _END] for line in references)
            (place / f"{name}.trn").write_text(sclite.transcript(lines), encoding="utf-8", newline="\n")
        aligned = b"".join(_aligned(program, name, place, timeout_s) for name in ("first", "second"))
        stats = str(Path(program).with_name("sc_stats"))
        how = ["-p", "-t", "mapsswe", "-v", "-n", "compared"]
        sclite.call([stats, *how], place, timeout_s, said=aligned)
        return _result(place)


def _aligned(program: str, name: str, place: Path, timeout_s: float) -> bytes:
    files = ["-r", "ref.trn", "trn", "-h", f"{name}.trn", "trn", name]
    how = ["-i", "rm", "-s", "-e", "utf-8", "-f", "0", "-o", "sgml", "stdout"]
    return sclite.call([program, *files, *how], place, timeout_s)


def _result(place: Path) -> MatchedPairs:
    try:
        said = (place / "compared.stats.mapsswe").read_text("utf-8", "replace")
        found = _RESULT.search(said)
    except OSError:
        found = None
    if found is None:
        raise InputError("sc_stats wrote no matched-pairs result; is scorer.command really SClite of SCTK?")
    return MatchedPairs(int(found[1]), float(found[2]))
