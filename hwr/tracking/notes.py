"""Notes of runs in Markdown: what a run is, and the commands that repeat it, compare it and use it."""

import re
import shlex
import sys
from collections.abc import Sequence
from itertools import accumulate

from hwr.config.compose import Composed, data_words
from hwr.tracking.runs import LONGEST_TAG, Run, parent_run

NOTE = "mlflow.note.content"  # the tag that MLflow shows as the description
READS = ("paragraph", "segmentation", "line")  # stages whose weights read pages
_REST = "*{} more do not fit into a note; the run's parameters and files hold everything.*"


def write_note(run: Run, blocks: Sequence[str]) -> None:
    """Set the description of a run: blocks of Markdown; those that find no room are left out whole."""
    room = LONGEST_TAG - len(_REST) - 8
    fit = [
        block for block, end in zip(blocks, accumulate(len(b) + 2 for b in blocks), strict=True) if end < room
    ]
    left = [_REST.format(len(blocks) - len(fit))] if len(fit) < len(blocks) else []
    run.tags({NOTE: "\n\n".join([*fit, *left])})


def about_training(run: Run, composed: Composed, data: str) -> list[str]:
    """Return what is said of a training on the data set `data`, with its commands."""
    words, stage = _started("train", composed.overrides), str(composed.root.stage["kind"])
    place = _place(run, words)
    weights = [f"weights.{stage}=runs:/{run.id}", *place]
    split = [*data_words(composed.values["data"]), "split=test"]
    return [
        f"Training of stage {stage} on {_quoted(data)}.",
        _command("Repeat it", words),
        *([_command("Read pages with its weights", ["hwr", "transcribe", "PAGE.jpg", *weights])]
          if stage in READS else []),
        _command("Score it", ["hwr", "evaluate", f"target={stage}", *weights, *split])
        if stage != "denoiser" else
        _command("Score it", ["hwr", "evaluate", "target=denoiser", "decoder=denoise", *place, *split,
                              f"decoder.weights={run.store.folder}/runs/{run.id}/weights/best"]),
        _command("Compare it with another run, once both are scored", _comparing(run, place)),
    ]  # fmt: skip


def about_evaluation(run: Run, composed: Composed, name: str) -> list[str]:
    """Return what is said of an evaluation called `name`, with its commands."""
    target = getattr(composed.root, "target", None)
    words = _started(name.partition(" ")[0], composed.overrides)
    place, split = _place(run, words), f"split={composed.root.split}"
    weights = composed.values.get("weights", {})  # said in full: those of hwr transcribe are others
    used = [f"weights.{stage}={weights[stage]}" for stage in (READS if target == "page" else ["line"])]
    reading = ["hwr", "transcribe", "PAGE.jpg", *used, *_given(words, "decoder"), *place]
    return [
        f"Evaluation: {_quoted(name)}.",
        _command("Repeat it", words),
        *([_command("Read pages alike", reading)] if target in ("line", "page") else []),
        *([_command("Compare it with another run", [*_comparing(run, place), split])] if target else []),
    ]


def repeating() -> str:
    """Return the block with the command line of this process."""
    return _command("Repeat it", _words())


def _started(name: str, overrides: Sequence[str]) -> list[str]:
    """Return the words of this process's command line; for a job of a sweep, those that run it alone."""
    words = _words()
    is_job = parent_run() is not None or {"-m", "--multirun"} & set(words)
    return words if words[0] == "hwr" and not is_job else ["hwr", name, *overrides]


def _words() -> list[str]:
    """Return the command line of this process."""
    program, *words = sys.argv
    return [*(program.split() if program.startswith("hwr ") else [program]), *words]


def _place(run: Run, words: Sequence[str]) -> list[str]:
    """Return the words that lead to the store of a run."""
    given = _given(words, "folder", "tracking")
    named = any(word.startswith("tracking.uri=") for word in given)
    return [
        *given,
        *([] if named or not run.store.uri.startswith("http") else [f"tracking.uri={run.store.uri}"]),
    ]


def _given(words: Sequence[str], *nodes: str) -> list[str]:
    """Return the overrides of some nodes among words."""
    return [word for word in words if re.match(rf"\+*(\w+@)?({'|'.join(nodes)})[.=@]", word)]


def _comparing(run: Run, place: Sequence[str]) -> list[str]:
    return ["hwr", "compare", run.id, "OTHER_RUN", *place]


def _command(title: str, words: Sequence[str]) -> str:
    text = shlex.join(words)
    fence = "`" * max([3, *(len(ticks) + 1 for ticks in re.findall("`+", text))])
    return f"**{title}**\n\n{fence}sh\n{text}\n{fence}"


def _quoted(text: str) -> str:
    """Return a text as inline code, whatever it holds."""
    return f"`{text}`" if "`" not in text else f"`` {text} ``"
