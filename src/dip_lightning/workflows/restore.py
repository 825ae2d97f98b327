"""Restoring one picture: as a whole, or tile by tile where it is larger than a tile."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from dip_lightning.data import Observation
from dip_lightning.errors import UserError
from dip_lightning.fitting.build import Sources, build_data, build_operator
from dip_lightning.fitting.fit import FitResult, clear_run_folder, fit_picture
from dip_lightning.fitting.own import Own
from dip_lightning.problems.operators.flash import Flash
from dip_lightning.runs.lock import hold
from dip_lightning.runs.written import check_own
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
    own: Own | None = None,
) -> FitResult:
    """Fit one image, or where ``cfg.tile`` is set and it is larger, its tiles one after another.

    Arguments, result and errors are those of :func:`~dip_lightning.fitting.fit.fit_picture`. An observation is fitted
    whole; of tiles, those that are finished in ``run_folder`` are kept. The folder is held meanwhile.

    Raises:
        HeldError: Another run is writing to ``run_folder``.
        UserError: Besides those, a file that the run would write is there, and was not written by a run.
    """
    if run_folder is not None and run_folder.exists() and not run_folder.is_dir():
        raise UserError(f"run folder {run_folder}", "a folder, or a name that is free", "name another")
    with hold(run_folder):
        if run_folder is not None:
            check_own(run_folder)
        observation = None
        if cfg.tile is not None and not isinstance(image, Observation):
            given: Sources = {key: value for key, value in (("path", image), ("clean", clean)) if value is not None}
            own = Own() if own is None else own
            data, operator = build_data(cfg, given, own), build_operator(cfg, own)
            scale, halo = getattr(operator, "scale", None), getattr(operator, "halo", 0)
            _, height, width = data.observation.picture_shape
            multiple = math.lcm(scale or 1, getattr(operator, "align", 1))
            tiles = Tiles(height, width, cfg.tile, cfg.overlap, multiple, halo)
            if len(tiles) > 1 and scale is None:
                kind = "problem=flash" if isinstance(operator, Flash) else "an operator of your own"
                raise UserError(f"tile={cfg.tile} with {kind}", "one that may be cut (says its scale)", "try tile=null")
            if len(tiles) > 1:
                if run_folder is not None:
                    clear_run_folder(run_folder)
                return fit_tiles(cfg, run_folder, data, tiles, scale or 1, own)
            observation = data.observation  # no larger than a tile: a fit like any other
        return fit_picture(cfg, run_folder, image=image, clean=clean, resume=resume, observation=observation, own=own)
