"""The outputs as pictures in TensorBoard."""

import math
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torch.nn.functional import interpolate, pad

from dip_lightning.callbacks.detection import Detection
from dip_lightning.checks import check_integer
from dip_lightning.module import DeepImagePrior
from dip_lightning.system.loggers import spared_loggers

__all__ = ["Pictures"]

# As many as TensorBoard keeps of a series of pictures.
_MANY = 10
# Between two images that stand beside each other, in pixels.
_GAP = 2


class Pictures(pl.Callback):
    """Shows observation, one-pass output, averaged output and clean image side by side, at a cadence."""

    def __init__(self, every: int | None = None) -> None:
        """Set the cadence.

        Args:
            every: Iterations between two pictures; 0 for none but the last. None for ten by the earliest iteration
                that the fit can end at, and from there on each after half as many iterations again.

        Raises:
            UserError: The cadence is negative.
        """
        self.every = None if every is None else check_integer("callbacks.pictures.every", every, 0, example=250)

    def on_train_start(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        """Choose the iterations of the pictures."""
        self._shown = pl_module.first_iteration - 1
        iterations = earliest = pl_module.first_iteration + int(trainer.num_training_batches)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Detection):
                earliest = min(earliest, callback.earliest_end)
        self._due = set(due(iterations, earliest, self.every))

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the outputs when it is time."""
        if pl_module.iterate.iteration + 1 in self._due:
            self._show(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        """Show the last outputs."""
        self._show(trainer, pl_module)

    def _show(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:
        iterate, problem = pl_module.iterate, pl_module.problem
        if iterate.iteration <= self._shown or not trainer.loggers:
            return
        images = {"noisy": problem.observation, "one_pass": iterate.one_pass}
        images |= {} if iterate.averaged is None else {"averaged": iterate.averaged}
        images |= {} if problem.clean is None else {"clean": problem.clean}
        panel = side_by_side(list(images.values()))
        with spared_loggers(trainer) as loggers:
            for logger in loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_image(f"view/{'-'.join(images)}", panel, iterate.iteration)
        self._shown = iterate.iteration


def due(iterations: int, earliest: int, every: int | None) -> list[int]:
    """Tell after how many iterations a picture is due; the last output is shown in any case.

    Args:
        iterations: As many as the fit has at most.
        earliest: As many as it has at least.
        every: As many as lie between two pictures; 0 for no picture, None for the choice of :class:`Pictures`.
    """
    if every is not None:
        return list(range(every, iterations + 1, every)) if every else []
    earliest = max(1, min(iterations, earliest))
    times = {math.ceil(earliest * picture / _MANY) for picture in range(1, _MANY + 1)}
    while earliest < iterations:
        earliest = min(math.ceil(1.5 * earliest), iterations)
        times.add(earliest)
    return sorted(times)


def side_by_side(images: list[Tensor]) -> Tensor:
    """Put images beside each other, with white between them; four of them two by two, which shows them twice as large.

    Args:
        images: Each (1, C, H, W), in [0, 1]; of a fit that has left its course any numbers. All are shown as high as
            the highest, and of another number of channels than 1 or 3 the mean.

    Returns:
        One image (C, H, W).
    """
    images = [image if image.shape[1] in (1, 3) else image.mean(dim=1, keepdim=True) for image in images]
    height = max(image.shape[2] for image in images)
    channels = max(image.shape[1] for image in images)
    parts = []
    for image in images:
        image = image.nan_to_num(0).clamp(0, 1).float()
        if image.shape[2] != height:  # a small picture of a large one
            image = interpolate(image, size=(height, max(1, round(image.shape[3] * height / image.shape[2]))))
        parts.append(image.expand(-1, channels, -1, -1)[0])
    width = max(part.shape[2] for part in parts)
    parts = [pad(part, (0, width - part.shape[2] + _GAP, 0, _GAP), value=1) for part in parts]
    if len(parts) == 4:
        parts = [torch.cat(parts[:2], dim=2), torch.cat(parts[2:], dim=2)]
        return torch.cat(parts, dim=1)[:, :-_GAP, :-_GAP]
    return torch.cat(parts, dim=2)[:, :-_GAP, :-_GAP]
