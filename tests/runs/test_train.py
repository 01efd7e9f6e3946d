"""What is told of a training under way."""

from hwr.runs.train import Bar
from hwr.training.loop import Step


def test_bar_tells_epoch_loss_and_speed_and_starts_anew_with_a_phase() -> None:
    with Bar() as bar:
        bar(Step("ctc", epoch=0, step=1, total=2, loss=0.5, samples=16, seconds=2.0))
        assert bar._bar.postfix == "epoch 1, loss 0.500, 8.0 samples/s"
        bar(Step("ctc", epoch=0, step=2, total=2, loss=0.5, samples=16, seconds=2.0))
        assert (bar._bar.n, bar._bar.total) == (2, 2)
        bar(Step("plain", epoch=1, step=1, total=3, loss=0.5, samples=16, seconds=2.0))
        assert (bar._bar.desc.rstrip(": "), bar._bar.n, bar._bar.total) == ("plain", 1, 3)
