"""What Hydra and OmegaConf say of a mistake, over many lines, told in one."""

import difflib
import re
from pathlib import Path

from hydra.errors import MissingConfigException, OverrideParseException

from dip_lightning.errors import UserError
from dip_lightning.help_text import find_keys

__all__ = ["tell"]

_COULD_NOT_OVERRIDE = re.compile(r"Could not override '(?P<key>[^']+)'")


def tell(error: Exception, conf: Path) -> str:
    """Say what was wrong, what was expected, and the way out.

    Args:
        error: What was raised.
        conf: The folder of the configuration, for suggestions.

    Returns:
        One line.
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OverrideParseException):
        return str(UserError(error.override, "KEY=VALUE", "put quotes around what Hydra would read: 'KEY=\"VALUE\"'"))
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, option = error.missing_cfg_file.rpartition("/")
        nearest = difflib.get_close_matches(option, error.options, n=1, cutoff=0)[0]
        return str(UserError(f"{group}={option}", f"one of {', '.join(error.options)}", f"try {group}={nearest}"))
    unknown = _COULD_NOT_OVERRIDE.search(str(error))
    if unknown is not None:
        return _tell_unknown_key(unknown["key"], conf)
    # full_key, object_type and reference_type speak of OmegaConf's inside.
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not re.match(r"(full_key|object_type|reference_type)[:=]", line)]
    return f"{' '.join(kept)}; see dip --help"


def _tell_unknown_key(key: str, conf: Path) -> str:
    known = find_keys(conf)
    if key in known:
        holders = ", ".join(known[key])
        return str(UserError(key, f"a key of the chosen option; this is one of {holders}", f"try {known[key][0]}"))
    groups = [folder.name for folder in conf.iterdir() if folder.is_dir()]
    nearest = difflib.get_close_matches(key, [*known, *groups], n=1, cutoff=0)[0]
    return str(UserError(key, "a key or a group of the configuration", f"try {nearest}, or see dip --help"))
