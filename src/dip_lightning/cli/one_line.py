"""How a small command ends on an error: with one line, without a traceback."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from dip_lightning.errors import UserError
from dip_lightning.system.output import tolerate_broken_output

__all__ = ["OneLineParser", "errors_in_one_line"]


class OneLineParser(ArgumentParser):
    """A parser of arguments that tells a mistake as all else is told: in one line, with the way out."""

    def error(self, message: str) -> NoReturn:
        """Refuse what was typed.

        Args:
            message: What argparse says of it.

        Raises:
            UserError: Always.
        """
        files = [name for name in sys.argv[1:] if name.startswith("-") and Path(name).exists()]
        if files:
            raise UserError(files[0], "no name that begins like an option", f"try {self.prog} ./{files[0]}")
        raise UserError(message, self.format_usage().removeprefix("usage: ").strip(), f"see {self.prog} --help")


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
