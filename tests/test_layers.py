"""Holds which way imports go: modules import from layers below, and each framework has its few importers."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A package stands for all its modules, which import each other freely.
LAYERS = {
    "hwr.errors": 0,
    "hwr.album": 0,
    "hwr.anchors": 0,
    "hwr.boxes": 0,
    "hwr.collation": 0,
    "hwr.fitting": 0,
    "hwr.generations": 0,
    "hwr.locks": 0,
    "hwr.ranking": 0,
    "hwr.images": 0,
    "hwr.lettering": 0,
    "hwr.line_images": 0,
    "hwr.page_images": 0,
    "hwr.plan": 0,
    "hwr.revision": 0,
    "hwr.grid": 0,
    "hwr.text": 0,
    "hwr.transcript": 0,
    "hwr.binding": 1,
    "hwr.checkpoint": 1,
    "hwr.cutting": 1,
    "hwr.language": 1,
    "hwr.data": 1,
    "hwr.export": 1,
    "hwr.losses": 1,
    "hwr.networks": 1,
    "hwr.optimizers": 1,
    "hwr.pictures": 1,
    "hwr.reading_order": 1,
    "hwr.scoring": 1,
    "hwr.decoding": 2,
    "hwr.weights": 2,
    "hwr.stages": 3,
    "hwr.tracking": 3,
    "hwr.pages": 4,
    "hwr.sweep": 4,
    "hwr.trainer": 4,
    "hwr.assembly": 5,
    "hwr.board": 5,
    "hwr.building": 5,
    "hwr.commands": 5,
    "hwr.comparison": 5,
    "hwr.config": 5,
    "hwr.decoders": 5,
    "hwr.denoising": 5,
    "hwr.evaluation": 5,
    "hwr.multirun": 5,
    "hwr.searching": 5,
    "hwr.published": 5,
    "hwr.reproducing": 5,
    "hwr.result_tables": 5,
    "hwr.resuming": 5,
    "hwr.training": 5,
    "hwr.transcribing": 5,
    "hwr.tuning": 5,
    "hwr.__main__": 5,
    "evaluate": 5,
    "train": 5,
}
MEET = {0, 5}  # layers whose modules may import each other

# What these import of this project besides themselves and `hwr.runtime`, whatever their layer would allow.
ONLY_PROJECT = {
    "hwr": set[str](),
    "hwr.runtime": set[str](),
    "hwr.losses": set[str](),
    "hwr.plan": set[str](),
    "hwr.binding": {"hwr.errors"},
    "hwr.optimizers": {"hwr.errors"},
    "hwr.networks": {"hwr.errors"},
    "hwr.checkpoint": {"hwr.errors", "hwr.generations"},
    "hwr.generations": {"hwr.errors"},
    # no stage, no data, no tracking
    "hwr.trainer": {"hwr.checkpoint", "hwr.errors", "hwr.optimizers", "hwr.plan"},
}
# What these import of other packages.
ONLY_PACKAGES = {
    "hwr.errors": set[str](),
    "hwr.album": {"numpy", "PIL"},
    "hwr.anchors": {"numpy"},
    "hwr.boxes": {"numpy"},
    "hwr.collation": set[str](),
    "hwr.fitting": {"numpy", "cv2"},
    "hwr.generations": {"numpy"},
    "hwr.images": {"numpy", "PIL"},
    "hwr.line_images": {"numpy", "cv2"},
    "hwr.page_images": {"numpy", "cv2", "PIL"},
    "hwr.plan": set[str](),
    "hwr.revision": set[str](),
    "hwr.grid": set[str](),
    "hwr.text": {"numpy"},
    "hwr.losses": {"mxnet", "numpy"},
    "hwr.networks": {"mxnet", "numpy"},
    "hwr.optimizers": {"mxnet", "numpy"},
}
# Who alone imports these packages.
ONLY_IMPORTERS = {
    "mlflow": {"hwr.tracking"},
    "hydra": {"hwr.config", "hwr.multirun", "train", "evaluate"},
    "omegaconf": {"hwr.config", "hwr.multirun", "train", "evaluate"},
    "optuna": {"hwr.searching"},
    "mxnet": {
        "hwr.assembly",
        "hwr.checkpoint",
        "hwr.losses",
        "hwr.networks",
        "hwr.optimizers",
        "hwr.runtime",
        "hwr.stages",
        "hwr.trainer",
        "hwr.weights",
    },
    "albumentations": {"hwr.data"},
    "pypdfium2": {"hwr.page_images"},
    "flashlight": {"hwr.decoding"},
    "scipy": {"hwr.scoring"},
    "torch": set[str](),
    # nothing is ever unpickled
    "pickle": set[str](),
    "dill": set[str](),
    "cloudpickle": set[str](),
    "joblib": set[str](),
    "marshal": set[str](),
    "shelve": set[str](),
}
# Tests of the house, not of one module.
NO_MODULE = {"conf", "experiments", "layers"}


def test_modules_import_only_what_their_layer_allows() -> None:
    found = [text for file, name in _modules(ROOT) for text in _violations(name, file, _names(ROOT))]
    assert not found, "\n".join(found)


def test_every_module_has_a_layer() -> None:
    without = [name for _, name in _modules(ROOT) if _unit(name) not in {*LAYERS, "hwr", "hwr.runtime"}]
    assert not without, f"give them a layer in LAYERS: {', '.join(without)}"


def test_every_test_file_mirrors_a_module() -> None:
    stray = [
        str(file.relative_to(ROOT)) for file in (ROOT / "tests").rglob("test_*.py") if not _mirrors(file)
    ]
    assert not stray, f"no module of hwr/ bears the name of {', '.join(stray)}"


@pytest.mark.parametrize(
    ("module", "line", "said"),
    [
        ("hwr/boxes.py", "import cv2", "hwr.boxes imports cv2"),  # another package than its own few
        ("hwr/text.py", "from hwr.data import records", "hwr.text imports hwr.data"),  # upwards
        ("hwr/data/alto.py", "from hwr import scoring", "hwr.data.alto imports hwr.scoring"),  # sideways
        ("hwr/data/alto.py", "import mxnet.gluon as gluon", "hwr.data.alto imports mxnet"),
        ("hwr/data/alto.py", "from ..stages import line", "hwr.data.alto imports hwr.stages"),  # relative
        ("hwr/trainer.py", "import hwr.stages", "hwr.trainer imports hwr.stages"),  # its own rule
        ("hwr/stages/line.py", "def f():\n    import mlflow", "hwr.stages.line imports mlflow"),  # late
        ("hwr/pages.py", "from omegaconf import OmegaConf", "hwr.pages imports omegaconf"),
        ("hwr/weights.py", "import pickle", "hwr.weights imports pickle"),
        ("hwr/images.py", "def f():\n    import pypdfium2", "hwr.images imports pypdfium2"),
        ("hwr/fitting.py", "from PIL import Image", "hwr.fitting imports PIL"),
        ("hwr/building/line.py", "import mxnet as mx", "hwr.building.line imports mxnet"),
        ("hwr/cutting/seams.py", "from scipy import ndimage", "hwr.cutting.seams imports scipy"),
    ],
)
def test_violation_is_found_when_a_module_breaks_a_rule(
    tmp_path: Path, module: str, line: str, said: str
) -> None:
    assert _check(tmp_path, module, line) == [said]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("hwr/data/alto.py", "from hwr.data.records import Page\nfrom hwr.text import nfc"),
        ("hwr/data/alto.py", "from . import records\nimport hwr\nimport hwr.runtime\nimport json"),
        ("hwr/stages/line.py", "import mxnet as mx\nfrom hwr import boxes, losses"),
        ("hwr/tracking.py", "import mlflow"),
        ("hwr/trainer.py", "from hwr.errors import InputError"),
        ("hwr/building/line.py", "from hwr import assembly\nfrom hwr.building import parts"),
        ("train.py", "import hydra\nfrom hwr import config, tracking"),
    ],
)
def test_no_violation_is_found_when_imports_go_downwards(tmp_path: Path, module: str, line: str) -> None:
    assert _check(tmp_path, module, line) == []


@pytest.mark.parametrize(
    "file",
    [
        "test_boxes.py",  # a module
        "test_train_resumed.py",  # a script, with something behind
        "test_cutting.py",  # a package, from above
        "export/test_export.py",  # and from within
        "building/test_paragraph.py",  # a module of a package
        "data/test_load.py",  # what a package's __init__ defines
        "test_layers.py",  # no module's
    ],
)
def test_test_file_mirrors_when_it_bears_the_name_of_what_it_tests(file: str) -> None:
    assert _mirrors(ROOT / "tests" / file)


@pytest.mark.parametrize(
    "file",
    [
        "test_box.py",  # a part of a name
        "test_paragraph.py",  # in another package
        "building/test_boxes.py",  # in no package
        "building/test_layers.py",  # of the house, and not at its root
        "nowhere/test_line.py",
    ],
)
def test_test_file_is_stray_when_nothing_bears_its_name(file: str) -> None:
    assert not _mirrors(ROOT / "tests" / file)


def _check(folder: Path, module: str, source: str) -> list[str]:
    """Return what is found in a project with this project's modules, of which one holds `source`."""
    file = folder / module
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source, encoding="utf-8")
    names = {*LAYERS, "hwr", "hwr.runtime", "hwr.data.records", *_names(folder)}
    return [text for path, name in _modules(folder) for text in _violations(name, path, names)]


