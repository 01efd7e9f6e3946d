"""What trainings are built with: inspected pages, weights wherever they lie, images in memory."""

from pathlib import Path

import pytest
from PIL import Image

from hwr import tracking
from hwr.config.compose import composed
from hwr.config.roots import TrainConfig
from hwr.data import remembered, sources
from hwr.data.records import Line, Page
from hwr.errors import InputError
from hwr.stages import build
from hwr.stages.build import (
    build_training,
    find_weights,
    inspect_data,
    inspected_pages,
    with_images,
)
from hwr.stages.kind import Recipe
from hwr.stages.recipe import parse_recipe
from hwr.text import Alphabet
from tests.alto_folder import write_folder, write_page
from tests.stages.small import SETTINGS, save


def config(*overrides: str) -> TrainConfig:
    made: TrainConfig = composed("train", list(overrides), TrainConfig).root
    return made


def recipe(root: Path, *overrides: str) -> "Recipe[object]":
    return parse_recipe(config("data=alto", f"data.root={root}", f"folder={root / 'outputs'}", *overrides))


def page(name: str, split: str) -> Page:
    return Page(name, "w", split, Path("p.png"), (10, 10), (Line(f"{name}/1", "x", (0.0, 0.0, 1.0, 1.0)),))


# pages


def test_inspection_sees_the_crop_of_the_training(tmp_path: Path) -> None:
    made = recipe(write_folder(tmp_path, {"train": "tea"}), "stage.crop.height=64")
    report, pages = inspect_data(made, full=False)
    assert [page.id for page in pages] == ["p-train"]
    assert not report.decoded
    assert report.height == 64
    assert 0 < report.widths["max"] <= config().stage["crop"]["max_width"]


def test_inspection_decodes_images_where_asked(tmp_path: Path) -> None:
    made = recipe(write_folder(tmp_path, {"train": "tea"}))
    assert inspect_data(made, full=True)[0].decoded


@pytest.mark.parametrize(("stage", "found"), [("line", {"p-train/l"}), ("segmentation", set())])
def test_only_a_training_that_reads_holds_texts_to_their_width(
    tmp_path: Path, stage: str, found: set[str]
) -> None:
    report, _ = inspect_data(
        recipe(write_folder(tmp_path, {"train": "tea" * 400}), f"stage={stage}"), full=False
    )
    assert set(report.findings["too_long_for_ctc"]) == found


def test_second_start_reads_changed_images_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "_SETTLED_S", -1.0)
    root, opened = tmp_path / "data", list[str]()
    root.mkdir()
    (tmp_path / "outputs" / "cache").mkdir(parents=True)
    rows = [f"{number}.png,tea,{number},{'valid' if number else 'train'}" for number in range(4)]
    (root / "lines.csv").write_text("\n".join(["file,text,writer,split", *rows]))
    for number in range(4):
        Image.new("L", (90 + number, 20), 255).save(root / f"{number}.png")
    header = sources.page_header
    monkeypatch.setattr(sources, "page_header", lambda path, number: opened.append(path.name) or header(path))
    words = ("data=line_list", f"data.root={root}", f"folder={tmp_path / 'outputs'}")

    def start() -> tuple[list[str], list[tuple[int, int]]]:
        remembered.remember_in(tmp_path / "elsewhere")
        opened.clear()
        _, pages = inspect_data(parse_recipe(config(*words)), full=False)
        return [*opened], [page.size for page in pages]

    sizes = [(20, 90 + number) for number in range(4)]
    assert start() == (["0.png", "1.png", "2.png", "3.png"], sizes)
    assert start() == ([], sizes)
    Image.new("L", (200, 20), 255).save(root / "2.png")
    assert start() == (["2.png"], [*sizes[:2], (20, 200), sizes[3]])
    (root / "lines.csv").write_text((root / "lines.csv").read_text().replace("1.png,tea", "1.png,coffee"))
    assert start()[0] == []


def test_pages_are_left_as_the_policy_says(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"train": "tea" * 400, "valid": "tea"})
    choice = "inspect.policy.too_long_for_ctc="
    counts = {}
    for policy in ("keep", "drop"):
        kept = "inspect.policy.odd_shape=keep"
        pages, report = inspected_pages(recipe(root, choice + policy, kept))
        counts[policy] = {page.split: len(page.lines) for page in pages}
        assert set(report.findings["too_long_for_ctc"]) == {"p-train/l"}
    assert counts == {"keep": {"train": 1, "valid": 1}, "drop": {"train": 0, "valid": 1}}
    with pytest.raises(InputError, match="p-train/l"):
        inspected_pages(recipe(root, choice + "refuse"))


# weights


