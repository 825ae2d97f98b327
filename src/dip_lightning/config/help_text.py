"""The text of ``dip --help``, read from the comments of the configuration files, so that it cannot differ from them."""

import re
import textwrap
from itertools import pairwise
from pathlib import Path

from dip_lightning.errors import UserError

__all__ = ["find_defaults", "find_keys", "help_text", "own_folder"]

_USAGE = """\
dip: restore an image with Deep Image Prior

Usage: dip [GROUP=OPTION | KEY=VALUE]...      one fit
       dip -m KEY=A,B [GROUP=C,D]...          one fit for each combination
       dip resume=RUN_FOLDER [iterations=N] [precision=P]
                                              go on with a fit that was interrupted, or give it more iterations
       dip trust=PACKAGE [...]                 with classes of your own, by _target_: of packages named here (or in
                                              the environment, DIP_TRUST) alone, never by a configuration

Examples:
  dip experiment=quickstart                   the sample, as `make run` does
  dip image.path=photo.png image.crop=256     a part of a picture of your own, taken as it is
  dip image.path=large.png tile=512           a picture that is too large to be fitted at once
  dip image.crop=128 model=unet dropout=0 precision=fp64 seed=1 iterations=500 degradation.sigma=50
  dip -m image.crop=128 model=unet,resnet,resunet seed=1,2
  dip -m experiment=table1 size=small         the paper's table on a small picture; started again, it goes on

Flags: -m, --multirun      sweep          --cfg job           print the configuration and stop
       -sc install=SHELL   completion     --hydra-help        the flags of Hydra

A sweep's jobs run one after another; hydra/launcher=joblib hydra.launcher.n_jobs=4 runs several at a time,
hydra/launcher=submitit_slurm sends them to a cluster; hydra/sweeper=optuna seeks the best instead of doing all.

Each run writes a folder under outputs/; `tensorboard --logdir outputs` shows the curves, `dip-report outputs` makes
tables, figures and a page of them, `dip-compare RESTORED CLEAN` measures a picture against its clean one.

Exit codes: 0 after a run; 2 for a mistake, told in one line; 3 where everything is written, but the result is worse
than what was given (of 300 iterations and more, not in a sweep); 130, 143 and 129 after Ctrl-C, SIGTERM and a closed
terminal; 1 after an error that nobody foresaw.
"""

# "key: value  # comment", with any indentation; a key that opens a block has no value.
_KEY = re.compile(r"^(?P<indent> *)(?P<key>\w+):(?: (?P<value>.*?))?(?:  # (?P<comment>.*))?$")


def own_folder(arguments: list[str]) -> Path | None:
    """Find the folder that ``--config-dir`` names, or ``-cd``; None where none is named.

    Args:
        arguments: The command line, without the name of the program.

    Raises:
        UserError: It is not there.
    """
    following = dict(pairwise(arguments))
    named = [following[flag] for flag in ("--config-dir", "-cd") if flag in following]
    named += [one.removeprefix("--config-dir=") for one in arguments if one.startswith("--config-dir=")]
    for name in named:
        if not Path(name).is_dir():
            raise UserError(f"--config-dir {name}", "a folder of options of your own", "check how it is spelled")
    return Path(named[0]) if named else None


def help_text(conf: Path, own: Path | None = None) -> str:
    """Compose the help.

    Args:
        conf: The folder of the configuration.
        own: A folder of the user's, whose options are listed, too.

    Returns:
        Usage, the keys at the top, and for each group its options and their keys, each with its comment.
    """
    listed = re.findall(
        r"^  - (\w+): (\w+)(?:  # (.*))?$", (conf / "config.yaml").read_text(encoding="utf-8"), re.MULTILINE
    )
    defaults = {group: option for group, option, _ in listed}
    meanings = {group: meaning for group, _, meaning in listed}
    parts = [_USAGE, "Keys at the top\n" + _keys(conf / "config.yaml", "")]
    for group in sorted(folder for folder in conf.iterdir() if folder.is_dir() and folder.name != "hydra"):
        options = sorted(group.glob("*.yaml"))
        lines = [f"Group {group.name}: {meanings[group.name]}"]
        for option in options:
            mark = "  (default)" if defaults.get(group.name) == option.stem else ""
            lines.append(_wrap(f"  {group.name}={option.stem}{mark}", _describe(option)))
        parts.append("\n".join(lines) + "\n" + _merged_keys(options, group.name, defaults.get(group.name, "")))
    yours = [] if own is None else sorted(own.glob("*/*.yaml"))
    if yours:
        lines = [_wrap(f"  {option.parent.name}={option.stem}", _describe(option)) for option in yours]
        parts.append("\n".join([f"Yours, in {own}", *lines]) + "\n")
    return "\n".join(parts)


