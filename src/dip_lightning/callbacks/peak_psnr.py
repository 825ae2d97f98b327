"""The quality of every iteration, where a clean image is there to compare with."""

from typing import Any

import pytorch_lightning as pl
import torch

from dip_lightning.checks import check_integer
from dip_lightning.metrics import psnr
from dip_lightning.module import DeepImagePrior
from dip_lightning.runs.peaks import CurvePeak, find_peak

__all__ = ["PeakPSNR"]


class PeakPSNR(pl.Callback):
    """Records one-pass and averaged PSNR of every iteration, and finds their peaks at the end.

    The PSNR to the observation is recorded by the module, which needs no clean image for it. Without a clean image
    this callback records nothing and :attr:`peaks` stays empty.
    """

    def __init__(self, eval_every: int = 100) -> None:
        """Set the cadence of the evaluation-mode output.

        Args:
            eval_every: Compute the PSNR of the network in evaluation mode every so many iterations, at the cost of
                a forward pass; 0 for never.

        Raises:
            UserError: The cadence is negative.
        """
        self.eval_every = check_integer("callbacks.peak_psnr.eval_every", eval_every, 0, example=100)
        self.peaks: dict[str, CurvePeak] = {}

    def on_before_optimizer_step(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, optimizer: torch.optim.Optimizer
    ) -> None:
        """Record the output in evaluation mode when it is time: with the weights of this iteration, before the step."""
        clean, curves, iterate = pl_module.problem.clean, pl_module.curves, pl_module.iterate
        done = iterate.iteration + 1
        if clean is None or not self.eval_every or (done % self.eval_every and done != curves.iterations):
            return
        value = psnr(pl_module.evaluate(), clean)
        if iterate.diverged is not None:  # the weights may be restored by now, and are not of this iteration
            value = torch.where(iterate.diverged, torch.nan, value)
        curves.record("psnr_eval", iterate.iteration, value)

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record this iteration, on the device."""
        clean = pl_module.problem.clean
        if clean is None:
            return
        iterate, curves = pl_module.iterate, pl_module.curves
        iteration = iterate.iteration
        curves.record("psnr_one_pass", iteration, psnr(iterate.one_pass, clean))
        if iterate.averaged is not None:
            curves.record("psnr_averaged", iteration, psnr(iterate.averaged, clean))

    def on_train_end(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        """Find the peak of each curve: ``one_pass``, ``averaged`` and ``eval`` where measured."""
        self.peaks = {}
        for name, curve in pl_module.curves.block().items():
            peak = find_peak(curve) if name != "psnr_observation" and name.startswith("psnr_") else None
            if peak is not None:
                self.peaks[name.removeprefix("psnr_")] = peak
