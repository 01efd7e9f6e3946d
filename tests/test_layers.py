"""Holds what the repository consists of, and which way imports go.

Rooms import from rooms below, and each framework has its few importers.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# What the repository has at its top; anything else was committed by mistake.
TOP = {
    ".ci", ".dockerignore", ".gitattributes", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "Dockerfile",
    "LICENSE", "MANIFEST.in", "Makefile", "README.md", "benchmarks", "compose.postgres.yaml", "compose.yaml",
    "conf", "docs", "evaluate.py", "experiments", "hwr", "mkdocs.yml", "pyproject.toml", "requirements.lock",
    "setup.py", "tests", "train.py",
}  # fmt: skip
LARGEST = 2_500_000  # bytes of a file in the repository, whose history keeps every version

# Room -> its floor. A room is a folder of hwr/ or a module at its root; its modules import each other freely.
FLOORS = {
    **dict.fromkeys(("errors", "text", "tables", "ranges", "runtime", "files", "images"), 0),
    **dict.fromkeys(("config", "data", "language", "scoring", "layout", "pictures", "networks", "losses"), 1),
    "tracking": 1,
    **dict.fromkeys(("decoding", "weights", "training", "comparison"), 2),
    "stages": 3,
    **dict.fromkeys(("transcription", "runs"), 4),
    **dict.fromkeys(("evaluation", "serving"), 5),
    **dict.fromkeys(("published", "__main__"), 6),
    **dict.fromkeys(("train", "evaluate"), 7),
}
# Rooms that others of their floor may import as well.
SHARED = {
    "errors": "the exception that every room raises",
    "files": "reading and writing: images are files too",
    "config": "binding settings to what they construct",
    "pictures": "drawn by what compares and by what publishes",
}
# What these rooms import of the project besides themselves.
ONLY_ROOMS = {
    "errors": set[str](),
    "runtime": {"errors"},
    "ranges": set[str](),
    "losses": {"images", "ranges"},  # of images the geometry of boxes
    "networks": {"errors", "images", "ranges"},
    "training": {"errors", "files", "networks", "ranges"},  # no stage, no data, no tracking
}
# Who alone imports these packages: rooms, or single modules of one.
ONLY_IMPORTERS = {
    "mlflow": {"tracking"},
    "hydra": {"config", "runs.hydra_callback"},
    "omegaconf": {"config", "runs.hydra_callback"},
    "optuna": {"runs.search", "runs.study"},
    "mxnet": {"losses", "networks", "runtime", "stages", "training", "weights"},
    "onnx": {"networks.onnx_graph"},
    "onnxruntime": {"stages.engine"},
    "openvino": {"stages.engine"},
    "albumentations": {"data"},
    "pypdfium2": {"images"},
    "pi_heif": {"images"},
    "flashlight": {"decoding"},
    "scipy": {"scoring"},
    "prettytable": {"tables"},
    "jinja2": {"comparison"},
    "requests": {"published.stores"},
    **{name: {"serving"} for name in ("fastapi", "starlette", "uvicorn", "anyio")},
    "pyarrow": {f"transcription.{name}" for name in ("bulk", "engines", "storage")},
    **{name: {"transcription.engines"} for name in ("ray", "pyspark", "py4j")},
    "fsspec": {"transcription.storage"},
    "torch": set[str](),
    # nothing is ever unpickled
    **{name: set[str]() for name in ("pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve")},
}
# What these rooms import of other packages.
ONLY_PACKAGES = {
    "errors": set[str](),
    "text": {"numpy"},
    "ranges": {"pydantic"},
    "losses": {"mxnet", "numpy"},
    "networks": {"mxnet", "numpy", "onnx"},
    "training": {"mxnet", "numpy"},
    "images": {"numpy", "cv2", "PIL", "pypdfium2", "pi_heif"},
}


def test_repository_holds_what_belongs_to_it_and_no_large_file() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if not (ROOT / ".git").exists() or listed.returncode:
        pytest.skip(f"no git checkout: {listed.stderr.strip()}")
    files = [name for name in listed.stdout.split("\0") if name]
    assert {name.partition("/")[0] for name in files} == TOP
    assert [name for name in files if (ROOT / name).exists() and (ROOT / name).stat().st_size > LARGEST] == []


def test_rooms_import_only_what_their_floor_allows() -> None:
    found = [text for file, name in _modules(ROOT) for text in _violations(name, file, _names(ROOT))]
    assert not found, "\n".join(found)


def test_every_room_has_a_floor() -> None:
    rooms = {_room(name) for _, name in _modules(ROOT)} - {""}
    assert rooms <= set(FLOORS), f"give them a floor in FLOORS: {', '.join(sorted(rooms - set(FLOORS)))}"


def test_root_of_the_package_stays_small() -> None:
    assert len(list((ROOT / "hwr").glob("*.py"))) <= 9


@pytest.mark.parametrize(
    ("module", "line", "said"),
    [
        ("hwr/text.py", "import cv2", "hwr.text imports cv2"),  # another package than its own few
        ("hwr/text.py", "from hwr.data import records", "hwr.text imports data"),  # upwards
        ("hwr/data/cache.py", "from hwr import scoring", "hwr.data.cache imports scoring"),  # sideways
        ("hwr/data/cache.py", "import mxnet.gluon as gluon", "hwr.data.cache imports mxnet"),
        ("hwr/data/cache.py", "from ..stages import line", "hwr.data.cache imports stages"),  # relative
        ("hwr/training/loop.py", "import hwr.tracking", "hwr.training.loop imports tracking"),  # its own rule
        (
            "hwr/stages/line/training.py",
            "def f():\n    import mlflow",
            "hwr.stages.line.training imports mlflow",
        ),
        ("hwr/runs/train.py", "from omegaconf import OmegaConf", "hwr.runs.train imports omegaconf"),
        ("hwr/weights.py", "import pickle", "hwr.weights imports pickle"),
        ("hwr/layout/cut.py", "from scipy import ndimage", "hwr.layout.cut imports scipy"),
    ],
)
def test_violation_is_found_when_a_module_breaks_a_rule(
    tmp_path: Path, module: str, line: str, said: str
) -> None:
    assert _check(tmp_path, module, line) == [said]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("hwr/data/cache.py", "from hwr.data.records import Page\nfrom hwr.text import nfc"),
        ("hwr/data/cache.py", "from . import records\nimport hwr\nimport hwr.runtime\nimport json"),
        ("hwr/stages/line/training.py", "import mxnet as mx\nfrom hwr import losses"),
        ("hwr/tracking/store.py", "import mlflow"),
        ("hwr/training/loop.py", "from hwr.errors import InputError"),
        ("train.py", "import os\nfrom hwr import config, tracking"),
    ],
)
def test_no_violation_is_found_when_imports_go_downwards(tmp_path: Path, module: str, line: str) -> None:
    assert _check(tmp_path, module, line) == []


def _check(folder: Path, module: str, source: str) -> list[str]:
    """Return what is found in a project of which one module holds `source`."""
    file = folder / module
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source, encoding="utf-8")
    names = {*(f"hwr.{room}" for room in FLOORS), "hwr", "hwr.data.records", *_names(folder)}
    return [text for path, name in _modules(folder) for text in _violations(name, path, names)]


def _modules(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield file and dotted name of every module of the package and of the scripts beside it."""
    scripts = (root / "train.py", root / "evaluate.py")
    for file in [*sorted((root / "hwr").rglob("*.py")), *(file for file in scripts if file.exists())]:
        name = ".".join(file.relative_to(root).with_suffix("").parts)
        yield file, name.removesuffix(".__init__")


