"""The command ``dip``: Hydra's main around the workflows, and the mistakes of a user told in one line."""

import logging
import os
import re
import sys
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from dip_lightning.cli.arguments import settle_arguments
from dip_lightning.cli.check_files import check_files
from dip_lightning.cli.codes import INTERRUPTED, UNEXPECTED, USER_ERROR, exit_code
from dip_lightning.cli.going_on import go_on
from dip_lightning.cli.held_folder import released
from dip_lightning.cli.jobs import job_title, one_after_another
from dip_lightning.cli.loading import share_cores, without_collection
from dip_lightning.cli.mistakes import of_mistake, of_output
from dip_lightning.cli.seeking import check_measured, quality, seeks
from dip_lightning.config.compose import config_folder, register_resolvers
from dip_lightning.config.early import check_early
from dip_lightning.config.help_text import help_text, own_folder
from dip_lightning.config.hydra_section import guard_hydra
from dip_lightning.config.messages import CONFIGURATION_ERRORS, translate
from dip_lightning.config.paths import is_folder, settle_paths
from dip_lightning.config.trust import trust_from_command_line
from dip_lightning.errors import JobsFailedError, UserError
from dip_lightning.runs.left_over import remove_if_empty
from dip_lightning.runs.lock import HeldError, hold
from dip_lightning.runs.status import is_finished, read_status
from dip_lightning.system.batch import is_requeued
from dip_lightning.system.output import open_what_is_closed, tolerate_broken_output

__all__ = ["main"]

log = logging.getLogger(__name__)

# What a bare `dip` is answered.
_NOTHING = UserError(
    "nothing to restore",
    "a picture",
    "try dip image.path=photo.png (dip-inspect photo.png says beforehand how long it takes), "
    "dip experiment=quickstart for a sample in minutes, or dip --help",
)

# The sample is fitted only where a part of it, how much, or a study is asked for: whole it takes a CPU hours.
_SAYS_WHAT = re.compile(r"\+*(image\.|size=|experiment=|problem\.)")

# At import, too: a launcher may run a job in a process of its own.
register_resolvers()
guard_hydra()

# Files are dated by a clock that ticks more coarsely than ours.
_TICK = 0.02

# When the command started, in seconds since the epoch: what it has made is younger.
_started = 0.0


def main() -> NoReturn:
    """Run the command line.

    Raises:
        SystemExit: 0 after a run; 1 after an unexpected error; 2 for a mistake of the user; 3 after a run whose result
            is worse than what was given; 130 after Ctrl-C, 143 after SIGTERM, 129 after a closed terminal and 128 + its
            number after another signal that asks to end, with what was reached written.
    """
    open_what_is_closed()
    with tolerate_broken_output():
        _main(sys.argv[1:])
    sys.exit(0)


def _asks_about_us(arguments: list[str]) -> bool:
    """Answer what needs no configuration; returns whether that was all."""
    if any(argument in ("-h", "--help") for argument in arguments):
        print(help_text(config_folder(), own_folder(arguments)))
        return True
    if "--version" in arguments:
        print(f"dip_lightning {version('dip-lightning')}")
        return True
    return False


def _start(arguments: list[str]) -> None:
    """Do what the command line asks for."""
    if not {*arguments} - {"-m", "--multirun"}:  # it would be a long fit of a sample, which nobody asked for
        raise _NOTHING
    shows = [one.split("=")[0] for one in arguments if one.split("=")[0] in ("-c", "--cfg", "-i", "--info")]
    if _is_sweep(arguments) and shows:
        raise UserError(f"{shows[0]} of a sweep", "one job, of which it prints", "leave out -m, and all values but one")
    with trust_from_command_line(arguments) as rest:
        if any(argument.startswith("resume=") for argument in rest):
            sys.exit(go_on(rest))
        sys.argv = [sys.argv[0], *settle_arguments(rest)]
        with released():
            _run()


