"""Transcribe page files: find them, name their outputs, read one page after the other."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import NoReturn

from PIL import Image
from tqdm import tqdm

from hwr.config.compose import Composed
from hwr.config.roots import TranscribeConfig
from hwr.errors import InputError
from hwr.files import as_input_error, replacing
from hwr.images import page_files
from hwr.images.load import IMAGE_SUFFIXES, GreyImage
from hwr.stages.build import find_weights
from hwr.transcription import export
from hwr.transcription.export.overlay import draw_overlay
from hwr.transcription.page_reader import STEPS, PageReader, build_page_reader
from hwr.transcription.transcript import ReadPage

SUFFIXES = (*IMAGE_SUFFIXES, ".pdf")  # taken from a folder
OVERLAY = ".overlay.png"


@dataclass(frozen=True)
class Job:
    """What is asked for: files, formats (names of `export.FORMATS`), and where outputs go.

    `output` None puts them beside the pages; `force` reads pages again whose outputs are there.
    """

    files: Sequence[Path]
    formats: Sequence[str]
    overlay: bool
    output: Path | None
    force: bool

    def targets(self, file: Path, number: int, pages: int) -> dict[str, Path]:
        """Return the output of each format of a page, 1-based of so many in its file."""
        folder, name = self.output or file.parent, page_name(file, number, pages)
        found = {kind: folder / f"{name}{export.SUFFIXES[kind]}" for kind in self.formats}
        return found | ({"overlay": folder / f"{name}{OVERLAY}"} if self.overlay else {})


def transcribe_files(
    composed: Composed,
    *,
    files: Sequence[str],
    format: Sequence[str],
    output: str | None,
    overlay: bool,
    force: bool,
) -> int:
    """Read pages, write what is on them, and return the exit status: 1 where a page failed, else 0."""
    formats = [name for names in format for name in names.split(",")] or ["txt"]
    folder = None if output is None else Path(output)
    job = Job(expand(files), list(dict.fromkeys(formats)), overlay, folder, force)
    return transcribe_pages(job, composed.root)


def expand(arguments: Sequence[str]) -> list[Path]:
    """Return the files that arguments name: files, folders (their images and PDFs), patterns.

    Raise InputError for one that names nothing.
    """
    files: list[Path] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            if not os.access(path, os.R_OK | os.X_OK):
                raise InputError(f"{path}: cannot be read; allow it or name its files")
            own = [file for file in _files(path.iterdir()) if file.suffix.lower() in SUFFIXES]
        elif has_magic(argument) and not path.exists():
            own = _files(map(Path, glob(argument, recursive=True)))  # noqa: PTH207
        else:
            own = [path]
        if not own:
            raise InputError(f"{argument}: no image or PDF there; give files, folders or patterns")
        files += own
    return list(dict.fromkeys(files))


def page_name(file: Path, number: int, pages: int) -> str:
    """Return what a page's outputs are called: as its file, with its number where that holds several."""
    return f"{file.stem}-{number:0{max(3, len(str(pages)))}d}" if pages > 1 else file.stem


def transcribe_pages(job: Job, config: TranscribeConfig) -> int:
    """Read the pages, write their outputs, and return the exit status: 1 where a page failed, else 0.

    A page that fails is named on standard error, and the rest goes on. Raise InputError for what no page
    could be read with: an unknown format, outputs that would overwrite each other, a folder that cannot be
    written, missing weights.
    """
    check(job)
    if job.output is not None:
        _make(job.output)
    failed, taken = 0, set[Path]()
    reader: PageReader | None = None
    with tqdm(total=len(job.files), desc="pages", unit="file", disable=None) as bar:
        for file, number, pages, problem in _pages(job.files, bar):
            if problem is None:
                targets = job.targets(file, number, pages)
                if not taken.isdisjoint(targets.values()):  # page 1 of a.tif, and a-001.png
                    problem = InputError(f"{file}: page {number} would be written over another; rename it")
            if problem is None:
                taken.update(targets.values())
                if not job.force and all(path.exists() for path in targets.values()):
                    continue
                reader = reader or _page_reader(config)  # its own failure is not a page's
                try:
                    _transcribe(reader, config, file, number, pages, targets)
                except InputError as error:
                    problem = error
            if problem is not None:
                failed += 1
                tqdm.write(f"error: {problem}", file=sys.stderr)
    if failed:
        print(f"{failed} of the pages could not be read", file=sys.stderr)
    return 1 if failed else 0


def check(job: Job) -> None:
    """Raise InputError for formats that are unknown, and for outputs that would overwrite each other."""
    for kind in job.formats:
        if kind not in export.FORMATS:
            raise InputError(f"--format {kind}: unknown; use one of {', '.join(export.FORMATS)}")
    counts = Counter((job.output or file.parent, file.stem) for file in job.files)
    for (folder, stem), count in counts.items():
        if count > 1:
            same = ", ".join(
                str(f) for f in job.files if f.stem == stem and (job.output or f.parent) == folder
            )
            raise InputError(
                f"{same} would all be written as {folder / stem}.*; rename them or use folders apart"
            )


def _files(paths: Iterable[Path]) -> list[Path]:
    """Return the files among `paths` but for hidden ones and the overlays of an earlier run."""
    return sorted(p for p in paths if p.is_file() and p.name[0] != "." and not p.name.endswith(OVERLAY))


def _pages(
    files: Sequence[Path], bar: "tqdm[NoReturn]"
) -> Iterator[tuple[Path, int, int, InputError | None]]:
    """Yield every page of every file: file, number, how many pages it has, or what is wrong with the file."""
    for file in files:
        bar.set_postfix_str(file.name, refresh=False)
        try:
            pages = page_files.count_pages(file)
        except InputError as error:
            yield file, 1, 1, error
        else:
            for number in range(1, pages + 1):
                yield file, number, pages, None
        bar.update()


def _page_reader(config: TranscribeConfig) -> PageReader:
    return build_page_reader(
        {step: find_weights(getattr(config.weights, step), step, config) for step in STEPS}, config
    )


def _transcribe(
    reader: PageReader,
    config: TranscribeConfig,
    file: Path,
    number: int,
    pages: int,
    targets: dict[str, Path],
) -> None:
    image = page_files.load_page(file, config.loading, number)
    size = page_files.upright_size(file, number, pdf_dpi=config.pdf_dpi)  # that of the file, not as reduced
    read = reader(image).page(page_name(file, number, pages), file.name, number, size)
    _write(image, read, targets, config.overlay_width)


def _write(image: GreyImage, read: ReadPage, targets: dict[str, Path], overlay_width: int) -> None:
    """Write all outputs of a page beside their places, then move them there: all of them whole, or none."""
    folder = next(iter(targets.values())).parent
    with as_input_error(folder, "choose another --output"), ExitStack() as moves:
        for kind, path in targets.items():
            fresh = moves.enter_context(replacing(path))
            if kind == "overlay":
                Image.fromarray(draw_overlay(image, read, overlay_width)).save(fresh, "PNG")
            else:
                fresh.write_text(export.FORMATS[kind](read), encoding="utf-8", newline="\n")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); choose another --output") from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder}: cannot be written; choose another --output")
