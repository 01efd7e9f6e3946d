"""The smoke experiments give the curves recorded beside them; HWR_RECORD=1 records them anew."""

from collections.abc import Callable
from typing import Any

import pytest

from hwr.config import ROOT
from hwr.published import reproduce
from hwr.published.reproduce import LOSS
from tests.smoke import Smoke

# The highest error on valid that a smoke experiment may end with: CER, one minus IoU, one minus F1 at 0.75,
# and CER of texts that begin with 0.13.
LEARNT = {"line/smoke": 0.2, "paragraph/smoke": 0.35, "segmentation/smoke": 0.5, "denoiser/smoke": 0.065}


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNT)
def test_smoke_gives_what_is_recorded(name: str, smokes: Callable[[str], Smoke]) -> None:
    held = smokes(name).held
    assert held is not None
    assert held.returncode == 0, held.stdout + held.stderr


@pytest.mark.parametrize("name", LEARNT)
def test_smoke_learns(name: str) -> None:
    recorded = reproduce.recorded_result(name)
    losses, (errors,) = recorded["train/loss"], (v for k, v in recorded.items() if k.startswith("valid/"))
    assert min(losses) < 0.5 * losses[0]  # a later phase may have another loss
    assert min(errors) < LEARNT[name] < errors[0]


def test_every_recorded_curve_is_trained_again() -> None:
    results = [path.parent for path in (ROOT / "experiments").glob("*/*/result.json")]
    names = [folder.relative_to(ROOT / "experiments").as_posix() for folder in results]
    curves: dict[str, Any] = {name: reproduce.recorded_result(name) for name in names}
    assert {name for name, result in curves.items() if LOSS in result} == set(LEARNT)
