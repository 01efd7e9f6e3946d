"""A tracking server in memory: it keeps every value that arrives, twice if twice, and loses some if told."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mlflow.entities import DatasetInput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, INVALID_PARAMETER_VALUE

ARRIVES, LOST, ANSWER_LOST = "arrives", "lost", "answer lost"


class FakeServer:
    """Answers as an MLflow client does; `fate` says what becomes of the next requests, the last of all later.

    LOST never reaches it, ANSWER_LOST does and the sender hears of nothing. `refuses` are names of metrics
    that it does not take, `deleted` tells that the run is in its trash. It `takes_files` or refuses them, and
    `keeps_files` or has no place for them. So many of the next data sets are `raced`: another run was first.
    """

    def __init__(self) -> None:
        self.metrics: list[Metric] = []
        self.parameters: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.files: dict[str, str] = {}
        self.inputs: list[DatasetInput] = []
        self.raced = 0
        self.statuses: list[tuple[str, int | None]] = []
        self.fate: list[str] = [ARRIVES]
        self.refuses: set[str] = set()
        self.deleted = False
        self.keeps_files = self.takes_files = True
        self.requests = 0
        self.tracking_uri = "http://there:5000"

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Sequence[Param] = (),
        tags: Sequence[RunTag] = (),
    ) -> None:
        fate = self._fate()
        if self.deleted or any(metric.key in self.refuses for metric in metrics):
            raise MlflowException("not taken", INVALID_PARAMETER_VALUE)
        self.metrics += metrics
        self.parameters |= {param.key: param.value for param in params}
        self.tags |= {tag.key: tag.value for tag in tags}
        self._answer(fate)

    def get_metric_history(self, run_id: str, name: str) -> list[Metric]:
        self._answer(self._fate())
        return [metric for metric in self.metrics if metric.key == name]

    def get_run(self, run_id: str) -> Any:
        self._answer(self._fate())
        info = SimpleNamespace(lifecycle_stage="deleted" if self.deleted else "active")
        return SimpleNamespace(info=info, data=SimpleNamespace(params=dict(self.parameters)))

    def log_inputs(self, run_id: str, datasets: Sequence[DatasetInput]) -> None:
        fate = self._fate()
        if self.raced:
            self.raced -= 1
            raise MlflowException("(psycopg2.errors.UniqueViolation) duplicate key value", BAD_REQUEST)
        self.inputs += datasets
        self._answer(fate)

    def log_artifacts(self, run_id: str, folder: str, into: str | None) -> None:
        fate = self._fate()
        if not self.keeps_files:
            raise PermissionError(13, "Permission denied")
        if not self.takes_files:
            raise MlflowException("not taken", INVALID_PARAMETER_VALUE)
        found = [path for path in Path(folder).rglob("*") if path.is_file()]
        self.files |= {f"{into or ''}/{path.relative_to(folder)}": path.read_text() for path in found}
        self._answer(fate)

    def update_run(self, run_id: str, status: str) -> None:
        fate = self._fate()
        self.statuses.append((status, None))
        self._answer(fate)

    def set_terminated(self, run_id: str, status: str, end_time: int) -> None:
        fate = self._fate()
        self.statuses.append((status, end_time))
        self._answer(fate)

    def _fate(self) -> str:
        self.requests += 1
        fate = self.fate.pop(0) if len(self.fate) > 1 else self.fate[0]
        if fate == LOST:
            raise MlflowException("connection refused")
        return fate

    def _answer(self, fate: str) -> None:
        if fate == ANSWER_LOST:
            raise MlflowException("timed out")
