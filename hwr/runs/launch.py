"""Train in several processes: scheduler, servers and workers of ps-lite, which end with the first that dies.

ps-lite waits for ever for a process that died, so all of them are watched here. A process whose launcher dies
finds its standard input closed, and ends.
"""

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

from hwr import runtime
from hwr.config.compose import composed, explained, for_resumed
from hwr.config.messages import clear_errors
from hwr.config.roots import LaunchConfig, TrainConfig
from hwr.errors import InputError, tell
from hwr.files import read_text
from hwr.runtime import termination

if TYPE_CHECKING:
    from hwr.training.shares import Shares

PREFIX = "launch."  # of keys of conf/launch.yaml among those of the training
ROLES = ("scheduler", "server", "worker")
LAUNCHED_VARIABLE = "HWR_LAUNCHED"  # set: the end of standard input ends this process
RANK_VARIABLE = "DMLC_WORKER_ID"
VARIABLES = ("DMLC_PS_ROOT_URI", "DMLC_PS_ROOT_PORT", "DMLC_NUM_WORKER", "DMLC_NUM_SERVER")  # of ps-lite
LOOK_S = 0.1  # between two looks at the processes
TOLD_S = 5.0  # what is wrong with the settings worker 0 tells within this time of another worker
# Of the environment here, what processes on other machines get; logins stay.
_PASSED = re.compile(r"PYTHONPATH|OMP_NUM_THREADS|(DMLC|DNNL|HWR|MXNET|PS)_\w+")
_SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3")
_HOST = re.compile(r"\w[\w.@-]*")


@dataclass(frozen=True)
class Host:
    """A machine: the name that ssh takes, None for this one, and the address that others reach it by."""

    name: str | None
    address: str


@dataclass(frozen=True)
class Child:
    """A process of the training; `said` holds the standard error of one that is not shown."""

    name: str
    process: "subprocess.Popen[bytes]"
    said: IO[bytes] | None

    def ended(self) -> bool:
        """Tell whether it has ended."""
        return self.process.poll() is not None

    @property
    def status(self) -> int:
        """Its exit status as a shell gives it, 128 and the number of the signal that killed it."""
        code = self.process.wait()
        return code if code >= 0 else 128 - code

    def death(self) -> str:
        """Return how it ended, with its last words."""
        code, name = self.process.wait(), f"{self.name} (process {self.process.pid})"
        if code < 0:
            return f"{name} was killed by {signal.Signals(-code).name}"
        words = "" if self.said is None else _last_line(self.said)
        return f"{name} ended with status {code}" + (f", {words}" if words else "")


