"""What Hydra and OmegaConf say of a mistake, over many lines, told in one."""

import difflib
import os.path
import re
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from dip_lightning.config.help_text import find_defaults, find_keys
from dip_lightning.config.paths import is_folder, quote_for_shell
from dip_lightning.errors import UserError

__all__ = ["CONFIGURATION_ERRORS", "GROUP_CHOICE", "check_groups", "of_group_choice", "of_unknown_keys", "translate"]

# What a wrong override or configuration raises.
CONFIGURATION_ERRORS = (HydraException, OmegaConfBaseException, YAMLError)

# Plugins of Hydra that are not always there.
_INSTALLED_BY = {
    "hydra/launcher=joblib": "dip-lightning[joblib]",
    "hydra/launcher=ray": "hydra-ray-launcher",
    "hydra/launcher=submitit_local": "dip-lightning[slurm]",
    "hydra/launcher=submitit_slurm": "dip-lightning[slurm]",
    "hydra/sweeper=optuna": "dip-lightning[optuna]",
}

# What Hydra says, in a ValueError, of a group whose option is no word.
GROUP_CHOICE = "Config group override"

# Kinds of values that Hydra's own settings have, in its words and in ours.
_KINDS = {"Integer": "a whole number", "Float": "a number", "bool": "true or false"}
_OF_A_KIND = re.compile(r"could not be converted to (?P<kind>\w+)|is not a valid (?P<flag>bool)")
_MERGING = re.compile(r"Error merging override (?P<override>.+)")
_COULD_NOT_OVERRIDE = re.compile(r"Could not override '(?P<key>[^']*)'")
_IS_MISSING = re.compile(r"Key '(?P<key>[^']+)' is not in struct|Missing mandatory value: (?P<mandatory>\S+)")
_POINTS_NOWHERE = re.compile(r"Interpolation key '(?P<key>[^']+)' not found")
_TWICE = re.compile(r"Multiple values for (?P<group>\S+)\. .*'override \S+: (?P<option>\S+)'")
_AMBIGUOUS = re.compile(r"Ambiguous value for argument '(?P<override>[^']+)'")
_NOT_LOADED = re.compile(r"Could not load '(?P<group>[^']+)/(?P<option>[^'/]+)'")
# Groups of which several options can be taken at once.
_OF_SEVERAL = ("logger",)


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
    if isinstance(error, YAMLError):
        return _of_yaml(error)
    if isinstance(error, OverrideParseException):
        return _of_syntax(error.override)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, option = error.missing_cfg_file.rpartition("/")
        if choice := _INSTALLED_BY.get(f"{group}={option}"):
            kind = group.rpartition("/")[2]
            return UserError(f"{group}={option}", f"a {kind} that is installed", f"pip install '{choice}'")
        nearest = difflib.get_close_matches(option, error.options, n=1, cutoff=0)[0]
        return UserError(f"{group}={option}", f"one of {', '.join(error.options)}", f"try {group}={nearest}")
    unknown = _COULD_NOT_OVERRIDE.search(str(error))
    if unknown is not None:
        return _of_unknown_key(unknown["key"], conf)
    structural = _of_kind(error) or _of_structure(str(error), conf) or _of_several(str(error), conf)
    if structural is not None:
        return structural
    # full_key, object_type and reference_type speak of OmegaConf's inside.
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not re.match(r"(full_key|object_type|reference_type)[:=]", line)]
    return UserError(" ".join(kept), "a configuration that fits together", "see dip --help")


def of_group_choice(conf: Path, overrides: Sequence[str]) -> UserError:
    """Tell of a group whose option is no word (``model=null``); Hydra does not say which.

    Args:
        conf: The folder of the configuration.
        overrides: What was given.
    """
    for override in overrides:
        group, _, value = override.lstrip("+").partition("=")
        if (conf / group).is_dir() and group and not (conf / group / f"{value}.yaml").exists():
            options = _options_of(group, conf)
            defaults = dict(choice.split("=") for choice in find_defaults(conf))
            remedy = "none" if "none" in options else defaults.get(group, options[0])
            return UserError(override, f"one of {', '.join(options)}", f"try {group}={remedy}")
    groups = sorted(folder.name for folder in conf.iterdir() if folder.is_dir() and folder.name != "hydra")
    return UserError("the choice of a group", f"the name of an option for {', '.join(groups)}", "see dip --help")


def of_unknown_keys(keys: Collection[str], conf: Path) -> UserError | None:
    """Tell of a key at the top of the configuration that nothing reads (``+itertions=5``); None where all are known.

    Args:
        keys: Those that are there.
        conf: The folder of the configuration.
    """
    groups = {folder.name for folder in conf.iterdir() if folder.is_dir()}
    unknown = sorted(set(keys) - groups - set(find_keys(conf)))
    return _of_unknown_key(unknown[0], conf) if unknown else None


def _options_of(group: str, conf: Path) -> list[str]:
    return sorted(path.stem for path in (conf / group).glob("*.yaml"))


def check_groups(cfg: DictConfig, conf: Path) -> None:
    """Check that no group is without an option, as ``logger=[]`` leaves it.

    Args:
        cfg: The composed configuration.
        conf: The folder of the configuration.

    Raises:
        UserError: One is.
    """
    for group, option in sorted(map(_halves, find_defaults(conf))):
        if group not in cfg and option != "null" and group != "hydra":
            raise _of_no_option(group, conf)


