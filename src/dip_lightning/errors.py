"""The exception for what a user can cause and can mend, and that for a sweep's failed jobs."""

from collections.abc import Sequence

from dip_lightning.names import printable

__all__ = ["JobsFailedError", "UserError"]


class UserError(ValueError):
    """A mistake in what the user gave: a setting, a file, a machine that cannot do what was asked.

    Its text is one line with three parts: what was given, what was expected, and the way out. The command line
    prints it without a traceback and exits with code 2.
    """

    def __init__(self, problem: str, expected: str, remedy: str) -> None:
        """Compose the line.

        Args:
            problem: What was given, with its value: ``"dropout=1.5"``.
            expected: What would have been right: ``"a probability in [0, 1)"``.
            remedy: What to do now: ``"try dropout=0.1"``.
        """
        self.problem = problem
        self.expected = expected
        self.remedy = remedy
        # File names and values may hold line breaks; the message must stay one line.
        super().__init__(printable(" ".join(f"{problem}: expected {expected}; {remedy}".split())))

    def __reduce__(self) -> tuple[type["UserError"], tuple[str, str, str]]:
        """Let it be handed over by a process that a launcher has started."""
        return type(self), (self.problem, self.expected, self.remedy)


class JobsFailedError(Exception):
    """Some jobs of a sweep have failed; each has told why."""

    def __init__(self, codes: Sequence[int]) -> None:
        """Compose the line.

        Args:
            codes: The exit code of each job, 0 where it went well.
        """
        self.codes = list(codes)
        failed = sum(code != 0 for code in codes)
        jobs = "job" if len(codes) == 1 else "jobs"
        super().__init__(f"{failed} of {len(codes)} {jobs} failed; the results of the others are kept")
