"""Every YAML file is composed, typed, and bound to the signatures of what it configures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from hwr.config import CONF, ROOT
from hwr.config.compose import Composed, composed, stored
from hwr.config.roots import (
    AdaptConfig,
    BoardConfig,
    BulkConfig,
    CompareConfig,
    ConfusionConfig,
    DecodersConfig,
    EvaluateConfig,
    ExportConfig,
    InspectConfig,
    LanguageModelConfig,
    LaunchConfig,
    ModelsConfig,
    ReadingConfig,
    SearchConfig,
    ServeConfig,
    SyncConfig,
    TrainConfig,
    TranscribeConfig,
    TuneConfig,
)
from hwr.decoding import check_decoder
from hwr.errors import InputError
from hwr.evaluation import check_evaluation, confusion, tune
from hwr.evaluation import decoders as board
from hwr.evaluation.adapt import check_adapting
from hwr.runs import language_model, launch, search
from hwr.stages.recipe import data_source, device_context, parse_recipe


def check_transcription(config: ReadingConfig) -> None:
    """Bind what the weights leave open: nothing is read, and none are loaded."""
    device_context(config.device)
    check_decoder(config.decoder)


def check_language_model(config: LanguageModelConfig) -> None:
    """Bind what the command does; nothing is read."""
    language_model.check_language_model(config, {})
    data_source(config.data, config.folder)


Check = Callable[[Any], None]
ROOTS: dict[str, tuple[type, Check]] = {
    "train": (TrainConfig, parse_recipe),
    "inspect": (InspectConfig, parse_recipe),
    "evaluate": (EvaluateConfig, check_evaluation),
    "transcribe": (TranscribeConfig, check_transcription),
    "bulk": (BulkConfig, check_transcription),
    "serve": (ServeConfig, check_transcription),
    "adapt": (AdaptConfig, check_adapting),
    "tune": (TuneConfig, tune.check_tuning),
    "compare": (CompareConfig, lambda config: None),
    "board": (BoardConfig, lambda config: None),
    "confusion": (ConfusionConfig, confusion.check_confusion),
    "decoders": (DecodersConfig, board.check_decoders),
    "language_model": (LanguageModelConfig, check_language_model),
    "export": (ExportConfig, lambda config: None),
    "models": (ModelsConfig, lambda config: None),
    "search": (SearchConfig, search.check_search),
    "launch": (LaunchConfig, launch.planned_hosts),
    "sync": (SyncConfig, lambda config: None),
}
OF_EVALUATION = ("scorer",)  # groups that no training has
OF_SEARCH = ("space", "sampler", "pruner")
# Choices that are made for another stage than `line`, the default one.
OF_STAGE = {
    "paragraph": {
        "network=extent", "network=paragraph_resnet34", "network=original_area",
        "augmentation=page", "augmentation=none_page", "loss=mse", "loss=iou", "inspect=pages",
    },
    "segmentation": {
        "network=ssd_line", "network=ssd_word", "network=ssd_resnet34", "network=original_words",
        "augmentation=area", "loss=multibox",
    },
    "denoiser": {"network=denoiser", "augmentation=noise", "loss=text"},
}  # fmt: skip

FILES = sorted([*(ROOT / "conf").rglob("*.yaml"), *(ROOT / "experiments").glob("*/*.yaml")])
PUBLISHED = sorted((ROOT / "experiments").glob("*/*/weights/config.yaml"))
PARTS = (
    "+", "+stage.", "+network.", "+augmentation.", "+optimizer.", "+loss.", "+data.", "+data.exclude.",
    "+inspect.", "+inspect.policy.", "+tracking.",
)  # fmt: skip
NODES = {
    "train": (
        *PARTS, "+stage.crop.", "+decoder.", "+phases.ctc.", "+phases.ctc.augmentation.", "+phases.ctc.loss.",
    ),
    "train stage=paragraph": (
        *PARTS, "+phases.mse.", "+phases.mse.augmentation.", "+phases.mse.loss.", "+phases.iou.loss.",
    ),
    "train stage=segmentation": (
        *PARTS, "+phases.multibox.", "+phases.multibox.augmentation.", "+phases.multibox.loss.",
    ),
    "train stage=denoiser": (*PARTS, "+phases.text.", "+phases.text.augmentation.", "+phases.text.loss."),
    "evaluate": (
        "+", "+weights.", "+scorer.", "+resampling.", "+decoder.", "+data.", "+data.exclude.", "+tracking.",
    ),
    "transcribe": ("+", "+weights.", "+decoder."),
    "bulk": ("+", "+weights.", "+decoder."),
    "serve": ("+", "+weights.", "+decoder."),
    "adapt": ("+", "+weights.", "+data.", "+data.exclude.", "+scorer.", "+tracking."),
    "tune": ("+", "+weights.", "+decoder.", "+space.", "+data.", "+data.exclude.", "+tracking."),
    "tune decoder=lexicon": ("+space.base.", "+decoder.base."),
    "decoders": (
        "+", "+weights.", "+scorer.", "+resampling.", "+decoders.", "+decoders.beam.",
        "+decoders.lexicon_beam.base.", "+data.", "+data.exclude.", "+tracking.",
    ),
    "confusion": ("+", "+weights.", "+decoder.", "+data.", "+data.exclude.", "+tracking."),
    "language_model": ("+", "+weights.", "+data.", "+data.exclude."),
    "sync": ("+", "+tracking."),
    "compare": ("+", "+scorer.", "+resampling.", "+tracking."),
    "board": ("+", "+tracking."),
    "models": ("+", "+tracking."),
    "search": ("+", "+space.lr.", "+sampler.", "+pruner."),
    "launch": ("+",),
}  # fmt: skip


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_file_binds_to_what_it_configures(file: Path) -> None:
    root, choice = _use_of(file)
    kind, check = ROOTS[root]
    made = composed(root, [*choice, *_dummies(root, choice)], kind)
    check(made.root)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_file_opens_with_its_purpose(file: Path) -> None:
    first, second, *_ = file.read_text(encoding="utf-8").splitlines()
    assert (second if first == "# @package _global_" else first).startswith("# ")


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: str(file.relative_to(ROOT)))
def test_configuration_of_published_weights_still_binds(file: Path) -> None:
    parse_recipe(stored(file.read_text(encoding="utf-8"), (), TrainConfig).root)


@pytest.mark.parametrize(("root", "node"), [(root, node) for root in NODES for node in NODES[root]])
def test_unknown_key_is_refused_in_every_node(root: str, node: str) -> None:
    with pytest.raises(InputError, match="planted"):
        _bound(root, f"{node}planted=1")


@pytest.mark.parametrize(
    ("root", "override", "said"),
    [
        ("train", "network.hidden=wide", "network.hidden='wide' is not a whole number"),
        ("train", "network.channels=[16,x]", "network.channels.1='x' is not a whole number"),
        ("train", "network.blocks=3", "network.blocks=3 is not a list"),
        ("train", "augmentation.shear=steep", "augmentation.shear='steep' is not a number"),
        ("train", "augmentation.shear=7", "augmentation.shear=7 is not possible; it must be 1"),
        ("train", "optimizer.beta1=no", "optimizer.beta1='no' is not a number"),
        ("train", "optimizer.name=sgd", "optimizer.name='sgd' is not possible; it must be one of adam, "),
        ("train", "optimizer.beta2=1.5", "optimizer.beta2=1.5 is not possible; it must be less than 1"),
        ("train", "loss.shortcut_weight=-1", "loss.shortcut_weight=-1 is not possible; it must be 0 or more"),
        ("train", "loss.shortcut_weight=null", "loss.shortcut_weight=None is not a number"),
        (
            "train", "stage.kind=paragraf",
            "stage.kind=paragraf: unknown; use one of denoiser, line, paragraph, segmentation",
        ),
        ("train", "network._target_=hwr.networks.ssd.compact", "not a network of stage line"),
        ("train", "loss._target_=hwr.losses.MseLoss", "not a loss of stage line"),
        ("train", "stage.crop.height=tall", "stage.crop.height='tall' is not a whole number"),
        ("train", "stage.crop.height=2", "height 2 is too small"),
        ("train", "stage.crop.mask=1", "stage.crop.mask=1 is not true or false"),
        ("train", "data.seed=x", "data.seed='x' is not a whole number"),
        ("train", "data.pages.train=many", "data.pages.train='many' is not a whole number"),
        ("train", "data.exclude.types=consent", "data.exclude.types='consent' is not"),
        ("train", "data.source=alpo", "data source 'alpo' is unknown"),
        ("train", "data.share=0", "data.share=0 is not possible; it must be greater than 0"),
        ("train", "data.same_text=0", "data.same_text=0 is not possible; it must be 1 or more"),
        ("train", "data.replace=[[a,3]]", "data.replace.0.1=3 is not a text"),
        ("train", "data.replace=[['',b]]", "data.replace.0.0='' is not possible"),
        (
            "train data=latin", "data.sets.csafe_en.share=-1",
            "data.sets.csafe_en.share=-1 is not possible; it must be greater than 0",
        ),
        ("train data=latin", "data.sets.csafe_en.shares=1", "data.sets.csafe_en.shares=1 is not a list"),
        ("train data=latin", "+data.sets.csafe_en.shar=1", "data.sets.csafe_en.shar: no such key"),
        ("train data=latin", "+data.sets.csafe_en.exclude.type=a", "csafe_en.exclude.type: no such key"),
        (
            "train data=latin", "+data.share=0.5",
            "data.share: no such key here, but with data=alto or .*; known are root, sets, only",
        ),
        ("train data=latin", "data.only=[poilus]", r"poilus: no such set \(did you mean poilus_fr\?\)"),
        ("train data=latin", "data.only=[]", "data.sets: no set is left"),
        ("train data=sets", "+data.sets={a/b: {source: alto}}", "data.sets.a/b: use letters, digits"),
        ("train data=latin", "+data.sets.more={source: sets}", "data.sets.more is made of sets; name these"),
        ("train data=sets", "data.only=null", r"no set is left; add one, \+data@data.sets.NAME=alto"),
        ("train", "inspect.policy.empty_text=burn", "inspect.policy.empty_text=burn is unknown"),
        ("train", "phases.ctc.schedule=cosinus", "schedule='cosinus' is not possible; it must be one of "),
        ("train", "phases.ctc.epochs=0", "phases.ctc.epochs=0 is not possible; it must be 1 or more"),
        ("train", "phases.ctc.warmup=2", "phases.ctc.warmup=2 is not possible; it must be 1 or less"),
        ("train", "~phases", "phases is empty"),
        ("train", "monitor=valid/cre", "monitor=valid/cre: no such metric; use one of valid/cer, valid/wer"),
        ("train", "device=tpu", "device=tpu: use cpu, gpu or gpu:N"),
        ("train stage=paragraph", "stage.size=[384]", r"page image size \[384\] does not fit"),
        ("train stage=paragraph", "stage.size=[384,x]", "stage.size.1='x' is not a whole number"),
        ("train stage=paragraph", "stage.normalise=1", "stage.normalise=1 is not true or false"),
        ("train stage=paragraph", "stage.growth=2", "stage.growth=2 is not possible; it must be 1 or less"),
        ("train stage=paragraph", "augmentation.erase=7", "augmentation.erase=7 is not possible"),
        ("train stage=paragraph", "augmentation=line", "augmentation.elastic: no such key"),
        ("train stage=paragraph", "network.hidden=x", "network.hidden='x' is not a whole number"),
        ("train stage=paragraph", "phases.iou.loss.epsilon=x", "phases.iou.loss.epsilon='x' is not a number"),
        (
            "train stage=paragraph", "monitor=valid/cer",
            "monitor=valid/cer: no such metric; use one of valid/iou_error",
        ),
        ("train stage=segmentation", "stage.unit=page", "stage.unit='page' is not possible; it must be "),
        ("train stage=segmentation", "stage.growth=-0.1", "stage.growth=-0.1 is not possible; it must be"),
        ("train stage=segmentation", "stage.min_c=high", "stage.min_c='high' is not a number"),
        ("train stage=segmentation", "stage.topk=1.5", "stage.topk=1.5 is not a whole number"),
        ("train stage=segmentation", "network.anchors=3", "network.anchors=3 is not a list"),
        ("train stage=segmentation", "loss.negatives=x", "loss.negatives='x' is not a number"),
        (
            "train stage=segmentation", "monitor=valid/f1",
            "no such metric; use one of valid/f1_error, valid/f1_75_error, valid/iou_error",
        ),
        ("train stage=denoiser", "stage.confusions=3", "stage.confusions=3 is not a text"),
        ("train stage=denoiser", "stage.texts=[3]", "stage.texts.0=3 is not a text"),
        ("train stage=denoiser", "stage.windows=2", "stage.windows=2 is not possible; it must be 1 or"),
        ("train stage=denoiser", "stage.repeats=0", "stage.repeats=0 is not possible; it must be 1 or"),
        ("train stage=denoiser", "augmentation.clean=2", "augmentation.clean=2 is not possible"),
        ("train stage=denoiser", "network.heads=x", "network.heads='x' is not a whole number"),
        ("train stage=denoiser", "loss=ctc", "not a loss of stage denoiser"),
        (
            "train stage=denoiser", "monitor=valid/wer",
            "monitor=valid/wer: no such metric; use one of valid/cer, valid/noised_cer",
        ),
        ("evaluate", "target=denoiser", "target=denoiser evaluates the weights of decoder=denoise; add"),
        ("evaluate decoder=denoise", "decoder.width=wide", "decoder.width='wide' is not a whole number"),
        ("evaluate decoder=beam", "decoder.model_weight=nan", "model_weight=nan is not a finite number"),
        ("evaluate decoder=denoise", "decoder.weights=null", "decoder.weights=None is not a text"),
        ("evaluate", "target=words", "target=words: unknown; use one of paragraph, segmentation, line, "),
        ("transcribe", "device=tpu", "device=tpu: use cpu, gpu or gpu:N"),
        ("transcribe", "widen=inf", "widen=inf is not a finite number"),
        ("transcribe", "seams=maybe", "seams='maybe' is not true or false"),
        ("transcribe", "overlay_width=10", "overlay_width=10 is not possible; it must be 100 or more"),
        ("transcribe", "decoder._target_=os.system", "decoder._target_=os.system: not a part of hwr"),
        ("tune", "split=test", "split=test: numbers chosen on the test split would fit what they are judged"),
        ("tune", "search=random", "search='random' is not possible; it must be one of coordinate, grid"),
        ("tune", "space.width=50", r"space.width=50: not a list of values; write \[1,2\]"),
        ("tune", "space.width=[]", r"space.width=\[\]: not a list of values"),
        ("tune", "space.width=[wide]", "decoder.width='wide' is not a whole number"),
        ("tune", "+space.widht=[1]", r"space.widht: no such key \(did you mean width\?\)"),
        ("tune", "+space.base.width=[1]", "space.base: no such key; known are _target_, model"),
        ("tune", "cheap=[widht]", "cheap=widht: not a key of space, whose keys are model_weight"),
        ("tune", "cheap=[model]", "cheap=model: not a key of space"),
        ("tune", "decoder=greedy", r"space is empty: nothing to choose; give what is tried with \+space.KEY"),
        ("confusion", "split=test", "split=test: costs learnt on the test lines would fit them"),
        ("confusion", "device=tpu", "device=tpu: use cpu, gpu or gpu:N"),
        ("decoders", "decoders.beam=wide", "decoders.beam=wide: not a decoder; choose one with decoder@"),
        ("decoders", "decoders.beam.width=wide", "decoders.beam.width='wide' is not a whole number"),
        ("decoders", "baseline=best", "baseline=best: not one of the decoders compared, which are greedy, "),
        ("decoders", "~decoders.greedy", "baseline=greedy: not one of the decoders compared"),
        ("decoders", "repeats=0", "repeats=0 is not possible; it must be 1 or more"),
        ("launch", "workers=0", "workers=0 is not possible; it must be 1 or more"),
        ("launch", "launcher=mpi", "launcher='mpi' is not possible; it must be one of local, ssh"),
        ("search", "trials=0", "trials=0 is not possible; it must be 1 or more"),
        ("search", "sampler.startup=x", "sampler.startup='x' is not a whole number"),
        ("search", "sampler._target_=os.system", "sampler._target_=os.system: not a part of hwr"),
        ("search", "pruner.warmup=x", "pruner.warmup='x' is not a whole number"),
        ("search", "space.lr.low=x", "space.lr.low='x' is not a whole number"),
        ("search", "space.lr.low=1", "space.lr: "),
        ("search", "~space.lr.high", "space.lr.high is not set"),
        ("evaluate", "resampling.resamples=x", "resampling.resamples='x' is not a whole number"),
        ("evaluate", "resampling.resamples=0", "resampling.resamples=0 is not possible; it must be 1"),
        ("evaluate", "scorer.timeout_s=soon", "scorer.timeout_s='soon' is not a number"),
        ("evaluate", "scorer.name=wer", "scorer.name='wer' is not possible; it must be one of sclite, edit"),
    ],
)  # fmt: skip
def test_value_is_refused_when_its_part_cannot_take_it(root: str, override: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        _bound(root, override)


@pytest.mark.parametrize(
    ("root", "key", "bounds"),
    [
        ("train", "augmentation.probability", (0, 1)),
        ("train", "augmentation.jitter_x", (0, 0.9)),
        ("train", "augmentation.gamma", (0, 4)),
        ("train", "augmentation.contrast", (0, 0.9)),
        ("train", "augmentation.erase", (0, 100)),
        ("train", "phases.ctc.lr_scale", (0, None)),
        ("train stage=paragraph", "augmentation.rotate", (0, 1)),
        ("train stage=paragraph", "augmentation.jitter_y", (0, 0.9)),
        ("train stage=segmentation", "stage.min_c", (0, 1)),
        ("train stage=segmentation", "stage.overlap_thres", (0, 1)),
        ("train stage=segmentation", "stage.topk", (1, None)),
        ("train stage=denoiser", "augmentation.strength", (0, None)),
        ("train stage=denoiser", "augmentation.smoothing", (0, None)),
        ("train stage=denoiser", "augmentation.most", (0, 1)),
        ("evaluate decoder=beam", "decoder.width", (1, None)),
        ("evaluate decoder=beam", "decoder.nbest", (1, None)),
        ("evaluate decoder=beam", "decoder.threshold", (0, None)),
        ("evaluate decoder=beam", "decoder.skip", (0, 1)),
        ("evaluate decoder=lexicon", "decoder.edits", (1, 3)),
        ("evaluate decoder=lexicon", "decoder.limit", (0, None)),
        ("evaluate decoder=lexicon", "decoder.share", (0, None)),
        ("evaluate decoder=lexicon", "decoder.frequency", (0, None)),
        ("evaluate decoder=lexicon", "decoder.sure", (0, 1)),
        ("evaluate decoder=denoise", "decoder.width", (1, None)),
        ("evaluate decoder=denoise", "decoder.max_growth", (0, None)),
    ],
)  # fmt: skip
def test_number_out_of_range_is_refused_by_its_key(
    root: str, key: str, bounds: tuple[float, float | None]
) -> None:
    for bound, step, remedy in zip(bounds, (-1, 1), ("more|greater", "less"), strict=True):
        if bound is not None:
            with pytest.raises(InputError, match=rf"{key}=\S+ is not possible; it must be .*({remedy})"):
                _bound(root, f"{key}={bound + step}")


@pytest.mark.parametrize(
    ("root", "key"),
    [
        ("train", "network.hidden"),
        ("train", "loss.shortcut_weight"),
        ("train", "data.seed"),
        ("train", "stage.crop"),
        ("train stage=paragraph", "stage.size"),
        ("train stage=segmentation", "stage.min_c"),
        ("evaluate", "scorer.name"),
    ],
)
def test_key_is_named_when_it_is_missing(root: str, key: str) -> None:
    with pytest.raises(InputError, match=f"{key} is not set"):
        _bound(root, f"~{key}")


def _bound(root: str, override: str) -> Composed:
    """Compose a root (`train stage=paragraph`: with what it chooses) and bind it."""
    name, *choice = root.split()
    kind, check = ROOTS[name]
    made = composed(name, [*choice, override, *_dummies(name, choice)], kind)
    check(made.root)
    return made


def _use_of(file: Path) -> tuple[str, list[str]]:
    """Return the root that a file takes part in, and the overrides that choose it."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    if parts[0] == "experiments":
        return "train", [f"experiments={'/'.join(parts[1:])}"]
    if len(parts) == 2:
        return parts[1], []
    if parts[1] == "tune":
        return "tune", [f"decoder={parts[2]}"]
    choice = f"{parts[1]}={parts[2]}"
    if choice == "data=sets":
        return "train", [choice, "+data@data.sets.a=alto", "+data@data.sets.b=synthetic"]
    if parts[1] == "model":
        return "transcribe", [f"+{choice}"]
    if parts[1] in OF_SEARCH:
        return "search", [choice]
    stage = [f"stage={name}" for name, choices in OF_STAGE.items() if choice in choices]
    return "evaluate" if parts[1] in OF_EVALUATION else "train", [*stage, choice]


def _dummies(root: str, choice: list[str]) -> list[str]:
    """Return a value for each key that the user has to give."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return [f"{key}=anywhere" for key in sorted(OmegaConf.missing_keys(compose(root, choice)))]
