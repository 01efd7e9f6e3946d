"""Prepare the process (engine, threads, allocator, NumPy alias, quiet start-up) and describe it.

Every value set here is a default: a variable that is already in the environment wins (`HWR_ALLOCATOR=system`
keeps the C library's own allocator settings). `docs/decisions/0003-process.md` says what each setting gains.
"""

import contextlib
import ctypes
import functools
import hashlib
import inspect
import io
import os
import platform
import select
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from hwr.errors import InputError, masked, tell

DEFAULTS = {
    "MXNET_ENGINE_TYPE": "NaiveEngine",  # operators run where they are called: no scheduler between two cores
    "OPENCV_FOR_THREADS_NUM": "1",  # a second team of threads would wait for MXNet's
    "NO_ALBUMENTATIONS_UPDATE": "1",  # or it asks the network for its newest version at import
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}

# Operators kept prepared for a shape; without limits every new shape of a batch costs megabytes for good.
FEW_SHAPES = {"MXNET_MKLDNN_CACHE_NUM": "16", "DNNL_PRIMITIVE_CACHE_CAPACITY": "16"}

THREADS = "OMP_NUM_THREADS"
_GIVEN = os.environ.get(THREADS, "")
THREADS_GIVEN = bool(_GIVEN)  # by the user, or by the process that started this one
# The bits of a result depend on these: recorded ones are made with them fixed, so that more machines give
# the same. Like the defaults they count at the start of a process.
PINNED = {"OMP_NUM_THREADS": "2", "DNNL_MAX_CPU_ISA": "AVX2", "OPENBLAS_CORETYPE": "Haswell"}

LIMIT = "DNNL_MAX_CPU_ISA"  # the widest vector instructions that oneDNN may use
TILES, _WITHOUT_TILES = "AVX512_CORE_AMX", "AVX512_CORE_BF16"

TRACKING_URI = "MLFLOW_TRACKING_URI"
PATIENCE_S = 10.0  # for who reads standard output or error: a stopped terminal, a full pipe
GIT_S = 30.0  # for an answer of git, whose checkout may lie on a disk that hangs
GREETING = "MXNet start using engine"
# MXNet imports them where it can, half of its own time, for nothing that is used here.
_UNUSED = ("onnx", "scipy", "sklearn")

_ARCH_PRCTL, _REQUEST_STATE, _TILE_STATE = 158, 0x1023, 18  # Linux on x86-64: ask for AMX's registers

# mallopt(3) of glibc: keep freed pages; handed back, they would be faulted in again at every batch
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_ALLOCATOR = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2_000_000_000), (_M_TOP_PAD, 100_000_000))


@dataclass(frozen=True)
class Revision:
    """A commit, and what is not committed of its files and of new modules and settings, as a patch."""

    commit: str
    diff: str

    @classmethod
    @functools.cache
    def of(cls, folder: Path) -> "Revision | None":
        """Return the revision of a checkout, as it is when this process first asks.

        None where `folder` is not the top of one with a commit, or git refuses it, which is printed.
        """
        top = _git(folder, "rev-parse", "--show-toplevel")
        if top is None or (top.returncode and "not a git repository" in top.stderr):
            return None
        if top.returncode:  # of another owner, say
            print(f"git: {' '.join(top.stderr.split())}; until then no commit is recorded", file=sys.stderr)
            return None
        commit = _git(folder, "rev-parse", "--verify", "HEAD")
        if commit is None or commit.returncode or Path(top.stdout.strip()).resolve() != folder.resolve():
            return None  # installed inside of another project's checkout, say
        return cls(commit.stdout.strip(), "".join(_changes(folder)))

    @property
    def code(self) -> str:
        """The commit in short, with a digest of what is changed."""
        digest = hashlib.sha256(self.diff.encode()).hexdigest()[:12]
        return self.commit[:12] + (f" changed {digest}" if self.diff else "")

    @property
    def tags(self) -> dict[str, str]:
        """The tags of a run."""
        return {"mlflow.source.git.commit": self.commit, "changed": str(bool(self.diff)).lower()}


