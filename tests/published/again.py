"""Evaluates published results again, in one process that is pinned as `hwr reproduce` pins its own.

python -m tests.published.again FOLDER [KEY=VALUE …] evaluates all of them and prints a line of JSON for each;
a key that ends in .root is the folder of the data of that name: copiste.root=DIR.
"""

import json
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from hwr import runtime


def main(folder: str, roots: Sequence[str]) -> None:
    """Print the figures of every published result, or the error that kept it from being evaluated."""
    runtime.start()
    from hwr.evaluation import publish

    known = dict(root.split(".root=", 1) for root in roots)
    for name in publish.published_results():
        root = known.get(name.partition("/")[2])
        print(json.dumps({"name": name} | _evaluated(name, folder, root)), flush=True)


def _evaluated(name: str, folder: str, root: str | None) -> dict[str, Any]:
    from hwr.published import reproduce

    places = [f"folder={folder}", "scorer=edit_distance"]  # which counts as SClite does
    places += [] if root is None else [f"data.root={root}"]
    try:
        outcome = reproduce.reproduce_evaluation(name, places)
    except Exception:
        return {"error": traceback.format_exc()}
    figures = [[figure.name, figure.recorded, figure.got, figure.same] for figure in outcome.figures]
    return {"kept": outcome.kept, "table": outcome.table(), "figures": figures}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
