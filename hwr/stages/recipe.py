"""Parse the settings of a training into a typed recipe; parsing is the check."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import mxnet as mx

from hwr import data
from hwr.config.bind import bind, make, target
from hwr.config.roots import Count, Positive, Precision, Probability, TrainConfig
from hwr.data import inspection
from hwr.data.batches import Drawing
from hwr.decoding import check_decoder
from hwr.errors import InputError
from hwr.runtime import computes_bfloat16, has_tiles, refuse_without_bfloat16, use_tiles, uses_tiles
from hwr.stages.kind import DataSource, Model, ModelRecipe, Recipe, S, kind_named
from hwr.training import optimizers
from hwr.training.loop import Phase, Plan
from hwr.training.optimizers import Schedule

_SAME = ("monitor", "seed", "max_epochs", "max_minutes", "patience", "save_every", "clip", "average")


def parse_recipe(config: TrainConfig) -> Recipe[Any]:
    """Return the recipe of a configuration; InputError for settings that no part takes. No page is read."""
    kind = kind_named(str(config.stage.get("kind")))
    if config.monitor not in kind.metrics:
        raise InputError(f"monitor={config.monitor}: no such metric; use one of {', '.join(kind.metrics)}")
    model, plan = replace(parse_model(kind.model, config), precision=_precision(config)), _plan(config)
    inspection.check_policy(config.inspect.policy)
    if kind.decodes:
        check_decoder(config.decoder)
    losses, augmentations = _phase_parts(config, plan, kind.augmentation, kind.losses)
    return Recipe(
        kind=kind, model=model, plan=plan, losses=losses, augmentations=augmentations,
        data=data_source(config.data, config.folder), policy=config.inspect.policy, decoder=config.decoder,
        batch_size=config.batch_size, unknown=config.unknown, contexts=training_contexts(config.device),
        loading=config.loading, init=config.init, store=config,
    )  # fmt: skip


def parse_model(model: Model[S], config: TrainConfig) -> ModelRecipe[S]:
    """Return the model recipe of a configuration; raise InputError for one of another stage."""
    maker = target(config.network, "network")
    if maker not in model.networks:
        name = config.network["_target_"]
        raise InputError(f"network._target_={name}: not a network of stage {model.name}")
    own = {key: value for key, value in config.stage.items() if key != "kind"}
    bind(maker, config.network, "network", ["classes"])
    settings = make(model.settings, own, "stage")
    return ModelRecipe(model=model, settings=settings, maker=maker, node=config.network, seed=config.seed)


def _precision(config: TrainConfig) -> str:
    """Return what a training computes in; raise InputError where network or processor cannot."""
    if config.precision == "bfloat16":
        if not _may_be_less_precise(config):
            said = "this network computes in float32; leave it out, or set network=crnn"
            raise InputError(f"precision=bfloat16: {said}")
        refuse_without_bfloat16()
        _prepare_bfloat16(config)
    return config.precision


def fastest_precision(config: TrainConfig) -> Precision:
    """Return what a training may compute in here: bfloat16 where network and processor are faster so."""
    if not (_may_be_less_precise(config) and computes_bfloat16()):
        return "float32"
    _prepare_bfloat16(config)
    return "float32" if has_tiles() and not uses_tiles() else "bfloat16"


def _prepare_bfloat16(config: TrainConfig) -> None:
    maker: Any = target(config.network, "network")
    if maker.gains_from_tiles(config.network["channels"]):
        use_tiles()


def _may_be_less_precise(config: TrainConfig) -> bool:
    return hasattr(target(config.network, "network"), "compute_in_bfloat16")


def data_source(settings: Mapping[str, Any], folder: str) -> DataSource:
    """Return a data set that is not read yet; raise InputError for keys that its source does not take."""
    return DataSource(settings, Path(folder) / "cache", _drawing(settings, "data"))


def _drawing(node: Mapping[str, Any], where: str) -> dict[str, Drawing]:
    """Return how often the training samples of a data node are drawn, by set; InputError as `data_source`."""
    read = data.source_reader(str(node.get("source")))
    drawn = {key: node[key] for key in data.DRAWN if key in node and read is not data.read_sets}
    own = {key: value for key, value in node.items() if key not in (*data.SHARED_SETTINGS, *drawn)}
    bound = bind(read, own, where)
    bind(data.exclude_lines, node.get("exclude") or {}, f"{where}.exclude", ["pages"])
    bind(data.replace_texts, {"replace": node.get("replace", [])}, where, ["pages"])
    if read is not data.read_sets:
        return {"": make(Drawing, drawn, where)}
    used = data.used_sets(bound["sets"], bound["only"])
    return {name: _drawing(own, f"{where}.sets.{name}")[""] for name, own in used.items()}


def device_context(name: str) -> Any:
    """Return the MXNet context for `cpu` or `gpu:N`; raise InputError where it is not there."""
    kind, _, number = name.partition(":")
    if "," in number:
        raise InputError(f"device={name}: only a training is shared by several; name one")
    if kind not in ("cpu", "gpu") or not (number or "0").isdecimal():
        raise InputError(f"device={name}: use cpu, gpu or gpu:N")
    if kind == "gpu" and mx.context.num_gpus() <= int(number or 0):
        raise InputError(f"device={name}: this MXNet sees {mx.context.num_gpus()} GPUs; use device=cpu")
    return mx.Context(kind, int(number or 0))


def training_contexts(name: str) -> list[Any]:
    """Return the MXNet contexts of a device, or of several that share batches: `gpu:0,1`."""
    kind, _, numbers = name.partition(":")
    names = [f"{kind}:{number}" for number in numbers.split(",")] if "," in numbers else [name]
    if len(set(names)) < len(names):
        raise InputError(f"device={name}: names a device twice; name each once")
    return [device_context(one) for one in names]


def _plan(config: TrainConfig) -> Plan:
    if not config.phases:
        raise InputError("phases is empty; a training needs at least one")
    nodes = config.phases.items()
    bind(optimizers.create, config.optimizer, "optimizer", ["lr"])
    return Plan(
        phases=[make(_phase, node, f"phases.{name}", name=name, lr=config.lr) for name, node in nodes],
        optimizer=lambda lr: make(optimizers.create, config.optimizer, "optimizer", lr=lr),
        **{name: getattr(config, name) for name in _SAME},
    )


def _phase(
    *, name: str, lr: float, epochs: Count, lr_scale: Positive, schedule: Schedule, warmup: Probability,
    augmentation: dict[str, Any] | None = None, loss: dict[str, Any] | None = None,
) -> Phase:  # fmt: skip
    settings = {"augmentation": augmentation or {}, "loss": loss or {}}
    return Phase(name, epochs, lr * lr_scale, schedule, warmup, settings)


def _phase_parts(
    config: TrainConfig, plan: Plan, augmentation: Callable[..., Any], losses: Collection[Callable[..., Any]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the loss, one of `losses`, and the augmentation of every phase by its name."""
    made, augmentations = {}, {}
    for phase in plan.phases:
        node, where = _overlaid("loss", config.loss, phase)
        maker = target(node, where)
        if maker not in losses:
            kind = config.stage["kind"]
            raise InputError(f"{where}._target_={node['_target_']}: not a loss of stage {kind}")
        made[phase.name] = make(maker, node, where)
        node, where = _overlaid("augmentation", config.augmentation, phase)
        augmentations[phase.name] = make(augmentation, node, where)
    return made, augmentations


def _overlaid(part: str, common: Mapping[str, Any], phase: Phase) -> tuple[dict[str, Any], str]:
    """Return the settings of a part in `phase`, and the node to name in messages.

    Settings of a phase that name another `_target_` stand alone; others change single keys.
    """
    own = phase.settings[part]
    merged = dict(own) if "_target_" in own else {**common, **own}
    return merged, f"phases.{phase.name}.{part}" if own else part
