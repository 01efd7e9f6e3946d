"""The table of commands. It imports nothing slow, because `hwr --help` reads it."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

ROOTS = "hwr.config.roots"  # the module of the typed roots


@dataclass(frozen=True)
class Positional:
    """The words of a command line that are no KEY=VALUE: how many there may be, and what they name.

    With a `key`, the one word is another spelling of KEY=VALUE; else the words are an argument `name` of the
    command's function.
    """

    name: str
    metavar: str
    help: str
    least: int = 0
    most: int | None = None
    files: bool = False  # a word with `=` that exists as a file is that file
    key: str | None = None


@dataclass(frozen=True)
class Flag:
    """A flag: with `key` another spelling of KEY=VALUE, else an argument of the command's function.

    `metavar` None makes it a switch; `repeated` gathers values, also with commas. `default` is given where
    neither its key is nor anything that begins like one of `unless`.
    """

    names: tuple[str, ...]
    help: str
    metavar: str | None = None
    key: str | None = None
    repeated: bool = False
    required: bool = False
    default: str | None = None
    unless: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command:
    """A command: what `--help` says of it, its configuration, and the function that runs it.

    `function` (module:function) gets the composed configuration of conf/`conf`.yaml as the typed root
    `root`, or the overrides as they are where `root` is None; the positional words and flags are its keyword
    arguments. An exit status is what it returns, if that is an int.
    """

    name: str
    help: str
    function: str
    conf: str | None = None
    root: str | None = None
    example: str = ""
    note: str = ""  # what --help adds about keys
    positional: Positional | None = None
    flags: tuple[Flag, ...] = ()
    preset: tuple[str, ...] = ()  # overrides before the user's
    prefix: str = ""  # of the keys of conf/`conf`.yaml on this command line
    hydra: bool = False  # run by Hydra's own entry point
    computes: bool = True  # with MXNet, which is started before the function is imported
    prints: bool = False  # its result is what it prints; the others go on where nobody can read it
    plain: bool = False  # without a configuration: it runs at once
    pinned: bool = False  # in a process with what the bits of a result depend on: `runtime.PINNED`

    @property
    def takes_keys(self) -> bool:
        """Whether it takes KEY=VALUE, and so --config-dir."""
        return not self.plain and (self.conf is not None or self.positional is not None)

    @property
    def all_flags(self) -> tuple[Flag, ...]:
        """Its own flags and --config-dir."""
        return (*self.flags, CONFIG_DIR) if self.takes_keys else self.flags

    def load(self) -> Callable[..., Any]:
        """Import the function."""
        function: Callable[..., Any] = _imported(self.function)
        return function

    def load_root(self) -> type:
        """Import the typed root."""
        root: type = _imported(f"{ROOTS}:{self.root}")
        return root

    def __call__(self, composed: Any) -> Any:
        """Run the function on a composed configuration, as Hydra's jobs do."""
        return self.load()(composed)


HYDRA = (
    Flag(("-m", "--multirun"), "run once for each combination of values given as KEY=A,B"),
    Flag(("-c", "--cfg"), "print the whole configuration (job) and stop", metavar="job"),
    Flag(("-p", "--package"), "with --cfg: print only this node", metavar="NODE"),
    Flag(("--resolve",), "with --cfg: replace each ${…} by its value"),
    Flag(
        ("-i", "--info"), "print where the configuration comes from (defaults, searchpath …)", metavar="WHAT"
    ),
)
CONFIG_DIR = Flag(("--config-dir",), "folder with more configuration files", metavar="DIR")

MODEL = Flag(
    ("--model",), "weights and decoder by one name: see hwr models list; latin where neither is given",
    metavar="NAME", key="+model", default="latin",
    unless=("weights.", "weights=", "decoder=", "decoder@", "decoder._target_="),
)  # fmt: skip

