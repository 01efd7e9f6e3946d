"""What every refusal of bad input looks like: one line on standard error that names it, exit status 2."""

from collections.abc import Callable

import pytest

from hwr.config.messages import clear_errors


def refused(capsys: pytest.CaptureFixture[str], call: Callable[[], object]) -> str:
    """Return what `call`, an entry point, says when it refuses; fail unless it does so as it should."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended, clear_errors():
        call()
    said = capsys.readouterr().err
    assert ended.value.code == 2, said
    assert said.startswith("error: "), said
    assert said.count("\n") == 1, said
    assert said.endswith("\n"), said
    return said.removeprefix("error: ").rstrip("\n")


def tells(said: str, *parts: str) -> None:
    """Fail unless a refusal begins with the first part and tells the others: values, and the remedy."""
    assert said.startswith(parts[0]), said
    for part in parts[1:]:
        assert part in said, said
