"""What the command ends with."""

__all__ = ["INTERRUPTED", "UNEXPECTED", "USER_ERROR", "WORSE", "exit_code"]

UNEXPECTED, USER_ERROR, WORSE, INTERRUPTED = 1, 2, 3, 130


def exit_code(signal: int | None, *, worse: bool) -> int:
    """The exit code after a fit.

    Args:
        signal: The number of the signal that ended it early, or None.
        worse: Whether what came out is worse than what was given.
    """
    return 128 + signal if signal is not None else WORSE if worse else 0
