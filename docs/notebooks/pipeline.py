# %% [markdown]
# # From a page to its text
#
# What `hwr transcribe` does with a page, a step at a time: find the handwriting, find its lines, cut them
# out, read them, read them again with a language model, write ALTO. The page is drawn, so its true text is
# known. The weights are the published `synthetic` ones; the hand is one that their training did not hold.

# %%
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from hwr.config.compose import composed
from hwr.config.roots import InspectConfig, TranscribeConfig
from hwr.data import load_pages
from hwr.data.records import page_image
from hwr.data.synthetic.texts import Bigrams
from hwr.decoding import build_decoder
from hwr.images.canvas import fit_to_canvas
from hwr.images.line_crop import crop_line
from hwr.pictures import LineCard, ReadText, boxed, readings
from hwr.scoring.edits import levenshtein
from hwr.transcription.export import draw_overlay, to_alto
from hwr.transcription.files import page_reader

# %%
data = [
    "data=synthetic",
    "data.folder=drawn",
    "data.processes=1",
    "data.pages={train: 0, valid: 0, test: 1}",
    "data.families=[satisfy, kalam]",
    "data.held_out=[satisfy]",
    "data.seed=11",
]
(drawn,) = load_pages(**composed("inspect", data, InspectConfig).root.data).pages
print(drawn.writer, *(line.text for line in drawn.lines), sep="\n")

# %% [markdown]
# Settings are those of `hwr transcribe`: [the same keys](../reference/configuration/roots.md#transcribe),
# composed and checked in the same way. `page_reader` loads the three networks.

# %%
weights = {
    "paragraph": "paragraph/synthetic",
    "segmentation": "segmentation/synthetic_line",
    "line": "line/synthetic",
}
config = composed(
    "transcribe", [f"weights.{step}={name}" for step, name in weights.items()], TranscribeConfig
).root
reader = page_reader(config)
page = page_image(drawn, config.loading)  # (H, W) grey levels
Image.fromarray(page).reduce(2)

# %% [markdown]
# ## The area
#
# The first network looks at the whole page, fitted to a small canvas, and tells one box around the
# handwriting. The print above it is not part of it.

# %%
canvas, _ = fit_to_canvas(page, (0, 0, 1, 1), reader.area.fit)
print(f"the network sees {canvas.shape[1]} x {canvas.shape[0]} px of {page.shape[1]} x {page.shape[0]}")
area = reader.find_area(page)
Image.fromarray(boxed(page, {"#16a34a": np.array([area])})).reduce(2)

# %% [markdown]
# ## The lines
#
# The second network finds a box for each line in the area. Boxes are put into reading order, by blocks:
# columns, and what stands apart in them.

# %%
boxes = np.concatenate(reader.find_boxes(page, area))  # (N, 4) in fractions of the page
Image.fromarray(boxed(page, {"#16a34a": np.array([area]), "#2563eb": boxes})).reduce(2)

# %% [markdown]
# Where boxes of neighbouring lines overlap, the path of least ink between their baselines separates them.
# Every line gets a polygon of its own (blue) and a baseline (red).

# %%
outlines = reader.cut(page, boxes)
picture = Image.fromarray(page).convert("RGB")
pen = ImageDraw.Draw(picture)
for line in outlines:
    polygon, baseline = ([(x * page.shape[1], y * page.shape[0]) for x, y in points]
                         for points in (line.polygon, line.baseline))  # fmt: skip
    pen.polygon(polygon, outline="#2563eb", width=3)
    pen.line(baseline, fill="#dc2626", width=3)
left, top, right, bottom = (np.array(area) * [*picture.size, *picture.size]).astype(int).tolist()
picture.crop((left, top, right, bottom))

# %% [markdown]
# Each line is cut out along its polygon, straightened along its baseline, and scaled to the height that the
# third network was trained with; what does not belong to it becomes white.

# %%
images = [crop_line(page, line, reader.text.crop) for line in outlines]  # each (height, width)
shown = np.full(
    (sum(len(image) + 8 for image in images), max(image.shape[1] for image in images)), 255, np.uint8
)
for number, image in enumerate(images):
    shown[number * (len(image) + 8) :][: len(image), : image.shape[1]] = image
Image.fromarray(shown)

# %% [markdown]
# ## The text
#
# The third network gives a probability of every character, and of the *blank* between characters, at each
# step along the line. The most probable class of each step shows how it reads; the blank is a dot here.

