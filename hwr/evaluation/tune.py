"""Tune a decoder: try settings on validation lines, and write the best ones to a file."""

import itertools
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from hwr import runtime, tracking
from hwr.config import CONF, INSTALLED
from hwr.config.bind import leaves
from hwr.config.compose import Composed
from hwr.config.messages import no_such_key
from hwr.config.roots import TuneConfig
from hwr.decoding import build_decoder, check_decoder
from hwr.errors import InputError
from hwr.evaluation import task as common
from hwr.evaluation.lines import Lines, read_lines
from hwr.evaluation.task import check_reading, open_task
from hwr.files import make_folder, write_text
from hwr.scoring import edits
from hwr.scoring.edits import Counts
from hwr.stages.build import alphabet_of
from hwr.tables import text_table
from hwr.tracking import Run

DECODERS = (Path("conf") if INSTALLED else CONF) / "decoder"  # an installed package stays as it is
Setting = dict[str, Any]
Judge = Callable[[Setting], float]  # the error of a setting
Space = Mapping[str, Sequence[Any]]  # key -> the values that are tried

_REMEMBERED = 1 << 16  # counted lines: from one setting to the next most read the same
_characters = lru_cache(_REMEMBERED)(edits.character_edits)
_words = lru_cache(_REMEMBERED)(edits.word_edits)


@dataclass(frozen=True)
class Trial:
    """A setting by key (base.width), its error rates, and how many lines it decodes in a second."""

    setting: Setting
    cer: float
    wer: float
    lines_per_s: float
    run: str


@dataclass
class Trials:
    """Tries settings of a decoder on lines, each in a run of its own below `parent`, and keeps what came."""

    config: TuneConfig
    lines: Lines
    parent: Run
    done: list[Trial] = field(default_factory=list)

    def __call__(self, setting: Setting) -> float:
        """Return the monitored error of a setting, and print it."""
        node = with_values(self.config.decoder, setting)
        tags = {tracking.PARENT: self.parent.id}
        with tracking.start_run(self.parent.store, _named(setting), tags=tags) as current:
            decoder = build_decoder(node, self.lines.alphabet)
            start = time.perf_counter()
            read = decoder.read(self.lines.probs, self.lines.pages)
            seconds = time.perf_counter() - start
            texts = self.lines.with_readings(read)
            cer, wer = rates(list(texts.references.values()), list(texts.hypotheses.values()))
            trial = Trial(setting, cer, wer, len(read) / seconds, current.id)
            current.parameters(setting)
            current.metrics(_metrics(self.config.split, trial), 0)
        self.done.append(trial)
        print(f"{_named(setting)}: CER {100 * cer:.2f} %, WER {100 * wer:.2f} %", flush=True)
        return float(getattr(trial, self.config.monitor))

    def of(self, setting: Setting) -> Trial:
        """Return the trial of a setting that was tried."""
        return next(trial for trial in self.done if trial.setting == setting)


def tune_decoder(composed: Composed) -> Path:
    """Try settings as configured, write the decoder with the best one, and return its file."""
    config: TuneConfig = composed.root
    check_tuning(config)
    name = composed.choices.get("decoder", "decoder")
    output = Path(config.output) if config.output else DECODERS / f"{name}_tuned.yaml"
    make_folder(output.parent)
    runtime.start()
    task = open_task(config)
    found = task.weights("line")
    first = build_decoder(config.decoder, alphabet_of(found))
    lines = read_lines(task, found)
    for told in lines.scored.told("line"):
        print(told)
    lines.refuse_seen_by(first)
    with common.new_run(f"tune {name}", [found], task.store, composed) as parent:
        task.log_data(parent, lines.fingerprint, len(lines.ids))
        trials, space = Trials(config, lines, parent), space_of(config)
        start = {key: _value(config.decoder, key) for key in space}
        chosen = trials.of(best_setting(space, start, trials, config))
        said = _file(composed, trials, chosen)
        write_text(output, said)
        _keep(parent, config, trials, chosen)
        parent.text("decoder.yaml", said)
    before = trials.done[0]
    print(
        f"\n{trial_table(trials.done)}\n\nbest: {_named(chosen.setting)}\n"
        f"{_change('CER', before.cer, chosen.cer)}, {_change('WER', before.wer, chosen.wer)}\n"
        f"written to {output}"
    )
    print(f"run {parent.id}\nlook: {parent.url}")
    return output


def check_tuning(config: TuneConfig) -> None:
    """Raise InputError for settings that no part takes; before a folder is made or a page is read."""
    if config.split == "test":
        judged = "numbers chosen on the test split would fit what they are judged by"
        raise InputError(f"split=test: {judged}; use split=valid")
    check_decoder(config.decoder)
    space = space_of(config)
    if not space:
        raise InputError("space is empty: nothing to choose; give what is tried with +space.KEY=[…]")
    for key, values in space.items():
        _check_values(config, key, values)
    for key in config.cheap:
        if key not in space:
            raise InputError(f"cheap={key}: not a key of space, whose keys are {', '.join(space)}")
    check_reading(config)


def best_setting(space: Space, start: Setting, judge: Judge, how: TuneConfig) -> Setting:
    """Return the setting with the least error of those tried, `start` among them; of equals the first.

    `judge` is asked once for a setting, the first time for `start`; conf/tune.yaml explains search, rounds,
    cheap and tolerance.
    """
    asked = _once(judge)
    asked(start)
    dear = {key: values for key, values in space.items() if key not in how.cheap}
    grid = how.search == "grid"
    found = _of_all(dear, start, asked) if grid else _in_turn(dear, start, asked, how.rounds)
    for key in how.cheap:
        if key in space:
            found = _least(key, [*space[key], found[key]], found, asked, how.tolerance)
    return found


