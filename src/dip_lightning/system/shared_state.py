"""State of the process that several threads change at the same time, and that is put back when all are through."""

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager

__all__ = ["Turns", "shared"]


class Turns:
    """Lets those in at the same time who want the process in the same state; others wait until these are through.

    What belongs to the process, such as the default type of numbers, cannot be another in each of its threads.
    """

    def __init__(self, change: Callable[..., AbstractContextManager[object]]) -> None:
        """Begin with nobody in.

        Args:
            change: Of a state, changes the process inside its ``with`` block, and puts it back.
        """
        self._change = change
        self._condition = threading.Condition()
        self._present: Hashable = None
        self._block: AbstractContextManager[object] | None = None
        self._inside: list[int] = []  # one entry a block, of the thread that it is in

    @contextmanager
    def take(self, *state: Hashable) -> Iterator[None]:
        """Have the process in a state inside the ``with`` block; may be nested in one thread.

        Args:
            state: What ``change`` is called with.
        """
        me = threading.get_ident()
        with self._condition:
            # A block in a block of the same thread: a fit that a callback of another one runs. It would wait for ever.
            nested = me in self._inside
            if not nested:
                self._condition.wait_for(lambda: not self._inside or self._present == state)
            if not self._inside:
                self._block = self._change(*state)
                self._block.__enter__()
                self._present = state
            self._inside.append(me)
        try:
            if nested and self._present != state:
                with self._change(*state):
                    yield
            else:
                yield
        finally:
            with self._condition:
                self._inside.remove(me)
                if not self._inside:
                    block, self._block = self._block, None
                    self._condition.notify_all()
                    if block is not None:
                        block.__exit__(None, None, None)


def shared(change: Callable[[], AbstractContextManager[object]]) -> Callable[[], AbstractContextManager[None]]:
    """Make of a context manager one that threads may be in at the same time: the first changes, the last puts back.

    Args:
        change: Changes the process inside its ``with`` block.
    """
    return Turns(change).take
