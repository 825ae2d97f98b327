"""``dip resume=RUN_FOLDER``: going on with a run, without Hydra, which would write its folder anew."""

import logging
import os.path
import sys
from collections.abc import Sequence
from pathlib import Path

from dip_lightning.cli.codes import exit_code
from dip_lightning.cli.loading import without_collection
from dip_lightning.config.paths import expand_home
from dip_lightning.errors import UserError

__all__ = ["go_on"]

_BESIDE = ("resume", "iterations", "precision", "image.path", "image.clean")


def go_on(arguments: Sequence[str]) -> int:
    """Go on with a run and print its table.

    Args:
        arguments: ``resume=`` and what may stand beside it.

    Returns:
        The exit code.

    Raises:
        UserError: Another argument is among them, or there is nothing to go on with.
    """
    given = {key: value for key, _, value in (argument.partition("=") for argument in arguments)}
    if len(given) < len(arguments):
        raise UserError(" ".join(arguments), "each key once", "try one after the other")
    others = [argument for argument in arguments if argument.partition("=")[0] not in _BESIDE]
    if others:
        expected = (
            "nothing but iterations= and precision= beside it, trust=, and image.path= and image.clean= where they "
            "have moved: a run goes on with its own settings"
        )
        raise UserError(f"resume= with {others[0]}", expected, "leave it out, or begin anew without resume=")
    if not given.get("iterations", "1").isdecimal():
        raise UserError(f"iterations={given['iterations']}", "a whole number above 0", "try iterations=10000")
    paths = {key: _path(given[key]) for key in given if key in ("resume", "image.path", "image.clean")}
    if not paths["resume"]:
        raise UserError("resume=", "the folder of a run", "try resume=outputs/DATE/TIME")
    if not os.path.lexists(paths["resume"]):  # which is told with the libraries of a fit, too, seconds later
        raise UserError(f"resume={paths['resume']}", "the folder of a run", "see the line 'Run folder' that ended it")
    with without_collection():
        from dip_lightning.cli.summary_table import print_summary
        from dip_lightning.workflows.resume import resume

    run_folder = Path(paths["resume"])
    if run_folder.is_dir():
        record = logging.FileHandler(run_folder / "dip.log", delay=True, encoding="utf-8", errors="backslashreplace")
        form = "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"
        logging.basicConfig(format=form, level=logging.INFO, handlers=[logging.StreamHandler(sys.stdout), record])
    iterations = int(given["iterations"]) if "iterations" in given else None
    moved = {name: paths[f"image.{name}"] for name in ("path", "clean") if paths.get(f"image.{name}")}
    result = resume(run_folder, iterations, given.get("precision"), moved)
    print_summary(result.summary, run_folder)
    return exit_code(result.signal, worse=result.is_worse)


def _path(given: str) -> str:
    """A path as it was typed, with quotes for Hydra or without."""
    return expand_home(given if os.path.lexists(given) else given.strip("'\""))
