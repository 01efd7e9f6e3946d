"""Leaves out what is marked `endurance` unless it is asked for: -m endurance."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "endurance" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("endurance")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