def prepare() -> None:
    """Set the variables that MXNet and other libraries read at import; call it before they are imported."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ.pop("DMLC_ROLE", None)  # else importing MXNet starts a server that unpickles what it is sent
    os.environ[THREADS] = str(_threads(os.environ.get(THREADS, "")) or available_cores())
    if os.environ.get(LIMIT, "").upper() == TILES and not _may_use_tiles():
        os.environ[LIMIT] = _WITHOUT_TILES  # else the first tile is an illegal instruction
    if not any(isinstance(finder, _MXNetFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _MXNetFinder())
    if os.environ.get("HWR_ALLOCATOR", "pages") == "pages" and "MALLOC_MMAP_MAX_" not in os.environ:
        _keep_pages()


def problem() -> str:
    """Return what is wrong with the environment that this process was given, in one line, or nothing."""
    if not _GIVEN or _threads(_GIVEN):
        return ""
    return f"{THREADS}={_GIVEN}: not a number of threads; set it to 1 or more, or unset it"


def _threads(given: str) -> int:
    """Return the number of threads: of OpenMP's list for nested teams the first; 0 for none."""
    first = given.partition(",")[0].strip()
    return int(first) if first.isdecimal() else 0


class _OneDnn:
    computes = False  # and has read its variables


class _MXNetFinder(MetaPathFinder):
    """Lets MXNet 1.9 be imported beside a NumPy of today, and in a third of its time."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Give NumPy the alias `bool` before MXNet, which reads it, and find `mxnet.base` for `_MXNetBase`.

        NumPy itself is not imported before, so that `hwr --help` answers at once.
        """
        if fullname == "mxnet":
            import numpy as np

            if "bool" not in np.__dict__:  # NumPy 1.24 removed it
                np.bool = np.bool_  # type: ignore[attr-defined]
        found = PathFinder.find_spec(fullname, path, target) if fullname == "mxnet.base" else None
        if found is None or not isinstance(found.loader, SourceFileLoader):
            return None
        return spec_from_file_location(fullname, found.origin, loader=_MXNetBase(fullname, found.loader.path))


class _MXNetBase(SourceFileLoader):
    """Loads `mxnet.base` so that operators are written when they are first called.

    MXNet writes and compiles 2,556 Python functions at import, for its operators on arrays and on symbols, in
    two thirds of the time that takes; reading a page calls 34.
    """

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, and defer what its two functions that register operators make."""
        super().exec_module(module)
        for name in ("_init_op_module", "_init_np_op_module"):
            setattr(module, name, _registering(getattr(module, name)))


def _registering(register: Callable[..., None]) -> Callable[..., None]:
    """Return a function of `mxnet.base` that registers operators, with a `make_op_func` that defers."""

    def registered(*args: Any, **settings: Any) -> None:
        given = inspect.signature(register).bind(*args, **settings)
        given.arguments["make_op_func"] = functools.partial(_deferred, given.arguments["make_op_func"])
        register(*given.args, **given.kwargs)

    return registered


def _deferred(make: Callable[..., Callable[..., Any]], handle: Any, name: str, function: str) -> Any:
    """Return an operator that `make` writes at its first call."""
    written = functools.cache(lambda: make(handle, name, function))

    def operator(*args: Any, **settings: Any) -> Any:
        return written()(*args, **settings)

    operator.__name__ = function
    operator.__doc__ = f"Operator {name} of MXNet."
    return operator


def secure_output(*, lossy: bool) -> None:
    """Give standard streams that are closed the null device: else a database gets their number, and messages.

    Where `lossy`, output and error lose what cannot be written (a broken pipe, a dead terminal), and raise
    nothing.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            os.dup2(null, number)
            if null != number:
                os.close(null)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        own = stream is getattr(sys, f"__{name}__")  # else it was replaced on purpose
        if stream is None or (lossy and own):
            setattr(sys, name, _stream(number, getattr(stream, "encoding", None) or "utf-8"))
    sys.excepthook = _told


