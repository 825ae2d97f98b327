"""Corruptions that are added to a clean image, so that the restoration can be measured. Each is seeded."""

import io
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dip_lightning.checks import check_flag, check_integer, check_number

__all__ = [
    "DefaultNoise",
    "Degradation",
    "GaussianNoise",
    "ImpulseNoise",
    "JpegCompression",
    "NoDegradation",
    "ShotNoise",
    "SpeckleNoise",
]


class Degradation(Protocol):
    """Makes an observation from a clean image.

    Attributes:
        sigma: Standard deviation of the noise on the scale 0 to 255, or None where it is not known.
        data_term: The data term that suits the noise, by its name in ``problems.DATA_TERMS``.
    """

    sigma: float | None
    data_term: str

    def __call__(self, clean: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map (H, W, C) in [0, 1] to an array of the same shape in [0, 1]."""
        ...


class GaussianNoise:
    """Additive white Gaussian noise."""

    data_term = "mse"

    def __init__(self, sigma: float = 25, seed: int = 0, clip: bool = True) -> None:
        """Set the noise.

        Args:
            sigma: Standard deviation on the scale 0 to 255.
            seed: Which noise; the same seed gives the same noise on every machine.
            clip: Whether the result is clipped to [0, 1], as the DIP code does.

        Raises:
            UserError: A value is not allowed.
        """
        self.sigma: float | None = check_number("degradation.sigma", sigma, 0, low_open=True, example=25)
        self.seed = check_integer("degradation.seed", seed, 0, example=0)
        self.clip = check_flag("degradation.clip", clip)

    def __call__(self, clean: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add the noise to (H, W, C) in [0, 1]."""
        assert self.sigma is not None
        noise = np.random.default_rng(self.seed).normal(0, self.sigma / 255, clean.shape)
        return np.clip(clean + noise, 0, 1) if self.clip else clean + noise


class ShotNoise:
    """Poisson (shot) noise: every sample counts photons, white being ``peak`` of them on average."""

    sigma: float | None = None  # varies with the brightness
    data_term = "mse"

    def __init__(self, peak: float = 25, seed: int = 0) -> None:
        """Set the light.

        Args:
            peak: Mean count at white; the fewer, the noisier: near white σ is 255/√peak on the scale 0 to 255.
            seed: Which noise; the same seed gives the same noise on every machine.

        Raises:
            UserError: A value is not allowed.
        """
        self.peak = check_number("degradation.peak", peak, 0, 1e9, low_open=True, example=25)
        self.seed = check_integer("degradation.seed", seed, 0, example=0)

    def __call__(self, clean: NDArray[np.float64]) -> NDArray[np.float64]:
        """Count photons for (H, W, C) in [0, 1]; counts above white are clipped."""
        counts = np.random.default_rng(self.seed).poisson(clean * self.peak)
        return np.clip(counts / self.peak, 0, 1)


class ImpulseNoise:
    """Salt-and-pepper (impulse) noise: a share of the pixels is white or black, in all channels at once."""

    sigma: float | None = None  # not Gaussian: a standard deviation would mislead
    data_term = "l1"  # a median is what lost pixels do not move

    def __init__(self, amount: float = 0.1, seed: int = 0) -> None:
        """Set the noise.

        Args:
            amount: Share of the pixels that are lost, in (0, 1]; half of them white, half black.
            seed: Which pixels; the same seed gives the same on every machine.

        Raises:
            UserError: A value is not allowed.
        """
        self.amount = check_number("degradation.amount", amount, 0, 1, low_open=True, example=0.1)
        self.seed = check_integer("degradation.seed", seed, 0, example=0)

    def __call__(self, clean: NDArray[np.float64]) -> NDArray[np.float64]:
        """Lose pixels of (H, W, C) in [0, 1]."""
        draw = np.random.default_rng(self.seed).random(clean.shape[:2])[:, :, None]
        return np.where(draw < self.amount / 2, 0.0, np.where(draw > 1 - self.amount / 2, 1.0, clean))


class SpeckleNoise:
    """Speckle: noise in proportion to the brightness, y = x · (1 + n) with Gaussian n, clipped to [0, 1]."""

    sigma: float | None = None  # varies with the brightness
    data_term = "mse"

    def __init__(self, strength: float = 0.3, seed: int = 0) -> None:
        """Set the noise.

        Args:
            strength: Standard deviation of n.
            seed: Which noise; the same seed gives the same noise on every machine.

        Raises:
            UserError: A value is not allowed.
        """
        self.strength = check_number("degradation.strength", strength, 0, low_open=True, example=0.3)
        self.seed = check_integer("degradation.seed", seed, 0, example=0)

    def __call__(self, clean: NDArray[np.float64]) -> NDArray[np.float64]:
        """Multiply (H, W, C) in [0, 1] by the noise."""
        noise = np.random.default_rng(self.seed).normal(0, self.strength, clean.shape)
        return np.clip(clean * (1 + noise), 0, 1)


class JpegCompression:
    """The artefacts of JPEG: the picture is compressed and read again, at 8 bits. Nothing here is random."""

    sigma: float | None = None  # not noise
    data_term = "mse"

    def __init__(self, quality: int = 10) -> None:
        """Set the compression.

        Args:
            quality: Pillow's scale, from 1 (worst) to 95.

        Raises:
            UserError: The quality lies outside.
        """
        self.quality = check_integer("degradation.quality", quality, 1, 95, example=10)

    def __call__(self, clean: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compress (H, W, C) in [0, 1]; bands that are neither grey nor RGB each by itself."""
        if clean.shape[2] not in (1, 3):  # of bands, each by itself
            return np.concatenate([self(clean[:, :, [band]]) for band in range(clean.shape[2])], axis=2)
        with Image.open(io.BytesIO(self.encode(clean))) as image:
            return np.asarray(image).reshape(clean.shape) / 255

    def encode(self, clean: NDArray[np.float64]) -> bytes:
        """Return the file of (H, W, 1 or 3) in [0, 1]."""
        samples = np.rint(clean * 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(samples if samples.shape[2] == 3 else samples[:, :, 0]).save(file, "JPEG", quality=self.quality)
        return file.getvalue()


class NoDegradation:
    """Leaves the picture as it is: it is corrupted already."""

    sigma: float | None = None
    data_term = "mse"

    def __call__(self, clean: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the picture."""
        return clean


class DefaultNoise:
    """Chooses: Gaussian noise on a sample picture, nothing on somebody's own, unless a strength is given.

    Adding noise to somebody's photo unasked would hand back a worse picture than they gave.
    """

    def __init__(self, sigma: float | None = None, seed: int = 0, clip: bool = True) -> None:
        """Set the noise.

        Args:
            sigma: Standard deviation on the scale 0 to 255; None for 25 on a sample and nothing else.
            seed: See :class:`GaussianNoise`.
            clip: See :class:`GaussianNoise`.

        Raises:
            UserError: A value is not allowed.
        """
        self._sigma = sigma
        self._noise = GaussianNoise(25 if sigma is None else sigma, seed, clip)

    def choose(self, *, is_sample: bool) -> Degradation:
        """Return what is to be done to a picture, by where it comes from."""
        return self._noise if is_sample or self._sigma is not None else NoDegradation()