def space_of(config: TuneConfig) -> dict[str, Sequence[Any]]:
    """Return the values tried by dotted key of the decoder (base.width)."""
    wanted = "not a list of values; write [1,2]"
    return dict(leaves(config.space, lambda own: isinstance(own, list) and bool(own), wanted))


def with_values(node: Mapping[str, Any], setting: Setting) -> dict[str, Any]:
    """Return a decoder's node with other values at dotted keys."""
    changed = dict(node)
    for key, value in setting.items():
        name, _, inner = key.partition(".")
        changed[name] = with_values(changed[name], {inner: value}) if inner else value
    return changed


def rates(references: Sequence[str], hypotheses: Sequence[str]) -> tuple[float, float]:
    """Return character and word error rate, counted in process as SClite counts."""
    pairs = list(zip(references, hypotheses, strict=True))
    cer, wer = (Counts.total(count(*pair) for pair in pairs).rate for count in (_characters, _words))
    return cer, wer


def trial_table(trials: Sequence[Trial]) -> str:
    """Return the trials in the order they were made, as a text table."""
    rows = [
        [*map(str, own.setting.values()), f"{100 * own.cer:.2f} %", f"{100 * own.wer:.2f} %",
         f"{own.lines_per_s:.0f}"]
        for own in trials
    ]  # fmt: skip
    return text_table([*trials[0].setting, "CER", "WER", "lines/s"], rows)


def _check_values(config: TuneConfig, key: str, values: Sequence[Any]) -> None:
    """Raise InputError for a key that the decoder lacks, and a value that it does not take."""
    _value(config.decoder, key)
    for value in values:
        check_decoder(with_values(config.decoder, {key: value}))
        if key in config.cheap and type(value) not in (int, float):
            remedy = "the values of a cheap key are numbers, the least is wanted"
            raise InputError(f"space.{key}={value}: {remedy}")


def _value(node: Any, key: str) -> Any:
    """Return what a decoder's node holds at a dotted key; raise InputError where it holds nothing."""
    place, done = node, "space"
    for name in key.split("."):
        known = list(place) if isinstance(place, Mapping) else []
        done = f"{done}.{name}"
        if name not in known:
            raise InputError(no_such_key(done, known))
        place = place[name]
    return place


def _keep(parent: Run, config: TuneConfig, trials: Trials, chosen: Trial) -> None:
    """Log what was tried, and what was chosen, to the parent of the trials' runs."""
    parent.parameters({"best": chosen.setting})
    parent.metrics({f"best/{key}": value for key, value in _metrics(config.split, chosen).items()}, 0)
    parent.metrics({"trials": len(trials.done)}, 0)
    parent.tags({"best_run": chosen.run})
    parent.text("trials.txt", trial_table(trials.done) + "\n")


def _metrics(split: str, trial: Trial) -> dict[str, float]:
    return {f"{split}/cer": trial.cer, f"{split}/wer": trial.wer, "lines_per_s": trial.lines_per_s}


def _file(composed: Composed, trials: Trials, chosen: Trial) -> str:
    """Return the decoder's node with the chosen setting as a file of conf/decoder."""
    config, before, lines = trials.config, trials.done[0], trials.lines
    command = " ".join(shlex.join(["python", "-m", "hwr", "tune", *composed.overrides]).split())
    said = [
        f"Numbers chosen by: {command}",
        f"on {len(lines.ids)} lines of the split {config.split}, data fingerprint {lines.fingerprint},",
        f"read with {config.weights.line}: {_change('CER', before.cer, chosen.cer)}, "
        f"{_change('WER', before.wer, chosen.wer)}",
        *lines.scored.told("line"),
    ]
    node = with_values(config.decoder, chosen.setting)
    return "".join(f"# {one}\n" for one in said) + yaml.safe_dump(node, sort_keys=False, allow_unicode=True)


def _change(name: str, before: float, after: float) -> str:
    return f"{name} {100 * before:.2f} % before, {100 * after:.2f} % after"


def _named(setting: Setting) -> str:
    return " ".join(f"{key}={value}" for key, value in setting.items())


def _of_all(space: Space, start: Setting, judge: Judge) -> Setting:
    combined = (dict(zip(space, values, strict=True)) for values in itertools.product(*space.values()))
    return min([start, *(start | own for own in combined)], key=judge)


def _in_turn(space: Space, start: Setting, judge: Judge, rounds: int) -> Setting:
    found = start
    for _ in range(rounds):
        before = found
        for key, values in space.items():
            found = min([found, *(found | {key: value} for value in values)], key=judge)
        if found is before:
            break
    return found


def _least(key: str, values: Sequence[Any], found: Setting, judge: Judge, tolerance: float) -> Setting:
    """Return the setting with the least value of `key` whose error is near enough to the least error."""
    tried = [found | {key: value} for value in sorted(values)]
    bound = min(map(judge, tried)) + tolerance
    return next(setting for setting in tried if judge(setting) <= bound)


def _once(judge: Judge) -> Judge:
    """Return `judge` with a memory; 1 and 1.0 are one value."""
    known: dict[str, float] = {}

    def asked(setting: Setting) -> float:
        name = repr(sorted((key, float(v) if type(v) is int else v) for key, v in setting.items()))
        if name not in known:
            known[name] = judge(setting)
        return known[name]

    return asked