def _of_no_option(group: str, conf: Path) -> UserError:
    default = "none" if (conf / group / "none.yaml").is_file() else dict(map(_halves, find_defaults(conf)))[group]
    return UserError(f"no {group}", "an option or more of this group", f"try {group}={default}")


def _of_several(text: str, conf: Path) -> UserError | None:
    """Tell of several values, where one was expected or one of them is none."""
    if found := _AMBIGUOUS.search(text):
        group, _, values = found["override"].partition("=")
        together = f"for all at once: '{group}=[{values}]'; " if group in _OF_SEVERAL else ""
        return UserError(found["override"], "one value", f"{together}for several fits: dip -m {found['override']}")
    found = _NOT_LOADED.search(text)
    if found and (conf / found["group"]).is_dir():
        options = _options_of(found["group"], conf)
        nearest = difflib.get_close_matches(found["option"], options, n=1, cutoff=0)[0]
        return UserError(
            f"{found['group']}={found['option']}", f"one of {', '.join(options)}", f"try {found['group']}={nearest}"
        )
    return None


def _of_kind(error: Exception) -> UserError | None:
    """A value of another kind than one of Hydra's own settings has."""
    merging, kind = _MERGING.search(str(error)), _OF_A_KIND.search(str(error.__cause__))
    if merging is None or kind is None:
        return None
    wanted = kind["kind"] or kind["flag"]
    return UserError(merging["override"], _KINDS.get(wanted, wanted), "see dip --help")


def _of_structure(text: str, conf: Path) -> UserError | None:
    """Tell of what is missing, points nowhere or is there twice."""
    if found := _IS_MISSING.search(text):
        key = found["key"] or found["mandatory"]
        if (conf / key).is_dir():
            return _of_no_option(key, conf)
        return UserError(f"no {key}", "a value for every key of the configuration", f"give one: {key}=VALUE")
    found = _POINTS_NOWHERE.search(text)
    if found and found["key"].startswith("model."):  # what config.yaml looks for in whatever network is chosen
        name = found["key"].removeprefix("model.")
        told = {"dropout": "dropout: 0.0"}.get(name, f"{name}: ...")
        return UserError(f"a model without {name}", f"this key in its file under model/, or {name}=", f"add {told}")
    if found:
        plain = "\\${ stands for a plain ${"
        return UserError(f"${{{found['key']}}}", "a key of the configuration", f"see dip --help; {plain}")
    if found := _TWICE.search(text):
        choice = f"{found['group']}={found['option']}"
        return UserError(f"+{choice}", "one option of the group", f"try {choice}")
    return None


def _halves(choice: str) -> tuple[str, str]:
    group, _, option = choice.partition("=")
    return group, option


def _of_yaml(error: YAMLError) -> UserError:
    """Tell of a file of a configuration that cannot be read, and where it goes wrong."""
    what, mark = " ".join(str(error).split()), None
    if isinstance(error, MarkedYAMLError):
        what, mark = error.problem or "it is broken", error.problem_mark
    place = "a file of the configuration" if mark is None else f"{mark.name}, line {mark.line + 1}"
    return UserError(f"{place}: {what}", "plain YAML, without tags of Python", "mend that file")


def _of_syntax(override: str) -> UserError:
    key, separator, value = override.partition("=")
    if not separator or not key:
        return UserError(override, "KEY=VALUE", _of_a_name(override) if key else "see dip --help")
    typed = quote_for_shell(key, value.strip("'\""))
    return UserError(override, "a value that Hydra can read", f"quote it for Hydra and the shell: {typed}")


def _of_a_name(name: str) -> str:
    """The way out where something stands alone that may be the name of a picture."""
    path = Path(name)
    this = "this" if path.parent == Path() else "that"
    whole = f"image.path={shlex.quote(str(path.parent))} for all pictures of {this} folder"
    if is_folder(name):
        return f"try image.path={shlex.quote(name)} for all of its pictures"
    if os.path.lexists(name):
        return f"try image.path={shlex.quote(name)}, or {whole}"
    if any(letter in name for letter in "*?"):
        return f"try {whole}"
    quotes = "a name with a blank needs quotes: 'image.path=my photo.png'"
    return f"a picture is image.path={shlex.quote(name)}; {quotes}" if path.suffix else f"see dip --help; {quotes}"


def _of_unknown_key(key: str, conf: Path) -> UserError:
    known = find_keys(conf)
    if not key:
        return _of_syntax("=")
    if key.startswith("hydra."):
        # Plugins take what Hydra does not know, such as what Ray begins with.
        return UserError(key, "a key of Hydra's own, which dip --cfg hydra prints", f"try +{key}=VALUE to add one")
    if key in known:
        # The default option of a group first, where it is one of them.
        chosen = find_defaults(conf)
        holders = sorted(known[key], key=lambda option: option not in chosen)
        return UserError(key, f"a key of the chosen option; this is one of {', '.join(holders)}", f"try {holders[0]}")
    # Not those of a group that only experiments choose from: they cannot be set by themselves.
    chosen_groups = {choice.partition("=")[0] for choice in find_defaults(conf)}
    settable = [name for name, holders in known.items() if not holders or name.partition(".")[0] in chosen_groups]
    groups = [folder.name for folder in conf.iterdir() if folder.is_dir()]
    alike = [name for name in settable if name.rpartition(".")[2] == key]
    near = alike or difflib.get_close_matches(key, [*settable, *groups], n=1, cutoff=0.4)
    remedy = f"try {near[0]}, or see dip --help" if near else "see dip --help"
    return UserError(key, "a key or a group of the configuration", remedy)
