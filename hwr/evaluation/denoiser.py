"""Target `denoiser`: read lines, correct them, and score both texts."""

from dataclasses import replace

from hwr.config.bind import current_target
from hwr.config.roots import EvaluateConfig
from hwr.decoding import build_decoder
from hwr.decoding.denoise import DenoiseDecoder
from hwr.errors import InputError
from hwr.evaluation import lines as line_target
from hwr.evaluation import publish
from hwr.evaluation.lines import find_lines, rate_cell, read_chunks
from hwr.evaluation.task import EDITS, Evaluation, Outcome, Record, Result, Target, Task
from hwr.stages.build import alphabet_of
from hwr.weights import Weights

MAKER = "hwr.stages.denoiser.denoise_decoder"  # the only decoder of which weights are evaluated


def check_denoiser(config: EvaluateConfig) -> None:
    """Raise InputError for settings that no part takes."""
    if current_target(str(config.decoder.get("_target_"))) != MAKER:
        raise InputError("target=denoiser evaluates the weights of decoder=denoise; add decoder=denoise")
    line_target.check_lines(config)


def load_denoiser_weights(task: Task[EvaluateConfig]) -> list[Weights]:
    """Return the weights that are evaluated; raise InputError for what is missing, before a page is read."""
    (reader,) = line_target.load_counted(task, "line")
    if task.config.publish is not None:
        publish.published_name(reader.folder)
    return [task.weights("denoiser", str(task.config.decoder["weights"]))]


def score_denoiser(evaluation: Evaluation) -> Outcome:
    """Read the lines, score them as read into the folder `before`, and as rewritten."""
    task, output = evaluation.task, evaluation.output
    config, reader = task.config, task.weights("line")
    decoder = build_decoder(config.decoder, alphabet_of(reader))
    assert isinstance(decoder, DenoiseDecoder)  # `check_denoiser` saw to it
    lines = find_lines(task, reader)
    lines.refuse_seen_by(decoder)
    read, mended = [], []
    for pages, probs in read_chunks(task, reader, lines):
        read += (readings := decoder.base.read(probs, pages))
        mended += decoder.rewritten(readings, probs)
    about = evaluation.about(lines.scored)
    about |= {"line_weights": str(reader.folder), "line_weights_sha256": reader.sha256}
    (output / "before").mkdir()
    plain = replace(config, kept_height=0)  # the lines are kept once
    before = line_target.scored(plain, lines, read, about=about, output=output / "before")
    about["before"] = {name: before.summary[name] for name in ("cer", "wer")}
    after = line_target.scored(config, lines, mended, about=about, output=output)
    rates = {f"before/{name}": value for name, value in about["before"].items()}
    evaluation.log(line_target.values(after.summary) | rates)
    return Outcome(after.summary, f"before: {before.table}\n\nafter: {after.table}", after.error)


def _rows(link: str, result: Result) -> list[list[str]]:
    before = (f"{100 * result['before'][name]:.2f} %" for name in ("cer", "wer"))
    return [[link, str(result["lines"]), *before, rate_cell(result, "cer"), rate_cell(result, "wer")]]


TARGET = Target(
    name="denoiser",
    check=check_denoiser,
    load=load_denoiser_weights,
    score=score_denoiser,
    record=Record(
        figures=("line_weights_sha256", "lines", "before.cer", "before.wer", *EDITS), rows=_rows,
        head=["weights", "test lines", "CER before", "WER before", "CER [95 %]", "WER [95 %]"],
    ),
)  # fmt: skip
