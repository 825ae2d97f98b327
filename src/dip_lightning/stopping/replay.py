"""What stopping rules would have done in a fit whose curves are at hand. NumPy only, for studies of finished runs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dip_lightning.stopping.rule import SHORTEST_PATIENCE

__all__ = ["Outcome", "replay"]


@dataclass(frozen=True)
class Outcome:
    """How a fit would have ended.

    Attributes:
        iterations: How many iterations it would have had.
        settled: Whether the rules would have ended it; if not, the curves ended first.
        picks: The iteration of each rule's pick, by name.
        chosen: The iteration whose picture would have been handed back; None without a pick.
    """

    iterations: int
    settled: bool
    picks: dict[str, int]
    chosen: int | None


def replay(
    statistics: Mapping[str, tuple[NDArray[np.floating], int]], *, agree: int, min_iterations: int, patience: int | None
) -> Outcome:
    """Do what ``callbacks.Detection`` does, with ``check_every=1``.

    Args:
        statistics: For each rule its statistic, one value an iteration, and the lag of its pick behind the minimum.
        agree: How many rules must have settled.
        min_iterations: Minima before this iteration do not count.
        patience: Iterations without a new minimum after which a rule has settled; None as there. No less than the
            longest lag.

    Returns:
        The outcome.
    """
    if patience is not None:
        patience = max(patience, *(lag for _, lag in statistics.values()))
    length = len(next(iter(statistics.values()))[0])
    now = np.arange(length)
    minima = {name: _running_argmin(curve, min_iterations) for name, (curve, _) in statistics.items()}
    settled = np.stack(
        [
            (minimum >= 0)
            & (now - minimum >= (np.maximum(minimum // 2, SHORTEST_PATIENCE) if patience is None else patience))
            for minimum in minima.values()
        ]
    ).sum(axis=0)
    ends = np.flatnonzero((settled >= agree) & (now >= min_iterations))
    last = int(ends[0]) if len(ends) else length - 1
    picks = {
        name: min(int(minima[name][last]) + lag, last)
        for name, (_, lag) in statistics.items()
        if minima[name][last] >= 0
    }
    order = sorted(picks.values())
    return Outcome(last + 1, len(ends) > 0, picks, order[len(order) // 2] if order else None)


def _running_argmin(curve: NDArray[np.floating], start: int) -> NDArray[np.integer]:
    """For each iteration where the least finite value from ``start`` to it lies, the first of equals; -1 for none."""
    values = np.where(np.isfinite(curve), curve, np.inf)
    values[:start] = np.inf
    best = np.minimum.accumulate(values)
    is_new = (values < np.concatenate(([np.inf], best[:-1]))) & np.isfinite(values)
    return np.maximum.accumulate(np.where(is_new, np.arange(len(values)), -1))
