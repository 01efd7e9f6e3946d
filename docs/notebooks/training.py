# %% [markdown]
# # Train two recognisers and compare them
#
# Which learning rate is better for a short training? Two line recognisers learn the same drawn pages, one
# with each; both read the test pages; tests of significance tell whether the difference means anything. The
# commands are those of a shell; here Python runs them.

# %%
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
from PIL import Image

from hwr.tracking import Store


def hwr(*words: str) -> None:
    """Run a command and print what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "hwr", *words], stdout=subprocess.PIPE, text=True, check=True
    )
    print(done.stdout, end="")


# %% [markdown]
# ## Data
#
# The data of the experiment `line/smoke`: a few pages with a few letters, which a tiny network learns in
# seconds. More test writers than the experiment has, because a comparison by writers needs some.

# %%
DATA = [
    "data=synthetic",
    "data.processes=1",
    "data.pages={train: 12, valid: 2, test: 6}",
    "data.writers={train: 6, valid: 2, test: 6}",
    "data.lines=[6, 8]",
    "data.size=[560, 300]",
    "data.families=[delius, kalam]",
    "data.held_out=[kalam]",
    "data.text=${hwr.root:}/experiments/line/smoke/text.txt",
    "data.variation=0.3",
]
hwr("inspect", *DATA)

# %% [markdown]
# ## Two trainings
#
# An experiment is a file of overrides, and the command line changes what it sets. Every run is recorded in
# MLflow: by default in a database in `outputs/`, with `tracking.uri=…` on a server.

# %%
RATES = {"fast": "5e-3", "slow": "3e-3"}
runs = {}
for name, rate in RATES.items():
    hwr(
        "train",
        "experiments=line/smoke",
        f"name={name}",
        f"lr={rate}",
        "~phases.plain",
        *DATA,
    )
    runs[name] = Path("outputs/latest").resolve().name  # the run's id

# %% [markdown]
# The curves, as MLflow shows them (`mlflow server --backend-store-uri sqlite:///$PWD/outputs/mlflow.db`):

# %%
client = Store(f"sqlite:///{Path('outputs/mlflow.db').absolute()}", "0").client
figure, panes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
for pane, metric in zip(panes, ("train/loss", "valid/cer"), strict=True):
    for name, run in runs.items():
        history = sorted(client.get_metric_history(run, metric), key=lambda point: point.step)
        pane.plot([point.step for point in history], [point.value for point in history], label=name)
    pane.set(title=metric, xlabel="epoch")
    pane.legend()
figure

# %% [markdown]
# ## Scores on the test pages
#
# `runs:/ID` names the best weights of a run, in every command. The errors are counted by edit distance
# here; `scorer=sclite`, the default, counts them with NIST's SClite.

# %%
for name, run in runs.items():
    hwr("evaluate", f"weights.line=runs:/{run}", f"output=scores/{name}", "scorer=edit_distance", *DATA)

# %% [markdown]
# The worst lines of the better one, and those of median error:

# %%
picture = Image.open("scores/fast/lines.png")
picture.crop((0, 0, picture.width, min(picture.height, 900)))

# %% [markdown]
# ## Which is better?
#
# Lines of one writer resemble each other, so the verdict is that of the test by writers. It speaks of these
# two networks: other seeds give other networks ([more](../how-to/compare.md)).

# %%
hwr("compare", runs["fast"], runs["slow"], "output=comparison", "scorer=edit_distance")
