"""The noise of an observation: how strong, how it grows with brightness, and what neighbours and colours share."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.optimize import nnls

from dip_lightning.checks import check_number
from dip_lightning.data.flat_blocks import BLOCK, read_spectrum, smallest_side
from dip_lightning.data.noise_level import estimate_noise, is_correlated
from dip_lightning.errors import UserError

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["NoiseModel", "estimate_model", "observed_noise", "white_noise"]

# The farthest neighbours whose share of the noise is told, in pixels along each axis.
_FARTHEST = 4

# Neighbours that share less than this of the noise count as independent. The estimate cannot tell less from none: of
# noise that is shared by next neighbours alone it finds up to 0.2 at a distance of 4.
_INDEPENDENT = 0.25

# How many times as strong as on the finest scale noise may be found. Measured: 3 to 5 times on developed photographs, 6
# after JPEG of quality 75, 8 blurred by 1.5 pixels. Beyond, there is no block without picture, or none with noise.
_LARGEST_RATIO = 15


@dataclass(frozen=True)
class NoiseModel:
    """Additive noise with mean zero.

    Attributes:
        sigma: Standard deviation in each channel, on the scale 0 to 255, (C,).
        intercept: a of the variance σ² = a + b·x at brightness x, mean of the channels, in squares of [0, 1].
        slope: b, likewise.
        autocorrelation: What a pixel shares with those around it, (2R + 1, 2R + 1), mean of the channels; 1 in the
            centre. (1, 1) for white noise.
        colors: Correlation of the channels, (C, C), 1 on the diagonal.
        source: Where it comes from: ``"estimated"``, ``"given"`` or ``"added"``, or that there is none ``"assumed"``.
    """

    sigma: tuple[float, ...]
    intercept: float
    slope: float
    autocorrelation: NDArray[np.float64]
    colors: NDArray[np.float64]
    source: str

    @property
    def level(self) -> float:
        """One standard deviation for all channels, their root mean square, on the scale 0 to 255."""
        return float(np.sqrt(np.mean(np.square(self.sigma))))

    @property
    def is_white(self) -> bool:
        """Whether neighbours share none of it."""
        return self.autocorrelation.size == 1

    @property
    def across(self) -> float:
        """Correlation of neighbours within a row; 0 for white noise."""
        return 0.0 if self.is_white else float(self.autocorrelation[self._centre, self._centre + 1])

    @property
    def down(self) -> float:
        """Correlation of neighbours within a column; 0 for white noise."""
        return 0.0 if self.is_white else float(self.autocorrelation[self._centre + 1, self._centre])

    @property
    def neighbours(self) -> float:
        """Correlation of a pixel and the next one, mean of both directions; 0 for white noise."""
        return (self.across + self.down) / 2

    @cached_property
    def reach(self) -> int:
        """The distance in pixels along an axis beyond which less than a quarter of it is shared; 0 for white noise."""
        centre = self._centre
        rows, columns = np.nonzero(np.abs(self.autocorrelation) >= _INDEPENDENT)
        return int(max(np.abs(rows - centre).max(), np.abs(columns - centre).max()))

    @cached_property
    def redundancy(self) -> float:
        """How many samples say as much as one of white noise: Σρ² over neighbours times Σρ² over channels."""
        return float(np.square(self.autocorrelation).sum() * np.square(self.colors).sum() / len(self.colors))

    @property
    def _centre(self) -> int:
        return len(self.autocorrelation) // 2

    def describe(self) -> str:
        """Say it in a few words: ``"noise: 8.0 of 255, neighbours share 0.7 of it: a developed photograph"``."""
        return f"noise: {self.level:.1f} of 255{self.describe_shared()}"

    def describe_shared(self) -> str:
        """Say what neighbours share, with a comma before it; nothing of white noise."""
        return "" if self.is_white else f", neighbours share {self.neighbours:.1f} of it: a developed photograph"

    def with_level(self, level: float, source: str) -> "NoiseModel":
        """Return the same noise, so strong in all channels together: ``level`` of 255."""
        factor = level / self.level if self.level > 0 else 0.0
        sigma = tuple(s * factor for s in self.sigma) if factor else (level,) * len(self.sigma)
        return replace(
            self,
            sigma=sigma,
            intercept=self.intercept * factor**2 if factor else (level / 255) ** 2,
            slope=self.slope * factor**2,
            source=source,
        )

    def draw(self, shape: tuple[int, int, int, int], generator: "Generator") -> "Tensor":
        """Draw Gaussian noise of this covariance, equally strong everywhere.

        White noise: one number for each sample, times σ. Else white noise is coloured in the frequency domain (Wiener–
        Khinchin: the spectrum is the Fourier transform of the autocorrelation; what is negative of it, since it was cut
        off, is 0) and mixed over the channels with the square root of their correlation.

        Args:
            shape: (1, C, H, W).
            generator: On the host.

        Returns:
            (1, C, H, W) float32, in units of [0, 1].
        """
        import torch  # this module is read by commands that need no torch

        white = torch.randn(shape, generator=generator)
        if self.is_white:
            return white * (self.level / 255)
        _, _, height, width = shape
        # Around the border the noise would come in on the other side: larger by the reach, and cut off.
        padded = (height + 2 * self._centre, width + 2 * self._centre)
        kernel = np.zeros(padded)
        offsets = np.arange(-self._centre, self._centre + 1)
        np.add.at(kernel, np.ix_(offsets % padded[0], offsets % padded[1]), self.autocorrelation)
        spectrum = np.maximum(np.fft.rfft2(kernel).real, 0)
        spread = np.sqrt(np.fft.irfft2(spectrum, padded)[0, 0])
        gain = torch.from_numpy(np.sqrt(spectrum) / spread).float()
        wide = torch.randn((*shape[:2], *padded), generator=generator)
        coloured = torch.fft.irfft2(torch.fft.rfft2(wide) * gain, padded)[..., :height, :width]
        values, vectors = np.linalg.eigh(self.colors)
        root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
        mixing = torch.from_numpy(root * (np.array(self.sigma) / 255)[:, None]).float()
        return torch.einsum("dc,nchw->ndhw", mixing, coloured).contiguous()


def white_noise(level: float, channels: int, source: str) -> NoiseModel:
    """Return noise that is independent from sample to sample.

    Args:
        level: Its standard deviation on the scale 0 to 255.
        channels: How many channels the observation has.
        source: Where it comes from, see :class:`NoiseModel`.
    """
    return NoiseModel((level,) * channels, (level / 255) ** 2, 0.0, np.ones((1, 1)), np.eye(channels), source)


def estimate_model(image: NDArray[np.floating]) -> NoiseModel:
    """Estimate the noise from the observation alone.

    White noise by :func:`~dip_lightning.data.noise_level.estimate_noise`, from the finest wavelet coefficients; noise
    that neighbours share, of which little is in these, from the flattest blocks,
    see :func:`~dip_lightning.data.flat_blocks.read_spectrum`. Where what is found there is too strong to be
    noise, white noise again.

    Args:
        image: (H, W, C) in [0, 1].
    """
    channels = image.shape[2]
    if min(image.shape[:2]) < smallest_side() or not is_correlated(image):
        return white_noise(estimate_noise(image), channels, "estimated")
    spectrum = read_spectrum(image)
    variances = spectrum.variance.mean(axis=(1, 2))
    autocorrelation = _autocorrelation(spectrum.variance.mean(axis=0))
    finest = estimate_noise(image)
    if 255 * np.sqrt(variances.mean()) > _LARGEST_RATIO * finest:
        return white_noise(finest, channels, "estimated")
    design = np.stack([np.ones_like(spectrum.brightness), spectrum.brightness], axis=1)
    (intercept, slope), _ = nnls(design, spectrum.level)
    if len(spectrum.level) == 1:
        intercept, slope = float(spectrum.level[0]), 0.0  # one brightness says nothing of a slope
    sigma = tuple(float(s) for s in 255 * np.sqrt(variances))
    return NoiseModel(sigma, float(intercept), float(slope), autocorrelation, spectrum.colors, "estimated")


def observed_noise(
    image: NDArray[np.floating], sigma: float | None, added: bool, kind: str | None
) -> tuple[NoiseModel, float]:
    """Tell what the noise of an observation is like, from what is known of it, and from itself where nothing is.

    Args:
        image: The observation, (H, W, C) in [0, 1].
        sigma: Its standard deviation on the scale 0 to 255, where it is known; None to estimate it.
        added: Whether ``sigma`` is that of noise that was added, which is white.
        kind: None to estimate what neighbours share, ``"white"`` for nothing, or the name of an ``.npy`` file with the
            autocorrelation, (2R + 1, 2R + 1), its greatest value in the centre.

    Returns:
        The model, and the standard deviation as estimated, on the scale 0 to 255.

    Raises:
        UserError: ``sigma`` is not allowed, or the file is none of an autocorrelation.
    """
    channels, source = image.shape[2], "added" if added else "given"
    if sigma is not None and not added:
        check_number("image.sigma", sigma, 0, 255, example=25)
    if kind == "white" or (kind is None and added and sigma is not None):
        white = white_noise(estimate_noise(image), channels, "estimated")
        return (white if sigma is None else white_noise(sigma, channels, source)), white.level
    estimated = estimate_model(image)
    model = estimated
    if kind is not None:
        model = replace(model, autocorrelation=_read_autocorrelation(kind))
    if sigma is None:
        return model, estimated.level
    if model.is_white:
        return white_noise(sigma, channels, source), estimated.level
    return model.with_level(sigma, source), estimated.level


def _read_autocorrelation(name: str) -> NDArray[np.float64]:
    """Read what neighbours share from a file.

    Raises:
        UserError: It cannot be read, or is no autocorrelation.
    """
    asked, way_out = f"problem.noise={name}", "try problem.noise=white"
    try:
        kernel = np.load(Path(name).expanduser(), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(asked, "white, or an .npy file of an autocorrelation", way_out) from error
    if not isinstance(kernel, np.ndarray) or kernel.dtype.kind not in "fiu" or kernel.ndim != 2:
        raise UserError(f"{asked}, no plane of numbers", "an autocorrelation of noise", way_out)
    rows, columns = kernel.shape
    kernel = kernel.astype(np.float64)
    if rows != columns or rows % 2 == 0:
        raise UserError(f"{asked} of {rows}x{columns} numbers", "as many rows as columns, an odd number", way_out)
    centre = kernel[rows // 2, rows // 2]
    if not np.isfinite(kernel).all() or centre <= 0 or np.abs(kernel).max() > centre:
        raise UserError(f"{asked}, whose greatest value is not in its centre", "an autocorrelation of noise", way_out)
    shared: NDArray[np.float64] = (kernel + kernel[::-1, ::-1]) / (2 * centre)  # noise has no direction along an axis
    return shared


def _autocorrelation(variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn variances of cosine coefficients (8, 8) into the mean correlation of pixels at each distance in a block."""
    basis = dctn(np.eye(BLOCK), axes=(0,), norm="ortho")
    lags = range(_FARTHEST + 1)
    # How alike two pixels of one basis function are, in the mean over a row, at each distance.
    shared = np.array([[np.outer(row, row).diagonal(lag).mean() for lag in lags] for row in basis])
    quarter = np.einsum("uv,ud,ve->de", variance, shared, shared)
    distance = np.abs(np.arange(-_FARTHEST, _FARTHEST + 1))
    full: NDArray[np.float64] = quarter[np.ix_(distance, distance)] / quarter[0, 0]
    return full
