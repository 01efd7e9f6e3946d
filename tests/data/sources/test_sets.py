"""Several sets in one: ids, splits, rules and what is told of each; the seven sets of data=latin."""

import csv
import json
import re
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from hwr.config.compose import composed
from hwr.config.roots import TrainConfig
from hwr.data.inspection import inspect_pages
from hwr.data.records import Dataset, LeftOut, fingerprint
from hwr.errors import InputError
from hwr.stages.boxes import limits
from hwr.stages.kind import DataSource
from hwr.stages.recipe import data_source, parse_recipe
from tests.alto_folder import write_folder

SETS = ("data=sets", "+data@data.sets.a=alto", "+data@data.sets.b=line_list", "data.sets.a.root=a",
        "data.sets.b.root=b")  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder of the sets a, ALTO, and b, line images."""
    write_folder(tmp_path / "a", {"train": "l’an", "valid": "&gt;x&lt;", "test": "three"})
    (tmp_path / "b").mkdir()
    for name in ("p-train.png", "q.png", "r.png"):
        Image.new("L", (60, 20), 255).save(tmp_path / "b" / name)
    (tmp_path / "b" / "lines.csv").write_text(
        "file,text,writer,split\np-train.png,d’or~,ann,train\nq.png,q,,valid\n"
    )
    return tmp_path


def source(root: Path, *overrides: str, sets: tuple[str, ...] = SETS) -> DataSource:
    config: TrainConfig = composed("train", [*sets, f"data.root={root}", *overrides], TrainConfig).root
    return data_source(config.data, str(root / "outputs"))


def read(root: Path, *overrides: str, whole: bool = False) -> Dataset:
    return source(root, *overrides).read(whole=whole)


def texts(dataset: Dataset) -> dict[str, str]:
    return {line.id: line.text for page in dataset.pages for line in page.lines}


def test_ids_and_writers_begin_with_the_set(root: Path) -> None:
    dataset = read(root)
    assert [(page.id, page.dataset, page.writer, page.split) for page in dataset.pages] == [
        ("a/p-test", "a", "a/writer-test", "test"),
        ("a/p-train", "a", "a/writer-train", "train"),
        ("a/p-valid", "a", "a/writer-valid", "valid"),
        ("b/p-train", "b", "b/ann", "train"),
        ("b/q", "b", "b/q", "valid"),
    ]
    assert texts(dataset) == {"a/p-test/l": "three", "a/p-train/l": "l’an", "b/p-train": "d’or~", "b/q": "q"}


def test_name_of_the_set_is_no_part_of_the_fingerprint(root: Path) -> None:
    alone = source(root / "a", sets=("data=alto",)).read(whole=True).pages
    assert {page.dataset for page in alone} == {""}
    assert fingerprint(replace(page, dataset="a") for page in alone) == fingerprint(alone)


def test_rules_of_sets_and_of_all_are_told_apart(root: Path) -> None:
    rules = (
        "data.exclude.pattern='~'",
        "data.replace=[['’',\"'\"],['´',\"'\"]]",
        "data.sets.a.replace=[['’','´']]",
        "data.sets.b.exclude.types=[x]",
    )
    dataset = read(root, *rules)
    assert texts(dataset) == {"a/p-test/l": "three", "a/p-train/l": "l'an", "b/q": "q"}
    assert dataset.left_out == (
        LeftOut("unused_file", files=("b/r.png",)),
        LeftOut("data.sets.a.exclude.pattern=[<>]", lines={"valid": ("a/p-valid/l",)}),
        LeftOut("data.exclude.pattern=~", lines={"train": ("b/p-train",)}),
    )
    assert dataset.replacements["train"] == {"’ → ´": 1, "´ → '": 1}
    assert len(texts(read(root, *rules, whole=True))) == 5


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        ([], "ab"),
        (["data.sets.a=null"], "b"),
        (["~data.sets.b"], "a"),
        (["data.only=[b]"], "b"),
        (["data.only=[b,a]"], "ab"),
    ],
)
def test_sets_are_left_out_by_name(root: Path, overrides: list[str], names: str) -> None:
    used = source(root, *overrides)
    assert {page.dataset for page in used.read(whole=False).pages} == set(names)
    assert set(used.drawing) == set(names)


def test_a_set_takes_splits_of_its_own(root: Path) -> None:
    (root / "a" / "others.csv").write_text("page,split\np-test,train\n")
    splits = {page.id: page.split for page in read(root, "data.sets.a.splits=others.csv").pages}
    assert (splits["a/p-test"], splits["a/p-train"], splits["b/q"]) == ("train", "", "valid")


def test_a_set_may_be_drawn_into_the_cache(root: Path) -> None:
    small = ("pages={train: 1, valid: 0, test: 0}", "writers={train: 1, valid: 0, test: 0}", "lines=[1, 1]")
    overrides = ["+data@data.sets.s=synthetic", "data.only=[s]", *(f"data.sets.s.{own}" for own in small)]
    (page,) = read(root, *overrides).pages
    assert (page.id, page.dataset) == ("s/s00000", "s")
    assert page.image.is_relative_to(root / "outputs" / "cache")


def test_errors_name_the_set(root: Path) -> None:
    with pytest.raises(
        InputError, match=r"data.sets.b: data folder .*/nowhere does not exist; set data.sets.b.root"
    ):
        read(root, "data.sets.b.root=nowhere")


def test_report_counts_the_used_lines_of_each_set(root: Path) -> None:
    config: TrainConfig = composed("train", [*SETS, f"data.root={root}"], TrainConfig).root
    dataset = read(root, "data.replace=[['’',\"'\"]]")
    report = inspect_pages(dataset, limits(parse_recipe(config))).after([], dataset.pages)
    assert report.sets == {
        "a": {"pages": 3, "writers": 3, "train": 1, "valid": 0, "test": 1},
        "b": {"pages": 2, "writers": 2, "train": 1, "valid": 1, "test": 0},
    }
    replaced, *table = report.summary()[-2:]
    assert replaced == "replaced: ’ → ' 2"
    assert [line.split() for line in table[0].splitlines()][1:] == [
        list("a33101"),
        list("b22110"),
    ]
    assert json.loads(json.dumps(report.as_dict()))["replacements"] == {
        "train": {"’ → '": 2},
        "test": {},
        "valid": {},
    }


MAPPED = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "─": "-", "^": "", "×": "x"}
)
MARKS = re.compile(r"[<>⟦⟧¥|→Ĵ~]|\[\[|\]\]|\[\.\.\.\]|XXX")
UNDERLINED = ("letters_fr", "lectaurep_tables_fr")  # there _ stands for -


def lines_by_the_rules(folder: Path) -> Counter[tuple[str, str, str, str]]:
    """Return (page, writer, split, text) of the lines of a shared set, without hwr."""
    found: Counter[tuple[str, str, str, str]] = Counter()
    for row in csv.DictReader((folder / "pages.csv").read_text(encoding="utf-8").splitlines()):
        tree = ElementTree.parse(folder / "pages" / f"{row['page']}.xml")
        consent = {tag.get("ID") for tag in tree.iterfind(".//{*}OtherTag") if tag.get("LABEL") == "consent"}
        for line in tree.iterfind(".//{*}TextLine"):
            parts = [own.get("CONTENT", "") for own in line.iterfind("{*}String")]
            text = " ".join(parts) or line.findtext("{*}TextEquiv/{*}Unicode") or ""
            text = " ".join(unicodedata.normalize("NFC", text).split())
            text = text.replace("_", "-") if folder.name in UNDERLINED else text
            if text and not MARKS.search(text) and not consent & set(line.get("TAGREFS", "").split()):
                names = (f"{folder.name}/{row['page']}", f"{folder.name}/{row['writer']}", row["split"])
                found[(*names, " ".join(text.translate(MAPPED).split()))] += 1
    return found


def test_seven_sets_give_the_lines_that_their_rules_say(shared: Path) -> None:
    node: dict[str, Any] = source(shared / "data", sets=("data=latin",)).settings
    dataset = data_source(node, "nowhere").read(whole=False)
    own = Counter(
        (page.id, page.writer, page.split, line.text)
        for page in dataset.pages
        for line in page.lines
        if line.text
    )
    rules = sum((lines_by_the_rules(shared / "data" / name) for name in node["sets"]), Counter())
    assert own == rules
    assert len({page.dataset for page in dataset.pages}) == 7
    assert own.total() == 16_866
