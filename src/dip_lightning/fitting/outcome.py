"""What a fit came to, and the files of it."""

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dip_lightning.data import Picture
from dip_lightning.errors import UserError
from dip_lightning.fitting.build import Fit
from dip_lightning.fitting.selection import Selection, last_outputs
from dip_lightning.metrics import psnr
from dip_lightning.runs.record import Summary
from dip_lightning.runs.run_folder import write_run

__all__ = ["FitOutcome", "to_image"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitOutcome:
    """What a fit came to.

    Attributes:
        fit: The fit.
        selection: What is handed back.
        picture: The same as a picture like the one that was given.
        curves: One array an iteration, by name.
        summary: The content of ``summary.json``.
    """

    fit: Fit
    selection: Selection
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
            observation=to_image(self.fit.data.observation.shown),
            summary=self.summary,
            curves=self.curves,
            panels=_panels(self.fit, self.selection, self.summary["selected"]["psnr"]),
        )


def _panels(fit: Fit, selection: Selection, restored: float | None) -> dict[str, NDArray[np.floating]]:
    """The images of ``comparison.png`` by their titles, the restored picture as it is handed back."""
    observation, last = fit.data.observation, last_outputs(fit.module)
    # Beside the last output that is handed back the other one of the two.
    other = "one_pass"
    if selection.iteration == fit.module.iterate.iteration and selection.output == other and "averaged" in last:
        other = "averaged"
    images = {"observation": observation.noisy, f"last {other.replace('_', '-')} output": last[other]}
    panels: dict[str, NDArray[np.floating]] = {}
    for name, image in images.items():
        title = name
        # What stands where samples were lost is nobody's picture, and not shown.
        is_whole = image is not observation.noisy or observation.measured is None
        if is_whole and observation.clean is not None and image.shape == observation.clean.shape:
            title += f", {float(psnr(image.double().cpu(), observation.clean)):.2f} dB"
        panels[title] = to_image(observation.shown if image is observation.noisy else image)
    told = "" if restored is None else f", {restored:.2f} dB"
    panels[f"restored, iteration {selection.iteration}{told}"] = observation.completed(to_image(selection.image))
    if observation.clean is not None:
        panels["clean image"] = to_image(observation.clean)
    return panels


def to_image(tensor: Tensor) -> NDArray[np.float64]:
    """Turn (1, C, H, W) into (H, W, C), float64 on the host."""
    return tensor[0].permute(1, 2, 0).double().cpu().numpy()
