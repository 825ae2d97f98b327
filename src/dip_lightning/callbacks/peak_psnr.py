"""The quality of every iteration, where a clean image is there to compare with."""

from typing import Any

import pytorch_lightning as pl

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
        last = iteration + 1 == curves.iterations
        if self.eval_every and ((iteration + 1) % self.eval_every == 0 or last):
            curves.record("psnr_eval", iteration, psnr(pl_module.evaluate(), clean))

    def on_train_end(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        """Find the peak of each curve: ``one_pass``, ``averaged`` and ``eval`` where measured."""
        self.peaks = {}
        for name, curve in pl_module.curves.block().items():
            peak = find_peak(curve) if name != "psnr_observation" and name.startswith("psnr_") else None
            if peak is not None:
                self.peaks[name.removeprefix("psnr_")] = peak
