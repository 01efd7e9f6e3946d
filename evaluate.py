"""Score weights on data: python evaluate.py weights.line=WEIGHTS data=alto data.root=DIR output=OUT."""

import hydra
from omegaconf import DictConfig

from hwr.config.compose import typed
from hwr.config.messages import clear_errors
from hwr.config.roots import EvaluateConfig


@hydra.main(config_path="conf", config_name="evaluate", version_base="1.3")
def main(cfg: DictConfig) -> float:
    """Compose, read, score; return the character error rate, for sweepers."""
    with clear_errors():
        composed = typed(cfg, EvaluateConfig)
        from hwr.evaluation.targets import evaluate  # takes seconds: --help, --cfg and bad keys need not wait

        return evaluate(composed)


if __name__ == "__main__":
    with clear_errors():
        main()
