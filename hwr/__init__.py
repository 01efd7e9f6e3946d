"""hwr: handwritten text recognition, trained, tracked and scored with MXNet Gluon, Hydra and MLflow."""

from hwr import runtime

__version__ = "0.1.0"

runtime.prepare()
