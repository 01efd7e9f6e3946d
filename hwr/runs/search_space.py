"""What is searched and how: ranges and choices of settings, what draws from them, what ends trials early."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import Trial

from hwr.config.bind import make
from hwr.errors import InputError

Drawn = CategoricalDistribution | FloatDistribution | IntDistribution
Space = Mapping[str, Drawn]  # key of a training -> what is drawn for it
RANGE = ("low", "high", "log", "step")


def tpe(*, startup: int, seed: int) -> BaseSampler:
    """Draw settings near those that were good (Bergstra et al. 2011), `startup` at random before."""
    return TPESampler(n_startup_trials=startup, seed=seed)


def random(*, seed: int) -> BaseSampler:
    """Draw settings at random."""
    return RandomSampler(seed=seed)


def median(*, startup: int, warmup: int) -> BasePruner:
    """End a trial that is worse than the median of others at its epoch.

    The first `startup` trials go to their end, and each has `warmup` epochs.
    """
    return MedianPruner(n_startup_trials=startup, n_warmup_steps=warmup)


def hyperband(*, least: int, factor: int) -> BasePruner:
    """Give many trials `least` epochs, and one in `factor` of them that many times more (Li et al. 2018)."""
    return HyperbandPruner(min_resource=least, reduction_factor=factor)


def unpruned() -> BasePruner:
    """End no trial early."""
    return NopPruner()


def spaced(settings: Mapping[str, Any]) -> dict[str, Drawn]:
    """Return what is drawn for the keys of a training by `space`, nested or with dots in its keys."""
    found: dict[str, Drawn] = {}
    for key, node in _leaves(settings, ""):
        found[key] = make(_choice if "choices" in node else _range, node, f"space.{key}")
    if not found:
        raise InputError("space is empty; give what is searched: --set +space.lr='{low: 1e-4, high: 1e-2}'")
    return found


def written(values: Mapping[str, Any]) -> list[str]:
    """Return values as overrides of a training; a text stands as it is, so that it may be any YAML."""
    return [f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in values.items()]


def least(space: Space) -> dict[str, Any]:
    """Return a value of each key that may be drawn."""
    return {
        key: drawn.choices[0] if isinstance(drawn, CategoricalDistribution) else drawn.low
        for key, drawn in space.items()
    }


def suggested(trial: Trial, space: Space) -> Trial:
    """Let the sampler choose what the trial has not chosen yet."""
    for name, drawn in space.items():
        if isinstance(drawn, CategoricalDistribution):
            trial.suggest_categorical(name, drawn.choices)
        elif isinstance(drawn, IntDistribution):
            trial.suggest_int(name, drawn.low, drawn.high, step=drawn.step, log=drawn.log)
        else:
            trial.suggest_float(name, drawn.low, drawn.high, step=drawn.step, log=drawn.log)
    return trial


def _leaves(settings: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, node in settings.items():
        key = f"{prefix}{name}"
        if not isinstance(node, Mapping) or not node:
            raise InputError(
                f"space.{key}={node!r}: not a range; write {{low: 0.1, high: 0.5}} or {{choices: [1, 2]}}"
            )
        if "choices" in node or set(node) & set(RANGE):
            yield key, node
        else:
            yield from _leaves(node, f"{key}.")


def _choice(*, choices: list[Any]) -> Drawn:
    if any(isinstance(value, list | dict) for value in choices):
        raise ValueError(f"choices={choices} holds a list or mapping; write it as a text: '[1, 2]'")
    return CategoricalDistribution(choices)


def _range(
    *, low: int | float, high: int | float, log: bool = False, step: int | float | None = None
) -> Drawn:
    if isinstance(low, int) and isinstance(high, int) and isinstance(step, int | None):
        return IntDistribution(low, high, log=log, step=step or 1)
    return FloatDistribution(low, high, log=log, step=step)
