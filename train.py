"""Train a stage: python train.py stage=line lr=1e-4 (all keys: --cfg job; sweeps: -m)."""

import hydra
from omegaconf import DictConfig

from hwr.config.compose import typed
from hwr.config.messages import clear_errors
from hwr.config.roots import TrainConfig
from hwr.runs.hydra_callback import sweep_ended


@hydra.main(config_path="conf", config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> float:
    """Compose, build, fit; return the best monitored error, for sweepers."""
    with clear_errors():
        composed = typed(cfg, TrainConfig)
        from hwr.runs.train import train_stage  # takes seconds: --help, --cfg and bad keys need not wait

        return train_stage(composed)


if __name__ == "__main__":
    with clear_errors(), sweep_ended():
        main()
