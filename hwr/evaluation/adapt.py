"""Fine-tune a line recogniser on corrected lines, and tell the errors before and after."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hwr import weights
from hwr.config import compose
from hwr.config.roots import AdaptConfig, EvaluateConfig, TrainConfig
from hwr.errors import InputError
from hwr.evaluation import evaluate
from hwr.files import make_folder, parse_json, read_text, write_json
from hwr.runs.train import train_stage
from hwr.stages.build import alphabet_of, find_weights
from hwr.stages.recipe import data_source, fastest_precision
from hwr.tables import text_table
from hwr.weights import Weights

REPORT, WEIGHTS = "report.json", "weights"  # in the folder of the output
_FEWEST = 5  # lines to learn from
_ALL = 0.5  # of the time goes to the training on all lines, the rest to those of the curve


@dataclass(frozen=True)
class Score:
    """Error rates of weights on the lines held out, after training on `lines`; 0 is before."""

    lines: int
    cer: float
    wer: float


def adapt(composed: compose.Composed) -> None:
    """Fine-tune on corrected lines, and write weights and a report to `output`.

    Raises InputError for fewer lines than a training and a test need.
    """
    config: AdaptConfig = composed.root
    check_adapting(config)
    start, output = find_weights(config.weights.line, "line", config), Path(config.output)
    trained: TrainConfig = compose.stored(start.config, (), TrainConfig).root
    trained = replace(trained, precision=fastest_precision(trained))
    total, held = _count(config)
    make_folder(output)
    scores = [_score(config, config.weights.line, _shared(config, 0, total, held), "before", 0)]
    counts = [*(n for n in sorted(set(config.counts)) if n < total - held), total - held]
    for count in counts:
        share = _ALL if count == counts[-1] else (1 - _ALL) / max(1, len(counts) - 1)
        data = _shared(config, count, total, held)
        made = _trained(config, trained, start, data, count, minutes=share * config.minutes)
        scores.append(_score(config, str(made), data, f"after-{count}", count))
    own, place = weights.load(made), output / WEIGHTS
    weights.copy(own, place, own.config)
    report = {"weights": config.weights.line, "held_out": held, "scores": list(map(asdict, scores))}
    print(text_table(("corrected lines", "CER", "WER"), list(_rows(scores))))
    if config.elsewhere is not None:
        report["elsewhere"] = elsewhere = list(map(asdict, _elsewhere(config, str(place), total - held)))
        print("elsewhere:", " -> ".join(f"{100 * score['cer']:.2f} %" for score in elsewhere), "CER")
    write_json(output / REPORT, report)
    if scores[-1].cer >= scores[0].cer:
        print(f"the new weights are no better on the {held} lines kept aside: correct more lines")
    print(f"weights {place}: hwr transcribe PAGE weights.line={place}")


def check_adapting(config: AdaptConfig) -> None:
    """Raise InputError for data that no source reads; nothing is read."""
    for node in filter(None, (config.data, config.elsewhere)):
        data_source(node, config.folder)


def _count(config: AdaptConfig) -> tuple[int, int]:
    """Return the number of written lines, and of those that are held out."""
    dataset = data_source(config.data, config.folder).read(whole=False)
    written = [line for page in dataset.pages for line in page.lines if line.text]
    if config.data["source"] == "alto" and not any(line.corrected for line in written):
        print(
            f"{config.data['root']}: no line is marked as corrected (CS in ALTO); all texts are taken as such"
        )
    total = len(written)
    held = max(1, round(config.held_out * total))
    if total - held < _FEWEST:
        few = f"{total} corrected lines, {held} of them to test on"
        raise InputError(f"{config.data['root']}: {few}; correct {_FEWEST + held - (total - held)} more")
    return total, held


def _shared(config: AdaptConfig, count: int, total: int, held: int) -> dict[str, Any]:
    """Return the data node with `count` lines to train on, and those that are held out as valid."""
    seed = {"seed": config.seed} if "seed" in config.data else {}
    return {**config.data, **seed, "line_shares": [count / total, held / total, 0.0]}


def _trained(
    config: AdaptConfig, trained: TrainConfig, start: Weights, data: Mapping[str, Any], count: int, *,
    minutes: float,
) -> Path:  # fmt: skip
    """Train on `count` lines, and return the folder of its last weights: the best are chosen by a test."""
    epochs = max(1, min(config.epochs, config.samples // count))
    (phase, *_) = trained.phases.values()
    stage = {**trained.stage, "characters": alphabet_of(start).symbols}
    changes = {
        "name": f"adapt {count} lines", "init": config.weights.line, "resume": None, "lr": config.lr,
        "batch_size": config.batch_size, "seed": config.seed, "max_epochs": None, "max_minutes": minutes,
        "patience": None, "stage": stage, "data": dict(data),
        "phases": {"adapt": {**phase, "epochs": epochs}},
        "folder": config.folder, "tracking": asdict(config.tracking),
    }  # fmt: skip
    runs, composed = Path(config.folder) / "runs", compose.with_values(trained, changes)
    before = set(runs.glob("*"))
    train_stage(composed)
    fresh = set(runs.glob("*")) - before  # another process may have begun one
    own = next(run for run in fresh if read_text(run / "config.yaml") == composed.yaml)
    return own / "weights" / "last"


def _score(config: AdaptConfig, name: str, data: Mapping[str, Any], title: str, lines: int) -> Score:
    return _evaluated(config, name, data, "valid", Path(config.output) / "scores" / title, lines)


def _elsewhere(config: AdaptConfig, made: str, lines: int) -> Iterator[Score]:
    for name, title, number in ((config.weights.line, "before", 0), (made, "after", lines)):
        where = Path(config.output) / "scores" / f"elsewhere-{title}"
        yield _evaluated(config, name, config.elsewhere or {}, "test", where, number)


def _evaluated(
    config: AdaptConfig, name: str, data: Mapping[str, Any], split: str, output: Path, lines: int
) -> Score:
    default: EvaluateConfig = compose.composed("evaluate", (), EvaluateConfig).root
    changes = {
        "weights": {"line": name}, "data": dict(data), "split": split, "output": str(output),
        "folder": config.folder, "tracking": asdict(config.tracking), "scorer": asdict(config.scorer),
    }  # fmt: skip
    evaluate(compose.with_values(default, changes))
    scores = parse_json(read_text(output / "scores.json"))
    return Score(lines, scores["cer"], scores["wer"])


def _rows(scores: Sequence[Score]) -> Iterator[list[str]]:
    for score in scores:
        yield [str(score.lines or "before"), f"{100 * score.cer:.2f} %", f"{100 * score.wer:.2f} %"]
