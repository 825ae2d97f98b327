"""What a fit comes to: the image that is handed back, and all that is written of it."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from dip_lightning.callbacks import Detection, DivergenceGuard, OutputEMA
from dip_lightning.data import Picture
from dip_lightning.errors import UserError
from dip_lightning.fitting.build import Fit
from dip_lightning.fitting.summary import final_figures, hyperparameters
from dip_lightning.metrics import psnr
from dip_lightning.runs.record import Summary
from dip_lightning.runs.run_folder import write_run
from dip_lightning.system.loggers import spared_loggers

__all__ = ["FitOutcome", "log_final_figures", "outputs", "select", "to_image"]


@dataclass(frozen=True)
class FitOutcome:
    """What a fit came to.

    Attributes:
        fit: The fit.
        iteration: The iteration whose output is handed back.
        selected: That output, (1, C, H, W) in [0, 1].
        picture: The same as a picture like the one that was given.
        curves: One array an iteration, by name.
        summary: The content of ``summary.json``.
    """

    fit: Fit
    iteration: int
    selected: Tensor
    picture: Picture
    curves: dict[str, NDArray[np.floating]]
    summary: Summary

    def write(self, run_folder: Path) -> None:
        """Write it; where the disk does not take it, into the folder for temporary files: a fit is not lost.

        Raises:
            UserError: It is not in the run folder, but elsewhere.
            OSError: It is nowhere.
        """
        try:
            self._write_to(run_folder)
        except OSError as error:
            refuge = Path(tempfile.mkdtemp(prefix="dip-"))
            try:
                self._write_to(refuge)
            except OSError:
                raise error from None
            raise UserError(
                f"{run_folder} cannot be written ({error.strerror or error})",
                "a folder with room that you may write to",
                f"the results are in {refuge}",
            ) from None

    def _write_to(self, folder: Path) -> None:
        write_run(
            folder,
            restored=self.picture,
            observation=to_image(self.fit.data.observation.noisy),
            summary=self.summary,
            curves=self.curves,
            panels=_panels(self.fit, self.iteration, self.selected),
        )


def select(fit: Fit) -> tuple[int, Tensor]:
    """Return the iteration and the image that are handed back: the stopping rules' pick, or else the last output."""
    detection = fit.find(Detection)
    chosen = None if detection is None else detection.chosen()
    return (fit.module.iterate.iteration, outputs(fit)[fit.settings.select]) if chosen is None else chosen


def outputs(fit: Fit) -> dict[str, Tensor]:
    """Return the last outputs by the words of ``select``, each (1, C, H, W)."""
    iterate, guard = fit.module.iterate, fit.find(DivergenceGuard)
    one_pass = iterate.one_pass
    if guard is not None and iterate.diverged is not None and bool(iterate.diverged):
        # The fit ended off its course; what is handed back is from before.
        one_pass = one_pass if guard.last_good_output is None else guard.last_good_output
    last = {"one_pass": one_pass}
    ema = fit.find(OutputEMA)
    if ema is not None and ema.average is not None:
        last["averaged"] = ema.average
    return last


def log_final_figures(fit: Fit, summary: Summary) -> None:
    """Write TensorBoard's last figures: the iteration that was picked, and the HParams tab."""
    detected = fit.module.curves.block().get("detected")
    with spared_loggers(fit.trainer) as loggers:
        for logger in loggers:
            if isinstance(logger, TensorBoardLogger):
                if detected is not None and summary["signal"] is None:  # an interrupted fit may detect another
                    logger.log_metrics({"stopping/detected": 1.0}, step=int(np.nanargmax(detected)))
                logger.log_hyperparams(hyperparameters(fit, summary), final_figures(summary))
                logger.finalize("success")


def _panels(fit: Fit, iteration: int, selected: Tensor) -> dict[str, NDArray[np.float64]]:
    """The images of ``comparison.png`` by their titles."""
    observation = fit.data.observation
    images = {"observation": observation.noisy}
    last = outputs(fit)
    if iteration == fit.module.iterate.iteration:
        images |= {f"{name.replace('_', '-')} output": image for name, image in last.items()}
    else:
        images |= {"last one-pass output": last["one_pass"], f"restored, iteration {iteration}": selected}
    panels = {}
    for name, image in images.items():
        title = name
        if observation.clean is not None:
            title += f", {float(psnr(image.double().cpu(), observation.clean)):.2f} dB"
        panels[title] = to_image(image)
    if observation.clean is not None:
        panels["clean image"] = to_image(observation.clean)
    return panels


def to_image(tensor: Tensor) -> NDArray[np.float64]:
    """Turn (1, C, H, W) into (H, W, C), float64 on the host."""
    return tensor[0].permute(1, 2, 0).double().cpu().numpy()
