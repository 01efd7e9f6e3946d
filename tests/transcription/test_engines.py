"""Ray and Spark read what one process reads; a process that is killed costs nothing.

`make test` skips these where Ray, Spark or Java are missing: none of them is in the lock file.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw, ImageFont

from hwr.config import ROOT

KEYS = ["--model", "synthetic"]
WORKERS = {"ray": "ray::MapWorker", "spark": "pyspark.daemon"}  # in the command line of what reads
TABLE = """
import json, sys
from hwr.transcription import bulk, engines

runner, page = sys.argv[1:]
settings = bulk.reading_settings(model="synthetic")
rows = [{"path": page, "bytes": None}, {"path": "b.png", "bytes": open(page, "rb").read()},
        {"path": "c.png", "bytes": b"nothing"}]
if runner == "ray":
    import ray
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    read = engines.transcribe_dataset(ray.data.from_items(rows), settings).take_all()
else:
    from pyspark.sql import SparkSession
    session = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    values = [(row["path"], row["bytes"]) for row in rows]
    frame = session.createDataFrame(values, "path string, bytes binary")
    read = [row.asDict(recursive=True) for row in engines.transcribe_frame(frame, settings).collect()]
own = list(bulk.RowReader(settings)(rows))
print(json.dumps([sorted(some, key=lambda row: row["path"]) for some in (read, own)]))
"""
POISON = """
import io, os, signal

def poisoned(file, *given, **named):
    if str(file).endswith("poison.png"):
        os.kill(os.getpid(), signal.SIGKILL)
    return opened(file, *given, **named)

opened, io.open = io.open, poisoned
"""


def runner(name: str) -> str:
    """Return the runner, or skip where what it needs is not installed."""
    package = {"ray": "ray", "spark": "pyspark"}[name]
    extra = {"ray": "ray[data]", "spark": "hwr[spark]"}[name]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install '{extra}'")
    if name == "spark" and not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        pytest.skip("Spark needs Java 17 or later, and there is none")
    return name


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Return a folder of six pages with two printed lines each."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(6):
        page = Image.new("L", (500, 300), 255)
        draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=40)
        for row, text in enumerate((f"number {number}", "and no more")):
            draw.text((40, 60 + 90 * row), text, fill=0, font=font)
        page.save(folder / f"{number}.png")
    return folder


def started(*words: object, output: Path, first: str = "") -> "subprocess.Popen[str]":
    """Start hwr, with a folder `first` on the path of all its processes."""
    command = [sys.executable, "-m", "hwr", *map(str, words), *KEYS, "--output", str(output)]
    path = os.pathsep.join(filter(None, [first, str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != ".hwr-outputs"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ray", "spark"])
def test_runner_writes_what_transcribe_writes(name: str, scans: Path, tmp_path: Path) -> None:
    (scans / "broken.png").write_bytes(b"nothing")
    words = [scans, "--format", "txt,alto"]
    process = started("bulk", *words, "--runner", runner(name), output=tmp_path / "many")
    said = process.communicate(timeout=500)[1]
    assert process.returncode == 1, said
    assert said.splitlines()[-1] == "6 pages read, 1 failed"
    assert f"error: {scans / 'broken.png'}: damaged" in said
    one = started("transcribe", *words, output=tmp_path / "one")
    assert one.communicate(timeout=500)[1].splitlines()[-1] == "6 pages read, 1 failed"
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    assert any(contents(tmp_path / "one").values())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ray", "spark"])
def test_table_becomes_rows_of_text(name: str, scans: Path) -> None:
    command = [sys.executable, "-c", TABLE, runner(name), str(scans / "1.png")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    read, own = json.loads(done.stdout.splitlines()[-1])
    assert [row | {"seconds": 0} for row in read] == [row | {"seconds": 0} for row in own]
    assert [row["error"] is None for row in own] == [True, True, False]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ray", "spark"])
def test_process_that_is_killed_costs_nothing(name: str, scans: Path, tmp_path: Path) -> None:
    words = [scans, "--format", "parquet", "--runner", runner(name), "part_files=1"]
    process = started("bulk", *words, output=tmp_path / "out")
    while process.poll() is None and not list((tmp_path / "out").glob("part-*")):
        time.sleep(0.05)
    os.kill(_reading(name, process.pid), signal.SIGKILL)
    said = process.communicate(timeout=500)[1]
    assert process.returncode == 0, said
    assert said.splitlines()[-1] == "6 pages read"
    paths = pq.read_table(tmp_path / "out", columns=["path"]).column("path").to_pylist()
    assert sorted(paths) == sorted(map(str, scans.iterdir()))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ray", "spark"])
def test_page_that_ends_its_process_fails_alone(name: str, scans: Path, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "sitecustomize.py").write_text(POISON)
    (scans / "2.png").rename(scans / "poison.png")
    words = [scans, "--runner", runner(name), "part_files=3", "attempts=2"]
    process = started("bulk", *words, output=tmp_path / "out", first=str(tmp_path / "first"))
    said = process.communicate(timeout=500)[1]
    assert process.returncode == 1, said
    assert f"error: {scans / 'poison.png'}: the process that read it ended, 2 time(s)" in said
    assert said.splitlines()[-1].endswith("1 failed")
    assert sorted(contents(tmp_path / "out")) == [f"{number}.txt" for number in (0, 1, 3, 4, 5)]


def _reading(name: str, driver: int) -> int:
    """Return the process that has computed most of those that read for a driver."""
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended
            if WORKERS[name] in " ".join(process.cmdline()):
                found.append((process.cpu_times().user, process.pid))
    return max(found)[1]
