"""What runs bulk reading: this process, Ray Data or Spark; a model is loaded once in each process that reads.

Workers import hwr by its name; MXNet is started there before anything of hwr that computes.
"""

import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hwr import runtime
from hwr.errors import InputError, first_line, tell

if TYPE_CHECKING:
    from pyarrow import RecordBatch, Table

    from hwr.config.roots import BulkConfig

Answers = Callable[[Sequence[str], str, "BulkConfig"], Iterator[str]]  # of parts of a job; none of one lost

# The columns of bulk.ROWS as Spark names them.
ROWS = (
    "path string, page int, text string, alto string, "
    "lines array<struct<box: array<double>, text: string, confidence: double>>, "
    "confidence double, model string, seconds double, error string"
)
_ROUND = 20  # parts of a Spark job, for each process: what was read is told after each job
_COLUMNS = ("path", "bytes")


def transcribe_dataset(dataset: Any, settings: str, *, workers: int = 1, cores: int = 1) -> Any:
    """Return a dataset of Ray with a row of bulk.ROWS for each page of one with `path` or `bytes`.

    `settings` are those of bulk.reading_settings. `workers` actors read, each with `cores` threads.
    """
    held = [name for name in _COLUMNS if name in dataset.schema().names]
    rows = dataset.select_columns(held)
    return rows.map_batches(_Rows, fn_constructor_args=(settings,), **_actors(workers, cores), batch_size=8)


def transcribe_frame(frame: Any, settings: str) -> Any:
    """Return a data frame of Spark with a row of bulk.ROWS for each page of one with `path` or `bytes`.

    Each task has the threads of `spark.task.cpus`.
    """
    held = [name for name in _COLUMNS if name in frame.columns]
    return frame.select(*held).mapInArrow(partial(_read_batches, settings), ROWS)


def local_answers(parts: Sequence[str], job: str, config: "BulkConfig") -> Iterator[str]:
    """Yield the answers to parts, read in this process."""
    for part in parts:
        yield _bulk().answer_part(job, part)


