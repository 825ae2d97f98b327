"""What a configuration may ask of Hydra's plugins: launchers and sweepers, those of other packages among them."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.plugin import Plugin
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dip_lightning.config.targets import is_trusted
from dip_lightning.errors import UserError

__all__ = ["check_plugins", "leaves", "refuse"]

_KINDS: Mapping[str, type[Plugin]] = {"launcher": Launcher, "sweeper": Sweeper}
# Texts that a file may give them, as they are written, one line a value. Numbers run no code, and what a plugin's own
# package has registered with Hydra is that package's.
_TEXTS = re.compile(
    r"""
    sweeper/(params|search_space)/[^/]+(?<!_target_)(/\d+|/(type|low|high|step|log|choices/\d+))?=.*
  | sweeper/blocks/[^/]+/[^/]+(?<!_target_)(/\d+)*=.*
  | sweeper/(study_name=[\w.\ -]+ | direction(/\d+)?=(minimize|maximize))
  | launcher/(
        pre_dispatch=(\d+|all|(\d+\*)?n_jobs) | mmap_mode=\w\+?
      | (n_jobs|prefer|require|verbose|timeout|batch_size|max_nbytes|timeout_min|cpus_per_task|gpus_per_node
        |tasks_per_node|mem_gb|nodes|name|stderr_to_stdout|partition|qos|comment|constraint|exclude|gres|cpus_per_gpu
        |gpus_per_task|mem_per_gpu|mem_per_cpu|account|signal_delay_s|max_num_timeout|array_parallelism
        )=[\w\ .:,+@=/-]* )
    """,
    re.VERBOSE,
)
# Keys whose text is the name of code, which counts as such on the command line, too.
_CODE = ("_target_", "custom_search_space")


def check_plugins(cfg: DictConfig, section: Mapping[Any, Any], overrides: Collection[str]) -> None:
    """Check what launcher and sweeper are, and what they are given.

    Args:
        cfg: The whole configuration.
        section: Its ``hydra:`` of plain containers, with interpolations as they are written.
        overrides: The keys of it that the command line has set. What plugins would run in a shell, or where they keep
            a study, can only come from there.

    Raises:
        UserError: One is no plugin that Hydra has found, or is given what could run code.
    """
    for name, kind in _KINDS.items():
        if not isinstance(section[name], dict):
            raise refuse((name,), section[name])
        _check_is_found(name, kind, section[name].get("_target_"))
        registered = _registered(name)
        written = dict(leaves(section[name], (name,)))
        plain = {key: _plain(cfg.hydra[name], key) for key in section[name]}
        for path, value in leaves(plain, (name,)):
            known = (
                path == (name, "_target_")
                or (path in written and (path, str(written[path])) in registered)
                or (path[-1] not in _CODE and (not isinstance(value, str) or _is_given(path, overrides)))
                or (path[-1] == "custom_search_space" and is_trusted(value))
            )
            if not known and value is not None and not _TEXTS.fullmatch(f"{'/'.join(path)}={value}"):
                raise refuse(path, value)


def leaves(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value of plain containers, with its path."""
    if isinstance(node, (dict, list)):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from leaves(value, (*path, str(key)))
    else:
        yield path, node


def refuse(path: tuple[str, ...], value: Any) -> UserError:
    """Tell of a value of Hydra's own section."""
    key = ".".join(["hydra", *path])
    return UserError(
        f"{key}={value}",
        "a configuration that runs no code and writes into the run folder",
        "leave it out; use objects of your own from Python",
    )


def _check_is_found(name: str, kind: type[Plugin], target: Any) -> None:
    """Check that it is of those that Hydra itself has found where plugins are installed."""
    found = {f"{plugin.__module__}.{plugin.__name__}" for plugin in Plugins.instance().discover(kind)}
    if target not in found:
        expected = f"a {name} that is installed as a plugin of Hydra"
        raise UserError(
            f"hydra.{name}._target_={target}", expected, f"name one by hydra/{name}=, see dip --info plugins"
        )


def _registered(name: str) -> set[tuple[tuple[str, ...], str]]:
    """Values that the packages of plugins have registered for a launcher or a sweeper, and for groups below it."""

    def walk(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
        if isinstance(node, ConfigNode):
            plain = OmegaConf.to_container(node.node, resolve=False)
            yield from ((place, str(value)) for place, value in leaves(plain, path))
            return
        for key, below in node.items():  # an option is a name that ends in .yaml, a group one that does not
            yield from walk(below, path if isinstance(below, ConfigNode) else (*path, key))

    return set(walk(ConfigStore.instance().repo.get("hydra", {}).get(name, {}), (name,)))


def _is_given(path: tuple[str, ...], overrides: Collection[str]) -> bool:
    return any(".".join(["hydra", *path[:length]]) in overrides for length in range(2, len(path) + 1))


def _plain(node: DictConfig, key: str) -> Any:
    try:
        value = node[key]
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException:
        return "${unknown}"  # it could become anything
