"""The only importer of MLflow: runs, parameters, metrics, pictures, files; it knows no stage.

A run is recorded on disk first (spool) and delivered from there (delivery, in a thread: courier), so that
a tracking server may be away while a run goes on; what still waits at its end is delivered later (later).
"""

from hwr.tracking.names import flatten
from hwr.tracking.query import Outcome, forget, tagged
from hwr.tracking.runs import PARENT, PARENT_VARIABLE, Run, attach, parent_run, run
from hwr.tracking.store import Store, await_answer, download, open_store
from hwr.tracking.sync import Synced, sync
from hwr.tracking.termination import Terminated

__all__ = [
    "PARENT",
    "PARENT_VARIABLE",
    "Outcome",
    "Run",
    "Store",
    "Synced",
    "Terminated",
    "attach",
    "await_answer",
    "download",
    "flatten",
    "forget",
    "open_store",
    "parent_run",
    "run",
    "sync",
    "tagged",
]
