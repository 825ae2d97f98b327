"""What went wrong around the jobs of a command, in one line: Hydra, its plugins, files that cannot be written."""

import traceback
from collections.abc import Sequence

from dip_lightning.cli.seeking import NONE_LEFT
from dip_lightning.config.compose import config_folder
from dip_lightning.config.messages import CONFIGURATION_ERRORS, GROUP_CHOICE, of_group_choice, translate
from dip_lightning.errors import UserError

__all__ = ["of_mistake", "of_output"]

# The packages of Hydra's plugins; what they find wrong with their settings, or miss, they say in errors of any kind.
_PLUGINS = "hydra_plugins"


def of_mistake(error: Exception, arguments: Sequence[str]) -> UserError | None:
    """Tell of a mistake of the user's in one line; None for an error that nobody foresaw.

    Args:
        error: What ended the command.
        arguments: The command line.
    """
    if isinstance(error, (UserError, *CONFIGURATION_ERRORS)):
        return translate(error, config_folder())
    if isinstance(error, OSError):
        return of_output(error)
    if isinstance(error, ValueError):
        if isinstance(error.__cause__, OSError):  # logging, of the file that it cannot open
            return of_output(error.__cause__)
        if str(error) == NONE_LEFT:
            told = "hydra.sweeper.n_trials above 0, or see what is told of them above"
            return UserError("a sweep of which no job went well", "one that did", told)
        if GROUP_CHOICE in str(error):
            return of_group_choice(config_folder(), arguments)
    return _of_plugin(error)


def of_output(error: OSError) -> UserError:
    """Tell of a file that cannot be written.

    Args:
        error: What was raised.
    """
    problem = f"{error.filename or 'the run folder'} cannot be written ({error.strerror or error})"
    return UserError(problem, "a folder with room that you may write to", "try hydra.run.dir=NEW_FOLDER")


def _of_plugin(error: Exception) -> UserError | None:
    """Tell of what a sweeper or a launcher has raised itself; None where it comes from a job, or from elsewhere."""
    places = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    plugins = [index for index, place in enumerate(places) if _PLUGINS in place]
    if not plugins or any("dip_lightning" in place for place in places[plugins[-1] :]):
        return None
    what = " ".join(str(error).split()) or type(error).__name__
    expected = "settings that hydra/sweeper= and hydra/launcher= can work with, on this machine"
    return UserError(f"the sweep cannot be run: {what.rstrip('.')}", expected, "see dip --help, or leave them out")
