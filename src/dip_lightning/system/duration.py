"""Times in words."""

__all__ = ["duration"]


def duration(seconds: float) -> str:
    """Say how long something takes: ``"40 s"``, ``"12 min"``, ``"3.5 h"``.

    Args:
        seconds: How many; less than one counts as one.
    """
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