def _told(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Print a traceback without passwords, which may be in the address of a server."""
    tell(masked("".join(traceback.format_exception(kind, error, trace))).rstrip())


def _stream(number: int, encoding: str) -> io.TextIOWrapper:
    buffer = io.BufferedWriter(_Output(number))
    immediately = number == 2 or os.isatty(number)
    return io.TextIOWrapper(buffer, encoding, "backslashreplace", line_buffering=immediately)


class _Output(io.RawIOBase):
    """A standard stream that raises nothing and blocks once, for ten seconds at most; it says so."""

    def __init__(self, number: int) -> None:
        self._number, self._patience_s = number, PATIENCE_S

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def write(self, data: Any) -> int:
        reason = "nobody reads it"
        try:
            waits = select.poll()
            waits.register(self._number, select.POLLOUT)
            if waits.poll(self._patience_s * 1000):
                return os.write(self._number, bytes(data[: select.PIPE_BUF]))  # as much as a pipe takes then
        except OSError as error:
            reason = str(error.strerror)
        if self._patience_s and self._number == 1 and sys.stderr is not None:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"standard output: {reason}; going on without it\n")
        self._patience_s = 0.0
        return len(data)


def without_login(uri: str) -> str:
    """Return a tracking URI without user and password, which stay in MLflow's variable for the address alone.

    Where the URI is shown or stored, nobody learns them; who has to connect finds them there.
    """
    if masked(uri) != uri:
        os.environ[TRACKING_URI] = uri
    return masked(uri)


def start() -> None:
    """Import MXNet if it is not imported yet, and start its engine without its log line.

    Call before anything is computed.
    """
    with _without(GREETING), hidden(*_UNUSED):
        import mxnet

        mxnet.nd.zeros(1).wait_to_read()


def use_tiles() -> None:
    """Let oneDNN compute in AMX's tiles where the processor has them and DNNL_MAX_CPU_ISA is not set.

    After `compute` it does nothing: oneDNN reads the variable when it first computes.
    """
    if LIMIT not in os.environ and not _OneDnn.computes and _may_use_tiles():
        os.environ[LIMIT] = TILES


def compute() -> None:
    """Note that something is computed from here on."""
    _OneDnn.computes = True


def uses_tiles() -> bool:
    """Tell whether oneDNN computes bfloat16 in AMX's tiles."""
    return instruction_set() == TILES


def has_tiles() -> bool:
    """Tell whether the processor has AMX: without it, bfloat16 is slower than float32 there."""
    return "amx_bf16" in _cpuinfo("flags").split()


@functools.cache
def _may_use_tiles() -> bool:
    return has_tiles() and _request_tiles()


def _request_tiles() -> bool:
    """Ask Linux for AMX's registers, which it gives a process on request only; tell whether it did."""
    return bool(ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST_STATE, _TILE_STATE) == 0)


def keep_few_shapes() -> None:
    """Bound the memory that MXNet keeps for shapes; call before anything is computed."""
    for name, value in FEW_SHAPES.items():
        os.environ.setdefault(name, value)


def finish() -> None:
    """Start the engine if MXNet is imported: one that starts at the process's end writes its log line.

    Where a signal ended the import, nothing can start it, and standard error is closed to it.
    """
    if hasattr(sys.modules.get("mxnet"), "nd"):
        start()
    elif "mxnet.base" in sys.modules:
        sys.stderr.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe() -> dict[str, str]:
    """Return what exact results depend on: versions, processor, instruction set, threads, engine."""
    import mxnet
    import numpy as np

    return {
        "python": platform.python_version(),
        "mxnet": mxnet.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processor": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "processor_instruction_set": widest_instruction_set(),
        "instruction_set": instruction_set(),
        "threads": os.environ[THREADS],
        "engine": os.environ["MXNET_ENGINE_TYPE"],
        "allocator": os.environ.get("HWR_ALLOCATOR", "pages"),
    }


