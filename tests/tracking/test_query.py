from pathlib import Path

import pytest

from hwr import tracking
from hwr.errors import InputError
from hwr.tracking import Store, forget, tagged


def test_runs_are_found_by_a_tag_with_what_they_reached(store: Store) -> None:
    with tracking.run(store, "sweep", run_id=None, tags={}) as parent:
        with tracking.run(store, "job", run_id=None, tags={tracking.PARENT: parent.id}) as child:
            child.metrics({"best/valid/cer": 0.5}, 1)
            child.parameters({"lr": 1})
        with tracking.run(store, "other", run_id=None, tags={}):
            pass
        (found,) = tagged(store, tracking.PARENT, parent.id)
    assert (found.id, found.status) == (child.id, "FINISHED")
    assert (found.metrics, found.parameters) == ({"best/valid/cer": 0.5}, {"lr": "1"})
    assert found.tags[tracking.PARENT] == parent.id


def test_forgotten_run_is_not_found(store: Store) -> None:
    with tracking.run(store, "job", run_id=None, tags={"kind": "forgotten"}) as job:
        pass
    forget(store, job.id)
    assert tagged(store, "kind", "forgotten") == []


def test_store_that_does_not_tell_is_refused_in_one_line(tmp_path: Path) -> None:
    nowhere = Store("http://127.0.0.1:1", "0", tmp_path)
    with pytest.raises(InputError, match=r"tracking.uri=http://127.0.0.1:1: ") as refused:
        tagged(nowhere, "kind", "job")
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match=r"tracking.uri=http://127.0.0.1:1: "):
        forget(nowhere, "r1")