@dataclass
class Job:
    """The processes of a training; the first worker is the one that is seen and heard."""

    grace_s: float
    children: list[Child] = field(default_factory=list)

    @property
    def leader(self) -> Child:
        """Worker 0."""
        return next(child for child in self.children if child.name == "worker 0")

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a process in a group of its own: an interrupt at the terminal reaches this one alone."""
        shown = name == "worker 0"
        said = None if shown else tempfile.TemporaryFile()  # noqa: SIM115  (read once it has died)
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=None if shown else subprocess.DEVNULL,
            stderr=said, start_new_session=True,
        )  # fmt: skip
        self.children.append(Child(name, process, said))

    def first_death(self) -> Child | None:
        """Wait until a process dies, and return it; None once worker 0 has trained to the end."""
        left: dict[str, float] = {}  # when processes ended well
        while not self.leader.ended():
            for child in filter(Child.ended, self.children):
                since = left.setdefault(child.name, time.monotonic())
                if child.status or time.monotonic() - since > self.grace_s:  # worker 0 leaves with the others
                    return child
            time.sleep(LOOK_S)
        return self.leader if self.leader.status else None

    def end(self, *, ask: bool) -> None:
        """End all processes and what they started; `ask` them first, or give them time to end themselves."""
        alive = [child for child in self.children if not child.ended()]
        for child in alive if ask else ():
            child.process.terminate()
        self._wait(alive, self.grace_s)
        for child in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)  # also children of one that died
            child.process.wait()
            if child.process.stdin is not None:
                child.process.stdin.close()

    def told_by_leader(self, dead: Child) -> bool:
        """Tell whether worker 0 has told what is wrong: all workers find it in settings and data."""
        if dead.status == 2:
            self._wait([self.leader], TOLD_S)
        return self.leader.ended() and self.leader.status == dead.status == 2

    def _wait(self, children: Sequence[Child], seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not all(map(Child.ended, children)):
            time.sleep(LOOK_S)


def launch_training(
    overrides: Sequence[str], *, role: str | None = None, config_dir: str | None = None
) -> int:
    """Train in several processes, or be one of them; keys of conf/launch.yaml begin with `launch.`."""
    own = [key for key in overrides if key.lstrip("+~").startswith(PREFIX)]
    keys = [key for key in overrides if key not in own]
    stripped = [re.sub(rf"^([+~]*){PREFIX}", r"\1", key) for key in own]
    config: LaunchConfig = composed("launch", stripped, LaunchConfig).root
    if role is None:
        made = composed("train", _found(keys), TrainConfig, config_dir=config_dir)  # refuses what is wrong
        words = [*overrides, *(["--config-dir", config_dir] if config_dir else [])]
        return _supervise(config, words, Path(made.root.folder))
    _check_role(role)
    if os.environ.get(LAUNCHED_VARIABLE):
        threading.Thread(target=_end_with_launcher, args=(config.grace_s,), daemon=True).start()
    if role == "worker":
        _work(config, keys, config_dir)
    else:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own handler waits for C to return
        runtime.start()
        from hwr.training.shares import serve

        serve(role)
    return 0


def planned_hosts(config: LaunchConfig) -> list[Host]:
    """Return the machines of a training; InputError for a file of hosts that is missing or says nothing."""
    if config.launcher == "local":
        if config.hosts is not None:
            raise InputError(f"launch.hosts={config.hosts}: all processes are here; add --launcher ssh")
        return [Host(None, "127.0.0.1")]
    if config.hosts is None:
        raise InputError("launch.launcher=ssh: on which machines? give --hosts FILE, which names one a line")
    lines = read_text(Path(config.hosts), key="launch.hosts").splitlines()
    named = [line.partition("#")[0].split() for line in lines]
    hosts = [_host(config.hosts, *words) for words in named if words]
    if not hosts:
        raise InputError(f"launch.hosts={config.hosts}: names no machine; write one in each line")
    return hosts


def _host(file: str, name: str, address: str | None = None, *others: str) -> Host:
    if others or not _HOST.fullmatch(name):
        said = " ".join(filter(None, (name, address, *others)))
        raise InputError(
            f"launch.hosts={file}: {said}: not a machine; write its name, and its address behind"
        )
    try:
        return Host(name, socket.gethostbyname(address or name.rpartition("@")[2]))
    except OSError:
        where = f"{address or name} has no address here"
        raise InputError(f"launch.hosts={file}: {where}; write NAME ADDRESS") from None


def _supervise(config: LaunchConfig, words: Sequence[str], folder: Path) -> int:
    """Start all processes, wait for worker 0, and return its exit status, or that of one that died."""
    hosts, begun = planned_hosts(config), time.time()
    shared = _variables(config, hosts)
    job = Job(config.grace_s)
    dead: Child | None = None
    with termination.held_back():
        finished = False
        try:
            with termination.let_through():
                for name, role, host in _places(config, hosts):
                    rank = {RANK_VARIABLE: name.rpartition(" ")[2]} if role == "worker" else {}
                    own = {**shared, **rank, "DMLC_NODE_HOST": host.address}
                    job.start(name, *_command(host, ["launch", "--role", role, *words], own))
                dead = job.first_death()
                finished = dead is None
                told = dead is not None and job.told_by_leader(dead)
        finally:
            job.end(ask=not finished)
    if dead is None:
        return 0
    if not told:
        behind_bar = "\n" * (job.leader.process.wait() < 0)  # killed, it left its progress bar open
        tell(f"{behind_bar}launch: {dead.death()}; all others were ended, {_remedy(folder, begun)}")
    return dead.status


def _places(config: LaunchConfig, hosts: Sequence[Host]) -> Iterator[tuple[str, str, Host]]:
    """Yield name, role and machine of every process; worker 0 and the scheduler are on the first one."""
    yield "scheduler", "scheduler", hosts[0]
    for role, count in (("server", config.servers), ("worker", config.workers)):
        for number in range(count):
            yield f"{role} {number}", role, hosts[number % len(hosts)]


def _variables(config: LaunchConfig, hosts: Sequence[Host]) -> dict[str, str]:
    """Return what all processes find in their environment."""
    found = {
        "DMLC_PS_ROOT_URI": hosts[0].address,
        "DMLC_PS_ROOT_PORT": str(_port(config)),
        "DMLC_NUM_WORKER": str(config.workers),
        "DMLC_NUM_SERVER": str(config.servers),
        LAUNCHED_VARIABLE: "1",
    }
    if config.launcher == "local" and not runtime.THREADS_GIVEN:
        found[runtime.THREADS] = str(max(1, runtime.available_cores() // config.workers))
    return found


def _port(config: LaunchConfig) -> int:
    """Return the port where all processes meet; InputError where another program has it."""
    with socket.socket() as probe:
        try:
            if config.port is None or config.launcher == "local":
                probe.bind(("127.0.0.1", config.port or 0))
        except OSError as error:
            reason = f"cannot be used ({error.strerror})"
            raise InputError(
                f"launch.port={config.port}: {reason}; choose another, or leave it out"
            ) from None
        return config.port or int(probe.getsockname()[1])


def _command(host: Host, words: Sequence[str], own: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return the command that runs hwr on a machine, and the environment to start it in."""
    command = [sys.executable, "-m", "hwr", *words]
    if host.name is None:
        return command, {**os.environ, **own}
    passed = {name: value for name, value in os.environ.items() if _PASSED.fullmatch(name)}
    if not runtime.THREADS_GIVEN:
        del passed[runtime.THREADS]  # that of this machine
    settings = [f"{name}={value}" for name, value in {**passed, **own}.items()]
    remote = f"cd {shlex.quote(str(Path.cwd()))} && exec env {shlex.join([*settings, *command])}"
    return [*_SSH, host.name, remote], dict(os.environ)