def _main(arguments: list[str]) -> None:
    try:
        if _asks_about_us(arguments):
            return
    except UserError as error:
        _complain(error)
        sys.exit(USER_ERROR)
    share_cores()
    # Hydra then raises what it would print, and the message can be made one line.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # A full disk ends the log, too, and logging would print a traceback for each line of it.
    logging.raiseExceptions = False
    global _started
    _started = time.time() - _TICK
    try:
        _start(arguments)
    except JobsFailedError as error:
        _complain(str(error))
        sys.exit(UNEXPECTED if UNEXPECTED in error.codes else USER_ERROR)
    except KeyboardInterrupt:
        several = _is_sweep(arguments)
        _complain(
            "interrupted; the same command goes on" if several else "interrupted before there was anything to write"
        )
        sys.exit(INTERRUPTED)
    except Exception as error:
        told = of_mistake(error, arguments)
        if told is None:
            raise
        _complain(told)
        sys.exit(USER_ERROR)


def _is_sweep(arguments: list[str]) -> bool:
    return bool({"-m", "--multirun"} & {*arguments})


@hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")
def _run(cfg: DictConfig) -> int | float:
    """Do a job; returns its exit code, or what a sweeper that seeks is to make least or greatest."""
    hydra_config = HydraConfig.get()
    if seeks(hydra_config):
        return _measure(cfg, hydra_config)
    return _tell(cfg, hydra_config)


def _measure(cfg: DictConfig, hydra_config: HydraConf) -> float:
    """Do a job of a sweep that seeks. What goes wrong is raised: the sweeper decides how much of it there may be."""
    run_folder = Path(hydra_config.runtime.output_dir)
    settle_paths(cfg, hydra_config.runtime.cwd)
    try:
        check_measured(cfg, hydra_config)
        code = _fit(cfg, run_folder, hydra_config)
    except HeldError as error:
        raise UserError(f"{run_folder}, which {error.holder} is at", "a folder of its own", "wait for it") from None
    except CONFIGURATION_ERRORS as error:
        raise translate(error, config_folder()) from None
    except OSError as error:
        raise of_output(error) from None
    if code > 128 and one_after_another(hydra_config):
        sys.exit(code)
    if code > 128:
        raise UserError(f"{run_folder} was interrupted", "all its iterations", "the same command goes on with it")
    return quality(run_folder, hydra_config)


def _tell(cfg: DictConfig, hydra_config: HydraConf) -> int:
    """Do a job, or the only one, and tell what went wrong; returns its exit code."""
    run_folder = Path(hydra_config.runtime.output_dir)
    single = hydra_config.mode is RunMode.RUN
    job = "" if single else f"{job_title(hydra_config)}: "
    code = 0
    settle_paths(cfg, hydra_config.runtime.cwd)
    try:
        code = _fit(cfg, run_folder, None if single else hydra_config)
    except HeldError as error:
        if single:
            _complain(error)
            sys.exit(USER_ERROR)
        print(f"{job}passed over, since {error.holder} is at it: {run_folder}")
    # Raised through Hydra, it would come with a second line, and end a multirun.
    except (UserError, *CONFIGURATION_ERRORS) as error:
        _complain(f"{job}{translate(error, config_folder())}")
        code = USER_ERROR
    except OSError as error:
        _complain(f"{job}{of_output(error)}")
        code = USER_ERROR
    except Exception as error:
        if single:
            raise
        log.exception("job %s failed", hydra_config.job.num)  # not the user's mistake: the traceback is wanted
        _complain(f"{job}{type(error).__name__}: {error}")
        code = UNEXPECTED
    if code > 128 and not single:
        _complain(f"{job}interrupted; the same command goes on with it")
    if single and code == USER_ERROR:
        remove_if_empty(run_folder, _started)
    # A job that runs in a process of its own hands its code back.
    if single or (code > 128 and one_after_another(hydra_config)):
        sys.exit(code)
    return code


