"""Packages of the user's own that a configuration may build from: named on the command line, never in a file."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.machinery import PathFinder
from pathlib import Path

from dip_lightning.errors import UserError

__all__ = ["trust_from_command_line", "trusted_packages", "trusting"]

# Jobs that a launcher runs in processes of their own inherit it; a configuration cannot set it, see hydra_section.py.
_ENVIRONMENT = "DIP_TRUST"

_given: ContextVar[frozenset[str]] = ContextVar("trusted packages", default=frozenset())


def trusted_packages() -> frozenset[str]:
    """The packages that may be built from besides what is always allowed."""
    return _given.get() | _names([os.environ.get(_ENVIRONMENT, "")])


@contextmanager
def trusting(packages: str | Iterable[str]) -> Iterator[None]:
    """Let configurations build from packages, in this thread and within the block.

    Args:
        packages: Their names, as in ``import``; one, or several.

    Raises:
        UserError: One is no name of a package.
    """
    names = list(packages) if isinstance(packages, Iterable) and not isinstance(packages, str) else [packages]
    if not all(isinstance(name, str) for name in names):
        raise UserError(f"trust={packages!r}", "names of packages", "try trust='my_package'")
    token = _given.set(_given.get() | _names(names))
    try:
        yield
    finally:
        _given.reset(token)


@contextmanager
def trust_from_command_line(arguments: Sequence[str]) -> Iterator[list[str]]:
    """Take ``trust=my_package`` off the command line, before Hydra could store it, and hand out the rest.

    Within the block the packages are trusted here and in processes that are started, and can be imported from the
    current folder, after all else.

    Args:
        arguments: Those of the command.

    Raises:
        UserError: One is no name of a package.
    """
    given = [argument.removeprefix("trust=") for argument in arguments if argument.startswith("trust=")]
    rest = [argument for argument in arguments if not argument.startswith("trust=")]
    packages = trusted_packages() | _named(given)
    before = os.environ.get(_ENVIRONMENT)
    argv, path = sys.argv, sys.path
    try:
        sys.argv = [argv[0], *rest]
        if packages:
            os.environ[_ENVIRONMENT] = ",".join(sorted(packages))
            sys.path = [*path, str(Path.cwd())]
        yield rest
    finally:
        sys.argv, sys.path = argv, path
        if before is None:
            os.environ.pop(_ENVIRONMENT, None)
        else:
            os.environ[_ENVIRONMENT] = before


def _named(given: Sequence[str]) -> frozenset[str]:
    """Those that the command names, all of which must be there; nothing of them is run."""
    names = _names(given)
    if given and not names:
        raise UserError("trust= without a name", "names of packages", "try trust=my_package, or leave it out")
    for name in sorted(names):
        first = name.partition(".")[0]
        if PathFinder.find_spec(first, [*sys.path, str(Path.cwd())]) is None and first not in sys.builtin_module_names:
            raise UserError(f"trust={name}", "a package that is installed, or in this folder", "check its name")
    return names


def _names(given: Iterable[str]) -> frozenset[str]:
    names = {name.strip() for text in given for name in text.strip("[]").split(",")} - {""}
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise UserError(f"trust={name}", "names of packages", "try trust=my_package, or trust=[a,b]")
    return frozenset(names)
