"""Paths in the configuration: as a shell or a file manager gives them, and from where they are meant."""

import os
import re
import shlex
from pathlib import Path, PurePath

from omegaconf import DictConfig, OmegaConf

__all__ = [
    "NO_FILE",
    "PATHS",
    "expand_home",
    "is_folder",
    "quote_for_shell",
    "quoted",
    "settle_override",
    "settle_paths",
]

# The settings that name a file or a folder: pictures, which are there already, and places to write to.
PATHS = ("image.path", "image.clean", "problem.mask", "problem.kernel", "problem.flash", "problem.noise")
_PLACES = ("hydra.run.dir", "hydra.sweep.dir")
# Of a sample of scikit-image, or on another machine.
NO_FILE = re.compile(r"skimage:|\w+://?")
_OVERRIDE = re.compile(r"(?P<key>[+]{0,2}[\w.]+)=(?P<value>.*)", re.DOTALL)
# What Hydra takes as it is, and for a text.
_PLAIN = re.compile(r"(?!(null|true|false|nan|inf)$)[A-Za-z_./][A-Za-z0-9_./-]*", re.IGNORECASE)
_HOME = re.compile(r"~[\w.-]*(?=[/\\]|$)")
# C:\Users\… or \\server\share\…: Hydra takes some backslashes for orders.
_OF_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\\w")


def expand_home(path: str) -> str:
    """Return a path with ``~`` or ``~user`` at its beginning replaced; one that is there under this very name stays.

    Args:
        path: Any.
    """
    if not _HOME.match(path) or os.path.lexists(path):
        return path
    return os.path.expanduser(path)  # noqa: PTH111 - pathlib raises for a user whom nobody knows


def is_folder(path: str) -> bool:
    """Whether there is a folder of a name; whatever the name, which may be too long for any.

    Args:
        path: The name.
    """
    return os.path.isdir(path)  # noqa: PTH112 - pathlib raises for such a one


def settle_override(override: str) -> str:
    """Return an override as Hydra understands it, where it names a file or a folder as a user would.

    Hydra has its own rules for blanks, brackets, quotes, backslashes and ``~``. The name of a file that is there, or a
    path of Windows, is what it says, and is quoted for Hydra.

    Args:
        override: Of the command line: ``KEY=VALUE``.
    """
    found = _OVERRIDE.fullmatch(override)
    if found is None:
        return override
    key, value = found["key"], found["value"]
    plain = key.lstrip("+")
    if plain in PATHS and value and not NO_FILE.match(value) and os.path.lexists(value):
        return override if _PLAIN.fullmatch(value) else f"{key}={quoted(value)}"
    if _HOME.match(value.lstrip("'\"")) and plain in (*PATHS, *_PLACES):
        # What is quoted already is told by what is in the quotes.
        inside = value[1:-1] if value[:1] in ("'", '"') and value[-1:] == value[:1] and len(value) > 1 else value
        whole = expand_home(inside)
        if "," not in inside or os.path.lexists(whole):
            return f"{key}={quoted(whole)}"
        elements = [expand_home(element) for element in inside.split(",")]  # of a sweep
        return f"{key}={','.join(map(quoted, elements))}"
    if plain in (*PATHS, *_PLACES) and _OF_WINDOWS.match(value) and "," not in value and "${" not in value:
        return f"{key}={quoted(value)}"
    return override


def quoted(value: str) -> str:
    """Quote a text for Hydra, so that it stands for itself.

    Args:
        value: Any text.
    """
    # OmegaConf reads it after Hydra: \${ is a plain ${ to it. For Hydra a backslash is one, except before a quote.
    plain = re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + "\\${", value)
    text = re.sub(r'(\\*)("|$)', lambda end: 2 * end[1] + (end[2] and '\\"'), plain)
    return f'"{text}"'


def quote_for_shell(key: str, value: str) -> str:
    """Write an override so that it can be typed: for Hydra, and around that for the shell of this system.

    Args:
        key: The setting.
        value: What it is to be.
    """
    text = quoted(value)[1:-1]
    if os.name == "nt" and "'" not in value and '"' not in value:  # where a shell knows no single quotes
        return f"\"{key}='{text}'\""
    return shlex.quote(f'{key}="{text}"')


def settle_paths(cfg: DictConfig, started_in: str | Path) -> None:
    """Write the pictures of a configuration so that they are found from the current folder, wherever that is.

    Args:
        cfg: The composed configuration; it is changed.
        started_in: The folder that relative paths are meant from.
    """
    elsewhere = Path(started_in).resolve() != Path.cwd()
    for name in PATHS:
        value = OmegaConf.select(cfg, name, throw_on_missing=False) if name.partition(".")[0] in cfg else None
        if not isinstance(value, str) or not value or NO_FILE.match(value):
            continue
        settled = expand_home(value)
        if elsewhere and not PurePath(settled).is_absolute():
            settled = str(Path(started_in) / settled)
        if settled != value:
            OmegaConf.update(cfg, name, settled.replace("${", "\\${"))
