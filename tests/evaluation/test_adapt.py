"""Fine-tuning on corrected lines: what is held out, what is kept, what is told."""

import json
from pathlib import Path
from typing import Any

import pytest

from hwr import weights
from hwr.config.compose import composed
from hwr.config.roots import AdaptConfig
from hwr.data import load_pages
from hwr.errors import InputError
from hwr.evaluation.adapt import adapt
from hwr.runs import train
from tests.evaluation.tiny import ALPHABET, Place, write_pages

SIX = [("ab ba", "ba")] * 6  # pages


def adapted(place: Place, *overrides: str) -> Path:
    line = next(own for own in place.weights if own.startswith("weights.line="))
    places = [
        f"data.root={place.folder / 'data'}",
        f"folder={place.folder}",
        f"output={place.folder / 'mine'}",
    ]
    few = ["epochs=2", "batch_size=4", "held_out=0.25", "counts=[5,100]", "scorer=edit_distance"]
    adapt(composed("adapt", [line, *places, *few, *overrides], AdaptConfig))
    return place.folder / "mine"


def test_weights_read_what_they_read_before_and_the_report_tells_the_curve(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pages(place.folder / "data", *SIX)
    write_pages(place.folder / "old")
    fit = train.fit

    def beside_another(*parts: Any, **others: Any) -> float:
        """Train, while another process begins a run in the same folder."""
        strange = place.folder / "runs" / f"strange{len(list(place.folder.glob('runs/*')))}"
        strange.mkdir()
        (strange / "config.yaml").write_text("name: of another\n")
        return fit(*parts, **others)

    monkeypatch.setattr(train, "fit", beside_another)
    output = adapted(place, "+data@elsewhere=alto", f"elsewhere.root={place.folder / 'old'}")
    assert weights.load(output / "weights").alphabet == ALPHABET
    report = json.loads((output / "report.json").read_text())
    assert report["held_out"] == 3
    assert [score["lines"] for score in report["scores"]] == [0, 5, 9]
    assert [score["lines"] for score in report["elsewhere"]] == [0, 9]
    told = capsys.readouterr().out
    assert f"{place.folder / 'data'}: no line is marked as corrected" in told
    before, *_, after = (score["cer"] for score in report["scores"])
    assert ("no better on the 3 lines kept aside" in told) == (after >= before)
    assert "before" in told and f"weights.line={output / 'weights'}" in told
    scored = [json.loads(path.read_text()) for path in sorted(output.glob("scores/*[0-9]/scores.json"))]
    assert [own["lines"] for own in scored] == [3, 3]
    assert len({own["data_fingerprint"] for own in scored}) == 1  # the same lines


def test_too_few_lines_are_refused_before_anything_is_trained(place: Place) -> None:
    write_pages(place.folder / "data", *SIX[:2])
    with pytest.raises(InputError, match="4 corrected lines, 1 of them to test on; correct 3 more"):
        adapted(place)
    assert not (place.folder / "runs").exists()


def splits_of(root: Path, shares: list[float], **settings: Any) -> dict[str, str]:
    own = {"splits": None, "shares": [1, 0, 0], "seed": 0, **settings}
    pages = load_pages("alto", root=root, line_shares=shares, **own).pages
    assert len({page.id for page in pages}) == len(pages)
    return {line.id: page.split for page in pages for line in page.lines}


def test_lines_are_shared_out_one_by_one_and_fewer_to_train_on_leave_the_others(tmp_path: Path) -> None:
    root = write_pages(tmp_path / "data", *SIX)
    whole, fewer = splits_of(root, [0.5, 0.25, 0.25]), splits_of(root, [0.25, 0.25, 0.25])
    assert sorted(whole.values()) == ["test"] * 3 + ["train"] * 6 + ["valid"] * 3
    assert sorted(fewer.values()) == [""] * 3 + ["test"] * 3 + ["train"] * 3 + ["valid"] * 3
    assert all(whole[name] == split for name, split in fewer.items() if split)
    assert splits_of(root, [0.5, 0.25, 0.25], seed=1) != whole
    with pytest.raises(InputError, match=r"data\.line_shares=\[0\.9, 0\.2, 0\]: .* at most 1"):
        splits_of(root, [0.9, 0.2, 0])


def test_nothing_is_said_where_lines_are_marked_as_corrected(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_pages(place.folder / "data", *SIX)
    for file in root.glob("*.xml"):
        file.write_text(file.read_text().replace("<TextLine ", '<TextLine CS="true" '))
    adapted(place, "counts=[]", "epochs=1")
    assert "marked as corrected" not in capsys.readouterr().out


def test_only_corrected_lines_are_shared_out_where_some_are(tmp_path: Path) -> None:
    root = write_pages(tmp_path / "data", *SIX)
    for file in sorted(root.glob("*.xml"))[:4]:
        file.write_text(file.read_text().replace('<TextLine ID="l0"', '<TextLine CS="true" ID="l0"'))
    found = splits_of(root, [0.5, 0.5, 0])
    assert {name for name, split in found.items() if split} == {f"p{n}/l0" for n in range(4)}
    dataset = load_pages("alto", root=root, splits=None, shares=[1, 0, 0], seed=0)
    (rule,) = dataset.excluded
    assert sum(rule.counts()["lines"].values()) == 8
