"""Search for the values of several keys that give the lowest error; no combination is tried twice."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hwr.config.roots import TuneConfig

Setting = dict[str, Any]
Judge = Callable[[Setting], float]  # the error of a setting
Space = Mapping[str, Sequence[Any]]  # key -> the values that are tried


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