def _work(config: LaunchConfig, keys: Sequence[str], config_dir: str | None) -> None:
    """Be a worker: the first one records the run, the others train beside it."""
    made = composed("train", _found(keys), TrainConfig, config_dir=config_dir)
    made = replace(made, overrides=(*made.overrides, *for_resumed(keys)))
    rank, joined_as = int(os.environ[RANK_VARIABLE]), list["Shares"]()
    runtime.start()
    from hwr.runs.train import follow, train_stage
    from hwr.training.shares import joined

    def join(contexts: Sequence[Any]) -> "Shares":
        joined_as.append(joined(contexts, rank=rank, wait_s=config.join_s))
        return joined_as[0]

    try:
        with clear_errors(), explained(made):
            (follow if rank else train_stage)(made, join=join)
            joined_as[0].close()
    except BaseException as error:
        _leave(error)


def _leave(error: BaseException) -> NoReturn:
    """End this process at once: ps-lite would wait for the others, which may have died."""
    status = error.code if isinstance(error, SystemExit) else 1
    if not isinstance(error, SystemExit):
        sys.excepthook(type(error), error, error.__traceback__)
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)


def _end_with_launcher(grace_s: float) -> None:
    """Wait for the launcher to end or to close standard input, then end this process."""
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_s)
    os._exit(1)


def _check_role(role: str) -> None:
    """Raise InputError for an unknown role, and where the environment does not say whom to join."""
    if role not in ROLES:
        raise InputError(f"--role {role}: unknown; use {', '.join(ROLES)}")
    for name in (*VARIABLES, *([RANK_VARIABLE] if role == "worker" else [])):
        value = os.environ.get(name)
        if not value or (name != VARIABLES[0] and not value.isdecimal()):
            said = f"{name}={value} is not a number" if value else f"{name} is not set"
            raise InputError(f"--role {role}: {said}; leave --role out, or set what all processes share")


def _found(keys: Sequence[str]) -> list[str]:
    """Return the keys of a training that are composed; with resume=RUN these are the ones that find it."""
    handed_on = for_resumed(keys)
    return [key for key in keys if key not in handed_on]


def _remedy(folder: Path, begun: float) -> str:
    """Return how to go on: with the run that was started since then, where there is one."""
    runs = [path for path in folder.glob("runs/*/start.json") if path.stat().st_mtime >= begun]
    return f"go on with resume={runs[0].parent.name}" if runs else "start again"


def _last_line(said: IO[bytes]) -> str:
    """Return the last line that a process wrote on standard error."""
    said.seek(0)
    lines = [line.strip() for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""