def test_weights_of_which_no_layer_fits_are_no_start(tmp_path: Path) -> None:
    save(tmp_path / "weights", "line")
    root = write_folder(tmp_path / "data", {"train": "tea", "valid": "tea"})
    network = ["network=resnet_bilstm", "network.channels=3", "network.hidden=3", "network.layers=1"]
    with pytest.raises(InputError, match=f"^init={tmp_path / 'weights'}: no layer of these weights fits"):
        build.build_training(recipe(root, *network, f"init={tmp_path / 'weights'}"), progress=False)


@pytest.mark.parametrize("name", ["line/nothing", "/nonexistent/weights"])
def test_weights_are_refused_when_there_are_none(name: str) -> None:
    with pytest.raises(InputError, match=f"weights {name}: no such folder"):
        find_weights(name, "line", config())


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("runs:/ID", "runs:/ID/weights/best"),
        ("runs:/ID/weights/last", "runs:/ID/weights/last"),
        ("models:/name@alias", "models:/name@alias"),
    ],
)
def test_weights_of_a_store_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, asked: str
) -> None:
    opened: list[tuple[str | None, Path, str]] = []
    fetched: list[tuple[str, object, Path]] = []
    folder, store = save(tmp_path / "fetched", "line").folder, object()

    def open_store(uri: str | None, folder: Path, experiment: str) -> object:
        opened.append((uri, folder, experiment))
        return store

    def download(uri: str, store: object, into: Path) -> Path:
        fetched.append((uri, store, into))
        return folder

    monkeypatch.setattr(tracking, "open_store", open_store)
    monkeypatch.setattr(tracking, "download", download)
    made = config(f"folder={tmp_path}", "tracking.uri=http://there", "tracking.experiment=own")
    assert find_weights(name, "line", made).folder == folder
    assert opened == [("http://there", tmp_path, "own")]
    assert fetched == [(asked, store, tmp_path / "cache" / "weights")]
    with pytest.raises(InputError, match=f"weights {name}: of stage line, not paragraph; choose weights"):
        find_weights(name, "paragraph", made)


def test_weights_with_a_published_name_are_found_unless_a_folder_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "EXPERIMENTS", tmp_path / "checkout" / "experiments")
    monkeypatch.chdir(tmp_path)
    published = save(tmp_path / "checkout" / "experiments" / "line" / "known" / "weights", "line").folder
    assert find_weights("line/known", "line", config()).folder == published
    save(tmp_path / "line" / "known", "line")
    assert find_weights("line/known", "line", config()).folder == Path("line/known")


# images


def test_lines_without_an_image_are_left_out_unless_a_split_then_has_none() -> None:
    pages = [page("a", "train"), page("b", "train"), page("c", "valid")]
    torn = [("a/1", "line a/1 of a.png: torn"), ("b/1", "line b/1 of b.png: torn")]
    assert with_images(pages, []) == pages
    assert [[line.id for line in own.lines] for own in with_images(pages, torn[:1])] == [[], ["b/1"], ["c/1"]]
    with pytest.raises(
        InputError, match=r"^the split train has no lines left: .* a.png: torn \(and 1 more\)$"
    ):
        with_images(pages, torn)


@pytest.mark.parametrize(
    ("policy", "refused"),
    [({}, False), ({"unreadable_image": "drop"}, False), ({"unreadable_image": "refuse"}, True)],
)
def test_training_tells_of_images_that_only_cutting_finds_damaged(
    tmp_path: Path, policy: dict[str, str], refused: bool
) -> None:
    root = write_folder(tmp_path, {"train": "tea", "valid": "tea"})
    write_page(root / "torn.xml", "toast")
    image = root / "torn.jpg"
    image.write_bytes(image.read_bytes()[:3000])
    with (root / "pages.csv").open("a") as table:
        table.write("torn,writer-train,train\n")
    choices = [f"inspect.policy.{name}={choice}" for name, choice in policy.items()]
    made = recipe(root, *SETTINGS["line"], *choices)
    if refused:
        with pytest.raises(InputError, match=r"1 line that cannot be cut out: torn/l .*truncated.*no_area"):
            build_training(made, progress=False)
        return
    training = build_training(made, progress=False)
    assert list(training.report.findings["no_area"]) == ["torn/l"]
    assert training.report.told() == ["left out by no image: 1 line (train 1)"]
    assert training.report.used == {"train": 1, "valid": 1, "test": 0}
    assert training.built.alphabet == Alphabet.of(["tea"])  # nothing of what is left out is learnt


def test_training_says_what_emptied_a_split(tmp_path: Path) -> None:
    made = recipe(write_folder(tmp_path, {"train": "toast", "valid": "tea"}), "data.exclude.pattern=oa")
    said = r"the split train has no lines left; left out: 1 line \(train 1\) by data.exclude.pattern=oa"
    with pytest.raises(InputError, match=said):
        build_training(made, progress=False)


def test_pages_of_no_split_are_told(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"train": "tea", "valid": "tea"})
    write_page(root / "more.xml", "toast")
    report, _ = inspect_data(recipe(root), full=False)
    assert report.told() == ["left out by no split: 1 page (no split 1) with 1 line"]
