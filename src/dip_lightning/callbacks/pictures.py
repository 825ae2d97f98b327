"""The outputs as pictures in TensorBoard."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from torch import Tensor

from dip_lightning.checks import check_integer
from dip_lightning.module import DeepImagePrior
from dip_lightning.system.loggers import spared_loggers

__all__ = ["Pictures"]


class Pictures(pl.Callback):
    """Shows observation and clean image once, and both outputs at a cadence."""

    def __init__(self, every: int = 250) -> None:
        """Set the cadence.

        Args:
            every: Iterations between two pictures of the outputs; 0 for none but the last.

        Raises:
            UserError: The cadence is negative.
        """
        self.every = check_integer("callbacks.pictures.every", every, 0, example=250)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        """Show what is fitted and, where there is one, the clean image."""
        self._shown = pl_module.first_iteration - 1
        if pl_module.first_iteration == 0:
            _show(trainer.loggers, {"observation": pl_module.problem.observation, "clean": pl_module.problem.clean}, 0)

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the outputs when it is time."""
        if self.every and (pl_module.iterate.iteration + 1) % self.every == 0:
            self._show_outputs(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        """Show the last outputs."""
        self._show_outputs(trainer, pl_module)

    def _show_outputs(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:
        iterate = pl_module.iterate
        if iterate.iteration > self._shown:
            images = {"one_pass": iterate.one_pass, "averaged": iterate.averaged}
            with spared_loggers(trainer) as loggers:
                _show(loggers, images, iterate.iteration)
            self._shown = iterate.iteration


def _show(loggers: list[Logger], images: dict[str, Tensor | None], step: int) -> None:
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            for name, image in images.items():
                if image is not None:
                    image = image[0].nan_to_num(0).clamp(0, 1).float()  # of a fit that has left its course
                    logger.experiment.add_image(f"image/{name}", image, step)
