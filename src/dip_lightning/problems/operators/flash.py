"""A dark picture with its like, taken with a flash."""

from dip_lightning.errors import UserError
from dip_lightning.problems.operators.operator import Identity

__all__ = ["Flash"]


class Flash(Identity):
    """The dark picture itself; the one with a flash, which shows what is where, is what the network gets as z."""

    # Tiles would need those of the other picture.
    scale = None

    def __init__(self, flash: str | None = None) -> None:
        """Keep the name of the picture.

        Args:
            flash: A picture of the same scene and size, taken with a flash; None where a prior brings its own input.

        Raises:
            UserError: It is no name.
        """
        super().__init__()
        if flash is not None and (not isinstance(flash, str) or not flash):
            raise UserError(
                f"problem.flash={flash}", "the picture with a flash", "try problem=flash problem.flash=flash.jpg"
            )
        self.flash = flash
