"""What a configuration may ask of Hydra itself. Its section ``hydra:`` can build objects, too, before a job begins."""

import functools
import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import DictConfig, OmegaConf

from dip_lightning.config.plugin_section import check_plugins, leaves, refuse
from dip_lightning.errors import UserError

__all__ = ["check_hydra_section", "guard_hydra"]

# All that may be set, as it is written, one line a value, of the keys that write or build before a job begins. The only
# log is that of the run folder: elsewhere, chosen lines in a chosen file would be as good as code.
_WRITTEN = re.compile(
    r"""
    (job|hydra)_logging/(
        version=1 | root=None | (disable_existing_loggers|incremental)=(True|False)
      | (root|loggers/[\w.-]+)/(level=\w+ | handlers/\d+=[\w-]+ | propagate=(True|False))
      | formatters/[\w-]+/(
            (format|datefmt)=(?!\w+://)[^$\n]* | (class|\(\))=(logging\.Formatter|colorlog\.ColoredFormatter)
          | log_colors/\w+=[\w,]+ )
      | handlers/[\w-]+/(
            class=logging\.((Null|Stream|File)Handler|handlers\.RotatingFileHandler) | level=\w+ | formatter=[\w-]+
          | stream=ext://sys\.std(out|err) | filename=\$\{hydra\.runtime\.output_dir\}/\$\{hydra\.job\.name\}\.log
          | mode=[aw] | encoding=[\w-]+ | errors=\w+ | delay=(True|False)
          | (maxBytes|backupCount)=\d+ ) )
  | job/( name=[\w.\ -]* | num=\?\?\? | id=\?\?\?
      | env_set/(\w+_NUM_THREADS|CUDA_VISIBLE_DEVICES|CUBLAS_WORKSPACE_CONFIG|PYTORCH_(CUDA_)?ALLOC_CONF)=[\w.:,-]* )
  | callbacks/hold_run_folder/_target_=dip_lightning\.cli\.held_folder\.HoldRunFolder
  | runtime/output_dir=\?\?\?
  | output_subdir=(None|(?!\.+$)[\w.-]+)
  | sweep/subdir=([^$~\\\n]|\$\{hydra\.job\.(num|id|override_dirname)\})*
    """,
    re.VERBOSE,
)
# What is looked at in this way; of the others, Hydra only reads numbers and words.
_LOOKED_AT = (
    *(("callbacks",), ("job_logging",), ("hydra_logging",), ("output_subdir",), ("sweep", "subdir")),
    *(("job", key) for key in ("name", "num", "id", "env_set")),
    ("runtime", "output_dir"),
)


def _no_subfolder(value: object) -> UserError:
    expected = "a folder in that of the sweep, with ${hydra.job.num} or ${hydra.job.override_dirname} in it"
    return UserError(f"hydra.sweep.subdir={value}", expected, "leave it out: jobs are named by what differs")


def guard_hydra() -> None:
    """Have Hydra check its own section of every configuration that it loads, before anything is built from it."""
    load = ConfigLoaderImpl.load_configuration
    if hasattr(load, "__wrapped__"):
        return

    @functools.wraps(load)
    def load_and_check(self: ConfigLoaderImpl, *arguments: Any, **options: Any) -> DictConfig:
        cfg = load(self, *arguments, **options)
        check_hydra_section(cfg, options["overrides"] if "overrides" in options else arguments[1])
        return cfg

    ConfigLoaderImpl.load_configuration = load_and_check  # type: ignore[method-assign]


def check_hydra_section(cfg: DictConfig, overrides: Sequence[str] = ()) -> None:
    """Check the section ``hydra:``.

    Args:
        cfg: The whole configuration.
        overrides: What the command line has set of it.

    Raises:
        UserError: It holds more than is known to run no code, and to write nothing outside the run folder.
    """
    section = OmegaConf.to_container(cfg.hydra, resolve=False)
    assert isinstance(section, dict)
    for place in _LOOKED_AT:
        node: Any = section
        for key in place:
            node = node.get(key) if isinstance(node, dict) else node
        for path, value in leaves(node, place):
            if not _WRITTEN.fullmatch(f"{'/'.join(path)}={value}"):
                raise _no_subfolder(value) if path == ("sweep", "subdir") else refuse(path, value)
    subdir = str(section["sweep"]["subdir"]).replace("${hydra.job.override_dirname}", cfg.hydra.job.override_dirname)
    if ".." in PurePath(subdir).parts or PurePath(subdir).is_absolute():
        raise _no_subfolder(subdir)
    check_plugins(cfg, section, {override.lstrip("+").partition("=")[0] for override in overrides})
