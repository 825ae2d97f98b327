"""The curves of a fit as scalars of its loggers."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from dip_lightning.module import DeepImagePrior
from dip_lightning.system.loggers import spared_loggers

__all__ = ["CurveLogger"]

# TensorBoard sorts its cards by their tags: the quality first, then what the rules see, then the training; pictures
# (view/) and the figures of the whole fit (whole_fit/) follow.
_GROUPS = (
    *(("psnr_observation", "training/psnr_observation"), ("psnr_eval", "psnr/one_pass_eval")),
    *(("psnr_", "psnr/"), ("stopping_", "stopping/")),
)


class CurveLogger(pl.Callback):
    """Hands every iteration's values to the loggers, in blocks of ``log_every_n_steps`` iterations.

    One copy from the device a block, instead of one a value: logging each step would wait for the device each step.
    At the end of a block ``trainer.callback_metrics`` has its last values. The learning rate is
    logged beside them.
    """

    def on_fit_start(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        """Lay out one-pass and averaged PSNR on one chart of TensorBoard."""
        self._logged = pl_module.first_iteration
        self._begun = False
        self._rates: dict[int, float] = {}
        for logger in trainer.loggers if self._logged == 0 else ():
            if isinstance(logger, TensorBoardLogger):
                lines = ["psnr/one_pass", "psnr/averaged"]
                logger.experiment.add_custom_scalars({"PSNR": {"one-pass and averaged": ["Multiline", lines]}})

    def on_train_batch_start(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, batch: Any, batch_idx: int
    ) -> None:
        """Keep the learning rate that this iteration is done with."""
        rate = trainer.optimizers[0].param_groups[0]["lr"] if trainer.optimizers else None
        if isinstance(rate, (int, float)):  # a tensor on a device would have to be waited for
            self._rates[pl_module.first_iteration + batch_idx] = rate

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
        # Lightning's table begins anew in a fit that goes on, so it gets the earlier iterations, too.
        anew = [logger for logger in trainer.loggers if isinstance(logger, CSVLogger)] if not self._begun else []
        start = 0 if anew else self._logged
        block = pl_module.curves.block(start, stop)
        with spared_loggers(trainer) as loggers:
            for iteration in range(start, stop):
                # What was not measured in an iteration is NaN, which is the one value unlike itself.
                row = {
                    _tag(name): float(values[iteration - start])
                    for name, values in block.items()
                    if name != "detected" and values[iteration - start] == values[iteration - start]
                }
                rate = self._rates.pop(iteration, None)
                row |= {} if rate is None else {"training/lr": rate}
                for logger in loggers if iteration >= self._logged else anew:
                    logger.log_metrics(row, step=iteration)
        self._logged, self._begun = stop, True


def _tag(name: str) -> str:
    """The tag of a curve."""
    for beginning, tag in _GROUPS:
        if name.startswith(beginning):
            return name.replace(beginning, tag, 1)
    return f"training/{name}"
