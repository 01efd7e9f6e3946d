"""The script that makes text of Littré's dictionary: quotations, no old French, no foreign signs."""

import gzip
import runpy
from pathlib import Path

from hwr.config import EXPERIMENTS

QUOTATION = '<span foreground="#0000CD">{}</span>, <span foreground="#B22222">BOSSUET</span>'
KEPT = "Les peuples de l’antiquité déifiaient leurs défenseurs"
OLD = "Pour livres de soies de plusieurs couleurs et aiguillettes"
FOREIGN = "Le mot grec λόγος veut dire parole et raison à la fois"


def test_text_has_the_quotations_but_for_old_french_and_foreign_signs(tmp_path: Path) -> None:
    entry = f"{QUOTATION.format(KEPT)}\n{QUOTATION.format(FOREIGN)}\n<b><big>HISTORIQUE</big></b>\n"
    made = [QUOTATION.format(f"{KEPT} {number}") for number in range(20)]  # enough for a line
    text = "\n".join((*made, entry + QUOTATION.format(OLD), "<b><big>ÉTYMOLOGIE</big></b>\n"))
    source, output = tmp_path / "littre.dict.dz", tmp_path / "littre.txt"
    source.write_bytes(gzip.compress(text.encode()))
    runpy.run_path(str(EXPERIMENTS / "language" / "littre.py"))["main"](str(source), str(output))
    (line,) = output.read_text(encoding="utf-8").splitlines()
    assert "Les peuples de l'antiquité déifiaient leurs défenseurs 1" in line
    assert "soies" not in line
    assert "grec" not in line
    assert "BOSSUET" not in line
