"""The data term of a JPEG: how far a picture is from those that compress to the file."""

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor, nn

from dip_lightning.data.jpeg_grid import BLOCK, JpegGrid

__all__ = ["JpegIntervals"]

# JFIF: Y, Cb, Cr of R, G, B in rows, without the offset of Cb and Cr (ITU-T T.871).
_TO_YCBCR = torch.tensor(
    [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]], dtype=torch.float64
)


class JpegIntervals(nn.Module):
    """Squared distance to the pictures that compress to a file, one value a sample.

    Each DCT coefficient of the uncompressed picture lay within half a step of what the file says of it. What of a
    prediction lies beyond is its residual, e; planes of colour at half the resolution are means of 2×2 samples, whose
    residuals count for each of these. The loss is e² in R, G, B: 0 for all that compresses to the same file, where the
    plain squared error draws towards the one picture with the artefacts. (Projections on these sets: Zakhor 1992.)
    Where the border cuts a block, e is the difference to the file's picture.
    """

    # Records name a data term by this.
    __name__ = "intervals"
    # A block is judged as a whole: a sample that is left out still tells of itself.
    mixes_samples = True

    def __init__(self, grid: JpegGrid, low: float = 0.0, high: float = 255.0) -> None:
        """Keep the intervals.

        Args:
            grid: What the file says.
            low: The sample value that is 0 in predictions.
            high: The one that is 1.
        """
        super().__init__()
        self.low, self.scale = low, high - low
        self.factors = [(plane.rows, plane.columns) for plane in grid.planes]
        for index, plane in enumerate(grid.planes):
            rows, columns = (length // BLOCK for length in plane.coefficients.shape)
            half = torch.from_numpy(np.tile(plane.steps / 2, (rows, columns))).float()
            self.register_buffer(f"centre_{index}", torch.from_numpy(plane.coefficients).float(), persistent=False)
            self.register_buffer(f"half_{index}", half, persistent=False)
        transform = torch.from_numpy(dct(np.eye(BLOCK), axis=0, norm="ortho")).float()
        self.register_buffer("transform", transform, persistent=False)
        self.register_buffer("to_ycbcr", _TO_YCBCR.float(), persistent=False)
        # Inverted once: in each iteration a GPU would be waited for.
        self.register_buffer("to_rgb", torch.linalg.inv(_TO_YCBCR).float(), persistent=False)

    transform: Tensor
    to_ycbcr: Tensor
    to_rgb: Tensor

    def forward(self, prediction: Tensor, observation: Tensor) -> Tensor:
        """Compare (1, C, H, W) with the file, whose decoded picture is ``observation``; of the same shape."""
        with torch.no_grad(), torch.autocast(prediction.device.type, enabled=False):
            nearest = prediction - self.residual(prediction.detach().float(), observation.float())
        return (prediction - nearest).square()

    def residual(self, prediction: Tensor, observation: Tensor) -> Tensor:
        """Return what of a prediction (1, C, H, W) does not compress to the file, likewise."""
        colour = prediction.shape[1] == 3
        matrix = self.to_ycbcr.to(prediction)
        planes = self.scale * prediction + self.low
        apart = self.scale * (prediction - observation)
        if colour:
            planes, apart = (torch.einsum("dc,bchw->bdhw", matrix, x) for x in (planes, apart))
        for index, factor in enumerate(self.factors):
            centre, half = self.get_buffer(f"centre_{index}"), self.get_buffer(f"half_{index}")
            height, width = centre.shape[0] * factor[0], centre.shape[1] * factor[1]
            shift = 128.0 if index == 0 else 0.0  # Cb and Cr have their offset of 128 left out above
            plane = nn.functional.avg_pool2d(planes[:, [index], :height, :width] - shift, factor)
            beyond = _beyond(self._along(plane), centre.to(plane), half.to(plane))
            back = self._along(beyond, inverse=True).repeat_interleave(factor[0], 2).repeat_interleave(factor[1], 3)
            apart[:, index, :height, :width] = back[:, 0]
        if colour:
            apart = torch.einsum("dc,bchw->bdhw", self.to_rgb.to(prediction), apart)
        return apart / self.scale

    def _along(self, plane: Tensor, inverse: bool = False) -> Tensor:
        """The orthonormal DCT of each block of (1, 1, 8·rows, 8·columns), or its inverse."""
        _, _, height, width = plane.shape
        matrix = self.transform.to(plane)
        matrix = matrix.T if inverse else matrix
        blocks = plane.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK)
        return torch.einsum("ij,rjcl,kl->rick", matrix, blocks, matrix).reshape(1, 1, height, width)


def _beyond(values: Tensor, centre: Tensor, half: Tensor) -> Tensor:
    """How far values lie beyond centre ± half."""
    return values - torch.maximum(torch.minimum(values, centre + half), centre - half)
