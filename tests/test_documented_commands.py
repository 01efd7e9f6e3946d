"""Every documented command line fits together: keys, weights, decoder, language model, published record.

Nothing is trained and no page is read. Names in capitals, runs:/… and the files of a reader's own stand for
what only the reader has; weights that ship are looked up, and decoders are built for their alphabets.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from hydra.errors import HydraException

from hwr.__main__ import parse
from hwr.config import CONF, compose
from hwr.config.bind import current_targets, texts
from hwr.config.command_table import COMMANDS, Command
from hwr.config.messages import one_line
from hwr.config.roots import LaunchConfig, SearchConfig, StoreConfig, TrainConfig
from hwr.decoding import build_decoder, check_decoder
from hwr.errors import InputError
from hwr.evaluation import check_evaluation, confusion, publish, tune
from hwr.evaluation import decoders as board
from hwr.evaluation.adapt import check_adapting
from hwr.language.lexicon import ENGLISH
from hwr.language.ngrams import check_ngrams
from hwr.published import load_model
from hwr.published.reproduce import LOSS, experiment_name, recorded_result
from hwr.runs.launch import planned_hosts
from hwr.runs.search import check_search
from hwr.runs.study import least, spaced, written
from hwr.stages.build import alphabet_of, config_of, find_weights
from hwr.stages.engine import Engine
from hwr.stages.kind import kind_names
from hwr.stages.recipe import parse_recipe
from hwr.text import Alphabet
from hwr.transcription.page_reader import STEPS
from hwr.weights import Weights
from tests.test_documentation import PAGES, ROOT

Words = Sequence[str]
NAMED = {command.name: command for command in COMMANDS}
# Files that open with a command that reads text: each group but those that change trainings alone.
OPENED = [
    path for group in (".", "decoder", "model", "tune") for path in sorted((CONF / group).glob("*.yaml"))
]
DRAWN = ("synthetic", "sets")  # sources whose pages come with hwr, or are those that weights were trained on
STAGE_NAMES = kind_names()
USUAL = "line/latin"  # which a reader's own weights start from: they read its characters
FILES = (
    "model",
    "models",
    "word_model",
    "lexicon",
    "confusions",
    "weights",
)  # keys of decoders that name some
SHIPPED = ("language", "denoiser")  # folders of experiments/ with such files


def documented(page: Path) -> Iterator[list[str]]:
    """Yield the words of `hwr COMMAND …` and of the two scripts, in the shell blocks of a page."""
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            script = re.sub(r"^python (train|evaluate)\.py", r"hwr \1", line.strip())
            tuned = re.sub(
                r"(decoder=\w+)_tuned", r"\1 decoder.model=my", script
            )  # a file that hwr tune writes
            words = shlex.split(tuned.removeprefix("OMP_NUM_THREADS=1 "), comments=True)
            if words[:1] == ["hwr"]:
                yield words[1:]


def opening(file: Path) -> Iterator[list[str]]:
    """Yield the command that the comment at the top of a configuration file ends with."""
    comment = file.read_text(encoding="utf-8").partition("\n\n")[0]
    for line in re.findall(r"^#.*: hwr ([a-z-]+ [^:;…\[\n]*)(?:;.*)?$", comment, re.MULTILINE):
        yield shlex.split(line)


def _ids(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=_ids)
def test_commands_of_a_page_fit_together(page: Path) -> None:
    for words in documented(page):
        check_command(tuple(words))


@pytest.mark.parametrize("file", OPENED, ids=_ids)
def test_command_that_opens_a_file_fits_together(file: Path) -> None:
    for words in opening(file):
        check_command(tuple(words))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_example_of_a_command_fits_together(command: Command) -> None:
    if words := re.findall(r"^hwr (.*?)(?: >.*)?$", command.example):
        check_command(tuple(shlex.split(words[0])))


@pytest.mark.parametrize(
    ("words", "flaw"),
    [
        ("transcribe scans/ decoder=beam", "model .*copiste.*does not know"),  # the weights are latin
        ("transcribe scans/ weights.line=WEIGHTS decoder=beam", "model .*copiste.*does not know"),
        ("transcribe scans/ weights.line=paragraph/latin", "of stage paragraph, not line"),
        ("transcribe scans/ weights.line=line/latn", "line/latn: no such folder"),
        ("transcribe scans/ --model latn", "latn"),
        ("evaluate data=latin data.root=DIR", "line/copiste was not trained on data=latin"),
        ("evaluate target=line", "line/copiste was not trained on data=synthetic"),
        ("evaluate target=denoiser data=alto data.root=DIR", "decoder=denoise"),
        ("evaluate data=alto data.root=DIR publish=page/copiste", "publish=page/copiste"),
        ("evaluate target=page data=alto data.root=DIR split=valid publish=page/copiste", "split: valid"),
        ("decoders data=alto data.root=DIR weights.line=line/latin", "model .*copiste.*does not know"),
        ("transcribe scans/ decoder=beam decoder.model=my", "weights.line=WEIGHTS"),
        ("tune decoder=languages data=alto data.root=DIR", "model .*english.*does not know"),
        ("train stage=line data=alto data.root=DIR init=segmentation/latin", "of stage segmentation"),
        ("train stage=line data=alto data.root=DIR network=resnet_bilstm init=line/latin", "init=line/latin"),
        ("train stage=line network=ssd_line", "not a network of stage line"),
        ("search stage=paragraph data=alto data.root=DIR", "network.dropout: no such key"),
        ("export line/nothing --output line.onnx", "line/nothing"),
        ("reproduce line/copiste", "data.root"),
        ("reproduce line/copiste --train", "no curve"),
        ("models show copist", "copist: no such model"),
    ],
)
def test_command_that_does_not_fit_is_found(words: str, flaw: str) -> None:
    with pytest.raises(InputError, match=flaw):
        check_command(tuple(shlex.split(words)))


@cache
def check_command(words: tuple[str, ...]) -> None:
    """Raise InputError where a command line would be refused, whatever the reader's own files hold."""
    command = NAMED[words[0]]
    overrides, given = parse(command, [_here(word) for word in words[1:]])
    try:
        if command.prefix:
            check_shared(command, overrides)
        elif command.name in OTHERS:
            OTHERS[command.name](overrides, given)
        elif command.root is not None:
            CHECKS.get(command.name, _nothing)(_composed(command, overrides), overrides)
    except HydraException as error:
        raise InputError(one_line(error)) from None