COMMANDS = (
    Command(
        "train", "train a stage", "hwr.runs.train:train_stage", "train", "TrainConfig",
        example="hwr train stage=line data=alto data.root=DIR lr=1e-3",
        note="A sweep is one parent run with a child for each combination: hwr train -m lr=1e-4,3e-4. "
        "repeat=5 trains with five seeds, and tells the mean and its interval. "
        "resume=last continues the run that was started last, bit for bit; resume=RUN_ID continues that run.",
        flags=HYDRA, hydra=True,
    ),
    Command(
        "evaluate", "score weights on data", "hwr.evaluation:evaluate", "evaluate", "EvaluateConfig",
        example="hwr evaluate target=page data=alto data.root=DIR output=OUT",
        note="Writes scores.json, lines.tsv, SClite's reports and pictures to `output`.",
        flags=HYDRA, hydra=True,
    ),
    Command(
        "transcribe", "read pages: files, folders, patterns", "hwr.transcription.files:transcribe_files",
        "transcribe", "TranscribeConfig",
        example="hwr transcribe scans/ --format alto,txt --output OUT",
        note="The exit status is 1 if a page could not be read.",
        positional=Positional("files", "FILE …", "image, PDF, folder of them, or pattern", least=1,
                              files=True),
        flags=(
            Flag(("--format",), "txt (default), alto, page, json; several with commas or by repeating it",
                 metavar="FORMAT", repeated=True),
            Flag(("--output",), "folder for the outputs; default: beside each page", metavar="DIR"),
            Flag(("--overlay",), "also draw area, blocks, lines and texts over the page"),
            Flag(("--force",), "also read pages whose outputs exist"),
            Flag(("--jobs",), "same as jobs=N: processes that read pages", metavar="N", key="jobs"),
            MODEL,
        ),
    ),
    Command(
        "bulk", "read many pages on Ray, on Spark or in one process: files, folders, tables, URLs",
        "hwr.transcription.bulk:transcribe_bulk", "bulk", "BulkConfig",
        example="hwr bulk s3://BUCKET/scans/ --runner ray --jobs 8 --output s3://BUCKET/texts",
        note="Pages whose outputs exist are skipped. The exit status is 1 if a page could not be read.",
        positional=Positional("inputs", "INPUT …", "image, PDF, folder of them, pattern, Parquet table with "
                              "a column path or bytes (.parquet), list of paths (.txt); or a URL of these",
                              least=1, files=True),
        flags=(
            Flag(("--format",), "txt (default), alto, page, json, several with commas; or parquet",
                 metavar="FORMAT", repeated=True),
            Flag(("--output",), "folder or URL for the outputs", metavar="DIR", required=True),
            Flag(("--overlay",), "also draw area, blocks, lines and texts over the page"),
            Flag(("--runner",), "same as runner=RUNNER: local, ray, spark", metavar="RUNNER", key="runner"),
            Flag(("--jobs",), "same as jobs=N: processes that read pages", metavar="N", key="jobs"),
            MODEL,
        ),
    ),
    Command(
        "serve", "read pages in a browser, correct them there, and read them for programs",
        "hwr.serving:serve_pages", "serve", "ServeConfig",
        example="hwr serve scans/",
        note="The page is at http://127.0.0.1:8000/, the interface for programs at /docs. SIGTERM finishes "
        "what was accepted, then ends with status 0.",
        positional=Positional("pages", "[FOLDER]", "same as pages=FOLDER", most=1, key="pages"),
        flags=(MODEL,),
    ),
    Command(
        "adapt", "fine-tune a line recogniser on corrected pages", "hwr.evaluation.adapt:adapt", "adapt",
        "AdaptConfig", example="hwr adapt scans/ weights.line=line/latin output=my-hand",
        note="Tells the error on lines held out before and after, and for fewer corrected lines. The new "
        "weights are read by hwr transcribe weights.line=OUTPUT/weights.",
        positional=Positional("root", "[FOLDER]", "same as data.root=FOLDER", most=1, key="data.root"),
    ),
    Command(
        "export", "write a trained network as a file for other runtimes",
        "hwr.stages.exchange:export_weights", "export", "ExportConfig",
        example="hwr export line/copiste --format onnx --output line.onnx",
        positional=Positional("weights", "[WEIGHTS]", "same as weights=WEIGHTS", most=1, key="weights"),
        flags=(
            Flag(("--format",), "same as format=FORMAT: onnx, half, int8", metavar="FORMAT", key="format"),
            Flag(("--output",), "same as output=FILE", metavar="FILE", key="output"),
        ),
    ),
    Command(
        "inspect", "count the contents of a data set, list its problems",
        "hwr.stages.build:report_data", "inspect", "InspectConfig",
        example="hwr inspect data=alto data.root=DIR full=true", computes=False, prints=True,
    ),
    Command(
        "anchors", "count how many boxes of a data set a detector's anchors match",
        "hwr.stages.segmentation.training:print_anchor_table", "inspect", "InspectConfig",
        example="hwr anchors data=alto data.root=DIR stage.unit=word network=ssd_word",
        preset=("stage=segmentation",), prints=True,
    ),
    Command(
        "schema", "print the JSON Schema of a command's configuration, for editors",
        "hwr.config.completion:print_schema", example="hwr schema train > train.schema.json", plain=True,
        positional=Positional("names", "[COMMAND]", "whose configuration; default: train", most=1),
    ),
    Command(
        "completion", "print what completes command lines in a shell",
        "hwr.config.completion:print_completion", example='eval "$(hwr completion bash)"', plain=True,
        positional=Positional("words", "SHELL", "bash, zsh or fish", least=1, most=2),
    ),
    Command(
        "models", "list the published weights and what they score; models by name: list, show, verify, get …",
        "hwr.published:run_models", "models", "ModelsConfig", prints=True,
        example="hwr models get NAME +stores.archive=https://HOST/FOLDER",
        note="Without a word it prints the tables of published results. A model is a name for weights and "
        "decoder: hwr transcribe --model NAME. get NAME fetches one from the stores, publish NAME STORE "
        "writes one to a folder or to mlflow. import FILE reads parameter files (.params) of the original "
        "program. The exit status of verify is 1 if a file was changed.",
        positional=Positional("words", "[list|show|verify|get|publish|import] [NAME|FILE …]",
                              "what to do, with which models or files", files=True),
        flags=(Flag(("--output",), "folder for the weights that import writes", metavar="DIR"),),
    ),
    Command(
        "launch", "train in several processes, here or on several machines",
        "hwr.runs.launch:launch_training", "launch", prefix="launch.", computes=False,
        example="hwr launch --workers 2 -- stage=line data=alto data.root=DIR",
        note="All other keys are those of the training: see hwr train --help. The first worker records the "
        "run; if a process dies, all end, and resume=RUN_ID continues the run, also with other workers.",
        flags=(
            Flag(("--workers",), "processes that share each batch", metavar="N", key="launch.workers"),
            Flag(("--servers",), "processes that add up gradients", metavar="N", key="launch.servers"),
            Flag(("--launcher",), "local or ssh", metavar="NAME", key="launch.launcher"),
            Flag(("--hosts",), "file that names a machine in each line", metavar="FILE", key="launch.hosts"),
            Flag(("--port",), "where the processes meet", metavar="N", key="launch.port"),
            Flag(("--role",), "be one process: scheduler, server or worker; the environment says of which "
                 "training", metavar="ROLE"),
        ),
    ),
    Command(
        "search", "search for the best settings of a training", "hwr.runs.search:search_settings", "search",
        example="hwr search stage=line data=alto data.root=DIR --trials 40 --jobs 2", prefix="search.",
        note="All other keys are those of the training: see hwr train --help. The same command, started "
        "again, continues its study; ~search.space.KEY takes a key out of the search.",
        flags=(
            Flag(("--trials",), "number of trainings, over all starts", metavar="N", key="search.trials"),
            Flag(("--jobs",), "processes; the cores are divided among them", metavar="N", key="search.jobs"),
            Flag(("--study",), "name of the study, to continue or join it", metavar="NAME",
                 key="search.study"),
        ),
    ),
    Command(
        "board", "list the best runs of a data set", "hwr.runs.board:print_board", "board", "BoardConfig",
        example="hwr board 1a2b3c", computes=False, prints=True,
        note="Without a fingerprint it lists the data sets. Trainings are ranked by their best validation "
        "error, those that differ in their seed alone by its mean; evaluations by their scores.",
        positional=Positional("names", "[FINGERPRINT]", "of the data, or its beginning", most=1),
    ),
    Command(
        "compare", "show what differs between evaluated runs, and test which reads better",
        "hwr.comparison:compare_runs", "compare", "CompareConfig",
        example="hwr compare 1a2b 3c4d output=DIR", computes=False,
        note="Texts of another system, a table of ids and texts or a folder of ALTO or PAGE, are scored on "
        "the lines of the first run: hwr compare 1a2b other.tsv.",
        positional=Positional("names", "RUN RUN|FILE …", "id of an evaluated run, the beginning of one, "
                              "last, or a file or folder of another system's texts", files=True),
    ),
    Command(
        "reproduce", "reproduce a recorded result", "hwr.published.reproduce:reproduce_result",
        example="hwr reproduce line/copiste data.root=DIR", pinned=True,
        note="Keys are data.KEY, device, folder, scorer and tracking of hwr evaluate; with --train and "
        "--record those of hwr train. The exit status is 1 if a figure differs from the record.",
        positional=Positional("names", "NAME", "an experiment: line/copiste, or experiments/line/copiste",
                              least=1, most=1),
        flags=(
            Flag(("--train",), "repeat the training, and compare all epochs"),
            Flag(("--record",), "train, compare nothing, and write a new record to FILE", metavar="FILE"),
        ),
    ),
    Command(
        "sync", "deliver what a tracking server missed during runs",
        "hwr.tracking.sync:sync_runs", "sync", "SyncConfig",
        example="hwr sync outputs tracking.uri=http://127.0.0.1:5000", computes=False,
        note="The exit status is 1 if something is still undelivered.",
        positional=Positional("folder", "[FOLDER]", "same as folder=FOLDER", most=1, key="folder"),
    ),
    Command(
        "language-model", "make an n-gram model and a lexicon from text",
        "hwr.runs.language_model:make_language_model", "language_model", "LanguageModelConfig",
        example="hwr language-model data=alto data.root=DIR weights.line=line/copiste --output my/model.arpa",
        computes=False,
        positional=Positional("files", "[TEXT …]", "UTF-8 text file; each line is a line of text; without "
                              "one, the text is that of the data", files=True),
        flags=(
            Flag(("--output",), "file for the model, in ARPA format", metavar="FILE", required=True),
            Flag(("--words",), "file for the words with their counts", metavar="FILE"),
            Flag(("--order",), "same as order=N", metavar="N", key="order"),
            Flag(("--unit",), "same as unit=UNIT", metavar="UNIT", key="unit"),
            Flag(("--min-count",), "same as min_count=N", metavar="N", key="min_count"),
        ),
    ),
    Command(
        "confusion", "count which characters a recogniser confuses",
        "hwr.evaluation.confusion:count_confusions", "confusion", "ConfusionConfig",
        example="hwr confusion data=alto data.root=DIR output=confusions.json",
    ),
    Command(
        "tune", "tune a decoder's parameters on the validation split", "hwr.evaluation.tune:tune_decoder",
        "tune", "TuneConfig", example="hwr tune decoder=beam data=alto data.root=DIR",
    ),
    Command(
        "decoders", "compare decoders on the same lines", "hwr.evaluation.decoders:compare_decoders",
        "decoders", "DecodersConfig", example="hwr decoders data=alto data.root=DIR split=test",
    ),
)  # fmt: skip


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
