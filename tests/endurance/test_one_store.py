"""Many jobs record in one store, MLflow on PostgreSQL: nothing is missing, and nothing is there twice.

`make test` lets 3 processes write; `make endurance` lets HWR_WRITERS=32, stops their database meanwhile, and
sweeps over HWR_JOBS=24 trainings: HWR_JOBS=200 make endurance ARGS='-k large_sweep'. Ray takes part where its
launcher is installed: decision 11.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from hwr import tracking
from hwr.config import ROOT
from hwr.tracking import Store, open_store
from tests.endurance import postgres, writing
from tests.endurance.postgres import Postgres
from tests.endurance.server import Server
from tests.smoke import PINNED
from tests.tracking.seen import artifact, history, status

pytestmark = pytest.mark.slow

WRITERS = int(os.environ.get("HWR_WRITERS", "32"))
JOBS = int(os.environ.get("HWR_JOBS", "24"))
OUTAGE_S = float(os.environ.get("HWR_OUTAGE_S", "2"))
AT_ONCE = 3  # jobs of the sweep; submitit would start all
JOBS_AT_ONCE = 16  # that log the same data set
RAY = [f"num_cpus={AT_ONCE}", "include_dashboard=false"]
STEPS = 300
LIMIT_S = 600.0  # for what takes a minute on two idle cores


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    made = Postgres(postgres.needed())
    try:
        made.start()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def server(cluster: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("server"), cluster.uri, workers=2)
    try:
        started.start()
        yield started
    finally:
        started.kill()


class Writers:
    """Processes that write to a store, which a thread waits for."""

    def __init__(self, server: Server, folder: Path, *, count: int, steps: int) -> None:
        folder.mkdir()
        self.folder, self.count, self.steps = folder, count, steps
        words = [server.uri, str(folder), str(count), str(steps)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.endurance.writing", *words],
            env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=ROOT, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def until_all_write(self) -> None:
        """Wait until each writer has logged something of its training."""
        deadline = time.monotonic() + LIMIT_S
        while len(list(self.folder.glob("runs/*/spool/sent.json"))) < self.count:
            assert self._process.poll() is None, self._process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def ended(self) -> list[writing.Written]:
        """Wait for them; return what each of them tells."""
        try:
            _, said = self._process.communicate(timeout=LIMIT_S)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, 9)
        print(said)
        assert self._process.returncode == 0
        texts = [(self.folder / f"writer{n}.json").read_text("utf-8") for n in range(self.count)]
        found = [writing.Written(**json.loads(text)) for text in texts]
        slowest = {kind: max(one.slowest_s[kind] for one in found) for kind in found[0].slowest_s}
        print(json.dumps({"seconds": max(one.seconds for one in found), "slowest_s": slowest}))
        return found


def check(store: Store, writers: Writers, folder: Path) -> None:
    """Fail unless each writer's run is in the store, whole and once, and no writer waited long."""
    found = writers.ended()
    ids = {run.info.run_id for run in store.client.search_runs([store.experiment], max_results=1000)}
    assert len({one.run for one in found}) == writers.count
    assert {one.run for one in found} == ids
    for writer, one in enumerate(found):
        assert (status(store, one.run), one.waiting) == ("FINISHED", 0)
        run = tracking.attach(store, one.run)
        assert run is not None
        kept = store.client.get_run(one.run)
        assert kept.data.params == writing.parameters(writer)
        assert (kept.data.tags["writer"], kept.data.tags["state"]) == (str(writer), "trains")
        assert [own.dataset.name for own in kept.inputs.dataset_inputs] == ["drawn"]
        for name in writing.METRICS:
            steps = range(1, writers.steps + 1)
            assert history(store, one.run, name) == [(n, writing.value(writer, name, n)) for n in steps]
        assert artifact(run, "weights/network.params", folder).read_bytes() == writing.weights(writer)
        rows = json.loads(artifact(run, "lines.json", folder).read_text("utf-8"))["data"]
        assert rows == [list(line.values()) for line in writing.lines(writer)]
        assert artifact(run, "pictures/dot.png", folder).stat().st_size > 0
        assert one.slowest_s["metrics"] < 2  # milliseconds on an idle machine
        assert max(one.slowest_s.values()) < 20


def opened(server: Server, folder: Path, experiment: str) -> Store:
    return open_store(server.uri, folder, experiment)


def test_nothing_is_missing_or_twice_when_three_processes_write(server: Server, tmp_path: Path) -> None:
    writers = Writers(server, tmp_path / "outputs", count=3, steps=30)
    writers.until_all_write()
    check(opened(server, writers.folder, "outputs"), writers, tmp_path)


@pytest.mark.endurance
def test_nothing_is_missing_or_twice_when_many_processes_write(
    server: Server, cluster: Postgres, tmp_path: Path
) -> None:
    before = cluster.sizes()
    writers = Writers(server, tmp_path / "many", count=WRITERS, steps=STEPS)
    writers.until_all_write()
    check(opened(server, writers.folder, "many"), writers, tmp_path)
    _print_growth(cluster, before)
    size, rows = cluster.sizes()["metrics"]
    assert size / rows < 500


