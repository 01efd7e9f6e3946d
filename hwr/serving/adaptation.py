"""Fine-tuning on the corrected lines of the folder, in a process of its own, and the weights it makes."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hwr.config.compose import chosen
from hwr.config.roots import ServeConfig
from hwr.errors import InputError
from hwr.files import make_folder, parse_json, read_text
from hwr.serving.answers import Refused

FEWEST = 10  # corrected lines
_DATA = "data=alto"  # as the folder is read
_LATER = 10  # niceness: pages are read first
_END_S = 30  # that the process is given to end


def _left_out() -> re.Pattern[str]:
    return re.compile(chosen("adapt", [_DATA])["data"]["exclude"]["pattern"] or "(?!)")  # or nothing


@dataclass
class Adaptation:
    """One at a time; `process` is the one that was started last, which uses no text with `left_out`."""

    config: ServeConfig
    command: tuple[str, ...] = (sys.executable, "-m", "hwr", "adapt")
    process: "subprocess.Popen[bytes] | None" = None
    left_out: re.Pattern[str] = field(default_factory=_left_out)

    @property
    def output(self) -> Path:
        """The folder of the weights."""
        return Path(self.config.folder) / "adapted" / Path(self.config.pages).resolve().name

    def learnt_from(self, texts: Iterable[str]) -> int:
        """Return how many of the texts of corrected lines the process uses."""
        return sum(not self.left_out.search(text) for text in texts)

    def begin(self, corrected: int) -> None:
        """Start the process; Refused where one runs, or for too few `corrected` lines."""
        if self.process is not None and self.process.poll() is None:
            raise Refused(409, "a training runs already; wait until it has ended")
        if corrected < FEWEST:
            raise Refused(409, f"{corrected} corrected lines; correct {FEWEST - corrected} more")
        make_folder(self.output.parent)
        words = [
            _DATA, f"data.root={self.config.pages}", f"weights.line={self.config.weights.line}",
            f"output={self.output}", f"folder={self.config.folder}",
            *([f"tracking.uri={uri}"] if (uri := self.config.tracking.uri) else []),
            f"tracking.experiment={self.config.tracking.experiment}",
        ]  # fmt: skip
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*self.command, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        os.setpriority(os.PRIO_PROCESS, self.process.pid, _LATER)

    def state(self) -> dict[str, Any]:
        """Return how far it is: `state`, the last line it `told`, and the scores before and after."""
        if self.process is None:
            return {"state": "none"}
        status = self.process.poll()
        if status is None:
            return {"state": "running", "told": self._last_line()}
        if status < 0:
            name = signal.Signals(-status).name
            killed = " (out of memory?)" * (status == -signal.SIGKILL)
            return {"state": "failed", "told": f"the training was ended by {name}{killed}; start it again"}
        if status:
            return {"state": "failed", "told": self._last_line()}
        report = parse_json(read_text(self.output / "report.json"))
        return {"state": "done", "scores": report["scores"], "held_out": report["held_out"]}

    def weights(self) -> ServeConfig:
        """Return the settings with the weights that were made; Refused where none were."""
        if self.state()["state"] != "done":
            raise Refused(409, "no weights were made; start a training first")
        return replace(self.config, weights=replace(self.config.weights, line=str(self.output / "weights")))

    def end(self) -> None:
        """End the process: what it has trained stays, and can be resumed."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self.process.kill()

    @property
    def _log(self) -> Path:
        return self.output.with_name(f"{self.output.name}.log")

    def _last_line(self) -> str:
        try:
            lines = re.split(r"[\r\n]+", read_text(self._log).strip())
        except InputError:  # in the middle of a character
            return ""
        return lines[-1].removeprefix("error: ")
