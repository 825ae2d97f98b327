"""The jobs of a sweep, as they are told on the command line."""

from pathlib import Path

from hydra.conf import HydraConf

from dip_lightning.runs.sweep import read_sweep

__all__ = ["job_title", "one_after_another"]


def job_title(sweep: HydraConf) -> str:
    """Say which job of a sweep one is: its number, and what tells it from the others.

    Args:
        sweep: The section of Hydra in its configuration.
    """
    number, name = str(sweep.job.num), Path(sweep.sweep.subdir).name
    if "=" not in name:  # a number, or a name of the user's own
        told = read_sweep(Path(sweep.sweep.dir) / sweep.sweep.subdir)
        own = [one for one in sweep.overrides.task if told is None or one.partition("=")[0] in told.differs]
        name = " ".join(own)
    return f"job {number} ({name})" if name else f"job {number}"


def one_after_another(hydra_config: HydraConf) -> bool:
    """Tell whether the jobs of a sweep run in this process, one after another.

    Args:
        hydra_config: The section of Hydra in the configuration of a job.
    """
    return str(hydra_config.launcher._target_).endswith(".BasicLauncher")
