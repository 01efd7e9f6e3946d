"""python -m hwr models: the published weights and what they score."""

from collections.abc import Sequence

from hwr.errors import InputError


def run(arguments: Sequence[str]) -> None:
    """Print the tables of published results."""
    if arguments:
        raise InputError(f"models takes no keys, not {arguments[0]}")
    from hwr import runtime  # takes seconds: --help need not wait
    from hwr.published.tables import tables

    runtime.start()
    print("\n\n".join(tables().values()))
