"""The exception for what a user can cause and can mend, how a small command tells of it, and a sweep's failed jobs."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dip_lightning.system.terminal import lasting_output

__all__ = ["JobsFailedError", "UserError", "mistakes_in_one_line"]


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
        super().__init__(" ".join(f"{problem}: expected {expected}; {remedy}".split()))


class JobsFailedError(Exception):
    """Some jobs of a sweep have failed; each has told why."""

    def __init__(self, codes: Sequence[int]) -> None:
        """Compose the line.

        Args:
            codes: The exit code of each job, 0 where it went well.
        """
        self.codes = list(codes)
        failed = sum(code != 0 for code in codes)
        super().__init__(f"{failed} of {len(codes)} jobs failed; the results of the others are kept")


@contextmanager
def mistakes_in_one_line(program: str) -> Iterator[None]:
    """End a small command on a mistake of the user, or a file that cannot be written, with one line and exit code 2.

    Output that nobody reads, as with ``| head``, is dropped.

    Args:
        program: The name of the command.

    Raises:
        SystemExit: 2, after a mistake.
    """
    try:
        with lasting_output():
            yield
    except UserError as error:
        print(f"{program}: {error}", file=sys.stderr)
    except OSError as error:
        print(f"{program}: {error.filename or 'a file'} cannot be written ({error.strerror or error})", file=sys.stderr)
    else:
        return
    sys.exit(2)
