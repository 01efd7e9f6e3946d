"""The command confusion: count which characters a recogniser confuses, and derive edit costs."""

from pathlib import Path

from hwr.config.compose import Composed
from hwr.config.roots import ConfusionConfig
from hwr.decoding import build_decoder, check_decoder
from hwr.errors import InputError
from hwr.evaluation.lines import decoded_lines, find_lines
from hwr.evaluation.task import check_reading, open_task
from hwr.files import make_folder, write_text
from hwr.language.confusions import Confusions, Costs, CountedLines
from hwr.scoring.edits import align
from hwr.stages.build import alphabet_of
from hwr.tables import text_table


def count_confusions(composed: Composed) -> None:
    """Read the lines of a split, count what was misread, write the counts, and print the most frequent."""
    config: ConfusionConfig = composed.root
    check_confusion(config)
    make_folder(Path(config.output).parent)  # or refuse it, before lines are read for a minute
    if config.published is not None:
        make_folder(Path(config.published))
    confusions = _counted(config)
    write_text(Path(config.output), confusions.to_json())
    print(confusion_table(confusions, config.shown))
    print(f"written to {config.output}")
    if config.published is not None:
        Costs.of(confusions).write_tables(Path(config.published))
        print(f"costs over ASCII codes written to {config.published}")


def check_confusion(config: ConfusionConfig) -> None:
    """Raise InputError for settings that no part takes; nothing is read."""
    if config.split == "test":
        raise InputError("split=test: costs learnt on the test lines would fit them; use split=valid")
    check_decoder(config.decoder)
    check_reading(config)


def confusion_table(confusions: Confusions, shown: int) -> str:
    """Return how many characters were misread, and the most frequent confusions, as rows of text."""
    true = sum(confusions.totals.values())
    wrong = sum(count for pair, count in confusions.counts.items() if pair[0] != pair[1])
    total = f"{confusions.source.lines} lines, {true} characters, {wrong} edits"
    rows = []
    for pair, count in confusions.most_frequent(shown):
        share = "" if pair[0] is None else f"{100 * count / confusions.totals[pair[0]]:.2f} %"
        seen = ("-" if one is None else repr(one) for one in pair)  # a space and its absence differ
        rows.append([*seen, str(count), share])
    return f"{total}\n{text_table(('true', 'read', 'count', 'of true'), rows)}" if rows else total


def _counted(config: ConfusionConfig) -> Confusions:
    task = open_task(config)
    weights = task.weights("line")
    decoder = build_decoder(config.decoder, alphabet_of(weights))
    lines = find_lines(task, weights)
    for told in lines.scored.told("line"):
        print(told)
    lines.refuse_seen_by(decoder)
    read = [reading.text for reading in decoded_lines(task, weights, lines, decoder)]
    source = CountedLines(lines.fingerprint, config.split, weights.sha256, len(lines.ids))
    return Confusions.of((align(true, own) for true, own in zip(lines.texts, read, strict=True)), source)
