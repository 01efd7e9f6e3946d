"""The run around the jobs of a sweep: its children. It ends with what the best of them reached."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hwr import tracking


@contextlib.contextmanager
def parent(settings: dict[str, Any], overrides: list[str]) -> Iterator[None]:
    """Keep a run open that trainings of this process and of its children name as their parent.

    `settings` are name, monitor, folder and tracking of the configuration that is swept.
    """
    place = settings["tracking"]
    store = tracking.open_store(place["uri"], Path(settings["folder"]), place["experiment"])
    tags = {"overrides": " ".join(overrides)}
    with tracking.run(store, f"{settings['name']} sweep", run_id=None, tags=tags) as run:
        os.environ[tracking.PARENT_VARIABLE] = run.id
        try:
            yield
        finally:
            del os.environ[tracking.PARENT_VARIABLE]
            _take_best(run, f"best/{settings['monitor']}")


def _take_best(run: tracking.Run, metric: str) -> None:
    """Log the parameters and the lowest error of the best child."""
    scored = [child for child in tracking.children(run) if metric in child.metrics]
    run.metrics({"jobs": len(scored)}, 0)
    if scored:
        best = min(scored, key=lambda child: child.metrics[metric])
        run.metrics({metric: best.metrics[metric]}, 0)
        run.parameters(best.parameters)
        run.tags({"best_run": best.id})
