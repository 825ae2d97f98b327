import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from dip_lightning.callbacks import OutputEMA
from dip_lightning.data import GaussianNoise, load_observation
from dip_lightning.errors import UserError
from dip_lightning.models import UNet
from dip_lightning.module import DeepImagePrior
from dip_lightning.priors import Prior
from dip_lightning.problems import Problem


class Recorder(pl.Callback):
    """Keeps a copy of every output."""

    def __init__(self) -> None:
        self.one_pass: list[Tensor] = []
        self.averaged: list[Tensor] = []
        self.warm: list[Tensor] = []

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, *args: object
    ) -> None:
        self.one_pass.append(pl_module.iterate.one_pass.clone())
        assert pl_module.iterate.averaged is not None
        self.averaged.append(pl_module.iterate.averaged.clone())
        assert pl_module.iterate.warm_average is not None
        self.warm.append(pl_module.iterate.warm_average.clone())


@pytest.mark.parametrize("alpha", [0.99, 0.5, 0.0, "growing"])
def test_the_average_follows_the_papers_recursion(alpha: float | str) -> None:
    observation = load_observation("skimage:camera", GaussianNoise(), crop=32)
    torch.manual_seed(0)
    network = UNet(channels=4, levels=2, input_channels=4, output_channels=1)
    module = DeepImagePrior(Prior(network), Problem(observation.noisy.float()), iterations=8)
    ema, recorder = OutputEMA(alpha), Recorder()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=[ema, recorder],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module)
    expected = warm = recorder.one_pass[0].double()
    for number, image in enumerate(recorder.one_pass, 1):
        # A memory of a quarter of the iterations so far, and of one at least.
        growing = 1 - 1 / max(number / 4, 1)
        past = growing if isinstance(alpha, str) else alpha
        if number > 1:
            expected = past * expected + (1 - past) * image.double()
        warm = min(past, growing) * warm + (1 - min(past, growing)) * image.double()
        # float32 against float64: a few units in the last place.
        np.testing.assert_allclose(recorder.averaged[number - 1].double(), expected, atol=5e-7)
        np.testing.assert_allclose(recorder.warm[number - 1].double(), warm, atol=5e-7)
    assert len(recorder.one_pass) == 8
    assert ema.average is not None
    assert torch.equal(ema.average, recorder.averaged[-1])
    assert torch.equal(module.output, recorder.warm[-1])


def test_a_checkpoint_from_before_the_growing_memory_goes_on() -> None:
    ema, old = OutputEMA(), {"average": torch.ones(1, 1, 2, 2), "_empty": None}
    ema.load_state_dict(old)
    assert ema.warm_average is old["average"]


def test_a_growing_memory_forgets_the_first_outputs_at_any_length() -> None:
    ema = OutputEMA("growing")
    weights = [ema.weight(iteration) for iteration in range(1000)]
    assert weights[:5] == [1, 1, 1, 1, 0.8]
    left = 1.0
    for iteration in range(999, 499, -1):
        left *= 1 - weights[iteration]
    assert left == pytest.approx(1 / 16, rel=0.02)  # of the first half of 1000: (1/2)⁴
    assert OutputEMA(0.99).weight(0) == OutputEMA(0.99).weight(5000) == pytest.approx(0.01)


@pytest.mark.parametrize("alpha", [1.2, 1.0, -0.1, "much"])
def test_a_weight_outside_is_refused(alpha: object) -> None:
    with pytest.raises(UserError, match=rf"alpha={alpha}: expected a number in \[0, 1\), or growing"):
        OutputEMA(alpha)  # type: ignore[arg-type]
