"""Compare decoders: several decoders read the same probabilities and are scored."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from hwr import pictures, runtime
from hwr.config.compose import Composed
from hwr.config.roots import DecodersConfig, Resampling
from hwr.decoding import Decoder, Reading, build_decoder, check_decoder
from hwr.errors import InputError, optional
from hwr.evaluation import publish
from hwr.evaluation import task as common
from hwr.evaluation.lines import Lines, rate_cell, read_lines, within
from hwr.evaluation.task import EDITS, Record, Result, check_reading, open_task
from hwr.files import make_folder, replacing_contents, write_json
from hwr.scoring import significance
from hwr.scoring.report import Scores, Texts, score_texts
from hwr.scoring.sclite import check_scorer
from hwr.stages.build import alphabet_of
from hwr.tables import markdown_table

Maker = Callable[[], Decoder]

TARGET, NAME = "decoders", "board.json"
_UNITS = {"cer": "characters", "wer": "words"}


@dataclass(frozen=True)
class Entry:
    """What a decoder read, how that is scored, and how many lines it decodes in a second."""

    texts: Texts
    scores: Scores
    lines_per_s: float

    def counts(self, rate: str) -> list[Any]:
        """Return the counts of an error rate, cer or wer, of what a bootstrap draws."""
        return significance.units_to_draw(getattr(self.scores, _UNITS[rate]), self.texts.writers)


def compare_decoders(composed: Composed) -> None:
    """Read the lines, score every decoder on them, write tables and a picture, and print the table."""
    config: DecodersConfig = composed.root
    check_decoders(config)
    runtime.start()
    output = Path(config.output)
    make_folder(output)
    task = open_task(config)
    check_scorer(config.scorer)
    found = task.weights("line")
    if config.publish is not None:
        publish.check_weights_published(TARGET, [found])
    alphabet = alphabet_of(found)
    makers: dict[str, Maker] = {
        name: partial(build_decoder, node, alphabet, f"decoders.{name}")
        for name, node in config.decoders.items()
    }
    made = {name: _or_leave_out(name, maker) for name, maker in makers.items()}
    with common.new_run("decoders", [found], task.store, composed) as current:
        lines = read_lines(task, found)
        for name, decoder in made.items():
            _or_leave_out(name, partial(lines.refuse_seen_by, decoder))
        with replacing_contents(output) as fresh:
            about = common.about(config, TARGET, [found], lines.scored, current)
            entries = _entries(config, makers, lines, fresh, about)
            said = {**about, **summary(entries, config)}
            write_json(fresh / NAME, said)
            (fresh / "board.md").write_text(table(said) + "\n", encoding="utf-8")
            with optional("samples.png"):
                drawn = picture(lines, entries, count=config.pictures, seed=config.seed)
                pictures.save_picture(fresh / "samples.png", drawn)
            current.folder("decoders", fresh)
        current.metrics(_metrics(said), 0)
        task.log_data(current, lines.fingerprint, len(lines.ids))
    if config.publish is not None:
        print(f"published in {publish.publish_result(config.publish, [found], said)}")
    print(f"{table(said)}\n\nwritten to {output}")
    print(f"run {current.id}\nlook: {current.url}")


def check_decoders(config: DecodersConfig) -> None:
    """Raise InputError for settings that no part takes; before a folder is made or a page is read."""
    for name, node in config.decoders.items():
        if not isinstance(node, Mapping):
            remedy = f"choose one with decoder@decoders.{name}=beam"
            raise InputError(f"decoders.{name}={node}: not a decoder; {remedy}")
        check_decoder(node, f"decoders.{name}")
    if config.baseline not in config.decoders:
        known = ", ".join(config.decoders) or "none"
        raise InputError(f"baseline={config.baseline}: not one of the decoders compared, which are {known}")
    if config.publish is not None:
        publish.check_publishable(config.publish, TARGET, config.decoders)
    check_reading(config)


def summary(entries: Mapping[str, Entry], config: DecodersConfig) -> dict[str, Any]:
    """Return rates with intervals, differences from the baseline with theirs, and speeds, by decoder."""
    how, base = config.resampling, entries[config.baseline]
    return {
        "lines": len(base.texts.references),
        "scorer": base.scores.summary["scorer"],
        "over": base.scores.summary["intervals"]["over"],
        "units": base.scores.summary["intervals"]["units"],
        "baseline": config.baseline,
        "repeats": config.repeats,
        "threads": int(runtime.describe()["threads"]),
        "processor": runtime.describe()["processor"],
        "decoders": {
            name: {
                **{key: entry.scores.summary[key] for key in ("cer", "wer", "characters", "words")},
                "intervals": {rate: entry.scores.summary["intervals"][rate] for rate in _UNITS},
                "differences": {rate: _difference(entry, base, rate, how) for rate in _UNITS},
                "lines_per_s": entry.lines_per_s,
            }
            for name, entry in entries.items()
        },
    }


def columns(board: Result) -> tuple[list[str], list[list[str]]]:
    """Return what board.json holds as cells: the heads of columns, and a row for each decoder."""
    base = board["baseline"]
    head = ["decoder", "CER [95 %]", "WER [95 %]", f"CER less {base}", f"WER less {base}", "lines/s"]
    rows = []
    for name, own in board["decoders"].items():
        cells = [rate_cell(own, rate) for rate in _UNITS]
        if name == base:
            cells += ["", ""]
        else:
            differences = [own["differences"][rate] for rate in _UNITS]
            cells += [f"{100 * d['value']:+.2f}{within(d['interval'], '+.2f')}" for d in differences]
        rows.append([name, *cells, f"{own['lines_per_s']:.0f}"])
    return head, rows


def table(board: Result) -> str:
    """Return what board.json holds as a table in Markdown, and what its figures are."""
    said = (
        f"{board['split']}: {board['lines']} lines, scored by {board['scorer']}; "
        f"intervals drawn over {board['units']} {board['over']}, "
        f"of differences (percentage points) the same {board['over']} of both. "
        f"Speed: decoding alone, median of {board['repeats']}, {board['threads']} threads allowed."
    )
    return "\n\n".join([markdown_table(*columns(board)), said, *common.told_of(board)])


def picture(lines: Lines, entries: Mapping[str, Entry], *, count: int, seed: int) -> pictures.Picture:
    """Draw the lines whose errors differ most between the decoders, and as many of the others at random."""
    scores = [own.scores.characters for own in entries.values()]
    errors = np.array([[own[name].errors for own in scores] for name in lines.ids])
    spread = errors.max(axis=1) - errors.min(axis=1)  # (lines,)
    ranked = [int(i) for i in np.argsort(-spread, kind="stable") if spread[i]][:count]
    others = [i for i in range(len(lines.ids)) if i not in ranked]
    drawn = np.random.default_rng(seed).permutation(others)[:count].astype(int)

    def item(index: int) -> pictures.LineCard:
        name = lines.ids[index]
        read = {
            by: pictures.ReadText(own.texts.hypotheses[name], own.scores.characters[name].errors)
            for by, own in entries.items()
        }
        return pictures.LineCard(lines.images[index], name, lines.texts[index], read)

    groups = {
        "lines on which the decoders differ most": ranked,
        "lines drawn at random": sorted(drawn.tolist()),
    }
    return pictures.readings({title: [item(index) for index in group] for title, group in groups.items()})


def _or_leave_out(name: str, call: Callable[[], Any]) -> Any:
    """Call something for a decoder; where it is refused, tell how to do without that decoder."""
    try:
        return call()
    except InputError as error:
        raise InputError(f"decoder {name}: {error}; or leave it out with ~decoders.{name}") from None


def _entries(
    config: DecodersConfig, makers: Mapping[str, Maker], lines: Lines, output: Path, about: Result
) -> dict[str, Entry]:
    entries = {}
    for name, maker in tqdm(makers.items(), desc="decoding", unit="decoder", disable=None):
        readings, seconds = _timed(maker, lines, config.repeats)
        texts = lines.with_readings(readings)
        own = {**about, "decoder": name}
        scores = score_texts(texts, config.scorer, config.resampling, output=output / name, about=own)
        entries[name] = Entry(texts, scores, len(lines.ids) / seconds)
    return entries


def _timed(maker: Maker, lines: Lines, repeats: int) -> tuple[Sequence[Reading], float]:
    """Return the readings and the median seconds of decoding all lines.

    Each time a new decoder reads: none has met a line, nor a word of it, before.
    """
    seconds = []
    for _ in range(repeats):
        decoder = maker()
        start = time.perf_counter()
        readings = decoder.read(lines.probs, lines.pages)
        seconds.append(time.perf_counter() - start)
    return readings, statistics.median(seconds)


def _difference(entry: Entry, base: Entry, rate: str, how: Resampling) -> dict[str, Any]:
    interval, _ = significance.bootstrap_test(base.counts(rate), entry.counts(rate), how)
    return {"value": getattr(entry.scores, rate) - getattr(base.scores, rate), "interval": interval}


def _metrics(board: Result) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, own in board["decoders"].items():
        found |= {f"decoders/{name}/{key}": own[key] for key in (*_UNITS, "lines_per_s")}
        found |= {f"decoders/{name}/{rate}_difference": own["differences"][rate]["value"] for rate in _UNITS}
    return found


def _rows(link: str, result: Result) -> list[list[str]]:
    """Return a row for each decoder."""
    _, rows = columns(result)
    first = [f"{link}, {result['lines']} lines", *[""] * (len(rows) - 1)]
    names = [f"{own}{' (baseline)' if own == result['baseline'] else ''}" for own, *_ in rows]
    return [[place, own, *row[1:]] for place, own, row in zip(first, names, rows, strict=True)]


RECORD = Record(
    figures=("lines",), each=("decoders", EDITS), rows=_rows,
    head=["result", "decoder", "CER [95 %]", "WER [95 %]", "CER minus baseline", "WER minus baseline",
          "lines/s"],
)  # fmt: skip
