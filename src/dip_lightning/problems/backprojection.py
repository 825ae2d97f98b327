"""The data term of a blurred picture in which every frequency counts as much as it is seen, for its noise."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dip_lightning.problems.operators.blur import Blur

__all__ = ["Backprojection"]

# ε: what keeps frequencies that are hardly seen from being all noise. Of 0.03, 0.1 and 0.3 the best, on one picture
# with a Gaussian blur of 1.6 pixels and noise of 2 of 255 (docs/results/applications.md).
_EPSILON = 0.1


class Backprojection(nn.Module):
    """Squared error of the residual A(x) − y divided by √(|H|² + ε) in each frequency, one value a sample.

    H is the spectrum of the kernel. Where ε = 0 that is ‖A⁺(A(x) − y)‖², the error of what is projected back by the
    pseudo-inverse (Tirer & Giryes, 2019; as the data term of Deep Image Prior: Zukerman, Tirer & Giryes, 2020). The
    plain squared error hardly sees fine detail, which a blur makes weak, so that fitting it takes many times as many
    iterations. Beyond the border the residual goes on as its mirror image.
    """

    # Records name a data term by this.
    __name__ = "backprojection"
    # The residual of a sample counts at its neighbours, too: a sample that is left out still tells of itself.
    mixes_samples = True

    def __init__(self, blur: Blur, height: int, width: int, known: Tensor | None = None) -> None:
        """Prepare for pictures of a size.

        Args:
            blur: The operator.
            height: Of the picture, in pixels.
            width: Likewise.
            known: 1 where a sample was measured, 0 where not, broadcast to (1, C, H, W); None for all.
        """
        super().__init__()
        rows, columns = (
            min(length, limit) - 1 for length, limit in zip(blur.kernel.shape, (height, width), strict=True)
        )
        self.border = (columns, columns, rows, rows)
        shape = (height + 2 * rows, width + 2 * columns)
        seen = torch.fft.rfft2(blur.kernel.double(), s=shape).abs().square()
        gain = (seen + _EPSILON).rsqrt()
        # Half of a spectrum, as torch.fft.rfft2 gives it, (H', W'/2 + 1).
        self.register_buffer("gain", gain.float(), persistent=False)
        self.register_buffer("known", known, persistent=False)

    gain: Tensor
    known: Tensor | None

    def forward(self, prediction: Tensor, observation: Tensor) -> Tensor:
        """Compare A(x) with y, both (1, C, H, W); of the same shape."""
        residual = prediction - observation
        if self.known is not None:
            residual = residual * self.known
        left, right, top, bottom = self.border
        with torch.autocast(residual.device.type, enabled=False):
            padded = F.pad(residual, self.border, mode="reflect")
            height, width = padded.shape[-2:]
            even: Tensor = torch.fft.irfft2(torch.fft.rfft2(padded) * self.gain, s=(height, width))
        return even[..., top : height - bottom, left : width - right].square()
