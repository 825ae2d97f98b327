"""The command ``dip``: Hydra's main around :func:`dip_lightning.fit.fit`, and mistakes told in one line."""

import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from dip_lightning.config import config_folder, imply, register_resolvers
from dip_lightning.errors import UserError
from dip_lightning.help_text import help_text
from dip_lightning.mistakes import tell

__all__ = ["main"]

log = logging.getLogger(__name__)

USER_ERROR, INTERRUPTED = 2, 130

# For each job of a multirun what went wrong, or None; one that fails does not keep the others from running.
_jobs: list[str | None] = []


def main() -> NoReturn:
    """Run the command line.

    Raises:
        SystemExit: 0 after a run, 1 after an unexpected error in a job of a multirun, 2 for a mistake of the user,
            130 after Ctrl-C.
    """
    arguments = sys.argv[1:]
    if any(argument in ("-h", "--help") for argument in arguments):
        print(help_text(config_folder()))
        sys.exit(0)
    sys.argv[1:] = imply(arguments)
    # Hydra then raises what it would print, and the message can be made one line.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    register_resolvers()
    _jobs.clear()
    try:
        _run()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        _complain(tell(error, config_folder()))
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        _complain("interrupted")
        sys.exit(INTERRUPTED)
    failed = [message for message in _jobs if message is not None]
    if failed:
        _complain(f"{len(failed)} of {len(_jobs)} jobs failed; the results of the others are kept")
        sys.exit(USER_ERROR)
    sys.exit(0)


@hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")
def _run(cfg: DictConfig) -> None:
    hydra_config = HydraConfig.get()
    if hydra_config.mode is RunMode.RUN:
        try:
            interrupted = _fit(cfg, Path(hydra_config.runtime.output_dir))
        except (UserError, HydraException, OmegaConfBaseException) as error:
            # Raised through Hydra, it would come with a second line.
            _complain(tell(error, config_folder()))
            sys.exit(USER_ERROR)
        if interrupted:
            sys.exit(INTERRUPTED)
        return
    number = hydra_config.job.num
    try:
        interrupted = _fit(cfg, Path(hydra_config.runtime.output_dir))
    except (UserError, HydraException, OmegaConfBaseException) as error:
        _jobs.append(f"job {number}: {tell(error, config_folder())}")
    except Exception as error:
        log.exception("job %s failed", number)  # not the user's mistake: the traceback is wanted
        _jobs.append(f"job {number}: {type(error).__name__}: {error}")
    else:
        _jobs.append(None)
        if interrupted:
            _complain(f"interrupted in job {number}; the jobs after it were not started")
            sys.exit(INTERRUPTED)
    if _jobs[-1] is not None:
        _complain(_jobs[-1])


def _fit(cfg: DictConfig, run_folder: Path) -> bool:
    """Run one fit and print its table; returns whether it was interrupted."""
    # Here, not above: `dip --help` and tab completion must not wait for torch.
    from dip_lightning.console import print_summary
    from dip_lightning.fit import fit

    result = fit(cfg, run_folder)
    print_summary(result.summary, run_folder)
    return bool(result.summary["stopping"]["reason"] == "It was interrupted.")


def _complain(message: str) -> None:
    print(f"dip: {message}", file=sys.stderr)
