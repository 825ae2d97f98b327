"""What a stopping rule is."""

from typing import TYPE_CHECKING, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from dip_lightning.module import DeepImagePrior

__all__ = ["SHORTEST_PATIENCE", "StoppingRule", "lag_of"]

# A minimum is believed when it has stood for half as long as it took to reach it, and for at least so many iterations.
SHORTEST_PATIENCE = 400


def lag_of(alpha: float) -> int:
    """How many iterations the best averaged output trails the least variance of the one-pass outputs.

    Somewhat more than the memory of the average, 1/(1 − α): measured, see ``docs/results/stopping.md``.

    Args:
        alpha: α of the averaged output, in [0, 1).
    """
    return round(1.5 / (1 - alpha))


class StoppingRule(Protocol):
    """Judges, without a clean image, how good the output of an iteration is.

    Attributes:
        follows_output: Whether the statistic judges the very output that is handed back. If not, it judges one-pass
            outputs, which an averaged output trails.
    """

    follows_output: bool

    def start(self, module: "DeepImagePrior") -> None:
        """Forget an earlier fit, and prepare on the device of ``module``; may set its ``target`` or ``weight``.

        Raises:
            UserError: The rule needs something that this fit does not have.
        """
        ...

    def statistic(self, module: "DeepImagePrior", output: Tensor) -> Tensor | None:
        """Judge the iteration just done. Nothing here may wait for the device.

        Args:
            module: The fit; ``module.iterate`` is the iteration.
            output: What would be handed back, (1, C, H, W).

        Returns:
            A tensor of shape () on the device, the lower the better; None as long as nothing can be said.
        """
        ...