def find_defaults(conf: Path) -> set[str]:
    """Find the default option of every group: ``{"model=resunet", ...}``.

    Args:
        conf: The folder of the configuration.
    """
    text = (conf / "config.yaml").read_text(encoding="utf-8")
    return {f"{group}={option}" for group, option in re.findall(r"^  - (\w+): (\w+)", text, re.MULTILINE)}


def find_keys(conf: Path) -> dict[str, list[str]]:
    """Find every key that has an explanation.

    Args:
        conf: The folder of the configuration.

    Returns:
        For each key the options that have it: ``{"model.levels": ["model=resunet", "model=unet"]}``; none for the
        keys at the top.
    """
    found: dict[str, list[str]] = {key: [] for key, _, _ in _parse(conf / "config.yaml", "")}
    for option in sorted(conf.glob("*/*.yaml")):
        if option.parent.name not in ("experiment", "hydra"):
            for key, _, _ in _parse(option, f"{option.parent.name}."):
                found.setdefault(key, []).append(f"{option.parent.name}={option.stem}")
    return found


def _describe(option: Path) -> str:
    """The first comment of a file, which says what the option is."""
    comments = re.findall(r"^# (.*)$", option.read_text(encoding="utf-8"), re.MULTILINE)
    return next((comment for comment in comments if not comment.startswith("@package")), "")


def _parse(path: Path, prefix: str) -> list[tuple[str, str, str]]:
    """Find (key, value, comment) of every key that has a comment, here or in a file that it is made of."""
    text = path.read_text(encoding="utf-8")
    shared = re.findall(r"^  - (shared/\w+|\w+)(?:@_here_)?$", text, re.MULTILINE)
    files = [file for name in shared if (file := path.parent / f"{name}.yaml").exists()]
    common = {found[0]: found for file in files for found in _parse(file, prefix)}
    found: list[tuple[str, str, str]] = []
    blocks: list[tuple[int, str]] = []  # the keys that this line lies in, with their indentations
    for line in text.splitlines():
        match = _KEY.match(line)
        if match is None or match["key"] in ("_target_", "defaults"):
            continue
        indent = len(match["indent"])
        blocks = [(outer, key) for outer, key in blocks if outer < indent]
        if match["value"] is None:
            blocks.append((indent, match["key"]))
            continue
        name = prefix + ".".join([*(key for _, key in blocks), match["key"]])
        *_, comment = common.pop(name, ("",))  # the file's own value wins, and its comment where it has one
        if match["comment"] or comment:
            found.append((name, match["value"], match["comment"] or comment))
    return [*found, *common.values()]


def _keys(path: Path, prefix: str) -> str:
    return "".join(_wrap(f"  {key}={value}", comment) + "\n" for key, value, comment in _parse(path, prefix))


def _merged_keys(options: list[Path], group: str, default: str) -> str:
    """The keys of all options of a group, the default option's first; who has which, and who has another value."""
    merged: dict[tuple[str, str], dict[str, str]] = {}
    for option in sorted(options, key=lambda path: path.stem != default):
        for key, value, comment in _parse(option, "" if group == "experiment" else f"{group}."):
            merged.setdefault((key, comment), {})[option.stem] = value
    lines = []
    for (key, comment), values in merged.items():
        shown = next(iter(values.values()))
        others = [f"{option}: {value}" for option, value in values.items() if value != shown]
        alike = [option for option, value in values.items() if value == shown]
        scope = ", ".join(([] if len(values) == len(options) and not others else alike) + others)
        lines.append(_wrap(f"    {key}={shown}", comment + (f" [{scope}]" if scope else "")) + "\n")
    return "".join(lines)


def _wrap(head: str, text: str, column: int = 46, width: int = 118) -> str:
    """Put ``text`` into a column beside ``head``, or below it where ``head`` is too long."""
    lines = textwrap.wrap(text, width - column)
    if not lines:
        return head
    indent = "\n" + " " * column
    first = f"{head:<{column}}" if len(head) < column - 1 else head + indent
    return first + indent.join(lines)
