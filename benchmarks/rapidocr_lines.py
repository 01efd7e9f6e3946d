"""Read the lines of a test split with the general models of RapidOCR, for `hwr compare`.

    pip install rapidocr onnxruntime
    python benchmarks/rapidocr_lines.py --output rapidocr.tsv data=latin data.root=DIR
    hwr compare RUN rapidocr.tsv output=OUT        # RUN: an evaluation of the same lines

It gets the lines as `weights.line=…` cuts them, and reads them with its recogniser alone, as it comes: no
model of another size or language is fetched.
"""

import argparse
import time
from pathlib import Path

import cv2

from hwr import runtime


def main() -> None:
    """Write a table of ids and texts, and print how long reading took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of hwr evaluate")
    asked = parser.parse_args()
    runtime.start()
    from rapidocr import RapidOCR

    from hwr.config.compose import composed
    from hwr.config.roots import EvaluateConfig
    from hwr.evaluation.lines import find_lines
    from hwr.evaluation.task import open_task

    task = open_task(composed("evaluate", asked.overrides, EvaluateConfig).root)
    lines, engine = find_lines(task, task.weights("line")), RapidOCR()
    start, texts = time.perf_counter(), []
    for image in lines.images:
        found = engine(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), use_det=False, use_cls=False, use_rec=True)
        texts.append(" ".join("".join(found.txts or ()).split()))
    seconds = time.perf_counter() - start
    rows = [f"{name}\t{text}\n" for name, text in zip(lines.ids, texts, strict=True)]
    asked.output.write_text("id\ttext\n" + "".join(rows), encoding="utf-8")
    print(f"{len(texts)} lines in {seconds:.1f} s, written to {asked.output}")


if __name__ == "__main__":
    main()
