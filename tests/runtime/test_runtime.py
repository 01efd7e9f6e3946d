import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hwr import runtime

ROOT = Path(__file__).resolve().parents[2]


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh process that knows nothing of this one's preparation."""
    prepared = {*runtime.DEFAULTS, "OMP_NUM_THREADS", "HWR_ALLOCATOR", "MALLOC_MMAP_MAX_", "DNNL_MAX_CPU_ISA"}
    inherited = {name: value for name, value in os.environ.items() if name not in prepared}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, "CUDA_VISIBLE_DEVICES": "", **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )


SHOW = "import os, hwr; print(os.environ['MXNET_ENGINE_TYPE'], os.environ['OMP_NUM_THREADS'])"


def test_defaults_are_set_when_the_package_is_imported() -> None:
    assert python(SHOW).stdout == f"NaiveEngine {runtime.available_cores()}\n"


@pytest.mark.parametrize(
    ("given", "threads"), [("2,1", "2"), (" 3 ", "3"), ("", str(runtime.available_cores()))]
)
def test_first_number_of_threads_counts(given: str, threads: str) -> None:
    done = python(f"{SHOW}; hwr.runtime.start()", OMP_NUM_THREADS=given)
    assert (done.stdout, done.stderr) == (f"NaiveEngine {threads}\n", "")


