"""A whole evaluation: weights and data become readings, scores, pictures, and metrics on the run that made the weights."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hwr import pictures, tracking, weights
from hwr.building import (
    check_characters, device, find_weights, line_set, lines_of, load_pages, reading_item, refuse_problems, steps_of,
)  # fmt: skip
from hwr.config import Composed, EvaluateConfig, TrainConfig, make, stored, target
from hwr.data import inspection
from hwr.data.cache import line_images
from hwr.data.fingerprint import fingerprint
from hwr.data.records import Line, Page
from hwr.data.samples import LineSet
from hwr.errors import InputError
from hwr.images import LineCrop
from hwr.scoring.bootstrap import Resampling
from hwr.scoring.report import Scorer, Scores, Texts, compare
from hwr.stages.line import LineReader, initialise
from hwr.tracking import Run, Store

CHUNK = 256  # lines between two moves of the progress bar


def run(composed: Composed) -> float:
    """Evaluate as configured, print the scores, and return the character error rate."""
    config: EvaluateConfig = composed.root
    if config.target != "line":
        raise InputError(f"target={config.target}: unknown; use line")
    scorer = make(Scorer, config.scorer, "scorer")
    scorer.check()
    output = Path(config.output)
    tracking.make_folder(output)
    store = tracking.open_store(config.tracking["uri"], Path(config.folder), config.tracking["experiment"])
    found = find_weights(config.weights["line"], store, Path(config.folder))
    pages, lines = _lines(config, found)
    with _run_of(found, store, composed) as current:
        texts = _read(config, found, pages, lines)
        about = {"target": config.target, "split": config.split, "data_fingerprint": fingerprint(pages),
                 "weights": str(found.folder), "weights_sha256": found.sha256, "run": current.id}  # fmt: skip
        resampling = make(Resampling, config.resampling, "resampling")
        scores = compare(texts, scorer, resampling, output=output, about=about)
        pictures.save(output / "lines.png", _picture(config, lines, texts, scores))
        current.metrics(_metrics(config.split, scores.summary), 0)
        current.folder(f"evaluation/{config.split}", output)
        current.flush()
        print(f"{_table(config.split, scores.summary)}\nwritten to {output}\nrun {current.id}\nlook: {current.url}")
    return scores.cer


def _lines(config: EvaluateConfig, found: weights.Weights) -> tuple[list[Page], LineSet]:
    trained: TrainConfig = stored(found.config, (), TrainConfig).root
    crop = make(LineCrop, trained.stage["crop"], "stage.crop")
    pages = [page for page in load_pages(config.data, Path(config.folder) / "cache") if page.split == config.split]
    lines_of(pages, config.split)
    report = inspection.inspect(pages, inspection.Limits(crop=crop, steps=steps_of, max_pixels=config.max_pixels))
    pages = inspection.apply(pages, report, trained.inspect["policy"])
    check_characters(lines_of(pages, config.split), found.alphabet, config.unknown)
    images = line_images(pages, crop, folder=Path(config.folder) / "cache", max_pixels=config.max_pixels, progress=True)
    refuse_problems(images)
    return pages, line_set(pages, images, config.split)


def _read(config: EvaluateConfig, found: weights.Weights, pages: Sequence[Page], lines: LineSet) -> Texts:
    trained: TrainConfig = stored(found.config, (), TrainConfig).root
    context = device(config.device)
    network = make(target(trained.network, "network"), trained.network, "network", classes=len(found.alphabet))
    initialise(network, height=trained.stage["crop"]["height"], seed=trained.seed, context=context)
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
    groups = {"worst lines": ranked[: config.pictures], "median lines": ranked[middle : middle + config.pictures]}
    return pictures.readings({
        title: [reading_item(lines.images[i], lines.ids[i], texts.references[lines.ids[i]], texts.hypotheses[lines.ids[i]])
                for i in chosen]
        for title, chosen in groups.items()
    })  # fmt: skip


@contextlib.contextmanager
def _run_of(found: weights.Weights, store: Store, composed: Composed) -> Iterator[Run]:
    """Give the run that made the weights, or a new one that names them."""
    maker = str(found.about.get("run", ""))
    known = tracking.attach(store, maker) if maker else None
    if known is not None:
        yield known
        return
    tags = {"weights": composed.root.weights["line"], "weights_sha256": found.sha256, "weights_run": maker}
    with tracking.run(store, f"evaluate {composed.root.target}", run_id=None, tags=tags) as fresh:
        fresh.parameters(composed.values)
        yield fresh


def _metrics(split: str, summary: dict[str, Any]) -> dict[str, float]:
    plain = {f"{split}/{name}": value for name, value in summary.items() if isinstance(value, float)}
    groups = {f"{split}/{group}/cer": scores["cer"] for group, scores in summary["groups"].items()}
    return plain | (groups if len(groups) > 1 else {})


def _table(split: str, summary: dict[str, Any]) -> str:
    intervals = summary["intervals"]
    rows = [f"{split}: {summary['lines']} lines, scored by {summary['scorer']}"]
    for name, unit in (("cer", "characters"), ("wer", "words")):
        counts, (low, high) = summary[unit], intervals[name]
        rows.append(
            f"{name.upper()} {100 * summary[name]:6.2f} %  [{100 * low:.2f}, {100 * high:.2f}]   N {counts['reference']}  "
            f"S {counts['substitutions']}  D {counts['deletions']}  I {counts['insertions']}"
        )
    if len(summary["groups"]) > 1:
        rows += [f"CER {100 * group['cer']:6.2f} %  {name} ({group['lines']} lines)" for name, group in summary["groups"].items()]
    return "\n".join(rows)