# %%
probs = reader.text.reader.probs(images)  # each (T, C): steps, classes
greedy = reader.text.decoder
best = probs[0].argmax(axis=1)
print(f"{probs[0].shape[0]} steps, {probs[0].shape[1]} classes")
print("".join("·" if c == greedy.alphabet.blank else greedy.alphabet.symbols[c] for c in best))

# %% [markdown]
# The probabilities of the characters that occur in this line, one row each, dark where the network is sure:

# %%
classes = sorted({*best.tolist()} - {greedy.alphabet.blank})
rows = np.repeat(np.repeat(255 - 255 * probs[0][:, classes].T, 18, axis=0), 5, axis=1).astype(np.uint8)
heat = Image.new("L", (rows.shape[1] + 30, rows.shape[0]), 255)
heat.paste(Image.fromarray(rows), (30, 0))
for row, c in enumerate(classes):
    ImageDraw.Draw(heat).text((8, 18 * row + 3), greedy.alphabet.symbols[c].replace(" ", "_"))
heat

# %% [markdown]
# *Greedy* decoding collapses repeats and drops blanks. Each character has a confidence, the highest
# probability of its steps.

# %%
read = greedy.read(probs)
for reading in read:
    doubtful = [
        character for character, sure in zip(reading.text, reading.confidences, strict=True) if sure < 0.8
    ]
    print(f"{reading.confidence:.2f}  {reading.text}   doubtful: {' '.join(doubtful) or 'none'}")

# %% [markdown]
# ## A language model
#
# Greedy decoding takes each character by itself. A beam search follows many texts at once and adds to each
# the score of a model of the language: here 6-grams of characters, made of sentences of the same kind as
# those on the page. Your own transcripts make one as well ([how](../how-to/decoders.md)).

# %%
sentences = Bigrams().sentences(np.random.default_rng(3))
Path("text.txt").write_text("\n".join(next(sentences) for _ in range(10000)), encoding="utf-8")
command = "language-model text.txt weights.line=line/synthetic --output english.arpa"
done = subprocess.run(
    [sys.executable, "-m", "hwr", *command.split()], check=True, stdout=subprocess.PIPE, text=True
)
print(done.stdout)

# %%
beam_node = composed(
    "transcribe", ["decoder=beam", "decoder.model=english.arpa"], TranscribeConfig
).root.decoder
beam = build_decoder(beam_node, greedy.alphabet)
corrected = beam.read(probs)
for alternative in corrected[0].alternatives[:5]:
    print(f"{alternative.score:8.2f}  {alternative.text}")

# %% [markdown]
# Both readings beside what is written. Wrong characters are red, and yellow where both readings miss them.

# %%
cards = []
for image, line, *both in zip(images, drawn.lines, read, corrected, strict=True):
    texts = {name: reading.text for name, reading in zip(("greedy", "beam"), both, strict=True)}
    scored = {name: ReadText(text, levenshtein(line.text, text)) for name, text in texts.items()}
    cards.append(LineCard(image, line.id, line.text, scored))
Image.fromarray(readings({"": cards}))

# %%
length = sum(len(line.text) for line in drawn.lines)
for name in ("greedy", "beam"):
    errors = sum(card.read[name].errors for card in cards)
    print(f"{name}: {errors} wrong of {length} characters, CER {errors / length:.1%}")

# %% [markdown]
# These sentences are chains of word pairs with numbers and punctuation strewn in: there is little to
# predict, and the network alone is nearly right, so a language model does not help here. On real
# handwriting it does: with `line/copiste`, the CER falls from 10.48 to 7.95 % ([results](../results.md)).

# %% [markdown]
# ## ALTO
#
# `reader` itself runs all steps, and finds words by where their characters were read. Exports keep boxes,
# polygons, baselines, and the confidence of every word and character.

# %%
found = reader(page)
transcript = found.page(drawn.id, drawn.image.name, 1, page.shape)
print(*to_alto(transcript).splitlines()[:34], "…", sep="\n")

# %%
Image.fromarray(draw_overlay(page, transcript, 900))

# %% [markdown]
# All of it as one command, for whole folders:
#
# ```sh
# hwr transcribe scans/ --model synthetic decoder=beam decoder.model=english.arpa --format alto --output OUT
# ```
