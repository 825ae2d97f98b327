"""The run folder of a single fit is held from before Hydra writes to it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from dip_lightning.runs.lock import HeldError, hold

__all__ = ["HoldRunFolder", "RefusedError", "released"]

_held = ExitStack()


class RefusedError(BaseException):
    """The folder is held by another; not an exception, which Hydra would make a warning of."""

    def __init__(self, reason: HeldError) -> None:
        """Keep the reason."""
        self.reason = reason
        super().__init__(reason)


class HoldRunFolder(Callback):
    """Hydra's callback: a second run is refused before its configuration has overwritten that of the first."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Hold the folder.

        Raises:
            RefusedError: Another process has it.
        """
        picture = config.image.get("path")
        if isinstance(picture, str) and Path(picture).is_dir():  # whose pictures several may share
            return
        folder = Path(str(config.hydra.run.dir))
        try:
            _held.enter_context(hold(Path(os.path.abspath(folder))))  # noqa: PTH100 - as Hydra does, links and all
        except HeldError as error:
            raise RefusedError(error) from None
        except OSError:  # Hydra will tell
            return


@contextmanager
def released() -> Iterator[None]:
    """Let go of the folder when the ``with`` block ends.

    Raises:
        HeldError: It could not be held.
    """
    try:
        yield
    except RefusedError as refused:
        raise refused.reason from None
    finally:
        _held.close()
