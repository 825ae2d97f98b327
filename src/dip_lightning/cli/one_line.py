"""How a small command ends on an error: with one line, without a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dip_lightning.errors import UserError
from dip_lightning.system.output import tolerate_broken_output

__all__ = ["errors_in_one_line"]


@contextmanager
def errors_in_one_line(program: str) -> Iterator[None]:
    """End a small command on a mistake of the user, or a file that cannot be written, with one line and exit code 2.

    Output that nobody reads, as with ``| head``, is dropped.

    Args:
        program: The name of the command.

    Raises:
        SystemExit: 2, after a mistake.
    """
    try:
        with tolerate_broken_output():
            yield
    except UserError as error:
        print(f"{program}: {error}", file=sys.stderr)
    except OSError as error:
        print(f"{program}: {error.filename or 'a file'} cannot be written ({error.strerror or error})", file=sys.stderr)
    else:
        return
    sys.exit(2)
