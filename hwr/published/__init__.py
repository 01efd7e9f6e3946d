"""Published results: their tables, which `hwr models` prints for docs/results.md, and their reproduction."""

from collections.abc import Sequence

from hwr.evaluation import publish
from hwr.evaluation.targets import RECORDS
from hwr.tables import markdown_table


def print_tables(overrides: Sequence[str] = ()) -> None:
    """Print the tables of published results."""
    print("\n\n".join(tables().values()))


def tables() -> dict[str, str]:
    """Return the published results as Markdown tables by target."""
    found = publish.published_results()
    made = {}
    for target, record in RECORDS.items():
        own = {name: result for name, result in found.items() if result["target"] == target}
        links = {name: f"[`{name}`](experiments/{name}/{publish.CARD})" for name in own}
        rows = [row for name, result in own.items() for row in record.rows(links[name], result)]
        if rows:
            made[target] = markdown_table(record.head, rows)
    return made
