"""The command language-model: make an n-gram model and a lexicon from data and text files."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from pathlib import Path

from hwr.config.compose import Composed
from hwr.config.roots import LanguageModelConfig
from hwr.data import split_keys
from hwr.data.records import Page, fingerprint
from hwr.errors import InputError
from hwr.files import as_input_error, check_output_file, read_text, sha256
from hwr.language import Origin, TextSource, arpa, ngrams, shared_texts, write_record
from hwr.language.lexicon import Lexicon
from hwr.language.ngrams import Ngrams
from hwr.text import nfc


@dataclass(frozen=True)
class Text:
    """Lines that a model is made from, where they come from, and that in words."""

    lines: list[str]
    origin: Origin
    said: str


def make_language_model(composed: Composed, *, files: Sequence[str], output: str, words: str | None) -> None:
    """Make a model, a lexicon where asked, and a record beside each; print what they hold."""
    config: LanguageModelConfig = composed.root
    model, lexicon = Path(output), None if words is None else Path(words)
    check_language_model(config, {"--output": model} | ({} if lexicon is None else {"--words": lexicon}))
    symbols = _alphabet(config) if config.weights.line is not None else ""
    keys = [re.split("[.=]", override.lstrip("+~"))[0] for override in composed.overrides]
    pages = _pages(config) if not files or "data" in keys else []
    if config.file_share is not None and not (files and pages):
        missing = "data (data=alto data.root=DIR)" if files else "a text file"
        mixes = "it mixes lines of data with those of text files"
        raise InputError(f"file_share={config.file_share}: {mixes}; give {missing} too")
    texts = _texts(config, pages, list(map(Path, files)))
    for text in texts:
        print(text.said)
    _make(config, texts, symbols, model)
    if config.split != "valid":
        _measure(model, [line.text for page in pages if page.split == "valid" for line in page.lines])
    if lexicon is not None:
        _make_lexicon(texts, lexicon)


def check_language_model(config: LanguageModelConfig, outputs: Mapping[str, Path]) -> None:
    """Raise InputError for a model that cannot be, and for a place where no file can be; nothing is read."""
    ngrams.check_ngrams(config.unit, config.order)
    if config.split == "test":
        raise InputError("split=test: a model of the test lines knows them by heart; use split=train")
    taken: set[Path] = set()
    for name, path in outputs.items():
        check_output_file(path, f"{name} {path}")
        files = {path.absolute(), path.with_suffix(".json").absolute()}
        if len(files) < 2 or files & taken:
            raise InputError(f"{name} {path}: its record {path.stem}.json has that name; choose another")
        taken |= files


def _alphabet(config: LanguageModelConfig) -> str:
    """Return the characters that weights of a line network can write."""
    from hwr import runtime

    runtime.start()  # MXNet takes seconds, and most models need it not
    from hwr.stages.build import alphabet_of, find_weights

    return alphabet_of(find_weights(str(config.weights.line), "line", config)).symbols


def _pages(config: LanguageModelConfig) -> list[Page]:
    from hwr import runtime

    runtime.start()
    from hwr.data.report import told, told_replaced
    from hwr.stages.recipe import data_source

    dataset = data_source(config.data, config.folder).read(whole=False)
    rules = [*told(rule.counts() for rule in dataset.left_out), *told_replaced(dataset.replacements)]
    print(*rules, sep="\n", end="\n" * bool(rules))
    return list(dataset.pages)


def _texts(config: LanguageModelConfig, pages: Sequence[Page], files: Sequence[Path]) -> list[Text]:
    """Return the lines of the split of `pages`, if any, and of files without what is in valid or test."""
    held_out = {line.text for page in pages if page.split in ("valid", "test") for line in page.lines}
    chosen = [page for page in pages if page.split == config.split]
    if pages and not chosen:
        where = f"of the {len(pages)} pages in {pages[0].image.parent}"
        keys = split_keys(config.data, config.split)
        raise InputError(f"split={config.split}: empty, none {where}; see {keys}")
    own = [_of_data(chosen, str(config.data["source"]))] if pages else []
    return [*own, *(_of_file(path, held_out) for path in files)]


def _of_data(pages: Sequence[Page], name: str) -> Text:
    split = pages[0].split
    lines = {line.id: line.text for page in pages for line in page.lines if line.text}
    source = TextSource(name, fingerprint(pages), split, len(lines))
    return Text(list(lines.values()), Origin.of_data(source, lines), f"{name}, {split}: {len(lines)} lines")


def _of_file(path: Path, held_out: Iterable[str]) -> Text:
    lines = [line for line in map(nfc, read_text(path).split("\n")) if line]
    left_out = shared_texts(lines, held_out)
    kept = [line for line in lines if line not in left_out]
    source = TextSource(path.name, sha256(path), "", len(kept))
    lost = f", {len(lines) - len(kept)} left out that are in valid or test" if left_out else ""
    return Text(kept, Origin.of_file(source, kept), f"{path.name}: {len(kept)} lines{lost}")


def _make(config: LanguageModelConfig, texts: Sequence[Text], symbols: str, output: Path) -> None:
    model = _estimated(config, texts, symbols)
    if config.most_ngrams is not None:
        model = ngrams.pruned(model, most=config.most_ngrams)
    arpa.write_arpa(output, model, decimals=config.decimals)
    known = arpa.written_symbols(model.vocabulary, config.unit)
    write_record(output, _origin(texts), unit=config.unit, order=config.order, symbols=known)
    print(_table(model))
    print(f"{len(known)} characters; written to {output}")


def _estimated(config: LanguageModelConfig, texts: Sequence[Text], symbols: str) -> Ngrams:
    """Return the model of all lines, or those of data and of files mixed."""
    estimate = partial(
        ngrams.estimate_ngrams, unit=config.unit, order=config.order, min_count=config.min_count
    )
    if config.file_share is None:
        return estimate(_lines(texts), symbols=symbols)
    (data, *files) = texts
    symbols = "".join({*symbols}.union(*data.lines))
    return ngrams.mixed(
        estimate(data.lines, symbols=symbols), estimate(_lines(files), symbols=symbols),
        share=config.file_share,
    )  # fmt: skip


def _lines(texts: Iterable[Text]) -> list[str]:
    return [line for text in texts for line in text.lines]


def _table(model: Ngrams) -> str:
    counted = model.orders[0].discounts is not None
    rows = [f"{'order':5}{'n-grams':>10}" + counted * "  discounts of counts 1, 2, 3 and more"]
    for n, grams in enumerate(model.orders, start=1):
        discounts = "  ".join(f"{value:.3f}" for value in grams.discounts or ())
        rows.append(f"{n:5}{len(grams.probabilities):10}  {discounts}".rstrip())
    return "\n".join(rows)


def _measure(output: Path, lines: Sequence[str]) -> None:
    """Print the perplexity of a model, its file read, on lines; nothing where there are none."""
    lines = [line for line in lines if line]
    if not lines:
        return
    model = arpa.NgramModel.load(output)
    characters = sum(map(len, lines)) + len(lines)  # ends of lines count
    each = math.exp(-sum(map(model.score, lines)) / characters)
    by_token = "" if model.unit == "character" else f", {model.perplexity(lines):.2f} a token"
    print(f"valid: {len(lines)} lines, perplexity {each:.3f} a character{by_token}")


def _make_lexicon(texts: Sequence[Text], path: Path) -> None:
    lexicon = Lexicon.of(line for text in texts for line in text.lines)
    with as_input_error(f"--words {path}", "choose another"):
        lexicon.write(path)
    characters = "".join(sorted(set().union(*lexicon.words)))
    write_record(path, _origin(texts), unit="word", order=1, symbols=characters)
    print(f"{len(lexicon.words)} words; written to {path}")


def _origin(texts: Sequence[Text]) -> Origin:
    return reduce(add, (text.origin for text in texts))
