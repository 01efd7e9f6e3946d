"""python -m hwr decoders: several decoders on the same lines, scored side by side."""

from collections.abc import Sequence

from hwr.config.compose import composed
from hwr.config.roots import DecodersConfig


def run(overrides: Sequence[str]) -> None:
    """Compare the configured decoders, and print the table."""
    made = composed("decoders", overrides, DecodersConfig)
    from hwr.evaluation import decoders  # MXNet and MLflow take seconds: bad keys need neither

    decoders.compare_decoders(made)
