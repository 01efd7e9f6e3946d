"""Every YAML file is composed, typed, and bound to the signatures of what it configures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from hwr import building, evaluation
from hwr.config import ROOT, Composed, EvaluateConfig, InspectConfig, TrainConfig, composed, stored
from hwr.errors import InputError

Check = Callable[[Any], None]
ROOTS: dict[str, tuple[type, Check]] = {
    "train": (TrainConfig, building.check),
    "inspect": (InspectConfig, building.check),
    "evaluate": (EvaluateConfig, evaluation.check),
}
OF_EVALUATION = ("scorer",)  # groups that no training has

FILES = sorted([*(ROOT / "conf").rglob("*.yaml"), *(ROOT / "experiments").glob("*/*.yaml")])
PUBLISHED = sorted((ROOT / "experiments").glob("*/*/weights/config.yaml"))
NODES = [
    ("train", node)
    for node in (
        "+", "+stage.", "+stage.crop.", "+network.", "+augmentation.", "+optimizer.", "+loss.", "+decoder.",
        "+data.", "+data.exclude.", "+inspect.", "+inspect.policy.", "+tracking.", "+phases.ctc.",
        "+phases.ctc.augmentation.", "+phases.ctc.loss.",
    )
] + [
    ("evaluate", node)
    for node in (
        "+", "+weights.", "+scorer.", "+resampling.", "+decoder.", "+data.", "+data.exclude.", "+tracking.",
    )
]  # fmt: skip


@pytest.fixture(autouse=True)
def _experiments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWR_ROOT", str(ROOT))


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
    building.check(stored(file.read_text(encoding="utf-8"), (), TrainConfig).root)


@pytest.mark.parametrize(("root", "node"), NODES)
def test_unknown_key_is_refused_in_every_node(root: str, node: str) -> None:
    with pytest.raises(InputError, match="planted"):
        _bound(root, f"{node}planted=1")


@pytest.mark.parametrize(
    ("root", "override", "said"),
    [
        ("train", "network.hidden=wide", "network.hidden='wide' is not a whole number"),
        ("train", "network.channels=[16,x]", "network.channels=.* is not a list with a whole number each"),
        ("train", "network.blocks=3", "network.blocks=3 is not a list"),
        ("train", "augmentation.shear=steep", "augmentation.shear='steep' is not a number"),
        ("train", "augmentation.shear=7", "augmentation.shear=7.0 is not between 0 and 1"),
        ("train", "optimizer.beta1=no", "optimizer.beta1='no' is not a number"),
        ("train", "optimizer.name=sgd", "optimizer.name=sgd: unknown; use one of adam, adamw"),
        ("train", "loss.shortcut_weight=null", "loss.shortcut_weight=None is not a number"),
        ("train", "stage.kind=paragraf", "stage.kind=paragraf: unknown; use line"),
        ("train", "stage.crop.height=tall", "stage.crop.height='tall' is not a whole number"),
        ("train", "stage.crop.height=2", "height 2 is too small"),
        ("train", "stage.crop.mask=1", "stage.crop.mask=1 is not true or false"),
        ("train", "data.seed=x", "data.seed='x' is not a whole number"),
        ("train", "data.pages.train=many", "data.pages=.* is not a mapping to a whole number each"),
        ("train", "data.exclude.types=consent", "data.exclude.types='consent' is not"),
        ("train", "data.source=alpo", "data source 'alpo' is unknown"),
        ("train", "inspect.policy.empty_text=burn", "inspect.policy.empty_text=burn is unknown"),
        ("train", "phases.ctc.schedule=cosinus", "schedule=cosinus: unknown; use constant or cosine"),
        ("train", "phases.ctc.epochs=0", "phases.ctc: epochs=0"),
        ("train", "phases.ctc.warmup=2", "warmup=2.0: not a share"),
        ("train", "~phases", "phases is empty"),
        ("train", "monitor=valid/cre", "monitor=valid/cre: no such metric; use one of valid/cer, valid/wer"),
        ("train", "device=tpu", "device=tpu: use cpu, gpu or gpu:N"),
        ("evaluate", "resampling.resamples=x", "resampling.resamples='x' is not a whole number"),
        ("evaluate", "scorer.timeout_s=soon", "scorer.timeout_s='soon' is not a number"),
    ],
)  # fmt: skip
def test_value_is_refused_when_its_part_cannot_take_it(root: str, override: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        _bound(root, override)


@pytest.mark.parametrize(
    ("root", "key"),
    [
        ("train", "network.hidden"),
        ("train", "loss.shortcut_weight"),
        ("train", "data.seed"),
        ("evaluate", "scorer.name"),
    ],
)
def test_key_is_named_when_it_is_missing(root: str, key: str) -> None:
    with pytest.raises(InputError, match=f"{key} is not set"):
        _bound(root, f"~{key}")


def _bound(root: str, override: str) -> Composed:
    kind, check = ROOTS[root]
    made = composed(root, [override, *_dummies(root, [])], kind)
    check(made.root)
    return made


def _use_of(file: Path) -> tuple[str, list[str]]:
    """Return the root that a file takes part in, and the override that chooses it."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    if parts[0] == "experiments":
        return "train", [f"experiments={'/'.join(parts[1:])}"]
    if len(parts) == 2:
        return parts[1], []
    return "evaluate" if parts[1] in OF_EVALUATION else "train", [f"{parts[1]}={parts[2]}"]


def _dummies(root: str, choice: list[str]) -> list[str]:
    """Return a value for each key that the user has to give."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return [f"{key}=anywhere" for key in sorted(OmegaConf.missing_keys(compose(root, choice)))]
