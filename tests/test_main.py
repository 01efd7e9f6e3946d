"""python -m hwr: what it prints, writes and refuses."""

import json
import shutil
import subprocess
import sys
from dataclasses import is_dataclass
from pathlib import Path

import pytest
from PIL import Image

from hwr.__main__ import NAMES, help_text, main, parse
from hwr.config import CONF, ROOT
from hwr.config.command_table import COMMANDS, MODEL, Command
from hwr.config.keys import file_keys
from hwr.errors import InputError
from hwr.transcription import ReadLine, files
from hwr.transcription.page_reader import Found, Steps
from tests.alto_folder import write_folder
from tests.refusal import refused

LONG = "a" * 300  # longer than the name of a file
TEXTS = {"train": "tea and toast", "valid": "toast", "test": "thé"}


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    root = write_folder(tmp_path / "data", TEXTS)
    return ["data=alto", f"data.root={root}", f"folder={tmp_path / 'outputs'}"]


def test_inspection_prints_a_table(data: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["inspect", *data])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["split", "pages", "lines", "writers", "characters", "words"] in rows
    assert ["train", "1", "1", "1", "13", "3"] in rows
    assert any(row[:1] == ["outside_alphabet"] for row in rows)


def test_inspection_writes_the_report_as_json(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["inspect", *data, f"output={tmp_path / 'report.json'}", "full=true"])
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["splits"]["train"] == {"pages": 1, "lines": 1, "writers": 1, "characters": 13, "words": 3}
    assert report["findings"]["outside_alphabet"] == {"p-test/l": "h é"}
    assert report["decoded"] is True
    assert capsys.readouterr().out.startswith("split ")


def test_inspection_prints_json_alone_where_asked(
    data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["inspect", *data, "output=-"])
    assert json.loads(capsys.readouterr().out)["decoded"] is False


def test_inspection_leaves_no_folder(data: list[str], tmp_path: Path) -> None:
    main(["inspect", *data])
    assert not (tmp_path / "outputs").exists()


def test_usage_is_printed_where_nothing_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    bare = capsys.readouterr().out
    main(["--help"])
    assert capsys.readouterr().out == bare
    assert bare.startswith("usage: hwr COMMAND")


def test_usage_tells_of_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    told = [
        line.split()[0]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("  ") and line[2] != " "
    ]
    assert told == [command.name for command in COMMANDS]


def named(command: Command) -> str:
    return command.name


@pytest.mark.parametrize("command", COMMANDS, ids=named)
def test_command_has_a_function_and_a_root(command: Command) -> None:
    assert callable(command.load())
    assert (command.root is None) or is_dataclass(command.load_root())


