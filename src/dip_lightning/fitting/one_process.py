"""A fit is one process on one device, whatever a batch system or a launcher says in the environment."""

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

__all__ = ["OneProcess", "leave_signals_alone"]


class OneProcess(LightningEnvironment):
    """Tells Lightning that there is one process, of rank 0.

    Lightning would otherwise take a batch job of several tasks for a fit that is spread over them, and a rank in the
    environment for a process that must not write.
    """

    @property
    def creates_processes_externally(self) -> bool:
        """Nobody has started this process as one of several."""
        return False

    def global_rank(self) -> int:
        """The first process of all."""
        return 0

    def local_rank(self) -> int:
        """The first process of this machine."""
        return 0

    def node_rank(self) -> int:
        """The first machine."""
        return 0

    def teardown(self) -> None:
        """Leave the environment as it is, which Lightning would take ``WORLD_SIZE`` out of."""


def leave_signals_alone(trainer: pl.Trainer) -> None:
    """Keep Lightning from setting signal handlers, and from setting those of the whole process back at the end.

    The fit has its own, :class:`~dip_lightning.callbacks.Interrupt`. What Lightning puts back are those that Python
    knows of; of others, such as ``faulthandler``'s, nothing would be left.

    Args:
        trainer: What runs the fit.
    """
    connector = getattr(trainer, "_signal_connector", None)  # Lightning has no public way
    if connector is not None:
        connector.register_signal_handlers = lambda: None
        connector.teardown = lambda: None
