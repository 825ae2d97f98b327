"""What a sweeper gets that seeks the best job, such as Optuna's: a number of each."""

from pathlib import Path

from hydra.conf import HydraConf
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from dip_lightning.config.paths import is_folder
from dip_lightning.errors import UserError
from dip_lightning.runs.record import read_summary

__all__ = ["NONE_LEFT", "check_measured", "quality", "seeks"]

# What Optuna says, in a ValueError, where all jobs have failed and were allowed to.
NONE_LEFT = "No trials are completed yet."

# Those that go through all jobs, whatever comes of them.
_EXHAUSTIVE = (
    "hydra_plugins.dip_sweeper.BlockSweeper",
    "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
)
# Where sweepers are told that more is better: Optuna's, Nevergrad's and Ax's. All of them take less for better
# unless they are told.
_GREATEST = (("direction", "maximize"), ("optim.maximize", "true"), ("ax_config.experiment.minimize", "false"))


def seeks(hydra_config: HydraConf) -> bool:
    """Whether the sweep of a job chooses its jobs by what came of others."""
    return hydra_config.mode is RunMode.MULTIRUN and hydra_config.sweeper._target_ not in _EXHAUSTIVE


def check_measured(cfg: DictConfig, hydra_config: HydraConf) -> None:
    """Check, before the fit, that there will be one number to choose by.

    Args:
        cfg: The composed configuration.
        hydra_config: Its section of Hydra.

    Raises:
        UserError: There is no clean picture, more than one picture, or more is sought than one number.
    """
    direction = OmegaConf.select(hydra_config.sweeper, "direction")
    if OmegaConf.is_list(direction) and len(direction) != 1:
        problem = f"hydra.sweeper.direction={direction}"
        raise UserError(problem, "one direction, since a job has one PSNR", "try hydra.sweeper.direction=maximize")
    path = cfg.image.path
    several = cfg.image.page == "all" or cfg.image.bands == "each" or (isinstance(path, str) and is_folder(path))
    if several:
        raise UserError(f"image.path={path} in a sweep that seeks", "one picture, with one PSNR", "name a file")
    if not _has_clean(cfg):
        raise _unmeasured(path)


def quality(run_folder: Path, hydra_config: HydraConf) -> float:
    """The PSNR of the picture that a job has handed back, in dB; negated where the sweeper takes less for better.

    Args:
        run_folder: The folder of the job.
        hydra_config: The section of Hydra in its configuration.

    Raises:
        UserError: It was not measured.
    """
    psnr = read_summary(run_folder)["selected"]["psnr"]
    if psnr is None:
        raise _unmeasured(run_folder)
    return psnr if _wants_greatest(hydra_config) else -psnr


def _wants_greatest(hydra_config: HydraConf) -> bool:
    for key, word in _GREATEST:
        value = OmegaConf.select(hydra_config.sweeper, key)
        (value,) = value if OmegaConf.is_list(value) else (value,)
        if str(getattr(value, "name", value)).lower() == word:
            return True
    return False


def _has_clean(cfg: DictConfig) -> bool:
    """Whether a clean picture is given, or noise is added to one."""
    if cfg.image.clean is not None:
        return True
    kind = str(cfg.degradation.get("_target_")).rpartition(".")[2]
    if kind == "DefaultNoise":  # on samples alone, unless it is told how much
        return cfg.degradation.get("sigma") is not None or str(cfg.image.path).startswith("skimage:")
    return kind != "NoDegradation"


def _unmeasured(what: object) -> UserError:
    expected = "a clean picture, since a sweep that seeks the best compares PSNR"
    return UserError(f"{what} has no clean picture", expected, "give image.clean=, or degradation.sigma= to add noise")