@pytest.mark.parametrize("command", COMMANDS, ids=named)
def test_help_tells_usage_flags_and_keys(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    main([command.name, "--help"])
    text = capsys.readouterr().out
    assert text.startswith(f"usage: hwr {command.name}")
    assert command.help[1:40] in " ".join(text.split())
    assert command.example in text
    for flag in command.all_flags:
        assert all(name in text for name in flag.names)
    assert ("--config-dir DIR" in text) == ("KEY=VALUE" in text)
    if command.conf is not None:
        chosen = dict(override.split("=") for override in command.preset)
        keys = [key.name for key in file_keys(CONF / f"{command.conf}.yaml", chosen)]
        assert keys
        assert all(f"  {command.prefix}{key}=" in text for key in keys)


@pytest.mark.parametrize("command", COMMANDS, ids=named)
@pytest.mark.parametrize("word", ["--no-such-flag", "+nonsense=1"])
def test_unknown_flag_and_key_are_refused(
    command: Command, word: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    positional = {
        "transcribe": ["a.png"],
        "bulk": ["a.png"],
        "reproduce": ["line/copiste"],
        "compare": ["a", "b"],
    }
    required = ["--output", str(tmp_path / "model.arpa")] if command.name == "language-model" else []
    output = ["output=out"] if command.name in ("confusion", "export") else []
    output += ["--output", str(tmp_path)] if command.name == "bulk" else []
    arguments = [command.name, *positional.get(command.name, []), *required, *output, word]
    if command.hydra or command.pinned:  # as a user calls them: Hydra keeps its state in the process
        done = script(["-m", "hwr", *arguments])
        assert done.returncode == 2
        refusal = done.stderr
        assert refusal.count("\n") == 1
    else:
        refusal = refused(capsys, lambda: main(arguments))
    assert word.strip("-+").partition("=")[0] in refusal
    assert ";" in refusal or "did you mean" in refusal


def test_help_answers_at_once() -> None:
    code = (
        "import sys; from hwr.__main__ import main; main(sys.argv[1:]); "
        "sys.exit(', '.join({'hydra', 'mxnet', 'mlflow', 'numpy', 'yaml'} & set(sys.modules)))"
    )
    for arguments in ([], ["train", "stage=line", "--help"], ["transcribe", "-h"]):
        assert script(["-c", code, *arguments]).stderr.strip() == ""


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_script_explains_itself_as_it_is_called(name: str) -> None:
    done = script([f"{name}.py", "--help"])
    assert done.stdout.startswith(f"usage: python {name}.py [OPTION …] [KEY=VALUE …]\n"), done.stdout
    told = ["-m, --multirun", "--config-dir DIR", "  data=", "  tracking="]
    told += (
        ["experiments=", "resume=", "  stage=", "  network="]
        if name == "train"
        else ["  decoder=", "  scorer="]
    )
    assert [words for words in told if words not in done.stdout] == []


def test_help_names_the_keys_of_groups_that_are_chosen() -> None:
    train = next(command for command in COMMANDS if command.name == "train")
    assert "  data.root=" not in help_text(train)
    assert "  data.root=???" in help_text(train, ["data=alto"])
    assert "  stage.crop.height=" in help_text(train)
    assert "  stage.unit=line" in help_text(train, ["stage=segmentation"])


def test_keys_have_meaning_and_default(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("weights:   # of all\n  line: line/a\nsize: [1, 2]  # px\nhydra: {x: 1}\n", "utf-8")
    assert [(key.name, key.default, key.meaning) for key in file_keys(path, {})] == [
        ("weights.line", "line/a", "of all"),
        ("size", "[1, 2]", "px"),
    ]


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_key_of_a_root_has_a_meaning(path: Path) -> None:
    assert [key.name for key in file_keys(path, {}) if not key.meaning] == []


def script(arguments: list[str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["inspekt"], "inspekt: no such command (did you mean inspect?); use train, evaluate, transcribe"),
        (["inspect", "dataa=alto"], "dataa"),
        (["inspect", "data=alto"], "data.root is not set; give data.root=… on the command line"),
        (
            ["inspect", "data=alto", "data.root=/nonexistent"],
            "data folder /nonexistent does not exist; set data.root to",
        ),
        (["inspect", "+data.planted=1"], "data.planted: no such key"),
        (["inspect", "lr=fast"], "lr='fast' is not a number"),
        (["models", "now"], "models now: unknown; use one of list, show, verify"),
        (["inspect", "--config-dir=no/where"], "--config-dir no/where: no such folder"),
        (["inspect", "data=alto", "data.root=d\udcff"], "'data.root=d\\udcff': not UTF-8; rename"),
        (
            ["inspect", "data=alto", "data.root=no/données à lire"],
            f"data folder {Path.cwd()}/no/données à lire does",
        ),
        (["inspect", "data=alto", "data.root=~/no/data"], "data folder /home/me/no/data does not exist"),
        (["inspect", "data=alto", "data.root='~/no data'"], "data folder /home/me/no data does not exist"),
        (["anchors", "data=alto"], "data.root is not set; give data.root=… on the command line"),
        (
            ["anchors", "stage.unit=letter"],
            "stage.unit='letter' is not possible; it must be one of",
        ),
        (["tune", "split=test"], "split=test: numbers chosen on the test split would fit what they are"),
        (["tune", "decoder=beem"], "decoder=beem: no such choice (did you mean beam?)"),
        (["tune", "data=alto"], "data.root is not set; give data.root=… on the command line"),
        (["decoders", "baseline=best"], "baseline=best: not one of the decoders compared"),
        (["decoders", "data=alto"], "data.root is not set; give data.root=… on the command line"),
        (["transcribe", "nothing/*.png"], "nothing/*.png: no image or PDF there"),
        (
            ["transcribe", "a.png", "--format", "docx"],
            "--format docx: unknown; use one of alto, page, txt, json",
        ),
        (
            ["transcribe", "a.png", "weights.lines=x"],
            "weights.lines: no such key (did you mean line?)",
        ),
        (
            ["transcribe", "a.png", "weights.line=line/latin", "decoder.language=french"],
            "decoder.language: no such key here, but with decoder=languages",
        ),
        (
            ["transcribe", "batch_size=0", "a.png"],
            "batch_size=0 is not possible; it must be 1 or more",
        ),
    ],
)
def test_bad_input_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert refused(capsys, lambda: main(arguments)).startswith(said)


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", f"weights.line={LONG}"],
        ["inspect", "--config-dir", LONG],
        *(
            ["inspect", f"data={source}", f"data.root={LONG}"]
            for source in ("alto", "pagexml", "iam", "line_list")
        ),
        ["inspect", "data=synthetic", f"data.fonts={LONG}"],
        ["inspect", "data=synthetic", f"data.text={LONG}"],
        ["train", f"init={LONG}"],
        ["train", f"resume={LONG}"],
        ["train", f"folder={LONG}"],
        ["compare", LONG, "other"],
        ["adapt", LONG],
        ["export", LONG, "--output", "x.onnx"],
        ["sync", LONG],
        ["language-model", LONG, "--output", "x.arpa"],
        ["models", "verify", LONG],
        ["models", "publish", "latin", LONG],
        ["board", LONG],
        ["confusion", f"weights.line={LONG}", "output=confusions.json"],
        ["decoders", f"weights.line={LONG}"],
        ["tune", f"weights.line={LONG}"],
        ["anchors", "stage=segmentation", "data=alto", f"data.root={LONG}"],
    ],
    ids=lambda words: " ".join(words).replace(LONG, "LONG"),
)
def test_name_that_is_too_long_for_a_file_is_refused_in_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert LONG in refused(capsys, lambda: main(arguments))


