"""What stopping rules would have done in a fit whose curves are at hand. NumPy only, for studies of finished runs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dip_lightning.stopping.rule import ALONE, choose, patience_after

__all__ = ["ReplayedFit", "replay"]


@dataclass(frozen=True)
class ReplayedFit:
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
    statistics: Mapping[str, tuple[NDArray[np.floating], int | None]],
    *,
    rules: int | None = None,
    agree: int,
    min_iterations: int,
    patience: int | None,
    growing: bool = False,
) -> ReplayedFit:
    """Do what ``callbacks.Detection`` does, with ``check_every=1``.

    Args:
        statistics: For each rule its statistic, one value an iteration, NaN where it had none, and the lag of its pick
            behind the minimum, None for half of the minimum's iteration; 0 means that it judges the output itself.
        rules: How many rules there are, those that abstain included; None for as many as have a statistic.
        agree: How many rules must have settled.
        min_iterations: Minima before this iteration do not count.
        patience: Iterations without a new minimum after which a rule has settled; None as there.
            The lag of a rule's pick is always waited for.
        growing: Whether the memory of the average grew with the fit.

    Returns:
        How it would have ended.
    """
    ends_alone = agree < (len(statistics) if rules is None else rules)
    agree = min(agree, len(statistics))
    length = len(next(iter(statistics.values()))[0])
    now = np.arange(length)
    # Iterations of which no rule can say anything, as those that had diverged, do not count.
    counted = np.cumsum(np.any([np.isfinite(curve) for curve, _ in statistics.values()], axis=0))
    minima = {name: _running_argmin(curve, min_iterations) for name, (curve, _) in statistics.items()}
    waits = {
        name: patience_after(minima[name], patience, lag, growing=growing) for name, (_, lag) in statistics.items()
    }
    stood = {name: np.where(minimum >= 0, counted - counted[minimum], -1) for name, minimum in minima.items()}
    settled = {name: stood[name] >= waits[name] for name in statistics}
    enough = np.sum(list(settled.values()), axis=0) >= agree
    judges = [name for name, (_, lag) in statistics.items() if lag == 0]
    if ends_alone:
        for name in judges:
            enough |= stood[name] >= ALONE * waits[name]
    ends = np.flatnonzero(enough & (now >= min_iterations))
    last = int(ends[0]) if len(ends) else length - 1
    picks = {
        name: _pick(curve[: last + 1], counted, int(minima[name][last]), lag)
        for name, (curve, lag) in statistics.items()
        if minima[name][last] >= 0
    }
    if not picks:
        return ReplayedFit(last + 1, len(ends) > 0, picks, None)
    done = [name for name in settled if settled[name][last]]
    name = choose(picks, done, judges, voters=len(statistics), agree=agree)
    return ReplayedFit(last + 1, len(ends) > 0, picks, picks[name])


def _running_argmin(curve: NDArray[np.floating], start: int) -> NDArray[np.integer]:
    """For each iteration where the least finite value from ``start`` to it lies, the first of equals; -1 for none."""
    values = np.where(np.isfinite(curve), curve, np.inf)
    values[:start] = np.inf
    best = np.minimum.accumulate(values)
    is_new = (values < np.concatenate(([np.inf], best[:-1]))) & np.isfinite(values)
    return np.maximum.accumulate(np.where(is_new, np.arange(len(values)), -1))


def _pick(curve: NDArray[np.floating], counted: NDArray[np.integer], minimum: int, lag: int | None) -> int:
    """The last iteration with a value that trails the minimum by no more than the lag."""
    after = counted[minimum : len(curve)] - counted[minimum]
    lag = minimum // 2 if lag is None else lag
    return minimum + int(np.flatnonzero(np.isfinite(curve[minimum:]) & (after <= lag))[-1])
