# %% [markdown]
# # Own data: from scans to a reader that knows the hand
#
# The published weights read a hand that they do not know; a person corrects some pages; the corrected lines
# train the reader. Pages that nobody corrected show what it brought. The scans are drawn here, so that a
# program can do the corrections; yours come as ALTO or PAGE from [`hwr serve`](../how-to/serve.md),
# eScriptorium or Transkribus.

# %%
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from hwr.config.compose import composed
from hwr.config.roots import InspectConfig
from hwr.data import load_pages
from hwr.data.sources import PageImages
from hwr.images.boxes import iou
from hwr.scoring.edits import levenshtein
from hwr.transcription.correction import corrected, from_alto
from hwr.transcription.export import to_alto


def hwr(*words: str, last: int = 0) -> None:
    """Run a command and print what it says, or its last lines."""
    done = subprocess.run(
        [sys.executable, "-m", "hwr", *words], stdout=subprocess.PIPE, text=True, check=True
    )
    for line in done.stdout.splitlines()[-last:]:
        print(line)


# %% [markdown]
# ## Scans of one writer
#
# Five pages to correct, and two that stay as they are.

# %%
data = [
    "data=synthetic",
    "data.folder=drawn",
    "data.processes=1",
    "data.pages={train: 0, valid: 0, test: 7}",
    "data.writers={train: 0, valid: 0, test: 1}",
    "data.families=[satisfy, kalam]",
    "data.held_out=[satisfy]",
    "data.variation=1",
    "data.seed=9",
]
pages = load_pages(**composed("inspect", data, InspectConfig).root.data).pages
written = {page.id: [line.text for line in page.lines] for page in pages}
for number, page in enumerate(pages):
    folder = Path("scans" if number < 5 else "others")
    folder.mkdir(exist_ok=True)
    shutil.copy(page.image, folder)
Image.open(pages[0].image).reduce(2)

# %% [markdown]
# ## Read them
#
# ALTO files beside the scans hold what was read, where, and how surely.

# %%
hwr("transcribe", "scans", "--format", "alto")
print(*sorted(path.name for path in Path("scans").iterdir()), sep="\n")

# %% [markdown]
# ## Correct them
#
# This is a person's work, with `hwr serve scans` in the browser: a line that was confirmed or rewritten has
# `CS="true"` in the ALTO file, and training uses these alone. Here each found line gets the text of the drawn
# line that it covers; one that covers none well stays as it was read.

# %%
scans = Path("scans").absolute()
images, done = PageImages(scans), 0
drawn = {page.id: page.lines for page in pages}
for path in sorted(scans.glob("*.alto.xml")):
    page, true = from_alto(path, images), drawn[path.name.removesuffix(".alto.xml")]
    overlaps = iou(np.array([line.box for line in page.lines]), np.array([line.box for line in true]))
    lines = [
        corrected(line, true[own.argmax()].text) if own.max() > 0.5 else line
        for line, own in zip(page.lines, overlaps, strict=True)
    ]
    done += sum(line.corrected for line in lines)
    path.write_text(to_alto(replace(page, lines=tuple(lines))), encoding="utf-8")
print(f"{done} lines corrected")

# %% [markdown]
# ## Train on them
#
# A fifth of the lines is kept aside. The others train the reader, and so do the first ten alone:
# the curve tells whether correcting more would help.

# %%
hwr(
    "adapt",
    "scans",
    "weights.line=line/latin",
    "output=my-hand",
    "counts=[10]",
    "minutes=0.5",
    "scorer=edit_distance",
    last=6,
)

# %%
report = json.loads(Path("my-hand/report.json").read_text(encoding="utf-8"))
figure, pane = plt.subplots(figsize=(6, 3), layout="constrained")
pane.plot(
    [score["lines"] for score in report["scores"]], [100 * score["cer"] for score in report["scores"]], "o-"
)
pane.set(xlabel="corrected lines", ylabel="CER, %", ylim=0, title=f"{report['held_out']} lines kept aside")
figure

# %% [markdown]
# ## Read the other pages with it
#
# The new weights have a name like any others. On pages that were not corrected:

# %%
for name, weights in {"before": "line/latin", "after": "my-hand/weights"}.items():
    hwr("transcribe", "others", f"weights.line={weights}", "--output", name)
    errors = sum(
        levenshtein("\n".join(written[path.stem]), path.read_text(encoding="utf-8").strip())
        for path in Path(name).glob("*.txt")
    )
    length = sum(len("\n".join(written[path.stem])) for path in Path(name).glob("*.txt"))
    print(f"{name}: CER {errors / length:.1%} of {length} characters")

# %%
page = pages[5].id
for name in ("before", "after"):
    print(f"{name}:\n{Path(name, f'{page}.txt').read_text(encoding='utf-8')}")

# %% [markdown]
# With more data, and for a reader of many hands, train on it as on any data set
# ([fine-tune](../how-to/fine-tune.md#on-a-data-set)):
#
# ```sh
# hwr train stage=line data=alto data.root=scans init=line/latin lr=5e-4 phases.ctc.epochs=30
# ```
