"""Whether two settings differ by more than chance: Student's tests over seeds."""

import math
from dataclasses import dataclass
from statistics import fmean, stdev

from dip_lightning.report.runs import Group, Run, find_baseline

__all__ = ["compare_groups"]

# How often all comparisons of a report together may call chance a difference, and from how many seeds on one is judged:
# with two, a standard deviation is known so badly that hardly any difference could count.
_ERROR_RATE, _FEWEST = 0.05, 3


@dataclass(frozen=True)
class _Difference:
    """How much higher one group's averaged peak is than another's.

    Attributes:
        mean: In dB.
        error: Its standard error; None where there are too few pairs.
        pairs: How many seeds both have.
    """

    mean: float
    error: float | None
    pairs: int


def compare_groups(groups: list[Group]) -> list[str]:
    """Say of each group whether its averaged peak differs from the baseline's by more than chance.

    Seeds that both have are paired, since both networks then see the same noise: Student's paired test, from three
    pairs on. The quantile is corrected for the number of comparisons (Bonferroni). Runs whose output was still rising
    at the end have no peak, and are left out.

    Args:
        groups: Runs that belong together.

    Returns:
        One sentence a group but the baseline; those of which nothing can be said of chance together in one.
    """
    if not groups:
        return []
    base = find_baseline(groups)
    others = [group for group in groups if group is not base]
    first = _peaks(base)
    if not first and others:
        return [f"{base.label}, which the others are compared with, {_without_peak(base)}"]
    differences = {group.label: _difference(_peaks(group), first) for group in others if _peaks(group)}
    judged = sum(difference.error is not None for difference in differences.values())
    told = [f"{group.label}: {_without_peak(group)}" for group in others if group.label not in differences]
    few = []
    for label, difference in differences.items():
        if difference.error is None:
            few.append(f"{label} {difference.mean:+.2f}")
            continue
        margin = _quantile(1 - _ERROR_RATE / (2 * judged), difference.pairs - 1) * difference.error
        verdict = "exceeds" if abs(difference.mean) > margin else "does not exceed"
        told.append(
            f"{label} against {base.label}: {difference.mean:+.2f} dB averaged ({difference.pairs} pairs of seeds), "
            f"which {verdict} the {margin:.2f} dB that chance may give"
        )
    if few:
        told.append(
            f"against {base.label}, dB averaged, but with too few seeds (at least {_FEWEST} that both have) it may be "
            f"chance: {'; '.join(few)}"
        )
    return told


def _peaks(group: Group) -> dict[int, list[float]]:
    """The averaged peaks by seed, of the runs that have one."""
    found: dict[int, list[float]] = {}
    for run in group.runs:
        peak = _peak(run)
        if peak is not None:
            found.setdefault(int(run.figure("seed") or 0), []).append(peak)
    return found


def _peak(run: Run) -> float | None:
    return None if run.still_rising("averaged") else run.figure("averaged", "peak_psnr")


def _without_peak(group: Group) -> str:
    rising = any(run.still_rising("averaged") for run in group.runs)
    return "was still rising at the last iteration" if rising else "was not measured against a clean image"


def _difference(peaks: dict[int, list[float]], base: dict[int, list[float]]) -> _Difference:
    pairs = [fmean(peaks[seed]) - fmean(base[seed]) for seed in sorted(peaks.keys() & base.keys())]
    if len(pairs) >= _FEWEST:
        return _Difference(fmean(pairs), stdev(pairs) / math.sqrt(len(pairs)), len(pairs))
    ours, theirs = (fmean(value for values in side.values() for value in values) for side in (peaks, base))
    return _Difference(fmean(pairs) if pairs else ours - theirs, None, len(pairs))


def _quantile(probability: float, freedom: int) -> float:
    """Student's quantile."""
    from scipy import stats  # here: it takes a while to load, and not every report compares

    return float(stats.t.ppf(probability, freedom))
