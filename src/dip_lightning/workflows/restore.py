"""Restoring one picture: as a whole, or tile by tile where it is larger than a tile."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from dip_lightning.data import Observation
from dip_lightning.errors import UserError
from dip_lightning.fitting.build import Pictures, build_data
from dip_lightning.fitting.fit import FitResult, clear_run_folder, fit_picture
from dip_lightning.workflows.tiled_fit import fit_tiles
from dip_lightning.workflows.tiles import Tiles

__all__ = ["fit"]


def fit(
    cfg: DictConfig,
    run_folder: Path | None = None,
    *,
    image: str | Path | NDArray[np.generic] | Observation | None = None,
    clean: str | Path | NDArray[np.generic] | None = None,
    resume: Path | None = None,
) -> FitResult:
    """Fit one image, or where ``cfg.tile`` is set and it is larger, its tiles one after another.

    Args:
        cfg: The composed configuration; see ``conf/config.yaml``.
        run_folder: Where to write; None writes nothing.
        image: A file name or samples, instead of ``cfg.image.path``; or an observation, which is fitted whole.
        clean: A file name or samples, instead of ``cfg.image.clean``.
        resume: As for :func:`~dip_lightning.fitting.fit.fit_picture`. Of tiles, those that are finished are kept.

    Returns:
        The restored picture and everything that was measured.

    Raises:
        UserError: A setting, a file or the machine does not allow what was asked.
        KeyboardInterrupt: Ctrl-C came before the first iteration. A later one ends the fit with what was reached.
    """
    if run_folder is not None and run_folder.exists() and not run_folder.is_dir():
        raise UserError(f"run folder {run_folder}", "a folder, or a name that is free", "name another")
    observation = None
    if cfg.tile is not None and not isinstance(image, Observation):
        given: Pictures = {}
        if image is not None:
            given["path"] = image
        if clean is not None:
            given["clean"] = clean
        data = build_data(cfg, given)
        height, width = data.observation.noisy.shape[-2:]
        tiles = Tiles(height, width, cfg.tile, cfg.overlap)
        if len(tiles) > 1:
            if run_folder is not None:
                clear_run_folder(run_folder)
            return fit_tiles(cfg, run_folder, data, tiles)
        observation = data.observation  # no larger than a tile: a fit like any other
    return fit_picture(cfg, run_folder, image=image, clean=clean, resume=resume, observation=observation)
