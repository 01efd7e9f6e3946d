"""Make the text that `language/french` is mixed with: quotations of Littré's dictionary (public domain).

    apt-get download stardict-xmlittre && dpkg -x stardict-xmlittre*.deb FOLDER
    python experiments/language/littre.py FOLDER/usr/share/stardict/dic/XMLittre.dict.dz littre.txt

Émile Littré, "Dictionnaire de la langue française" (1873-77), in François Gannaz's XMLittré. Quotations of
old French are left out. Lines hold several quotations, so that the record of a model stays small.
"""

import gzip
import random
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

CHARACTERS = 4_000_000  # about as many are drawn
LINE = 600  # characters of a line at least
PLAIN = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "«": '"', "»": '"', "–": "-", "—": "-"})
KNOWN = re.compile(r"""[A-Za-z0-9 !"%&'()+,\-./:;=?°ÀÂÄÆÇÈÉÊËÎÏÔÖÙÛÜŒàâäæçèéêëîïôöùûüœ]{25,}""")


def quotations(dictionary: str) -> Iterator[str]:
    """Yield the quotations, but for those of the sections on a word's history."""
    modern = re.sub(
        r"<b><big>HISTORIQUE</big></b>.*?(?=<b><big>|<i><small>|\Z)", "", dictionary, flags=re.DOTALL
    )
    yield from re.findall(r'<span foreground="#0000CD">(.*?)</span>', modern, flags=re.DOTALL)


def lines(passages: Iterable[str]) -> Iterator[str]:
    """Yield lines of whole passages, drawn from those that have known characters only."""
    texts = (unicodedata.normalize("NFC", re.sub(r"<[^>]*>", "", own)).translate(PLAIN) for own in passages)
    spaced = (re.sub(r" ([,.)])", r"\1", " ".join(own.split())) for own in texts)
    found = sorted({own for own in spaced if KNOWN.fullmatch(own)})
    random.Random(0).shuffle(found)
    line, count = "", 0
    for own in found:
        line = f"{line} {own}{'' if own[-1] in '.,:;!?' else '.'}".strip()
        if len(line) >= LINE:
            yield line
            count, line = count + len(line), ""
        if count >= CHARACTERS:
            return


def main(source: str, output: str) -> None:
    """Read the dictionary file `source`, and write lines of quotations to `output`."""
    with gzip.open(source, "rt", encoding="utf-8") as file:
        passages = quotations(file.read())
    Path(output).write_text("".join(f"{line}\n" for line in lines(passages)), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
