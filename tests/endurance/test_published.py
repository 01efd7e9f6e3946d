"""Published results that take minutes to score come out again."""

from pathlib import Path

import pytest

from tests.published.test_reproduce import LONG, check_reproduced, evaluated_again

pytestmark = pytest.mark.endurance


@pytest.mark.parametrize("name", LONG)
def test_long_result_is_reproduced(name: str, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    check_reproduced(name, evaluated_again([name], tmp_path_factory))