def _read_digest(cfg: DictConfig) -> str | None:
    """Read the picture; only of a job that is finished by all else, since torch is loaded for it."""
    with without_collection():
        from dip_lightning.fitting.resume_check import read_digest

    return read_digest(cfg)


def _fit(cfg: DictConfig, run_folder: Path, sweep: HydraConf | None) -> int:
    """Run one fit and print its table (of a sweep's job, a line), or fit a folder; returns the exit code."""
    check_early(cfg)
    check_files(cfg)
    if sweep is None and _is_whole_sample(cfg) and not any(map(_SAYS_WHAT.match, HydraConfig.get().overrides.task)):
        raise _NOTHING
    if isinstance(cfg.image.path, str) and cfg.image.path and is_folder(cfg.image.path):
        return _fit_folder(cfg, run_folder)
    with hold(run_folder):  # whatever is asked of it below holds until the fit has ended
        # A job that was sent back to the queue starts its commands again, also those that were through.
        again = sweep is not None or is_requeued()
        if again and is_finished(run_folder, cfg, partial(_read_digest, cfg)):
            print(f"{'' if sweep is None else f'{job_title(sweep)}: '}finished before: {run_folder}")
            return 0
        if cfg.image.page == "all" or cfg.image.bands == "each":
            return _fit_parts(cfg, run_folder)
        return _fit_or_go_on(cfg, run_folder, sweep)


def _is_whole_sample(cfg: DictConfig) -> bool:
    """Whether what would be fitted is what a configuration has where nobody has named a picture."""
    return cfg.image.path == "skimage:astronaut" and cfg.image.crop is None and cfg.image.size is None


def _fit_or_go_on(cfg: DictConfig, run_folder: Path, sweep: HydraConf | None) -> int:
    # Here, not above: `dip --help` and tab completion must not wait for torch.
    with without_collection():
        from dip_lightning.cli.summary_table import print_job, print_summary
        from dip_lightning.fitting.resume_check import resumable
        from dip_lightning.workflows.restore import fit

    if sweep is not None and cfg.callbacks.get("fit_progress"):
        cfg.callbacks.fit_progress.title = job_title(sweep)
        # Jobs at the same time would draw their bars over each other.
        cfg.callbacks.fit_progress.bar &= one_after_another(sweep)
    # What is started again goes on with the fit that it was at; one that had come to its end begins anew.
    ended = read_status(run_folder).is_end
    if ended and sweep is not None:
        why = "since it was of other settings, other pixels or an earlier version"
        print(f"{job_title(sweep)}: done anew, {why}: {run_folder}")
    begun = None if ended else resumable(run_folder, cfg)
    if begun is not None and sweep is None:
        print(f"Going on with the fit in {run_folder}, which was interrupted (to begin anew, remove {begun.parent})")
    result = fit(cfg, run_folder, resume=begun)
    if sweep is None:
        print_summary(result.summary, run_folder)
    else:
        print_job(job_title(sweep), result.summary, run_folder)
    # A study measures: there, what is worse is a result like any other.
    return exit_code(result.signal, worse=result.is_worse and sweep is None)


def _fit_folder(cfg: DictConfig, run_folder: Path) -> int:
    """Fit every picture of a folder; returns the exit code."""
    with without_collection():
        from dip_lightning.workflows.folder import restore_folder, tell

    result = restore_folder(cfg, run_folder)
    for line in tell(result, run_folder):
        print(line)
    if result.failed and result.signal is None:
        return USER_ERROR
    return exit_code(result.signal, worse=bool(result.worse))


def _fit_parts(cfg: DictConfig, run_folder: Path) -> int:
    """Fit every page of a file, or every band by itself; returns the exit code."""
    with without_collection():
        from dip_lightning.workflows.folder import tell
        from dip_lightning.workflows.parts import restore_parts

    result = restore_parts(cfg, run_folder)
    for line in tell(result, run_folder, "parts"):
        print(line)
    return exit_code(result.signal, worse=bool(result.worse))


def _complain(message: str | UserError) -> None:
    print(f"dip: {message}", file=sys.stderr)
