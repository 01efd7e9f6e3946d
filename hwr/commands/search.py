"""python -m hwr search: the best settings of a training, and the trainings that tell."""

import argparse
from collections.abc import Sequence

from hwr.config.compose import composed
from hwr.config.roots import SearchConfig


def run(arguments: Sequence[str]) -> None:
    """Search; exit with 1 where a trial failed."""
    parser = argparse.ArgumentParser("python -m hwr search", description="Search the settings of a training.")
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="what stays as it is: keys of train.py"
    )
    parser.add_argument("--trials", metavar="N", help="trainings in all, over all starts of this command")
    parser.add_argument("--jobs", metavar="N", help="processes; the cores are divided among them")
    parser.add_argument("--study", metavar="NAME", help="name of the search, to go on with it or to help it")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a key of conf/search.yaml"
    )
    given = parser.parse_intermixed_args(arguments)
    named = {"trials": given.trials, "jobs": given.jobs, "study": given.study}
    own = [*given.set, *(f"{key}={value}" for key, value in named.items() if value is not None)]
    config: SearchConfig = composed("search", own, SearchConfig).root
    from hwr import runtime

    runtime.start()  # MXNet takes seconds: bad keys and --help need not wait
    from hwr.runs import search

    search.run_search(search.planned_search(config, given.overrides), arguments)
