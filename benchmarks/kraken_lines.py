"""Cut lines for kraken to learn from, and read a test split with what it learnt, for `hwr compare`.

    python benchmarks/kraken_lines.py cut LINES data=alto data.root=DIR weights.line=line/copiste
    python -m venv KRAKEN && KRAKEN/bin/pip install kraken   # its packages do not go with those of hwr
    KRAKEN/bin/ketos train -f path -t LINES/train.txt -e LINES/valid.txt -o MODEL …
    KRAKEN/bin/python benchmarks/kraken_lines.py read LINES/test.txt MODEL/best_….safetensors kraken.tsv
    hwr compare RUN kraken.tsv output=OUT            # RUN: an evaluation of the same lines

`cut` gets the lines of train, valid and test as `weights.line=…` cuts them; `read` needs kraken alone.
"""

import argparse
import time
from pathlib import Path

SPLITS = ("train", "valid", "test")


def main() -> None:
    """Do what is asked, and print how many lines there are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    cutting = commands.add_parser("cut", help="write lines as PNG and text")
    cutting.add_argument("folder", type=Path)
    cutting.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of hwr evaluate")
    cutting.set_defaults(run=cut)
    reading = commands.add_parser("read", help="read lines with a model of kraken")
    for name in ("lines", "model", "output"):
        reading.add_argument(name, type=Path)
    reading.set_defaults(run=read)
    asked = parser.parse_args()
    asked.run(asked)


def cut(asked: argparse.Namespace) -> None:
    """Write the lines of each split, a list of their images, and a table of their ids."""
    import cv2

    from hwr import runtime
    from hwr.config.compose import composed
    from hwr.config.roots import EvaluateConfig
    from hwr.evaluation.lines import find_lines
    from hwr.evaluation.task import open_task

    runtime.start()
    for split in SPLITS:
        task = open_task(composed("evaluate", [*asked.overrides, f"split={split}"], EvaluateConfig).root)
        lines, folder = find_lines(task, task.weights("line")), (asked.folder / split).resolve()
        folder.mkdir(parents=True)
        paths = [folder / f"{number:05d}.png" for number in range(len(lines.ids))]
        for path, image, text in zip(paths, lines.images, lines.texts, strict=True):
            cv2.imwrite(str(path), image)
            path.with_suffix(".gt.txt").write_text(f"{text}\n", encoding="utf-8")
        folder.with_suffix(".txt").write_text("".join(f"{path}\n" for path in paths))
        rows = (f"{path}\t{name}\n" for path, name in zip(paths, lines.ids, strict=True))
        folder.with_suffix(".tsv").write_text("".join(rows), encoding="utf-8")
        print(f"{split}: {len(paths)} lines")


def read(asked: argparse.Namespace) -> None:
    """Read every line greedily, as kraken does, and write ids and texts."""
    from kraken.configs import RecognitionInferenceConfig
    from kraken.containers import BBoxLine, Segmentation
    from kraken.tasks import RecognitionTaskModel
    from PIL import Image

    model, config = RecognitionTaskModel.load_model(asked.model), RecognitionInferenceConfig()
    table = asked.lines.with_suffix(".tsv").read_text(encoding="utf-8").splitlines()
    start, rows = time.perf_counter(), []
    for path, name in (row.split("\t") for row in table):
        image = Image.open(path)
        line = BBoxLine(id="line", bbox=(0, 0, *image.size))
        whole = Segmentation(
            type="bbox", imagename=path, text_direction="horizontal-lr", script_detection=False, lines=[line]
        )
        found = "".join(record.prediction for record in model.predict(image, whole, config))
        rows.append(f"{name}\t{' '.join(found.split())}\n")
    seconds = time.perf_counter() - start
    asked.output.write_text("id\ttext\n" + "".join(rows), encoding="utf-8")
    print(f"{len(rows)} lines in {seconds:.1f} s, written to {asked.output}")


if __name__ == "__main__":
    main()