# Trainings


def check_training(config: TrainConfig, overrides: Words) -> None:
    """Parse a training's settings, and hold `init` to its stage and network."""
    recipe = parse_recipe(config)
    start = _weights(config.init, recipe.kind.name)
    if start is not None and config_of(start).network["_target_"] != config.network["_target_"]:
        raise InputError(f"init={config.init}: of another network than network={config.network['_target_']}")


def check_shared(command: Command, overrides: Words) -> None:
    """Check a command's own keys and those of its training, with a value of each that is searched."""
    own = [key for key in overrides if key.lstrip("+~").startswith(str(command.prefix))]
    training = [key for key in overrides if key not in own]
    keys = [key.replace(str(command.prefix), "", 1) for key in own]
    if command.name == "launch":
        _check_hosts(_made("launch", keys, LaunchConfig))
    else:
        check_search(config := _made("search", keys, SearchConfig))
        training += written(least(spaced(config.space)))
    check_training(_composed(NAMED["train"], training), training)


def _check_hosts(config: LaunchConfig) -> None:
    if config.hosts is None:
        planned_hosts(config)


# What reads text


def check_reading(config: Any, overrides: Words) -> None:
    """Look up the weights of all steps, and build the decoder for the characters of the line network."""
    Engine.of(config)
    loaded = {step: _weights(getattr(config.weights, step), step) for step in STEPS}
    _build(config.decoder, loaded["line"], overrides)