def test_report_is_refused_when_it_cannot_be_written(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "report.json"
    said = refused(capsys, lambda: main(["inspect", *data, f"output={path}"]))
    assert said == f"output={path}: no file can be written there; choose another"


def test_report_is_written_to_a_new_folder(data: list[str], tmp_path: Path) -> None:
    main(["inspect", *data, f"output={tmp_path / 'new' / 'report.json'}"])
    assert (tmp_path / "new" / "report.json").stat().st_size


# anchors

TINY = ["stage.size=[64,64]", "network.stem=4", "network.channels=[4]", "network.strides=[[2,2]]",
        "network.blocks=[1]", "network.reach=0"]  # fmt: skip


def table(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """Return the cells of each printed line; `4 %` is one cell."""
    return [line.replace(" %", "%").split() for line in capsys.readouterr().out.splitlines()]


def test_anchors_tell_how_many_boxes_they_match(data: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    # The area is 380 x 40 px, and with its growth 400 x 44: 64 x 7 px of a canvas, the line 61 x 6.4 px.
    main(["anchors", *data, *TINY, "network.anchors=[[[0.95,0.1]]]"])
    head, *rows, last = table(capsys)
    assert head == ["split", "boxes", "IoU", "0.4", "0.5", "0.6", "0.7", "mean"]
    assert [row[:2] for row in rows] == [["train", "1"], ["valid", "1"], ["test", "1"]]
    assert all(row[2] == "100.0%" for row in rows)
    assert last[:2] == ["256", "anchors;"]  # 16 x 16 cells


def test_anchors_tell_of_sizes_that_match_nothing(
    data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["anchors", "stage=segmentation", *data, *TINY, "network.anchors=[[[0.1,0.1],[0.2,0.2]]]"])
    _, *rows, last = table(capsys)
    assert all(row[2:6] == ["0.0%"] * 4 for row in rows)
    assert last[:2] == ["512", "anchors;"]


def test_anchors_pass_over_splits_without_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(tmp_path / "data", {"train": "tea"})
    main(
        [
            "anchors",
            "data=alto",
            f"data.root={root}",
            f"folder={tmp_path / 'outputs'}",
            *TINY,
            "network.anchors=[[[0.9,0.1]]]",
        ]
    )
    assert [row[0] for row in table(capsys)[1:-1]] == ["train"]


# transcribe


class Blind:
    """A reader that finds nothing on any page."""

    def steps(self, image: object) -> Steps[Found]:
        yield []
        return Found(None, ())

    def read_lines(self, lines: object) -> list[ReadLine]:
        return []

    def find_turn(self, image: object, found: Found) -> int:
        return 0


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a page on which nothing is found."""
    monkeypatch.setattr(files, "build_page_reader", lambda *settings: Blind())
    write_folder(tmp_path, {"test": "tea"})
    return tmp_path / "p-test.jpg"


def transcribed(*arguments: str) -> int | str | None:
    """Return the exit status of a transcription."""
    try:
        main(["transcribe", *arguments])
    except SystemExit as ended:
        return ended.code
    return 0


@pytest.mark.parametrize(
    ("words", "model"),
    [
        ([], ["+model=latin"]),
        (["jobs=2"], ["+model=latin"]),
        (["--model", "copiste"], ["+model=copiste"]),
        (["+model=copiste"], ["+model=copiste"]),
        (["weights.line=mine"], []),
        (["decoder=greedy"], []),
        (["decoder@decoder=greedy"], []),
        (["decoder._target_=mine.decoder"], []),
        (["decoder.width=5"], ["+model=latin"]),  # a setting of the model's decoder
    ],
)
def test_model_is_latin_where_neither_weights_nor_decoder_are_given(
    words: list[str], model: list[str]
) -> None:
    commands = {command.name: command for command in COMMANDS if MODEL in command.all_flags}
    assert {*commands} == {"transcribe", "bulk", "serve"}
    for command in commands.values():
        required = [word for flag in command.flags if flag.required for word in (flag.names[0], "out")]
        overrides, _ = parse(command, ["scans", *required, *words])
        assert [word for word in overrides if word.startswith("+model")] == model


def test_transcription_is_a_text_beside_the_page_where_nothing_else_is_asked(page: Path) -> None:
    assert transcribed(str(page)) == 0
    assert page.with_suffix(".txt").read_text(encoding="utf-8") == ""
    assert {path.name for path in page.parent.glob("p-test.*")} == {"p-test.jpg", "p-test.xml", "p-test.txt"}


def test_transcription_takes_several_formats_with_commas_and_by_repeating(page: Path, tmp_path: Path) -> None:
    output = tmp_path / "texts"
    assert transcribed(str(page), "--format", "txt,json", "--format", "alto", "--output", str(output)) == 0
    written = {path.name for path in output.iterdir()} - {".hwr-outputs"}
    assert written == {"p-test.txt", "p-test.json", "p-test.alto.xml"}


def test_what_follows_two_dashes_is_a_file(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-a.png", "--force", "a=b.png"):
        shutil.copy(page, tmp_path / name)
    assert transcribed("--output", "out", "--", "-a.png", "--force", "a=b.png") == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.txt")) == [
        "--force.txt",
        "-a.txt",
        "a=b.txt",
    ]


def test_transcription_ends_with_one_when_a_page_fails(page: Path, tmp_path: Path) -> None:
    assert transcribed(str(page), str(tmp_path / "none.png")) == 1
    assert page.with_suffix(".txt").exists()


def test_key_may_be_longer_than_a_file_name(page: Path, tmp_path: Path) -> None:
    models = "".join(f"/{'m' * 50}" for _ in range(20))
    words = [str(page), f"+decoder.models={{a: {models}}}", "decoder=languages"]
    assert [*parse(COMMANDS[NAMES.index("transcribe")], words)[0]] == words[1:]


def test_url_with_a_query_is_no_key() -> None:
    words = ["s3://bucket/scans/?region=eu-west-1", "--output", "out", "tracking.uri=http://host/?a=b"]
    overrides, given = parse(COMMANDS[NAMES.index("bulk")], words)
    assert given["inputs"] == words[:1]
    assert words[-1] in overrides


def test_file_that_looks_like_a_flag_is_told_how_to_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "-scan.png").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"-scan\.png \(for the file write \./-scan\.png\); see"):
        parse(COMMANDS[NAMES.index("transcribe")], ["-scan.png", "--force"])


@pytest.mark.parametrize(
    ("name", "words"),
    [("transcribe", ["a.png", "--output", ""]), ("export", ["line/latin", "--output="])],
)
def test_flag_with_an_empty_value_is_refused(name: str, words: list[str]) -> None:
    with pytest.raises(InputError, match=r"--output: empty; give [A-Z]+, or leave the flag out"):
        parse(COMMANDS[NAMES.index(name)], words)


def test_transcription_takes_the_keys_of_its_configuration(page: Path, tmp_path: Path) -> None:
    arguments = [str(page), "--overlay", "overlay_width=100", "--output", str(tmp_path / "texts")]
    assert transcribed(*arguments) == 0
    with Image.open(tmp_path / "texts" / "p-test.overlay.png") as drawn:
        assert drawn.width == 100


def test_transcription_skips_what_is_there_unless_forced(page: Path) -> None:
    page.with_suffix(".txt").write_text("mine", encoding="utf-8")
    assert transcribed(str(page)) == 0
    assert page.with_suffix(".txt").read_text(encoding="utf-8") == "mine"
    assert transcribed(str(page), "--force") == 1  # not ours
    assert page.with_suffix(".txt").read_text(encoding="utf-8") == "mine"


def test_reader_of_the_output_may_leave() -> None:
    command = [sys.executable, "-m", "hwr", "train", "--help"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()  # before anything is written
    assert process.wait(60) == 1
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["models"]])
def test_output_that_finds_no_room_is_one_line(words: list[str]) -> None:
    command = [sys.executable, "-m", "hwr", *words]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    said = "error: standard output: No space left on device; make room there\n"
    assert (done.returncode, done.stderr) == (1, said)