def ray_answers(parts: Sequence[str], job: str, config: "BulkConfig") -> Iterator[str]:
    """Yield the answers to parts that `jobs` actors of Ray read."""
    data, raised = _extra("ray.data", "ray[data]"), _extra("ray.exceptions", "ray[data]").RayError
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # a part that ends its actor is left out
    for name in ("ray.data", "ray.data._internal.progress"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with _ray_cluster(config):
        rows = data.from_items([{"part": part} for part in parts], override_num_blocks=len(parts))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the number of retries has no name of its own yet
            answers = rows.map_batches(
                _Parts, fn_constructor_args=(job,), **_actors(config.jobs, config.cores), batch_size=1,
                max_restarts=-1, max_task_retries=config.attempts - 1,
            )  # fmt: skip
        try:
            yield from (row["answer"] for row in answers.iter_rows())
        except raised as error:
            raise InputError(f"runner=ray: {first_line(error)}; the same command reads the others") from None


def spark_answers(parts: Sequence[str], job: str, config: "BulkConfig") -> Iterator[str]:
    """Yield the answers to parts that Spark's Python workers read, after each of its jobs."""
    sql = _extra("pyspark.sql", "hwr[spark]")
    with _spark_session(sql, config) as session:
        size = _ROUND * max(1, session.sparkContext.defaultParallelism // config.cores)
        for start in range(0, len(parts), size):
            yield from _spark_round(session, parts[start : start + size], job)


ENGINES: Mapping[str, Answers] = {"local": local_answers, "ray": ray_answers, "spark": spark_answers}


class _Rows:
    """An actor of Ray that reads rows."""

    def __init__(self, settings: str) -> None:
        self._bulk = _bulk()
        self._read = self._bulk.row_reader(settings)

    def __call__(self, batch: "Table") -> "Table":
        from pyarrow import Table

        return Table.from_pylist(list(self._read(batch.to_pylist())), schema=self._bulk.ROWS)


class _Parts:
    """An actor of Ray that reads parts."""

    def __init__(self, job: str) -> None:
        self._job, self._answer = job, _bulk().answer_part

    def __call__(self, batch: "Table") -> "Table":
        from pyarrow import table

        return table({"answer": [self._answer(self._job, part) for part in batch["part"].to_pylist()]})


def _spark_round(session: Any, parts: Sequence[str], job: str) -> Iterator[str]:
    """Yield the answers to parts of one job of Spark; a part that ends it is left out."""
    context = session.sparkContext
    frame = session.createDataFrame(
        context.parallelize([(part,) for part in parts], len(parts)), "part string"
    )
    try:
        rows = frame.mapInArrow(partial(_answer_batches, job), "answer string").collect()
    except _spark_errors() as error:
        if context._jsc is None or context._jsc.sc().isStopped():
            raise InputError(
                f"runner=spark: {first_line(error)}; the same command reads the others"
            ) from None
        tell(f"spark: {first_line(error)}")
        half = len(parts) // 2
        for some in (parts[:half], parts[half:]) if half else ():
            yield from _spark_round(session, some, job)
    else:
        yield from (row["answer"] for row in rows)


def _spark_errors() -> tuple[type[Exception], ...]:
    errors, java = _extra("pyspark.errors", "hwr[spark]"), _extra("py4j.protocol", "hwr[spark]")
    return errors.PySparkException, java.Py4JError


def _read_batches(settings: str, batches: Iterator["RecordBatch"]) -> Iterator["RecordBatch"]:
    from pyarrow import RecordBatch

    bulk = _bulk()
    for batch in batches:
        for row in batch.to_pylist():
            read = list(bulk.row_reader(settings)([row]))
            yield RecordBatch.from_pylist(read, schema=bulk.ROWS)


def _answer_batches(job: str, batches: Iterator["RecordBatch"]) -> Iterator["RecordBatch"]:
    from pyarrow import RecordBatch

    for batch in batches:
        for part in batch["part"].to_pylist():
            yield RecordBatch.from_pylist([{"answer": _bulk().answer_part(job, part)}])


def _actors(workers: int, cores: int) -> dict[str, Any]:
    """Return how actors are made: one part or batch at a time, so that a kill costs no other."""
    pool = _extra("ray.data", "ray[data]").ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1)
    environment = {"env_vars": {runtime.THREADS: str(cores)}}
    return {"batch_format": "pyarrow", "compute": pool, "num_cpus": cores, "runtime_env": environment}


@contextmanager
def _ray_cluster(config: "BulkConfig") -> Iterator[None]:
    """Connect to a cluster in the block: the one that is named, or else one of this machine for `jobs`."""
    ray = _extra("ray", "ray[data]")
    if ray.is_initialized():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    address = config.address or os.environ.get("RAY_ADDRESS")
    here = {"num_cpus": config.jobs * config.cores, "include_dashboard": False} if not address else {}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **here)
    except (ConnectionError, ValueError) as error:
        raise InputError(f"address={address}: no Ray there ({first_line(error)}); see ray status") from None
    signal.signal(signal.SIGTERM, handler)  # Ray's would end this process without its closing line
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _spark_session(sql: ModuleType, config: "BulkConfig") -> Iterator[Any]:
    """Give a session: that of spark-submit, of the cluster that is named, or of this machine for `jobs`."""
    builder = sql.SparkSession.builder.appName("hwr bulk")
    if "PYSPARK_GATEWAY_PORT" not in os.environ:  # spark-submit gives all this
        cores, slots = str(config.cores), str(config.jobs * config.cores)
        here = f"local[{slots},{config.attempts}]"
        settings = {
            "spark.master": config.address or here,
            "spark.task.cpus": cores,
            "spark.executorEnv.OMP_NUM_THREADS": cores,
            "spark.cores.max": slots,
            "spark.task.maxFailures": str(config.attempts),
            "spark.ui.showConsoleProgress": "false",
        }
        if not config.address:
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
            settings |= {"spark.driver.host": "localhost", "spark.ui.enabled": "false"}
        for name, value in settings.items():
            builder = builder.config(name, value)
    try:
        session = builder.getOrCreate()
    except Exception as error:
        reason = f"Spark does not start ({first_line(error)}); it needs Java 17 or later"
        raise InputError(f"runner=spark: {reason}") from None
    try:
        session.sparkContext.setLogLevel("OFF")
        yield session
    finally:
        session.stop()


def _extra(module: str, package: str) -> ModuleType:
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        reason = f"needs {module.partition('.')[0]} ({first_line(error)}); pip install '{package}'"
        raise InputError(f"runner: {reason}") from None


def _bulk() -> ModuleType:
    """Return the module that reads; MXNet is started before it is imported."""
    runtime.start()
    from hwr.transcription import bulk

    return bulk
