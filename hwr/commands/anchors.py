"""python -m hwr anchors: how well a detector's anchors fit the boxes of a data set."""

from collections.abc import Sequence

from hwr.config.compose import composed
from hwr.config.roots import InspectConfig


def run(overrides: Sequence[str]) -> None:
    """Print how many boxes of each split the anchors of a detector cover."""
    config: InspectConfig = composed("inspect", ["stage=segmentation", *overrides], InspectConfig).root
    from hwr import runtime  # takes seconds: bad keys and --help need not wait
    from hwr.stages.recipe import parse_recipe
    from hwr.stages.segmentation.training import anchor_table

    recipe = parse_recipe(config)
    runtime.start()
    print(anchor_table(recipe))
