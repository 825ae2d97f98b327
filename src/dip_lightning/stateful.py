"""What an object remembers from one iteration to the next, so that a fit can go on where it was."""

from typing import Any, ClassVar

__all__ = ["Stateful"]


class Stateful:
    """Hands its state over, and takes it back: the attributes that ``remembered`` names.

    For callbacks these are Lightning's hooks; they are called after ``on_fit_start``, on the device of the fit.

    Attributes:
        remembered: Names of attributes that hold tensors, numbers, words, None, or lists and dictionaries of those.
    """

    remembered: ClassVar[tuple[str, ...]] = ()

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered, by name."""
        return {name: getattr(self, name) for name in self.remembered}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned.

        Args:
            state_dict: Values by name, on the device of the fit.
        """
        for name in self.remembered:
            setattr(self, name, state_dict[name])
