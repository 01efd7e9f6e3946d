"""The fingerprint changes with everything a data set says, and with nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest

from hwr.data.records import Line, Page, Word, fingerprint


def page(folder: Path) -> Page:
    folder.mkdir(exist_ok=True)
    image = folder / "p.png"
    image.write_bytes(b"pixels")
    word = Word("w", "to", (0.1, 0.1, 0.2, 0.2))
    line = Line(
        "l",
        "to be",
        (0.1, 0.1, 0.9, 0.2),
        ((0.1, 0.1), (0.9, 0.1), (0.5, 0.2)),
        ((0.1, 0.2), (0.9, 0.2)),
        "",
        (word,),
    )
    return Page("p", "ann", "train", image, (100, 200), (line,))


def test_fingerprint_is_sixty_four_hexadecimal_digits(tmp_path: Path) -> None:
    assert len(bytes.fromhex(fingerprint([page(tmp_path)]))) == 32


def test_fingerprint_stays_when_the_files_move(tmp_path: Path) -> None:
    assert fingerprint([page(tmp_path / "a")]) == fingerprint([page(tmp_path / "b")])


@pytest.mark.parametrize(
    "change", [{"id": "q"}, {"writer": "bob"}, {"split": "test"}, {"lines": ()}, {"area": (0, 0, 1, 1)}]
)
def test_fingerprint_changes_with_the_page(tmp_path: Path, change: dict[str, object]) -> None:
    first = page(tmp_path)
    assert fingerprint([replace(first, **change)]) != fingerprint([first])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"id": "m"},
        {"text": "or not"},
        {"box": (0.1, 0.1, 0.9, 0.3)},
        {"polygon": ()},
        {"baseline": ()},
        {"kind": "consent"},
        {"segmented": False},
        {"words": ()},
    ],
)
def test_fingerprint_changes_with_the_line(tmp_path: Path, change: dict[str, object]) -> None:
    first = page(tmp_path)
    changed = replace(first, lines=(replace(first.lines[0], **change),))  # type: ignore[arg-type]
    assert fingerprint([changed]) != fingerprint([first])


def test_fingerprint_changes_with_the_image(tmp_path: Path) -> None:
    first = page(tmp_path)
    before = fingerprint([first])
    first.image.write_bytes(b"pixelz")
    assert fingerprint([first]) != before


def test_fingerprint_counts_a_missing_image_as_unreadable(tmp_path: Path) -> None:
    first = page(tmp_path)
    before = fingerprint([first])
    first.image.unlink()
    assert fingerprint([first]) != before


def test_fingerprint_cannot_be_fooled_by_moving_text_across_a_border(tmp_path: Path) -> None:
    first = page(tmp_path)
    assert fingerprint([replace(first, id="pa", writer="nn")]) != fingerprint(
        [replace(first, id="p", writer="ann")]
    )
