"""Train a stage: python train.py stage=line lr=1e-4 (all keys: --help; sweeps: -m). The same as hwr train."""

import sys

from hwr.__main__ import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
