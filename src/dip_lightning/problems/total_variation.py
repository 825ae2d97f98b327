"""Total variation, the regulariser that prefers images of few edges."""

from torch import Tensor, nn

from dip_lightning.checks import check_choice, check_number

__all__ = ["TotalVariation"]

# Keeps the gradient of a length finite where it is 0; a thousandth of a grey level of 255.
_SMOOTH = (1e-3 / 255) ** 2


class TotalVariation(nn.Module):
    """λ times the mean change from a pixel to the next (Rudin, Osher & Fatemi, 1992).

    Anisotropic: |∂x| + |∂y|. Isotropic: √(∂x² + ∂y²), which does not prefer horizontal and vertical edges.
    """

    def __init__(self, weight: float = 0.01, kind: str = "anisotropic") -> None:
        """Set the term.

        Args:
            weight: λ, relative to a data term that is a mean over samples in [0, 1].
            kind: ``"anisotropic"`` or ``"isotropic"``.

        Raises:
            UserError: A value is not allowed.
        """
        super().__init__()
        self.weight = check_number("regularizers.tv.weight", weight, 0, low_open=True, example=0.01)
        self.kind = check_choice("regularizers.tv.kind", kind, ("anisotropic", "isotropic"))

    def forward(self, image: Tensor) -> Tensor:
        """Return λ·TV of an image (1, C, H, W), of shape ()."""
        down, right = image.diff(dim=2), image.diff(dim=3)
        if self.kind == "anisotropic":
            return self.weight * (down.abs().sum() + right.abs().sum()) / image.numel()
        length = (down[..., :-1].square() + right[..., :-1, :].square() + _SMOOTH).sqrt()
        return self.weight * length.sum() / image.numel()
