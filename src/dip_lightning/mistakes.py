"""What Hydra and OmegaConf say of a mistake, over many lines, told in one."""

import difflib
import re
import shlex
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from dip_lightning.errors import UserError
from dip_lightning.help_text import find_defaults, find_keys

__all__ = ["CONFIGURATION_ERRORS", "of_group_choice", "translate"]

# What a wrong override or configuration raises.
CONFIGURATION_ERRORS = (HydraException, OmegaConfBaseException)

_COULD_NOT_OVERRIDE = re.compile(r"Could not override '(?P<key>[^']+)'")
_AMBIGUOUS = re.compile(r"Ambiguous value for argument '(?P<override>[^']+)'")


def translate(error: Exception, conf: Path) -> UserError:
    """Say what was wrong, what was expected, and the way out.

    Args:
        error: What was raised.
        conf: The folder of the configuration, for suggestions.

    Returns:
        The same as a :class:`UserError`, whose text is one line.
    """
    if isinstance(error, UserError):
        return error
    if isinstance(error, OverrideParseException):
        return _of_syntax(error.override)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, option = error.missing_cfg_file.rpartition("/")
        extra = {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm"}.get(option)
        if group == "hydra/launcher" and extra is not None:
            return UserError(
                f"{group}={option}", "a launcher that is installed", f"pip install 'dip-lightning[{extra}]'"
            )
        nearest = difflib.get_close_matches(option, error.options, n=1, cutoff=0)[0]
        return UserError(f"{group}={option}", f"one of {', '.join(error.options)}", f"try {group}={nearest}")
    unknown = _COULD_NOT_OVERRIDE.search(str(error))
    if unknown is not None:
        return _of_unknown_key(unknown["key"], conf)
    ambiguous = _AMBIGUOUS.search(str(error))
    if ambiguous is not None:
        return UserError(ambiguous["override"], "one value", f"for several fits: dip -m {ambiguous['override']}")
    # full_key, object_type and reference_type speak of OmegaConf's inside.
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not re.match(r"(full_key|object_type|reference_type)[:=]", line)]
    return UserError(" ".join(kept), "a configuration that fits together", "see dip --help")


def of_group_choice(conf: Path) -> UserError:
    """Tell of a group whose option is no word (``model=null``, ``model=``); Hydra does not say which."""
    groups = sorted(folder.name for folder in conf.iterdir() if folder.is_dir() and folder.name != "hydra")
    return UserError("the choice of a group", f"the name of an option for {', '.join(groups)}", "see dip --help")


def _of_syntax(override: str) -> UserError:
    key, separator, value = override.partition("=")
    if not separator or not key:
        return UserError(override, "KEY=VALUE", "see dip --help")
    quoted = value.strip("'\"").replace("\\", "\\\\").replace('"', '\\"')
    for_shell = shlex.quote(f'{key}="{quoted}"')
    return UserError(override, "a value that Hydra can read", f"quote it for Hydra and the shell: {for_shell}")


def _of_unknown_key(key: str, conf: Path) -> UserError:
    known = find_keys(conf)
    if key in known:
        # The default option of a group first, where it is one of them.
        chosen = find_defaults(conf)
        holders = sorted(known[key], key=lambda option: option not in chosen)
        return UserError(key, f"a key of the chosen option; this is one of {', '.join(holders)}", f"try {holders[0]}")
    groups = [folder.name for folder in conf.iterdir() if folder.is_dir()]
    nearest = difflib.get_close_matches(key, [*known, *groups], n=1, cutoff=0)[0]
    return UserError(key, "a key or a group of the configuration", f"try {nearest}, or see dip --help")