def instruction_set() -> str:
    """Name the vector instructions that oneDNN uses here: `DNNL_MAX_CPU_ISA`, else the processor's widest."""
    limit = os.environ.get(LIMIT)
    return limit.upper() if limit else widest_instruction_set()


def widest_instruction_set() -> str:
    """Name the widest vector instructions of this processor; some libraries use them in any case."""
    flags = set(_cpuinfo("flags").split())
    for name, flag in (("AVX512_CORE_BF16", "avx512_bf16"), ("AVX512_CORE_VNNI", "avx512_vnni"),
                       ("AVX512_CORE", "avx512bw"), ("AVX2", "avx2"), ("AVX", "avx")):  # fmt: skip
        if flag in flags:
            return name
    return platform.machine()


def computes_bfloat16() -> bool:
    """Tell whether oneDNN computes in bfloat16 here, and neither imitates it nor refuses."""
    enough = instruction_set() in (_WITHOUT_TILES, TILES, "ALL", "DEFAULT")
    return enough and widest_instruction_set() == _WITHOUT_TILES


def refuse_without_bfloat16() -> None:
    """Raise InputError where oneDNN does not compute in bfloat16."""
    if not computes_bfloat16():
        said = f"{instruction_set()} here, not AVX512_CORE_BF16"
        raise InputError(f"precision=bfloat16: this processor computes without it ({said}); leave it out")


@contextlib.contextmanager
def _without(words: str) -> Iterator[None]:
    """Drop lines that contain `words` from standard error, also those written by C code."""
    with _scratch() as written:
        try:
            with stderr_into(written):
                yield
        finally:
            written.seek(0)
            with contextlib.suppress(OSError):  # nobody reads it
                for line in written:
                    if words.encode() not in line:
                        os.write(2, line)


@contextlib.contextmanager
def stderr_into(file: IO[Any]) -> Iterator[None]:
    """Write standard error to an open file in the block, also what C code writes."""
    sys.stderr.flush()
    shown = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(shown, 2)
        os.close(shown)


def _scratch() -> IO[bytes]:
    """Return an empty file, in memory where the system can: no folder need be writable."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("stderr"), "w+b")
    return tempfile.TemporaryFile()


@contextlib.contextmanager
def hidden(*packages: str) -> Iterator[None]:
    """Make imports of these packages fail, unless they are imported already."""
    absent = [name for name in packages if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def _cpuinfo(field: str) -> str:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return ""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""


def _keep_pages() -> None:
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _ALLOCATOR:
            mallopt(option, value)


def _changes(folder: Path) -> Iterator[str]:
    """Yield the patches of tracked files, and of new ones that may be part of the program."""
    plain = ("diff", "--no-color", "--no-ext-diff")
    patches = [_git(folder, *plain, "HEAD")]
    fresh = _git(folder, "ls-files", "--others", "--exclude-standard", "-z", "--", "*.py", "*.yaml")
    for name in fresh.stdout.split("\0") if fresh is not None else ():
        if name and "site-packages" not in name:  # of an environment
            patches.append(_git(folder, *plain, "--no-index", "--", os.devnull, name))
    for patch in patches:
        yield "" if patch is None else patch.stdout


def _git(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str] | None":
    """Run git in a folder; None where there is none that answers."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", str(folder), *arguments]
    settings: dict[str, Any] = {"encoding": "utf-8", "errors": "replace", "timeout": GIT_S}
    try:
        environment = {**os.environ, "LC_ALL": "C"}
        return subprocess.run(command, capture_output=True, check=False, env=environment, **settings)
    except (OSError, subprocess.TimeoutExpired):
        return None