@pytest.mark.parametrize("given", ["abc", "0", "-1", "1.5", ",2"])
def test_number_of_threads_is_refused_in_one_line(given: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": given}
    command = [sys.executable, "-m", "hwr", "models"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: OMP_NUM_THREADS={given}: not a number of threads; set it to 1 or more, or unset it\n"
    )


def test_engine_that_nobody_started_says_nothing_at_the_end() -> None:
    done = python("import hwr, mxnet; hwr.runtime.finish()")
    assert done.stderr == ""


def test_engine_whose_import_was_interrupted_says_nothing_at_the_end() -> None:
    done = python(
        "import sys, hwr\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *place):\n"
        "        if name == 'mxnet.gluon': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "try:\n    hwr.runtime.start()\n"
        "except KeyboardInterrupt: print('interrupted')\n"
        "hwr.runtime.finish()"
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


def test_environment_wins_over_the_defaults() -> None:
    said = python(SHOW, MXNET_ENGINE_TYPE="ThreadedEnginePerDevice", OMP_NUM_THREADS="7").stdout
    assert said == "ThreadedEnginePerDevice 7\n"


@pytest.mark.parametrize(
    ("environment", "kept"),
    [({}, True), ({"HWR_ALLOCATOR": "system"}, False), ({"MALLOC_MMAP_MAX_": "9"}, False)],
)
def test_allocator_keeps_its_pages_unless_told_otherwise(
    environment: dict[str, str], kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bool] = []
    for name in ("HWR_ALLOCATOR", "MALLOC_MMAP_MAX_"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(runtime, "_keep_pages", lambda: calls.append(True))
    runtime.prepare()
    assert calls == [True] * kept


def test_nothing_heavy_is_imported_with_the_package() -> None:
    heavy = ("mxnet", "mlflow", "cv2", "albumentations", "hydra")
    code = f"import sys, hwr; print([name for name in {heavy} if name in sys.modules])"
    assert python(code).stdout == "[]\n"


def test_numpy_has_the_alias_that_mxnet_reads() -> None:
    runtime.start()
    assert np.__dict__["bool"] is np.bool_


def test_engine_starts_without_a_word() -> None:
    done = python(
        "from hwr import runtime; runtime.start(); import mxnet as mx; print(mx.nd.ones(1).asscalar())"
    )
    assert (done.stdout, done.stderr) == ("1.0\n", "")


def test_engine_greets_when_it_is_not_started_so() -> None:
    done = python("import hwr, mxnet as mx; mx.nd.ones(1).wait_to_read()")
    assert runtime.GREETING in done.stderr  # else there is nothing to leave out, and `start` can go


def test_operators_are_written_when_they_are_first_called() -> None:
    code = """
import hwr, mxnet as mx
written = []
def write(handle, name, function, write=mx.ndarray.register._generate_ndarray_function_code):
    written.append(name)
    return write(handle, name, function)
mx.ndarray.register._generate_ndarray_function_code = write
zero = mx.nd.zeros(1)
print(mx.nd.exp(zero).asscalar(), mx.nd.exp(zero).asscalar(), mx.nd.exp(data=zero).asscalar(), written)
"""
    assert python(code).stdout == "1.0 1.0 1.0 ['_zeros', 'exp']\n"


def test_engine_starts_without_packages_that_nothing_here_uses() -> None:
    heavy = ("onnx", "scipy", "sklearn", "pandas", "matplotlib")
    code = "import sys; from hwr import runtime; runtime.start(); "
    assert python(code + f"print([name for name in {heavy} if name in sys.modules])").stdout == "[]\n"


def test_packages_are_hidden_from_the_engine_alone() -> None:
    code = "from hwr import runtime; runtime.start(); import scipy.optimize; print(scipy.__name__)"
    assert python(code).stdout == "scipy\n"


def test_packages_in_use_stay_when_others_are_hidden() -> None:
    with runtime.hidden("json", "nothing_of_this_name"):
        assert sys.modules["json"] is json
        with pytest.raises(ImportError):
            import nothing_of_this_name  # noqa: F401
    assert "nothing_of_this_name" not in sys.modules


def test_other_words_on_standard_error_are_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with runtime._without("hello"):
        os.write(2, b"hello engine\nout of memory\n")
        print("from Python", file=sys.__stderr__)
    assert capfd.readouterr().err == "out of memory\nfrom Python\n"


def test_standard_error_is_given_back_when_the_block_fails(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), runtime._without("hello"):
        os.write(2, b"before\n")
        raise ZeroDivisionError
    os.write(2, b"hello after\n")
    assert capfd.readouterr().err == "before\nhello after\n"


def test_instruction_set_is_the_limit_when_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", "avx2")
    assert runtime.instruction_set() == "AVX2"


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ("fpu sse2 avx avx2 avx512f avx512bw avx512_vnni avx512_bf16", "AVX512_CORE_BF16"),
        ("fpu sse2 avx avx2 avx512f avx512bw avx512_vnni", "AVX512_CORE_VNNI"),
        ("fpu sse2 avx avx2 avx512f avx512bw", "AVX512_CORE"),
        ("fpu sse2 avx avx2 avx512f", "AVX2"),  # Knights Landing lacks what oneDNN asks for
        ("fpu sse2 avx", "AVX"),
    ],
)
def test_instruction_set_is_the_widest_of_the_processor(
    flags: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(runtime, "_cpuinfo", lambda field: flags if field == "flags" else "")
    assert runtime.instruction_set() == name


def test_instruction_set_is_the_architecture_when_the_flags_are_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(runtime, "_cpuinfo", lambda field: "")
    monkeypatch.setattr(runtime.platform, "machine", lambda: "riscv64")
    assert runtime.instruction_set() == "riscv64"


@pytest.mark.parametrize(
    ("flags", "given", "computes", "expected"),
    [
        ("avx512_bf16 amx_bf16", None, False, "AVX512_CORE_AMX"),
        ("avx512_bf16 amx_bf16", "AVX2", False, "AVX2"),
        ("avx512_bf16 amx_bf16", None, True, None),
        ("avx512_bf16", None, False, None),
    ],
)
def test_tiles_are_used_where_the_processor_has_them_and_nothing_was_computed_yet(
    flags: str, given: str | None, computes: bool, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime._OneDnn, "computes", computes)
    tiles(monkeypatch, flags, granted=True)
    monkeypatch.setenv(runtime.LIMIT, given or "")
    if given is None:
        monkeypatch.delenv(runtime.LIMIT)
    runtime.use_tiles()
    assert os.environ.get(runtime.LIMIT) == expected


@pytest.mark.parametrize(
    ("flags", "granted", "expected"),
    [
        ("amx_bf16", True, "AVX512_CORE_AMX"),
        ("amx_bf16", False, "AVX512_CORE_BF16"),
        ("avx512_bf16", True, "AVX512_CORE_BF16"),
    ],
)
def test_tiles_that_the_system_refuses_are_not_used(
    flags: str, granted: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles(monkeypatch, flags, granted=granted)
    monkeypatch.setenv(runtime.LIMIT, "avx512_core_amx")
    runtime.prepare()
    assert runtime.instruction_set() == expected


def tiles(monkeypatch: pytest.MonkeyPatch, flags: str, *, granted: bool) -> None:
    """Give this process a processor with `flags`, and a system that lets it use tiles or not."""
    monkeypatch.setattr(runtime, "_cpuinfo", lambda field: flags)
    monkeypatch.setattr(runtime, "_may_use_tiles", runtime._may_use_tiles.__wrapped__)
    monkeypatch.setattr(runtime, "_request_tiles", lambda: granted)


def test_description_names_what_the_bits_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    said = runtime.describe()
    assert {
        "mxnet": "1.9.1",
        "threads": "2",
        "engine": os.environ["MXNET_ENGINE_TYPE"],
    }.items() <= said.items()
    assert all(isinstance(value, str) and value for value in said.values())


PRINTS = """
import os, sys, hwr
from hwr import runtime
runtime.secure_output(lossy=True)
for _ in range(3):
    print("é" * 100_000)
    print("told", file=sys.stderr, flush=True)
with open(sys.argv[1], "w") as file:
    print("done", file.fileno() > 2, file=file)
"""


@pytest.mark.parametrize(
    ("redirection", "told"),
    [
        ("", "told"),
        (">&-", "told"),
        ("2>&-", ""),
        (">&- 2>&- <&-", ""),
        (">/dev/full", "standard output: No space left on device; going on without it"),
        (">/dev/full 2>/dev/full", ""),
        ("| true", "standard output: Broken pipe; going on without it"),
        ("2>&1 | true", ""),
        ("| sleep 3", "standard output: nobody reads it; going on without it"),
    ],
)
def test_process_goes_on_where_nobody_can_read_it(redirection: str, told: str, tmp_path: Path) -> None:
    script = tmp_path / "prints.py"
    script.write_text(PRINTS.replace("secure_output", "PATIENCE_S = 0.5; runtime.secure_output"), "utf-8")
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} {script} {tmp_path / 'done'} {redirection}"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert (tmp_path / "done").read_text() == "done True\n"
    assert told in done.stderr.splitlines() if told else not done.stderr