@pytest.mark.endurance
def test_nothing_is_missing_or_twice_when_the_database_is_away_for_a_while(
    server: Server, cluster: Postgres, tmp_path: Path
) -> None:
    steps = STEPS + round(OUTAGE_S / writing.STEP_S)
    writers = Writers(server, tmp_path / "outage", count=WRITERS, steps=steps)
    writers.until_all_write()
    time.sleep(STEPS * writing.STEP_S / 3)
    cluster.stop()
    time.sleep(OUTAGE_S)
    cluster.start()
    check(opened(server, writers.folder, "outage"), writers, tmp_path)


def test_run_starts_when_its_name_is_longer_than_a_column_of_the_database(
    server: Server, tmp_path: Path
) -> None:
    store = opened(server, tmp_path, "names")
    with tracking.start_run(store, "lr=1 " * 100, tags={"swept": "\0"}) as run:
        run.parameters({"text": "a\0b"})
        run.tags({"text": "a\0b"})
    kept = store.client.get_run(run.id)
    assert (len(kept.info.run_name), kept.data.params, kept.data.tags["text"]) == (
        250,
        {"text": "a�b"},
        "a�b",
    )
    assert run.spool.waiting() == []


def test_data_set_is_kept_of_every_run_when_all_log_it_at_once(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store, barrier = opened(server, tmp_path, "data"), threading.Barrier(JOBS_AT_ONCE)

    def log(number: int) -> None:
        with tracking.start_run(store, f"job {number}", tags={}) as run:
            for data in "abcdef":
                barrier.wait(60)
                run.inputs(data, data * 64, context="training", root=None, profile={})

    jobs = [threading.Thread(target=log, args=(number,)) for number in range(JOBS_AT_ONCE)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    found = store.client.search_runs([store.experiment])
    assert [len(run.inputs.dataset_inputs) for run in found] == [6] * JOBS_AT_ONCE
    assert "is not reached" not in capfd.readouterr().err


SMALLEST = (
    "experiments=line/smoke", "phases.ctc.epochs=1", "~phases.plain", "network.stem=4", "network.hidden=8",
    "network.channels=[4,8,8]", "data.pages={train: 2, valid: 1, test: 1}", "data.lines=[2,3]",
)  # fmt: skip


@pytest.mark.endurance
@pytest.mark.parametrize(
    "launcher",
    [
        ["hydra/launcher=submitit_local", f"hydra.sweeper.max_batch_size={AT_ONCE}"],
        ["hydra/launcher=ray", *(f"+hydra.launcher.ray.init.{key}" for key in RAY)],
    ],
    ids=["submitit", "ray"],
)
def test_jobs_of_a_large_sweep_are_all_in_the_store(
    server: Server, cluster: Postgres, tmp_path: Path, launcher: list[str]
) -> None:
    if "hydra/launcher=ray" in launcher:
        pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    name = f"sweep-{launcher[0].rpartition('=')[2]}"
    words = [*SMALLEST, f"folder={tmp_path}", f"tracking.uri={server.uri}", f"tracking.experiment={name}"]
    sizes, begun = cluster.sizes(), time.monotonic()
    command = [sys.executable, str(ROOT / "train.py"), "-m", *words, f"seed=range({JOBS})", *launcher]
    status, spent_s = _swept(command, tmp_path / "said")
    told = {"jobs": JOBS, "seconds": time.monotonic() - begun, "processor_s_a_job": spent_s / JOBS}
    print(json.dumps(told))
    _print_growth(cluster, sizes)
    assert status == 0, (tmp_path / "said").read_text()
    store = opened(server, tmp_path, name)
    found: list[Any] = store.client.search_runs([store.experiment], max_results=5000)
    (parent,) = (run for run in found if tracking.PARENT not in run.data.tags)
    jobs = [run for run in found if tracking.PARENT in run.data.tags]
    assert sorted(run.data.params["seed"] for run in jobs) == sorted(map(str, range(JOBS)))
    assert {run.data.tags[tracking.PARENT] for run in jobs} == {parent.info.run_id}
    assert {run.info.status for run in found} == {"FINISHED"}
    assert parent.data.metrics["jobs/finished"] == JOBS
    for run in jobs:
        assert [step for step, _ in history(store, run.info.run_id, "train/loss")] == [1]


def _print_growth(cluster: Postgres, before: dict[str, tuple[int, int]]) -> None:
    """Tell what each table gained: bytes with its indexes, and rows."""
    for table, (size, rows) in cluster.sizes().items():
        gained, new = size - before[table][0], rows - before[table][1]
        if new > 0:
            print(json.dumps({"table": table, "bytes": gained, "rows": new, "bytes_a_row": gained // new}))


def _swept(command: list[str], said: Path) -> tuple[int, float]:
    """Run a sweep; return its status and the processor time of its processes, as seen twice a second."""
    with said.open("w") as file:
        process = psutil.Popen(
            command, env={**os.environ, **PINNED, "OMP_NUM_THREADS": "1"}, stdout=file, stderr=file
        )
    spent = dict[int, float]()
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in (process, *process.children(recursive=True)):
                times = one.cpu_times()
                spent[one.pid] = times.user + times.system
        time.sleep(0.5)
    return process.returncode, sum(spent.values())
