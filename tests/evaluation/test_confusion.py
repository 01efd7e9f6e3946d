"""python -m hwr confusion: what it writes, prints and refuses."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from hwr.__main__ import main
from hwr.evaluation.confusion import confusion_table
from hwr.language.confusions import Confusions, Costs, CountedLines
from tests.evaluation.tiny import TEXTS, write_pages, write_weights
from tests.refusal import refused


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = write_weights(tmp_path_factory.mktemp("weights"))
    return next(own for own in made if own.startswith("weights.line="))


@pytest.fixture
def settings(tmp_path: Path, database: Path, weights: str) -> list[str]:
    (tmp_path / "outputs").mkdir()
    shutil.copy(database, tmp_path / "outputs" / "mlflow.db")
    root = write_pages(tmp_path / "data", split="valid")
    return [weights, "data=alto", f"data.root={root}", f"folder={tmp_path / 'outputs'}"]


def test_confusions_are_counted_over_the_lines_of_the_split(settings: list[str], tmp_path: Path) -> None:
    output = tmp_path / "new" / "confusions.json"
    main(["confusion", *settings, f"output={output}"])
    found = Confusions.load(str(output))
    text = 2 * "".join(TEXTS)  # two pages
    assert found.totals == {character: text.count(character) for character in text}
    assert (found.source.split, found.source.lines) == ("valid", 4)
    assert len(found.source.data_fingerprint) == len(found.source.weights_sha256) == 64


def test_costs_are_written_as_tables_where_asked(settings: list[str], tmp_path: Path) -> None:
    output, folder = tmp_path / "confusions.json", tmp_path / "costs"
    main(["confusion", *settings, f"output={output}", f"published={folder}"])
    costs = Costs.of(Confusions.load(str(output)))
    written = Costs.from_tables(folder).deletion[[ord(symbol) for symbol in costs.symbols]]
    np.testing.assert_allclose(written, costs.deletion, atol=1e-6)


def test_most_frequent_confusions_are_printed() -> None:
    counted = Confusions(
        {("a", "a"): 6, ("a", "o"): 2, (" ", None): 3, (None, "x"): 1, ("o", "o"): 9},
        CountedLines("", "valid", "", 4),
    )
    assert confusion_table(counted, 3).splitlines() == [
        "4 lines, 20 characters, 6 edits",
        "true  read  count   of true",
        "' '   -         3  100.00 %",
        "'a'   'o'       2   25.00 %",
        "-     'x'       1",
    ]
    assert confusion_table(counted, 0) == "4 lines, 20 characters, 6 edits"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("split=test", "split=test: costs learnt on the test lines would fit them; use split=valid"),
        ("decoder.width=3", "decoder.width: no such key"),
        ("shown=-1", "shown=-1 is not possible; it must be 0 or more"),
        ("weights.word=x", "weights.word: no such key"),
    ],
)
def test_settings_are_refused_before_anything_is_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, override: str, said: str
) -> None:
    output = tmp_path / "confusions.json"
    given = ["data=alto", "data.root=/nonexistent", f"output={output}", override]
    assert refused(capsys, lambda: main(["confusion", *given])).startswith(said)


def test_output_has_to_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, lambda: main(["confusion"]))
    assert said == "output is not set; give output=… on the command line"


@pytest.mark.parametrize("override", ["output={file}/x/x.json", "published={file}/x"])
def test_place_is_refused_when_nothing_can_be_written_there(
    settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str
) -> None:
    file = tmp_path / "file"
    file.touch()
    given = [*settings, f"output={tmp_path / 'confusions.json'}", override.format(file=file)]
    said = refused(capsys, lambda: main(["confusion", *given]))
    assert said == f"{file / 'x'}: cannot be written (Not a directory); choose another folder"
