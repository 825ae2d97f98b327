"""What a stopping rule is."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dip_lightning.problems.problem import Problem

if TYPE_CHECKING:
    from torch import Tensor

    from dip_lightning.module import Iterate

__all__ = ["ALONE", "StoppingRule", "choose", "disagree", "lag_of", "patience_after"]

# A minimum is believed when it has stood for this share of the iterations that it took to reach it, and for at least so
# many iterations. The average whose memory grows is smoother, and so are the statistics of rules that judge it.
_PATIENCE, _SHORTEST_PATIENCE = 0.5, 400
_PATIENCE_OF_GROWING, _SHORTEST_OF_GROWING = 0.3, 250

# Picks that lie further apart than this factor do not agree; two of them have no third to settle it.
_APART, _APART_OF_TWO = 1.5, 1.2

# How many times its patience the minimum of a rule that judges the output must stand to end the fit without a second
# rule. Rules that judge how much the output moves never do: while a fit warms up they have false minima.
ALONE = 3


def lag_of(alpha: float | None) -> int | None:
    """How many iterations the best averaged output trails the least variance of the one-pass outputs.

    About twice the memory of the average, 1/(1 − α): measured, see ``docs/results/stopping.md``. Of a memory that grows
    with the fit, a quarter of its iterations, that is half of the iterations up to the least variance.

    Args:
        alpha: α of the averaged output, in [0, 1); None for a memory that grows.

    Returns:
        The number; None for half of the iteration of the least variance.
    """
    return None if alpha is None else round(2 / (1 - alpha))


class StoppingRule(Protocol):
    """Judges, without a clean image, how good the output of an iteration is.

    Attributes:
        follows_output: Whether the statistic judges the very output that is handed back. If not, it judges one-pass
            outputs, which an averaged output trails.

    A rule that is deceived by noise that neighbours share says so in a further attribute,
    ``needs_independent_noise = True``: beside rules without it, it abstains on such noise. One that can find in the
    course of a fit that what it reckons with is wrong has a method ``is_refuted()``, which returns a tensor of shape
    () on the device; what becomes of its word then, see ``callbacks.Detection``.
    """

    follows_output: bool

    def prepare(self, problem: Problem) -> Problem:
        """Forget an earlier fit, and prepare for this one, on the device of ``problem``.

        Returns:
            What is to be fitted instead: the problem itself, or one with other known samples or another target.

        Raises:
            UserError: The rule needs something that this problem does not have.
        """
        ...

    def statistic(self, iterate: "Iterate", output: "Tensor") -> "Tensor | None":
        """Judge the iteration just done. Nothing here may wait for the device.

        Args:
            iterate: The iteration.
            output: What would be handed back of it, (1, C, H, W).

        Returns:
            A tensor of shape () on the device, the lower the better; None as long as nothing can be said.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what a later iteration needs; :class:`~dip_lightning.stateful.Stateful` does so by names."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned, after :meth:`prepare`."""
        ...


def patience_after(
    minimum: int | NDArray[np.integer], patience: int | None, lag: int | None, *, growing: bool = False
) -> NDArray[np.integer]:
    """How many iterations a minimum must stand until its rule has settled.

    Args:
        minimum: The iteration that it was reached in, one or several.
        patience: What was asked for; None for half of ``minimum``, but at least 400, or 0.3 of it and 250 of an average
            whose memory grows.
        lag: How many iterations the rule's pick trails its minimum, as :func:`lag_of` returns it. So long is always
            waited: a fit that ended before would hand back its last output.
        growing: Whether the average that is handed back has a memory that grows.

    Returns:
        As many numbers of iterations as there are minima.
    """
    share, least = (_PATIENCE_OF_GROWING, _SHORTEST_OF_GROWING) if growing else (_PATIENCE, _SHORTEST_PATIENCE)
    asked = np.maximum((np.asarray(minimum) * share).astype(int), least) if patience is None else patience
    trails = np.asarray(minimum) // 2 if lag is None else np.full_like(minimum, lag)
    waited: NDArray[np.integer] = np.maximum(asked, trails)
    return waited


def disagree(picks: Collection[int]) -> bool:
    """Whether the iterations that rules picked give no answer.

    Of three or more, whether the middle one, which is handed back, is alone, no other within a factor of 1.5: one rule
    may be wrong as long as two agree. Of two, whether they lie apart by more than a factor of 1.2.
    """
    order = sorted(picks)
    if len(order) < 3:
        return max(order) > _APART_OF_TWO * min(order)
    middle = len(order) // 2
    below, here, above = order[middle - 1 : middle + 2]
    return here > _APART * below and above > _APART * here


def choose(
    picks: Mapping[str, int], settled: Collection[str], judges_output: Collection[str], *, voters: int, agree: int
) -> str:
    """Choose among the picks of several rules: the middle one.

    Of two the later one: a fit loses quality fast before its peak and slowly after it. But where only two rules vote,
    the others having abstained, one that judges the output wins over one that judges how much it moves, and of two that
    judge the output the later wins even if it has not settled. Where fewer than were asked for have settled, one of
    three that judges the output and has settled wins over those that have not.

    Args:
        picks: The iteration of each rule's pick, by name; at least one.
        settled: The rules that have settled.
        judges_output: The rules that judge the output itself.
        voters: How many rules judge the picture.
        agree: How many were to settle.

    Returns:
        The name of the rule.
    """
    judges = [name for name in picks if name in judges_output]
    names = list(picks)
    if voters == 2 and len(judges) == 2:
        names = judges
    elif len(settled) < agree:
        names = [name for name in judges if name in settled] or names
    elif voters == 2:
        names = judges or names
    order = sorted(names, key=lambda name: picks[name])
    return order[len(order) // 2]
