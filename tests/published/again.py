"""Evaluates published results again, in one process that is pinned as `hwr reproduce` pins its own.

python -m tests.published.again FOLDER NAME … [KEY=VALUE …] prints a line of JSON for each of the names; a key
that ends in .root is the folder of the data of that name: copiste.root=DIR.
"""

import json
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from hwr import runtime


def main(folder: str, words: Sequence[str]) -> None:
    """Print the figures of published results, or the error that kept one from being evaluated."""
    runtime.start()
    known = dict(word.split(".root=", 1) for word in words if ".root=" in word)
    for name in (word for word in words if ".root=" not in word):
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