def _modules(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield file and dotted name of every module of the package and of the scripts beside it."""
    scripts = (root / "train.py", root / "evaluate.py")
    for file in [*sorted((root / "hwr").rglob("*.py")), *(file for file in scripts if file.exists())]:
        name = ".".join(file.relative_to(root).with_suffix("").parts)
        yield file, name.removesuffix(".__init__")


def _names(root: Path) -> set[str]:
    return {name for _, name in _modules(root)}


def _unit(name: str) -> str:
    """Return what has the layer: `hwr.data` for `hwr.data.alto`, `numpy` for `numpy.typing`."""
    return ".".join(name.split(".")[: 2 if name.startswith("hwr.") else 1])


def _violations(name: str, file: Path, names: set[str]) -> list[str]:
    """Return a line for each import of `file` that a rule forbids."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(file.read_text(encoding="utf-8"))
    units = dict.fromkeys(_unit(target) for target in _imports(tree, package, names))
    return [f"{name} imports {unit}" for unit in units if not _allowed(_unit(name), unit)]


def _imports(tree: ast.AST, package: str, names: set[str]) -> Iterator[str]:
    """Yield the modules that are imported, at the top, late, or for types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            for alias in (
                node.names
            ):  # `from hwr import text` imports a module, `from hwr.text import nfc` a name of it
                yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in names else base


def _allowed(source: str, target: str) -> bool:
    if target.startswith("hwr") or target in LAYERS:
        return _allowed_project(source, target)
    if target in ONLY_IMPORTERS:
        return source in ONLY_IMPORTERS[target]
    return target in sys.stdlib_module_names or target in ONLY_PACKAGES.get(source, {target})


def _allowed_project(source: str, target: str) -> bool:
    if target in {source, "hwr", "hwr.runtime"}:  # anyone may ask for the process to be prepared
        return True
    if source in ONLY_PROJECT:
        return target in ONLY_PROJECT[source]
    if source not in LAYERS or target not in LAYERS:
        return True  # test_every_module_has_a_layer reports it
    below = LAYERS[target] < LAYERS[source]
    return below or (LAYERS[target] == LAYERS[source] and LAYERS[source] in MEET)


def _mirrors(file: Path) -> bool:
    """Tell whether a test's file is named after what it tests, alone or with `_something` behind.

    That is a module, a package, or what its package's `__init__.py` defines.
    """
    folder = file.parent.relative_to(ROOT / "tests")
    subject = file.stem.removeprefix("test_")
    package = ROOT / "hwr" / folder
    names = {folder.name, *(module.stem.strip("_") for module in package.glob("*.py"))}
    names |= {inner.parent.name for inner in package.glob("*/__init__.py")}
    if folder == Path():
        names |= NO_MODULE | {script.stem for script in ROOT.glob("*.py")}
    elif (package / "__init__.py").exists():
        body = ast.parse((package / "__init__.py").read_text(encoding="utf-8")).body
        names |= {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return any(subject == name or subject.startswith(f"{name}_") for name in names if name)
