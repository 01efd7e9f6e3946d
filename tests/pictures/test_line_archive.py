from pathlib import Path

import numpy as np
import pytest

from hwr.errors import InputError
from hwr.pictures import line_archive


def line(grey: int, height: int = 20, width: int = 60) -> np.ndarray:
    return np.full((height, width), grey, np.uint8)


def test_lines_come_back_by_their_number(tmp_path: Path) -> None:
    line_archive.save_lines(tmp_path / "lines.zip", [line(50), line(200), line(120)], height=20)
    found = line_archive.load_lines(tmp_path / "lines.zip", [2, 0])
    assert [image.shape for image in found] == [(20, 60), (20, 60)]
    assert [round(float(image.mean()), -1) for image in found] == [120, 50]


def test_high_lines_are_scaled_down_and_low_ones_kept(tmp_path: Path) -> None:
    line_archive.save_lines(tmp_path / "lines.zip", [line(50, 40, 100), line(50, 8, 30)], height=10)
    assert [image.shape for image in line_archive.load_lines(tmp_path / "lines.zip", [0, 1])] == [
        (10, 25),
        (8, 30),
    ]


def test_same_lines_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        line_archive.save_lines(tmp_path / name, [line(50), line(80)], height=20)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_missing_line_is_refused(tmp_path: Path) -> None:
    line_archive.save_lines(tmp_path / "lines.zip", [line(50)], height=20)
    with pytest.raises(InputError, match=r"lines\.zip: no pictures of these lines"):
        line_archive.load_lines(tmp_path / "lines.zip", [1])


@pytest.mark.parametrize("content", [None, b"no zip file"])
def test_file_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "lines.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"lines\.zip: no pictures of these lines"):
        line_archive.load_lines(tmp_path / "lines.zip", [0])
