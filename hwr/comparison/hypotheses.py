"""Read what another system made of the lines: a table of ids and texts, or a folder of ALTO or PAGE."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hwr.comparison.recorded import ComparedRun
from hwr.config.roots import CompareConfig
from hwr.data.records import Dataset
from hwr.data.sources.alto import alto_page
from hwr.data.sources.pagexml import read_pagexml
from hwr.data.sources.xml import read_pages
from hwr.errors import InputError
from hwr.files import make_folder, path_exists, read_text
from hwr.scoring import report
from hwr.scoring.report import RATES, Texts, score_texts
from hwr.tables import ABSENT

_READERS: tuple[Callable[..., Dataset], ...] = (
    partial(read_pages, name="alto", page=alto_page),
    read_pagexml,
)
_COLUMNS = ("text", "hypothesis")  # of a table with a header, the first that it has
_KEPT = ("target", "split", "data_fingerprint", "pairing")  # of the run on whose lines they are scored


def names_hypotheses(name: str) -> bool:
    """Tell whether a word names a file or folder, not a run."""
    is_run = re.fullmatch(r"last|[0-9a-f]{1,32}", name)
    return "/" in name or bool(Path(name).suffix) or (not is_run and path_exists(name))


def score_hypotheses(
    path: Path, label: str, base: ComparedRun, config: CompareConfig, folder: Path
) -> ComparedRun:
    """Score the texts in a file or folder on the lines that `base` read, with files in `folder`.

    Lines that it lacks count as empty. Raises InputError for what cannot be read, and where no id is one of
    a line.
    """
    if not base.lines:
        raise InputError(f"{path}: texts, and run {base.short} found boxes; compare runs that read text")
    texts = read_hypotheses(path)
    true = {name: line for name, line in base.lines.items() if line.reference}
    missing, unknown = (
        [name for name in one if name not in two] for one, two in ((true, texts), (texts, true))
    )
    if len(missing) == len(true):
        ids = f"its ids are like {next(iter(unknown), '')!r}, those of run {base.short} like {missing[0]!r}"
        raise InputError(f"{path}: none of the lines that are scored; {ids}; give the same ids")
    made = Texts(
        {name: line.reference for name, line in true.items()},
        {name: texts.get(name, "") for name in true},
        {name: line.writer for name, line in true.items()},
        _groups(base),
    )
    about = {key: base.scores[key] for key in _KEPT if key in base.scores}
    about |= {"weights_sha256": [], "hypotheses": str(path), "missing": missing, "unknown": unknown}
    output = folder / f"hypotheses {label}"
    make_folder(output)
    scores = score_texts(made, config.scorer, config.resampling, output=output, about=about)
    where = "test" if config.split == "test" else f"evaluation/{config.split}"
    groups = scores.summary["groups"].items()
    by_group = {f"{where}/{rate}/{name}": own[rate] for rate in RATES for name, own in groups}
    return ComparedRun(
        label=label, id=str(path), name=path.name, started=ABSENT, parameters={}, tags={}, environment={},
        metrics={f"{where}/cer": scores.cer, f"{where}/wer": scores.wer, **by_group}, data={},
        scores=scores.summary,
        lines={line.id: line for line in report.read_lines(output / report.LINES)}, line_pictures=None,
    )  # fmt: skip


def _groups(base: ComparedRun) -> dict[str, str]:
    """Return the set of each line where the run read several, whose names begin the ids of their lines."""
    sets, found = base.scores.get("groups", {}), {name: name.partition("/")[0] for name in base.lines}
    return found if len(sets) > 1 and {*found.values()} <= {*sets} else {}


def read_hypotheses(path: Path) -> dict[str, str]:
    """Return the texts of a file or folder by line id; InputError for what is none, and for an id twice."""
    return _of_folder(path) if path.is_dir() else _of_table(path)


def _of_table(path: Path) -> dict[str, str]:
    rows = [line.split("\t") for line in read_text(path).splitlines()]
    if rows and rows[0][0] == "id" and (named := [own for own in _COLUMNS if own in rows[0]]):
        column = rows[0].index(named[0])
        if "reference" in rows[0]:  # lines.tsv of this project, which escapes tabs
            return {line["id"]: line["hypothesis"] for line in report.read_tsv(path)}
        wide, first = len(rows[0]), 1
    else:
        column, wide, first = 1, 2, 0
    texts: dict[str, str] = {}
    for number, row in enumerate(rows[first:], first + 1):
        if row == [""]:
            continue
        if len(row) != wide:
            raise InputError(f"{path}, line {number}: {len(row)} cells, not {wide}; write id, tab, text")
        _add(texts, row[0], row[column], f"{path}, line {number}")
    return texts


def _of_folder(path: Path) -> dict[str, str]:
    dataset = _pages(path)
    damaged = dataset.findings["damaged_file"]
    for note in damaged.values():
        raise InputError(f"{note}; {len(damaged)} such files in {path}")
    texts: dict[str, str] = {}
    for line in (line for page in dataset.pages for line in page.lines):
        _add(texts, line.id, line.text, str(path))
    return texts


def _pages(path: Path) -> Dataset:
    """Return the pages of a folder of ALTO, or of PAGE."""
    errors = []
    for read in _READERS:
        try:
            return read(path, splits="none", shares=(0.0, 0.0, 1.0), seed=0)
        except InputError as error:
            errors.append(error)
    raise InputError(f"{path}: no hypotheses in ALTO or PAGE ({errors[0]})")


def _add(texts: dict[str, str], name: str, text: str, where: str) -> None:
    if name in texts:
        raise InputError(f"{where}: line {name} occurs twice; keep one text of it")
    texts[name] = text
