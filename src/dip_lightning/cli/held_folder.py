"""The run folder of a single fit is held from before Hydra writes to it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from dip_lightning.cli.seeking import check_measured, seeks
from dip_lightning.config.paths import is_folder
from dip_lightning.errors import UserError
from dip_lightning.runs.lock import hold
from dip_lightning.runs.sweep import Sweep
from dip_lightning.runs.written import check_own, check_sought, note_sought

__all__ = ["HoldRunFolder", "RefusedError", "released"]

_held = ExitStack()


class RefusedError(BaseException):
    """The folder is not this run's; not an exception, which Hydra would make a warning of."""

    def __init__(self, reason: UserError) -> None:
        """Keep the reason."""
        self.reason = reason
        super().__init__(reason)


class HoldRunFolder(Callback):
    """Hydra's callback: a run is refused before its configuration has overwritten what is not its own."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Hold the folder.

        Raises:
            RefusedError: Another process has it, or it holds files that no run has written.
        """
        picture = config.image.get("path")
        folder = Path(os.path.abspath(str(config.hydra.run.dir)))  # noqa: PTH100 - as Hydra does, links and all
        try:
            check_own(folder, hydra=True)
            if isinstance(picture, str) and is_folder(picture):  # whose pictures several may share
                return
            _held.enter_context(hold(folder))
        except UserError as error:
            raise RefusedError(error) from None
        except OSError:  # Hydra will tell
            return

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Look at what all jobs of a sweep share, before the first of them.

        Raises:
            RefusedError: The sweep seeks the best job, and has nothing to tell it by; or one whose sweeper is not ours,
                which looks itself, would write over what is not its own.
        """
        swept = _swept(config)
        if seeks(config.hydra) and not any(key.startswith(("image", "degradation")) for key in swept):
            try:
                check_measured(config, config.hydra)
            except UserError as error:
                raise RefusedError(error) from None
        if _is_of_others(config):
            folder = Path(str(config.hydra.sweep.dir))
            try:
                check_sought(folder)
                folder.mkdir(parents=True, exist_ok=True)
                Sweep(swept, {}).write(folder)
            except UserError as error:
                raise RefusedError(error) from None
            except OSError:  # Hydra will tell
                return

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Take note of what a sweep has found, which it may write over when it is started again."""
        if _is_of_others(config):
            with suppress(OSError):  # of a disk that is full now; the sweep has ended well
                note_sought(Path(str(config.hydra.sweep.dir)))


def _swept(config: DictConfig) -> list[str]:
    """The settings that a sweep goes through, those of the configuration first."""
    chosen = (OmegaConf.select(config.hydra.sweeper, key) for key in ("params", "search_space"))
    keys = [str(key) for settings in chosen for key in settings or ()]
    overrides = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    keys += [str(override.key_or_group) for override in overrides if override.is_sweep_override()]
    return list(dict.fromkeys(keys))


def _is_of_others(config: DictConfig) -> bool:
    return not str(config.hydra.sweeper._target_).endswith(".BlockSweeper")


@contextmanager
def released() -> Iterator[None]:
    """Let go of the folder when the ``with`` block ends.

    Raises:
        UserError: It could not be held, or would lose what is in it.
    """
    try:
        yield
    except RefusedError as refused:
        raise refused.reason from None
    finally:
        _held.close()
