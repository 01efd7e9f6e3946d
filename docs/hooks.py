"""Add the pages that are made from the checkout: configuration, Python reference, cards, notes, notebooks."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
EXPERIMENTS = ROOT / "experiments"
NOTEBOOKS = ROOT / "docs/notebooks"
RUN = ROOT / "cache/notebooks"  # pages of notebooks that were run, by a digest of all that they depend on
# Files at the root of the checkout -> their pages.
COPIED = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
# Places of the checkout -> the pages that are made of them; links to the first become links to the second.
MADE = {
    r"experiments/[\w/]+card\.md": r"\g<0>",
    **{re.escape(source): page for source, page in COPIED.items()},
    r"conf/(\w+)/": r"reference/configuration/\1.md",
    "conf/": "reference/configuration/index.md",
    "experiments/": "reference/configuration/experiments.md",
    r"hwr/(\w+)/": r"reference/python/\1.md",
    "hwr/": "reference/python/index.md",
}
# Groups of conf/ whose keys do not stand under the name of the group.
PREFIXES = {"model": "", "stage": "", "tune": ""}

TARGET = "the class or function that the keys are given to"


class Key(NamedTuple):
    """One key of a YAML file: dotted name, default as written, meaning."""

    name: str
    default: str
    meaning: str


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the parts of the navigation that depend on the checkout."""
    reference = {"Configuration": _configuration(), "Python": _python()}
    _section(config.nav, "Reference").extend(
        {title: sorted(pages, key=_order)} for title, pages in reference.items()
    )
    _section(config.nav, "Results").append({"Cards": list(_cards())})
    notes = sorted(path.name for path in (ROOT / "docs/decisions").glob("0*.md"))
    _section(_section(config.nav, "Project"), "Decisions").extend(f"decisions/{name}" for name in notes)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    copied = {page: _read(ROOT / source) for source, page in COPIED.items()}
    for uri, text in (_configuration() | _python() | _cards() | copied).items():
        files.append(File.generated(config, uri, content=text))
    for notebook in sorted(NOTEBOOKS.glob("*.py")):
        for made in sorted(_run_notebook(notebook).iterdir()):
            files.append(File.generated(config, f"notebooks/{made.name}", abs_src_path=str(made)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links that leave docs/ in the checkout to the pages that are made of their targets."""
    if page.file.src_uri in COPIED.values():
        return re.sub(r"\]\((?:docs/)?(?=[\w./-]+\.md)", "](", markdown)
    if page.file.src_uri == "reference/commands.md":
        markdown += "".join(map(_command_section, re.findall(r"^\| `hwr ([a-z-]+)", markdown, re.MULTILINE)))
    if page.file.src_uri == "notebooks/index.md":
        markdown = re.sub(r"\]\((\w+)\.py\)", r"](\1.md)", markdown)
    up = "../" * page.file.src_uri.count("/")
    return re.sub(
        r"\]\((?:\.\./)+([^)#\s]+)",
        lambda link: f"]({up}{made}" if (made := _made(link[1])) else link[0],
        markdown,
    )


def _made(place: str) -> str:
    """Return the page that is made of a place of the checkout; nothing for one that none is made of."""
    matches = ((re.fullmatch(pattern, place), page) for pattern, page in MADE.items())
    return next((match.expand(page) for match, page in matches if match), "")


def _section(nav: list[Any] | None, title: str) -> list[Any]:
    return next(entry[title] for entry in nav or [] if isinstance(entry, dict) and title in entry)


def _order(uri: str) -> tuple[bool, bool, str]:
    name = Path(uri).stem
    return name != "index", name not in ("roots", "experiments"), uri


def _page(title: str, text: str, sections: Iterable[str]) -> str:
    return "\n\n".join([f"# {title}", text, *sections]) + "\n"


def _table(heads: str, rows: Iterable[str]) -> str:
    return "\n".join([f"| {heads} |", "|---" * (heads.count("|") + 1) + "|", *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _command_section(name: str) -> str:
    """Return the help of a command as a section."""
    run = [sys.executable, "-m", "hwr", name, "--help"]
    shown = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return f"\n\n## hwr {name}\n\n```text\n{shown.rstrip()}\n```\n"


# Notebooks


def _run_notebook(notebook: Path) -> Path:
    """Return the folder of a notebook's page; it is run where its text, code, settings or weights changed."""
    folder = RUN / f"{notebook.stem}-{_digest(notebook)}"
    if not folder.is_dir():
        RUN.mkdir(parents=True, exist_ok=True)
        for old in RUN.glob(f"{notebook.stem}-*"):
            shutil.rmtree(old)
        fresh = Path(tempfile.mkdtemp(prefix=f"{notebook.stem}-", dir=RUN))
        command = [sys.executable, str(ROOT / "docs/executed.py"), str(notebook), str(fresh)]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
        with tempfile.TemporaryDirectory() as place:  # where it leaves its files
            done = subprocess.run(
                command, cwd=place, env=environment, stderr=subprocess.PIPE, text=True, check=False
            )
        if done.returncode:
            raise PluginError(f"{notebook.name} cannot be run:\n{done.stderr[-3000:]}")
        fresh.rename(folder)
    return folder


def _digest(notebook: Path) -> str:
    patterns = ("docs/executed.py", "hwr/**/*.py", "conf/**/*.yaml", "experiments/**/*.json")
    paths = [notebook, *sorted(path for pattern in patterns for path in ROOT.glob(pattern))]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()[:16]


# Configuration: conf/ and experiments/


def _configuration() -> dict[str, str]:
    """Return page -> Markdown: the roots of conf/, one page for each group, and the experiments."""
    folder = "reference/configuration"
    groups = sorted(path for path in CONF.iterdir() if path.is_dir())
    roots = _page("Root files", "One file for each command.", map(_file_section, sorted(CONF.glob("*.yaml"))))
    pages = {f"{folder}/{group.name}.md": _group_page(group) for group in groups}
    index = {f"{folder}/index.md": _configuration_index(groups)}
    return index | {f"{folder}/roots.md": roots, f"{folder}/experiments.md": _experiments_page()} | pages


def _configuration_index(groups: Iterable[Path]) -> str:
    text = """\
Every number that a user may change is in a YAML file. On the command line, `GROUP=FILE` chooses a file of a
group and `KEY=VALUE` changes one key. An unknown key or file is refused, with a list of those that exist.
These pages are made from the files and their comments.

- [Root files](roots.md): the keys of each command.
- [Experiments](experiments.md): files for `experiments=STAGE/NAME`."""
    rows = []
    for group in groups:
        files = (f"[`{path.stem}`]({group.name}.md#{path.stem})" for path in sorted(group.glob("*.yaml")))
        rows.append(f"| [`{group.name}`]({group.name}.md) | {', '.join(files)} |")
    return _page("Configuration", text, [_table("group | files", rows)])


def _group_page(group: Path) -> str:
    text = f"Files of `conf/{group.name}/`. Choose one with `{group.name}=FILE`."
    return _page(group.name, text, map(_file_section, sorted(group.glob("*.yaml"))))


def _file_section(path: Path) -> str:
    """Return one file as a section: its comment at the top, the files it includes, a table of its keys."""
    source = _read(path)
    group = path.parent.name if path.parent != CONF else ""
    prefix = PREFIXES.get(group, f"{group}.") if group else ""
    parts = [f"## {path.stem}", _purpose(source)]
    if defaults := _defaults(source):
        parts.append("Includes " + ", ".join(map(_included, defaults)) + ".")
    rows = [
        f"| `{prefix}{key.name}` | {_code(key.default)} | {_cell(key.meaning)} |" for key in _keys(source)
    ]
    if rows:
        parts.append(_table("key | default | meaning", rows))
    return "\n\n".join(part for part in parts if part)


def _experiments_page() -> str:
    text = "Files that set the keys of a whole training: `hwr train experiments=STAGE/NAME`."
    paths = sorted(EXPERIMENTS.glob("*/*.yaml"))
    sections = (f"## {path.parent.name}/{path.stem}\n\n{_purpose(_read(path))}" for path in paths)
    return _page("Experiments", text, sections)


def _purpose(source: str) -> str:
    """Return the comment that opens a file as Markdown, its commands as code."""
    comments = re.match(r"(?:#.*\n)*", source)
    lines = [line.removeprefix("#").strip() for line in comments[0].splitlines()] if comments else []
    text = "  \n".join(_with_code(line) for line in lines if not line.startswith("@package"))
    return re.sub(r"\n- ", "\n\n- ", text.replace("  \n  \n", "\n\n"), count=1)


def _with_code(text: str) -> str:
    return re.sub(r"(?<![`\w])(?:python [\w.-]|hwr [a-z-]+ )[^:;()]*?[\w\]}=…-](?=$|[:;)])", r"`\g<0>`", text)


def _defaults(source: str) -> list[str]:
    entries = (yaml.safe_load(source) or {}).get("defaults", [])
    texts = (": ".join(map(str, next(iter(e.items())))) if isinstance(e, dict) else str(e) for e in entries)
    return [text for text in texts if text != "_self_" and "hydra/" not in text]


def _included(entry: str) -> str:
    """Return an entry of a defaults list (override /network: crnn) as a link to the file that it names."""
    match = re.fullmatch(r"(?:override |optional )?/?(\w+)(?:@[\w.]+)?: (\w+)", entry)
    if match and (CONF / match[1] / f"{match[2]}.yaml").exists():
        return f"[`{match[1]}={match[2]}`]({match[1]}.md#{match[2]})"
    return f"`{entry}`"


def _code(default: str) -> str:
    """Return a default as it is shown; one that names code of the package as a link to its documentation."""
    if re.fullmatch(r"hwr(\.\w+)+", default):
        return f"[`{default}`][{default}]"
    return "required" if default == "???" else f"`{_cell(default)}`" if default else ""


def _keys(source: str) -> Iterator[Key]:
    """Yield the keys of a file in their order, nested ones with dotted names."""
    node = yaml.compose(source)
    if isinstance(node, yaml.MappingNode):
        yield from _mapping(node, "", [*source.splitlines(), ""])


def _mapping(node: yaml.MappingNode, prefix: str, lines: list[str]) -> Iterator[Key]:
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if name in ("defaults", "hydra"):
            continue
        if isinstance(value, yaml.MappingNode) and not value.flow_style:
            if meaning := _comment(lines, key.end_mark):
                yield Key(name, "", meaning)
            yield from _mapping(value, f"{name}.", lines)
        else:
            below = value.start_mark.line > key.end_mark.line
            meaning = _comment(lines, (key if below else value).end_mark)
            yield Key(name, _text(value, lines), meaning or TARGET if key.value == "_target_" else meaning)


def _text(value: yaml.Node, lines: list[str]) -> str:
    """Return a value as it is written, on one line."""
    start, end = value.start_mark, value.end_mark
    if start.line == end.line:
        return lines[start.line][start.column : end.column]
    parts = [
        lines[start.line][start.column :],
        *lines[start.line + 1 : end.line],
        lines[end.line][: end.column],
    ]
    return " ".join(part.partition("  #")[0].strip() for part in parts).strip()


def _comment(lines: list[str], mark: yaml.Mark) -> str:
    """Return the comment behind a place."""
    return lines[mark.line][mark.column :].partition("#")[2].strip()


# Python: hwr/ by room


def _python() -> dict[str, str]:
    """Return page -> Markdown: an index of the rooms, and a page for each with its modules."""
    folder = "reference/python"
    rooms = {path.stem: path for path in sorted((ROOT / "hwr").iterdir()) if _is_room(path)}
    rows = [f"| [`hwr.{name}`]({name}.md) | {_cell(_summary(path))} |" for name, path in rooms.items()]
    text = """\
The rooms of the package, made from their docstrings. A module imports only from rooms below its own:
see [Contributing](../../contributing.md)."""
    index = {f"{folder}/index.md": _page("Python", text, [_table("room | holds", rows)])}
    return index | {f"{folder}/{name}.md": _room_page(name, path) for name, path in rooms.items()}


def _is_room(path: Path) -> bool:
    return not path.name.startswith("_") and (path.suffix == ".py" or (path / "__init__.py").exists())


def _room_page(name: str, path: Path) -> str:
    modules = [] if path.suffix == ".py" else sorted(path.rglob("*.py"))
    names = (".".join(module.relative_to(ROOT).with_suffix("").parts) for module in modules)
    names = (module.removesuffix(".__init__") for module in names)
    sections = [f"::: {module}" for module in names if module != f"hwr.{name}"]
    options = "options: {show_root_heading: false, show_root_toc_entry: false}"
    return _page(f"hwr.{name}", f"::: hwr.{name}\n    {options}", sections)


def _summary(path: Path) -> str:
    match = re.match(r'"""(.+?)(?:\n\n|""")', _read(path if path.is_file() else path / "__init__.py"), re.S)
    return " ".join(match[1].split()) if match else ""


# Cards: experiments/STAGE/NAME/card.md


def _cards() -> dict[str, str]:
    return {
        path.relative_to(ROOT).as_posix(): _read(path) for path in sorted(EXPERIMENTS.glob("*/*/card.md"))
    }
