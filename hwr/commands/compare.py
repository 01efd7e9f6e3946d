"""python -m hwr compare: what tells runs apart, and whether one reads better than another."""

from collections.abc import Sequence

from hwr.config.compose import composed
from hwr.config.roots import CompareConfig


def run(arguments: Sequence[str]) -> None:
    """Compare the runs that ids, their beginnings or `last` name; arguments with = are keys."""
    names = [argument for argument in arguments if "=" not in argument]
    overrides = [argument for argument in arguments if "=" in argument]
    made = composed("compare", overrides, CompareConfig)
    from hwr.comparison import compare  # MLflow takes seconds: bad keys and --help need not wait

    compare.run(names, made)
