"""The arguments of the command line, in the order and the words that Hydra takes."""

from argparse import Action, ArgumentParser
from collections.abc import Sequence
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from dip_lightning.config.paths import settle_override
from dip_lightning.errors import UserError

__all__ = ["settle_arguments"]

# Groups of which Hydra would lay several options over each other, where a list of them is given.
_ONE_OPTION = ("input", "model", "optimizer", "precision", "problem", "scheduler", "stopping", "trainer")


def settle_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with the overrides first, each as Hydra understands it, and the flags behind them.

    Hydra itself takes flags before all overrides or behind them, but not between.

    Args:
        arguments: As they were typed, in any order.

    Raises:
        UserError: A flag is unknown, or has not got its value.
    """

    def refuse(message: str) -> NoReturn:
        raise UserError(message, "KEY=VALUE, or a flag that dip --help lists", "see dip --help")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    overrides: list[str] = []
    flags: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-") or argument == "-":
            overrides.append(settle_override(_checked(argument)))
            continue
        flags.append(argument)
        flag = _find(parser, argument)
        takes_one = flag is not None and flag.nargs != 0 and "=" not in argument
        if takes_one and rest and (flag.nargs is None or rest[0] in (flag.choices or ())):  # type: ignore[union-attr]
            flags.append(rest.pop(0))
    settled = [*overrides, *flags]
    parser.parse_args(settled)
    return settled


def _checked(override: str) -> str:
    """Refuse what Hydra would take, and nobody can mean."""
    key, _, value = override.partition("=")
    if key in ("hydra.run.dir", "hydra.sweep.dir") and not value.strip("'\" "):  # a variable of the shell that is empty
        raise UserError(f"{key} without a folder", "where to write", f"try {key}=NEW_FOLDER")
    if key in _ONE_OPTION and value.startswith("[") and "," in value:
        several = value.strip("[] ").replace(" ", "")
        raise UserError(override, "one option", f"for several fits: dip -m {key}={several}")
    return override


def _find(parser: ArgumentParser, argument: str) -> Action | None:
    """What a flag is, also where it is shortened (``--multi``); None for one that is unknown."""
    name = argument.partition("=")[0]
    known = {option: action for action in parser._actions for option in action.option_strings}
    if name in known:
        return known[name]
    meant = [action for option, action in known.items() if name.startswith("--") and option.startswith(name)]
    return meant[0] if len(set(map(id, meant))) == 1 else None
