"""The curves of a fit as scalars of its loggers."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger

from dip_lightning.module import DeepImagePrior
from dip_lightning.system.loggers import spared_loggers

__all__ = ["CurveLogger"]


class CurveLogger(pl.Callback):
    """Hands every iteration's values to the loggers, in blocks of ``log_every_n_steps`` iterations.

    One copy from the device a block, instead of one a value: logging each step would wait for the device each step.
    At the end of a block ``trainer.callback_metrics`` has its last values.
    """

    def on_fit_start(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        """Lay out one-pass and averaged PSNR on one chart of TensorBoard."""
        self._logged = pl_module.first_iteration
        for logger in trainer.loggers if self._logged == 0 else ():
            if isinstance(logger, TensorBoardLogger):
                lines = ["psnr/one_pass", "psnr/averaged"]
                logger.experiment.add_custom_scalars({"PSNR": {"one-pass and averaged": ["Multiline", lines]}})

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log a block when it is full."""
        done = pl_module.iterate.iteration + 1
        if done % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._log(trainer, pl_module, done)
            self._hand_over(pl_module, done - 1)

    def _hand_over(self, pl_module: DeepImagePrior, iteration: int) -> None:
        """Tell Lightning the last values, for callbacks that monitor one; they stay on the device."""
        for name in pl_module.curves.names:
            if name == "loss" or name.startswith("psnr_"):
                pl_module.log(name, pl_module.curves.value(name, iteration), logger=False)

    def on_save_checkpoint(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, checkpoint: dict[str, Any]
    ) -> None:
        """Log all that a checkpoint holds: a fit that goes on from there begins its events after it."""
        self._log(trainer, pl_module, pl_module.iterate.iteration + 1)

    def on_train_end(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        """Log what is left."""
        self._log(trainer, pl_module, pl_module.curves.recorded)

    def _log(self, trainer: pl.Trainer, pl_module: DeepImagePrior, stop: int) -> None:
        if not trainer.loggers or stop <= self._logged:
            return
        block = pl_module.curves.block(self._logged, stop)
        with spared_loggers(trainer) as loggers:
            for offset in range(stop - self._logged):
                # What was not measured in an iteration is NaN, which is the one value unlike itself.
                row = {
                    name.replace("psnr_", "psnr/", 1)
                    .replace("stopping_", "stopping/", 1)
                    .replace("regularizer_", "regularizer/", 1): float(values[offset])
                    for name, values in block.items()
                    if values[offset] == values[offset]
                }
                for logger in loggers:
                    logger.log_metrics(row, step=self._logged + offset)
        self._logged = stop