def check_scoring(config: Any, overrides: Words) -> None:
    """Check an evaluation, its weights and decoder, and what is published of it."""
    stages = (
        STEPS if config.target == "page" else ("line",) if config.target == "denoiser" else (config.target,)
    )
    own = config.publish is not None and "NAME" in config.publish
    check_evaluation(replace(config, publish=None) if own else config)
    loaded = [_weights(config.weights.get(stage), stage) for stage in stages]
    _refuse_untrained(config, stages, overrides)
    if "line" in stages:
        _build(config.decoder, loaded[-1], overrides)
    if config.publish is not None and not own:
        _compare_record(config, config.target, loaded, {"decoder": config.decoder})


def check_lines(check: Callable[[Any], None], config: Any, overrides: Words) -> None:
    """Check a command that reads lines with one decoder."""
    check(config)
    _refuse_untrained(config, ["line"], overrides)
    _build(config.decoder, _weights(config.weights.line, "line"), overrides)


def check_comparison(config: Any, overrides: Words) -> None:
    """Check a comparison of decoders."""
    board.check_decoders(config)
    _refuse_untrained(config, ["line"], overrides)
    loaded = _weights(config.weights.line, "line")
    for name, node in config.decoders.items():
        _build(node, loaded, overrides, f"decoders.{name}")
    if config.publish is not None:
        _compare_record(config, board.TARGET, [loaded], {"decoders": config.decoders})


def check_fine_tuning(config: Any, overrides: Words) -> None:
    """Look up the weights that are fine-tuned."""
    check_adapting(config)
    _weights(config.weights.line, "line")


def check_language_model(config: Any, overrides: Words) -> None:
    """Check the model, and look up the weights whose alphabet it takes."""
    check_ngrams(config.unit, config.order)
    _weights(config.weights.line, "line")


def check_export(config: Any, overrides: Words) -> None:
    """Look up the weights that are exported."""
    _weights(config.weights, None)


# What takes names


def check_models(overrides: Words, given: Mapping[str, Any]) -> None:
    """Look up the models that are named; NAME is the reader's own."""
    config = _composed(NAMED["models"], [key for key in overrides if not key.startswith("own=")])
    action, *names = given["words"] or [""]
    for name in names[:1] if action in ("show", "publish") else names if action == "verify" else ():
        if name != "NAME":
            load_model(name, config)


def check_reproduction(overrides: Words, given: Mapping[str, Any]) -> None:
    """Look up the record, and hold the keys to what it leaves open."""
    result = recorded_result(name := experiment_name(given["names"][0]))
    if given["train"] and LOSS not in result:
        raise InputError(f"{name}: no curve is recorded of its training")
    if not given["train"] and given["record"] is None:
        data = result.get("settings", {}).get("data", {"root": "DIR"})
        if "DIR" in dict(texts(data, "data")).values() and not _gives(overrides, "data.root"):
            raise InputError(f"{name}: its data are not at hand; give data.root=DIR")


CHECKS: Mapping[str, Callable[[Any, Words], None]] = {
    "train": check_training,
    "inspect": check_training,
    "anchors": check_training,
    "transcribe": check_reading,
    "bulk": check_reading,
    "serve": check_reading,
    "evaluate": check_scoring,
    "decoders": check_comparison,
    "tune": partial(check_lines, tune.check_tuning),
    "confusion": partial(check_lines, confusion.check_confusion),
    "adapt": check_fine_tuning,
    "language-model": check_language_model,
    "export": check_export,
}
OTHERS = {"models": check_models, "reproduce": check_reproduction}


def _nothing(config: Any, overrides: Words) -> None:
    """Check no more than that the configuration is composed."""


def _here(word: str) -> str:
    """Return a word of a command line for this machine, with the first value of a sweep."""
    key, _, value = word.partition("=")
    if key == "device" or word == "precision=bfloat16":  # another processor's
        return "device=cpu"
    single = not value or word.startswith("-") or set("[{(") & set(value)
    return word if single else f"{key}={value.partition(',')[0]}"


