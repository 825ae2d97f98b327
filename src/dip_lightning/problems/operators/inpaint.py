"""A picture with holes: what was measured is told by a mask."""

from torch import Tensor

from dip_lightning.checks import check_choice
from dip_lightning.errors import UserError
from dip_lightning.problems.operators.operator import Operator

__all__ = ["Inpaint"]


class Inpaint(Operator):
    """The picture itself, of which some samples are lost. Which, the picture's reader finds in the mask."""

    has_holes = True

    def __init__(self, mask: str | None = None, paste: bool | str = "auto") -> None:
        """Keep the settings.

        Args:
            mask: A file, white where a pixel is known; ``"alpha"`` for what is not wholly transparent; None for what
                the picture itself says of lost samples.
            paste: Whether known pixels are handed back as they were: True, False or ``"auto"``.

        Raises:
            UserError: A value is not allowed.
        """
        super().__init__()
        if mask is not None and (not isinstance(mask, str) or not mask):
            raise UserError(f"problem.mask={mask}", "the name of a file, or alpha", "try problem.mask=mask.png")
        self.mask = mask
        self.paste = paste if isinstance(paste, bool) else None
        if self.paste is None:
            check_choice("problem.paste", paste, ("auto",))

    def forward(self, image: Tensor) -> Tensor:
        """Return the image."""
        return image
