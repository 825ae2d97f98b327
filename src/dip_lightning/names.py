"""Names and numbers in texts: a name need not be UTF-8, and a text that goes somewhere must be."""

import os
import re

__all__ = ["as_json_text", "counted", "is_text", "printable"]

# What Python makes of a byte in a name that is not UTF-8 (PEP 383).
_SURROGATE = re.compile("[\ud800-\udfff]")


def counted(number: int, thing: str) -> str:
    """Return how many of something there are: ``1 iteration``, ``2 iterations``.

    Args:
        number: How many.
        thing: Of what, in the singular; its plural ends in -s.
    """
    return f"{number} {thing}{'' if number == 1 else 's'}"


def is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8."""
    return _SURROGATE.search(name) is None


def printable(text: str) -> str:
    r"""Return a text with the bytes that are not UTF-8 written out: ``caf\xe9.png``.

    Args:
        text: Any; as a name comes from the command line, a folder or a path.
    """
    if is_text(text):
        return text
    try:
        return os.fsencode(text).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # such a character that stands for no byte
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def as_json_text(text: str) -> str:
    r"""Return JSON with such bytes as escapes (``\udce9``): UTF-8, and the name that it was when it is read.

    Args:
        text: JSON that may hold other characters than ASCII.
    """
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