def _names(root: Path) -> set[str]:
    return {name for _, name in _modules(root)}


def _room(name: str) -> str:
    """Return the room of a module of the project: `data` of `hwr.data.cache`, `train` of the script."""
    return name.removeprefix("hwr").removeprefix(".").partition(".")[0]


def _violations(name: str, file: Path, names: set[str]) -> list[str]:
    """Return a line for each import of `file` that a rule forbids."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(file.read_text(encoding="utf-8"))
    targets = dict.fromkeys(_imports(tree, package, names))
    own = {target for target in targets if target.partition(".")[0] == "hwr"}
    rooms = [room for room in dict.fromkeys(map(_room, (t for t in targets if t in own))) if room]
    packages = dict.fromkeys(target.partition(".")[0] for target in targets if target not in own)
    wrong = [room for room in rooms if not _room_allowed(_room(name), room)]
    wrong += [package for package in packages if not _package_allowed(name, package)]
    return [f"{name} imports {what}" for what in wrong]


def _imports(tree: ast.AST, package: str, names: set[str]) -> Iterator[str]:
    """Yield the modules that are imported, at the top, late, or for types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            for (
                alias
            ) in node.names:  # `from hwr import text` imports a module, `from hwr.text import nfc` a name
                yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in names else base


def _room_allowed(source: str, target: str) -> bool:
    if target in {source, "runtime"} or not source:  # anyone may ask for the process to be prepared
        return True
    if source in ONLY_ROOMS:
        return target in ONLY_ROOMS[source]
    if source not in FLOORS or target not in FLOORS:
        return True  # test_every_room_has_a_floor reports it
    return FLOORS[target] < FLOORS[source] + (target in SHARED)


def _package_allowed(name: str, package: str) -> bool:
    room, module = _room(name), name.removeprefix("hwr.")
    if package in ONLY_IMPORTERS:
        return bool({room, module} & ONLY_IMPORTERS[package])
    return package in sys.stdlib_module_names or package in ONLY_PACKAGES.get(room, {package})
