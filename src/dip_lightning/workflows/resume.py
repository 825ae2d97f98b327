"""Going on with a run that was interrupted, killed, or had too few iterations."""

import logging
import shlex
from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from dip_lightning.config.compose import compose_config, register_resolvers
from dip_lightning.config.paths import expand_home
from dip_lightning.data import SAMPLE_PREFIX
from dip_lightning.errors import UserError
from dip_lightning.fitting.fit import FitResult
from dip_lightning.runs.checkpoint_file import FOLDER, CheckpointContent, find_checkpoint, read_checkpoint
from dip_lightning.runs.record import RECORD, TILE_FOLDERS, read_summary
from dip_lightning.runs.status import RunStatus, read_status
from dip_lightning.workflows.restore import fit

__all__ = ["resume"]

log = logging.getLogger(__name__)


def resume(
    run_folder: Path,
    iterations: int | None = None,
    precision: str | None = None,
    moved: Mapping[str, str | Path] | None = None,
) -> FitResult:
    """Go on with a run, in its folder and with its own configuration.

    A run that ended before its first checkpoint begins anew; one in tiles goes on with the first that is missing.

    Args:
        run_folder: The folder of a run that did not come to its end; or that did, if it is to have more iterations.
        iterations: As many iterations as the run is to have now, no fewer than before; None to leave it.
        precision: The precision to go on in, as the command line names it: for a run that was out of memory, or did
            not converge. None for that of the run.
        moved: Where the pictures lie now, ``path`` and ``clean``, of those that are not where they were. Their pixels
            must be the same.

    Returns:
        What the fit hands back, as if it had not been interrupted.

    Raises:
        UserError: The run is finished, there is nothing to go on from, or its picture is not there or another.
    """
    if not run_folder.is_dir():
        inside = run_folder.parent.name == FOLDER
        remedy = f"try resume={run_folder.parents[1]}" if inside else "see the line 'Run folder' that ended it"
        raise UserError(f"resume={run_folder}", "the folder of a run", remedy)
    _check_unfinished(run_folder, iterations)
    moved = {name: Path(place) for name, place in (moved or {}).items()}
    checkpoint = find_checkpoint(run_folder)
    if checkpoint is None:
        cfg, started_in = _read_composed(run_folder)
        if iterations is not None:
            if any((run_folder / name).is_dir() for name in TILE_FOLDERS):
                raise UserError(f"iterations={iterations}", "the run's own, for all its tiles", "leave it out")
            cfg.iterations = iterations
        _set_precision(cfg, precision)
        image, clean = (
            moved.get(name) or _where(cfg.image[name], started_in, name, run_folder) for name in ("path", "clean")
        )
        return fit(cfg, run_folder, image=image, clean=clean)
    state = read_checkpoint(checkpoint, tell=False)
    cfg = OmegaConf.create(state["config"])
    if iterations is not None:
        if iterations < state["iterations"]:
            raise UserError(f"iterations={iterations}", f"at least the run's own {state['iterations']}", "leave it out")
        cfg.iterations = iterations
    _set_precision(cfg, precision)
    image, clean = (moved.get(name) or _find_picture(state, name, run_folder) for name in ("path", "clean"))
    return fit(cfg, run_folder, image=image, clean=clean, resume=checkpoint)


def _set_precision(cfg: DictConfig, precision: str | None) -> None:
    if precision is not None:
        cfg.precision = compose_config([f"precision={precision}"]).precision
        log.info("precision=%s was asked for", precision)


def _check_unfinished(run_folder: Path, iterations: int | None) -> None:
    """Refuse a run that is finished, unless it has done all its iterations and is to have more."""
    status = read_status(run_folder)
    if not status.is_end:
        return
    summary = read_summary(run_folder)
    done = summary.get("iterations", 0)
    if "tiles" in summary:
        raise UserError(f"{run_folder} is finished, all its tiles", "a run that was interrupted", "begin anew")
    if status is RunStatus.GAVE_UP:
        raise UserError(
            f"{run_folder} is finished, and diverged again and again",
            "a run that was interrupted",
            "begin anew with a smaller lr or a higher precision",
        )
    if status is RunStatus.STOPPED:
        raise UserError(
            f"{run_folder} is finished: {summary['stopping']['reason'].rstrip('.')}",
            "a run that was interrupted",
            "for a longer fit begin anew with stopping=none",
        )
    if iterations is None or iterations <= done:
        raise UserError(
            f"{run_folder} is finished: all {done} iterations were done",
            "a run that was interrupted, or more iterations",
            f"try dip resume={shlex.quote(str(run_folder))} iterations={2 * done}",
        )


def _read_composed(run_folder: Path) -> tuple[DictConfig, str]:
    """Read the configuration of a run without a checkpoint, and the folder that it was started in."""
    path = run_folder / ".hydra" / "config.yaml"
    if not path.is_file():
        remedy = _way_below(run_folder)
        raise UserError(f"{run_folder} has neither {FOLDER}/ nor .hydra/", "the folder of one run", remedy)
    register_resolvers()
    cfg = OmegaConf.load(path)
    assert isinstance(cfg, DictConfig)
    if missing := {*compose_config()} - {*cfg}:
        told = f"{run_folder} is of an earlier version, which knew no {min(missing)}"
        raise UserError(told, "a run of this version", "begin the fit anew, or use the version it is from")
    launched = path.with_name("hydra.yaml")
    started_in = OmegaConf.select(OmegaConf.load(launched), "hydra.runtime.cwd") if launched.is_file() else None
    return cfg, str(started_in or ".")


def _way_below(folder: Path) -> str:
    """Name the latest run in a folder of runs, such as outputs/."""
    found = [
        path.parent
        for depth in ("*", "*/*", "*/*/*")
        for kind in (FOLDER, RECORD)
        for path in folder.glob(f"{depth}/{kind}")
    ]
    if not found:
        return "name the one that the line 'Run folder' of the run told"
    return f"try resume={shlex.quote(str(max(found, key=lambda run: run.stat().st_mtime)))}"


def _find_picture(state: CheckpointContent, name: str, run_folder: Path) -> str | Path | None:
    """Return a picture of a checkpoint."""
    source = state["sources"][name]
    if source == "tile":
        remedy = f"try dip resume={shlex.quote(str(run_folder.parents[1]))}"
        raise UserError(f"{run_folder} is of a tile", "the run folder of the whole picture", remedy)
    if source == "array":
        raise UserError(f"{run_folder} is of an array", "a run of an image file", "go on from Python, with fit()")
    return _where(source, state["current_folder"], name, run_folder)


def _where(source: str | None, started_in: str, name: str, run_folder: Path) -> str | Path | None:
    """Return a picture as it was named, or where it lies if that was relative to another folder.

    Raises:
        UserError: It is in neither place.
    """
    if source is None or source.startswith(SAMPLE_PREFIX):
        return source
    source = expand_home(source)
    elsewhere = Path(started_in) / source
    if not elsewhere.exists() and not Path(source).exists():
        command = f"dip resume={shlex.quote(str(run_folder))} image.{name}=PLACE"
        raise UserError(f"no file {elsewhere}", "the picture where the run had found it", f"if it has moved: {command}")
    if elsewhere.exists() and not Path(source).exists():
        return elsewhere
    # As a string it is named in the record as before; as a path, OmegaConf does not look for interpolations in it.
    return Path(source) if "${" in source else source
