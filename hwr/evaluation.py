"""A whole evaluation: weights and data become readings, scores, pictures, and metrics of the weights' run."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hwr import pictures, runtime, tracking, weights
from hwr.binding import bind, make, target
from hwr.building import (
    check_characters,
    check_data,
    device,
    find_weights,
    line_network,
    line_set,
    lines_of,
    load_pages,
    reading_item,
    refuse_problems,
    steps_of,
)  # fmt: skip
from hwr.config import Composed, EvaluateConfig, TrainConfig, stored
from hwr.data import inspection
from hwr.data.cache import line_images
from hwr.data.fingerprint import fingerprint
from hwr.data.records import Line, Page
from hwr.data.samples import LineSet
from hwr.images import LineCrop
from hwr.published import publish
from hwr.scoring.bootstrap import Resampling
from hwr.scoring.report import Scorer, Scores, Texts, compare
from hwr.stages.line import LineReader
from hwr.tracking import Run, Store

CHUNK = 256  # lines between two moves of the progress bar


def run(composed: Composed) -> float:
    """Evaluate as configured, print the scores, and return the character error rate."""
    config: EvaluateConfig = composed.root
    check(config)
    scorer = make(Scorer, config.scorer, "scorer")
    scorer.check()
    runtime.start()
    output = Path(config.output)
    tracking.make_folder(output)
    store = tracking.open_store(config.tracking.uri, Path(config.folder), config.tracking.experiment)
    found = find_weights(config.weights.line, store, Path(config.folder))
    pages, lines = _lines(config, found)
    with _run_of(found, store, composed) as current:
        texts = _read(config, found, pages, lines)
        about = {"target": config.target, "split": config.split, "data_fingerprint": fingerprint(pages),
                 "weights": str(found.folder), "weights_sha256": found.sha256, "run": current.id}  # fmt: skip
        resampling = make(Resampling, config.resampling, "resampling")
        with _fresh_in(output) as fresh:
            scores = compare(texts, scorer, resampling, output=fresh, about=about)
            pictures.save(fresh / "lines.png", _picture(config, lines, texts, scores))
            current.folder(f"evaluation/{config.split}", fresh)
        current.metrics(_metrics(config.split, scores.summary), 0)
        current.flush()
        print(_table(config.split, scores.summary))
        if config.publish is not None:
            print(f"published in {publish(config.publish, found, scores.summary)}")
        print(f"written to {output}\nrun {current.id}\nlook: {current.url}")
    return scores.cer


def check(config: EvaluateConfig) -> None:
    """Raise InputError for settings that no part takes; before a folder is made or a page is read."""
    make(Scorer, config.scorer, "scorer")
    make(Resampling, config.resampling, "resampling")
    bind(target(config.decoder, "decoder"), config.decoder, "decoder", ["alphabet"])
    check_data(config.data)
    device(config.device)


def _lines(config: EvaluateConfig, found: weights.Weights) -> tuple[list[Page], LineSet]:
    trained: TrainConfig = stored(found.config, (), TrainConfig).root
    crop, cache = make(LineCrop, trained.stage.crop, "stage.crop"), Path(config.folder) / "cache"
    pages = [page for page in load_pages(config.data, cache) if page.split == config.split]
    lines_of(pages, config.split)  # refuses a split without any
    limits = inspection.Limits(crop=crop, steps=steps_of, max_pixels=config.max_pixels)
    pages = inspection.apply(pages, inspection.inspect(pages, limits), trained.inspect.policy)
    check_characters(lines_of(pages, config.split), found.alphabet, config.unknown)
    images = line_images(pages, crop, folder=cache, max_pixels=config.max_pixels, progress=True)
    refuse_problems(images)
    return pages, line_set(pages, images, config.split)


def _read(config: EvaluateConfig, found: weights.Weights, pages: Sequence[Page], lines: LineSet) -> Texts:
    trained: TrainConfig = stored(found.config, (), TrainConfig).root
    context = device(config.device)
    network = line_network(trained, found.alphabet, context)
    weights.fill(network, found)
    decoder = make(target(config.decoder, "decoder"), config.decoder, "decoder", alphabet=found.alphabet)
    reader = LineReader(network, batch_size=config.batch_size, context=context)
    read: list[str] = []
    for start in tqdm(range(0, len(lines.ids), CHUNK), desc="reading", unit=f"{CHUNK} lines", disable=None):
        read += [decoder(probs).text for probs in reader.probs(lines.images[start : start + CHUNK])]
    by_id: dict[str, tuple[Page, Line]] = {line.id: (page, line) for page in pages for line in page.lines}
    return Texts(
        dict(zip(lines.ids, lines.texts, strict=True)),
        dict(zip(lines.ids, read, strict=True)),
        {name: by_id[name][0].writer for name in lines.ids},
        {name: by_id[name][1].kind or "other" for name in lines.ids},
    )


def _picture(config: EvaluateConfig, lines: LineSet, texts: Texts, scores: Scores) -> NDArray[np.uint8]:
    """Draw the lines with the highest error rates, and those around the median."""
    ranked = sorted(range(len(lines.ids)), key=lambda i: -scores.characters[lines.ids[i]].rate)
    middle = max(0, len(ranked) // 2 - config.pictures // 2)
    groups = {"worst lines": ranked[: config.pictures], "median lines": ranked[middle:][: config.pictures]}

    def item(index: int) -> pictures.Reading:
        name = lines.ids[index]
        return reading_item(lines.images[index], name, texts.references[name], texts.hypotheses[name])

    return pictures.readings({title: [item(index) for index in group] for title, group in groups.items()})


@contextlib.contextmanager
def _fresh_in(output: Path) -> Iterator[Path]:
    """Give an empty folder whose content then takes its place in `output`, beside what else is there."""
    with tempfile.TemporaryDirectory(prefix=".", dir=output) as fresh:
        yield Path(fresh)
        for path in Path(fresh).iterdir():
            if path.is_dir():
                shutil.rmtree(output / path.name, ignore_errors=True)
            path.replace(output / path.name)


@contextlib.contextmanager
def _run_of(found: weights.Weights, store: Store, composed: Composed) -> Iterator[Run]:
    """Give the run that made the weights, or a new one that names them."""
    maker = str(found.about.get("run", ""))
    known = tracking.attach(store, maker) if maker else None
    if known is not None:
        yield known
        return
    tags = {"weights": composed.root.weights.line, "weights_sha256": found.sha256, "weights_run": maker}
    with tracking.run(store, f"evaluate {composed.root.target}", run_id=None, tags=tags) as fresh:
        fresh.parameters(composed.values)
        yield fresh


def _metrics(split: str, summary: dict[str, Any]) -> dict[str, float]:
    place = "test" if split == "test" else f"evaluation/{split}"  # valid/cer is a curve of the training
    plain = {f"{place}/{name}": value for name, value in summary.items() if isinstance(value, float)}
    groups = {f"{place}/{group}/cer": scores["cer"] for group, scores in summary["groups"].items()}
    return plain | (groups if len(groups) > 1 else {})


def _table(split: str, summary: dict[str, Any]) -> str:
    rows = [f"{split}: {summary['lines']} lines, scored by {summary['scorer']}"]
    for name, unit in (("cer", "characters"), ("wer", "words")):
        interval, counts = summary["intervals"][name], summary[unit]
        within = (
            f"[{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]" if interval else "(one line: no interval)"
        )
        sums = "  ".join(
            f"{key[0].upper()} {counts[key]}" for key in ("substitutions", "deletions", "insertions")
        )
        rows.append(
            f"{name.upper()} {100 * summary[name]:6.2f} %  {within}  {counts['reference']} {unit}  {sums}"
        )
    groups = summary["groups"] if len(summary["groups"]) > 1 else {}
    for name, group in groups.items():
        rows.append(f"CER {100 * group['cer']:6.2f} %  {name} ({group['lines']} lines)")
    return "\n".join(rows)