def _composed(command: Command, overrides: Words) -> Any:
    """Return the typed root of a command line; of a training that is resumed, without what it changes."""
    words = [word for word in overrides if word != "-m"]
    if command.name == "train":
        words = [
            re.sub(r"^(repeat=.*)", "seed=0", word)
            for word in words
            if word not in compose.for_resumed(words)
        ]
    return _made(str(command.conf), [*command.preset, *words], command.load_root())


def _made(conf: str, words: Words, root: type) -> Any:
    """Compose the choices once for all commands that make them, and set the values in a copy of that."""
    values = [
        word for word in words if "=" in word and word[0] not in "+~" and not compose.is_choice(_key(word))
    ]
    return compose.stored(
        _chosen(conf, tuple(word for word in words if word not in values)), values, root
    ).root


@cache
def _chosen(conf: str, choices: tuple[str, ...]) -> str:
    return json.dumps(compose.chosen(conf, choices))


@cache
def _weights(name: str | None, stage: str | None) -> Weights | None:
    """Return weights that ship, checked; None for a reader's own."""
    if not name or name.partition("/")[0] not in STAGE_NAMES:
        return None
    return find_weights(name, stage, StoreConfig())


def _build(node: Mapping[str, Any], loaded: Weights | None, overrides: Words, where: str = "decoder") -> None:
    """Build a decoder for weights, of a reader's own for USUAL; one with own files is checked alone."""
    check_decoder(node, where)
    named = {key: text for key, text in texts(node, "") if set(FILES) & set(key.split(".")[-2:])}
    own = [key for key, text in named.items() if text.partition("/")[0] not in (*SHIPPED, ENGLISH)]
    if not own:
        usual = loaded or _weights(USUAL, "line")
        assert usual is not None
        _built(json.dumps(node), alphabet_of(usual), where)
    elif not _gives(overrides, "weights.line", "publish"):
        raise InputError(f"{own[0]}={named[own[0]]}: made for other weights; name them: weights.line=WEIGHTS")


@cache
def _built(node: str, alphabet: Alphabet, where: str) -> None:
    build_decoder(json.loads(node), alphabet, where)


def _refuse_untrained(config: Any, stages: Sequence[str], overrides: Words) -> None:
    """Raise InputError for weights by default and pages that ship, which others were trained on."""
    source = config.data["source"]
    for stage in stages:
        name = (
            config.weights.get(stage) if isinstance(config.weights, dict) else getattr(config.weights, stage)
        )
        loaded = None if _gives(overrides, f"weights.{stage}", "+model") else _weights(name, stage)
        if loaded is not None and source in DRAWN and config_of(loaded).data["source"] != source:
            drawn = "latin" if source == "sets" else source
            raise InputError(f"weights.{stage}: {name} was not trained on data={drawn}; name others")


def _compare_record(
    config: Any, target: str, loaded: Sequence[Weights | None], decoding: Mapping[str, Any]
) -> None:
    """Raise InputError where the record of a published result was made with other settings."""
    result = recorded_result(config.publish)
    used = result["weights"] if isinstance(result["weights"], list) else [result["weights"]]
    same = {"target": (target, result["target"]), "split": (config.split, result["split"])}
    if target in publish.OF_OTHERS:
        publish.check_weights_published(target, [own for own in loaded if own])
        same["weights"] = ([own and publish.published_name(own.folder) for own in loaded], used)
    if target not in ("paragraph", "segmentation", "denoiser"):
        recorded = result.get("settings", decoding)
        same |= {key: (node, current_targets(recorded[key])) for key, node in decoding.items()}
    for key, (here, there) in same.items():
        if here != there:
            raise InputError(f"publish={config.publish}: {key}: {here}, but {there} in its record")


def _gives(overrides: Words, *keys: str) -> bool:
    return any(_key(word) in keys for word in overrides)


def _key(word: str) -> str:
    return word.partition("=")[0]
