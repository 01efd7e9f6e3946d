"""The thread that reads: parts of several jobs go together, and what fails fails alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from hwr.layout.cut import LineCut
from hwr.serving.service import ReadingProgress, Worker
from hwr.transcription import ReadLine
from hwr.transcription.page_reader import LineOnPage, Steps

BOX = (0.0, 0.0, 1.0, 1.0)


def lines(shade: int, count: int) -> list[LineOnPage]:
    return [LineOnPage(np.full((2, 2), shade, np.uint8), LineCut(BOX, (), ())) for _ in range(count)]


def job(shade: int, *counts: int) -> Steps[list[int]]:
    """Have so many lines read, then so many more; return how many were read each time."""
    sizes = []
    for count in counts:
        read = yield lines(shade, count)
        assert {line.text for line in read} <= {str(shade)}
        sizes.append(len(read))
    return sizes


class Reads:
    """Reads the shade of each page; an odd one cannot be read."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    def __call__(self, asked: Sequence[LineOnPage]) -> list[ReadLine]:
        shades = [int(line.page[0, 0]) for line in asked]
        self.calls.append(shades)
        if any(shade % 2 for shade in shades):
            raise ValueError("odd")
        return [ReadLine(str(shade), BOX, (), (), 1.0, ()) for shade in shades]


def test_jobs_take_turns_and_share_the_calls() -> None:
    reads = Reads()
    gate: Any = reads
    worker = Worker(gate, at_once=2, part=2)
    with worker._changed:  # both are there before the first is begun
        futures = [worker.submit(job(2, 3, 0, 1)), worker.submit(job(4, 1)), worker.submit(job(6, 1))]
    worker.close()
    assert [future.result() for future in futures] == [[3, 0, 1], [1], [1]]
    assert reads.calls == [[2, 2, 4], [2, 6], [2]]


def test_job_that_fails_harms_no_other() -> None:
    def broken() -> Steps[None]:
        yield lines(2, 1)
        raise KeyError("broken")

    worker = Worker(Reads(), at_once=4, part=2)
    with worker._changed:
        odd, sound, failing = worker.submit(job(3, 2)), worker.submit(job(2, 2, 2)), worker.submit(broken())
    worker.close()
    assert sound.result() == [2, 2]
    with pytest.raises(ValueError, match="odd"):
        odd.result()
    with pytest.raises(KeyError):
        failing.result()


def test_progress_tells_what_was_read_so_far() -> None:
    seen = []
    progress = ReadingProgress()

    def read(asked: Sequence[LineOnPage]) -> list[ReadLine]:
        seen.append((len(progress.read), len(progress.lines)))
        return Reads()(asked)

    worker = Worker(read, at_once=1, part=2)
    worker.submit(job(2, 3), progress).result()
    worker.close()
    assert seen == [(0, 3), (2, 3)]
