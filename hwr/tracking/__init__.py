"""Record runs in MLflow: parameters, metrics, pictures, files. Nothing else imports MLflow.

A run is recorded on disk first (`spool`) and delivered from there by a thread (`delivery`), so
that a run goes on without its tracking server; `hwr sync` delivers what is left when it ends.
"""

from hwr.runtime.termination import Terminated
from hwr.tracking.runs import (
    PARENT,
    PARENT_VARIABLE,
    WEIGHTS_RUN,
    Run,
    SystemMetrics,
    attach,
    flatten,
    is_stored,
    parent_run,
    start_run,
)
from hwr.tracking.store import (
    Store,
    StoredRun,
    await_answer,
    describe_pages,
    download,
    each_run,
    experiment_of,
    forget,
    open_store,
    refusing,
    register,
    search_runs,
    status,
    tagged,
)

__all__ = [
    "PARENT", "PARENT_VARIABLE", "WEIGHTS_RUN", "Run", "Store", "StoredRun", "SystemMetrics", "Terminated",
    "attach", "await_answer", "describe_pages", "download", "each_run", "experiment_of", "flatten", "forget",
    "is_stored", "open_store", "parent_run", "refusing", "register", "search_runs", "start_run", "status",
    "tagged",
]  # fmt: skip
