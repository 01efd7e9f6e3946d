"""python -m hwr tune: a decoder's numbers, chosen on validation lines."""

from collections.abc import Sequence

from hwr.config.compose import composed
from hwr.config.roots import TuneConfig


def run(overrides: Sequence[str]) -> None:
    """Try settings of the configured decoder, and write it with the best one."""
    made = composed("tune", overrides, TuneConfig)
    from hwr.evaluation import tune  # MXNet and MLflow take seconds: bad keys need neither

    tune.tune_decoder(made)
