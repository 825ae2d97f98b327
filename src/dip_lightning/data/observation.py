"""From files and settings to what is fitted and what it is measured against."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dip_lightning.checks import check_number
from dip_lightning.data.cropping import SAMPLE_PREFIX, crop_picture, read_source, resize_picture
from dip_lightning.data.degradation import DefaultNoise, Degradation, NoDegradation
from dip_lightning.data.noise_level import clipped_noise, estimate_noise, is_correlated
from dip_lightning.data.picture import Picture
from dip_lightning.errors import UserError

if TYPE_CHECKING:
    from dip_lightning.problems.operators.operator import Operator

__all__ = ["Observation", "load_observation"]

_SMALLEST_SIDE = 8


@dataclass(frozen=True)
class Observation:
    """What was read, and what is known of it.

    Attributes:
        noisy: The observation y, (1, C_y, H_y, W_y) float64; in [0, 1] unless the noise was not clipped.
        clean: The clean image x, (1, C, H, W) in [0, 1]; None for a picture of which there is none.
        picture: Format, mode, depth and alpha of what will be handed back, as large as x: the file, enlarged where y
            is smaller.
        source: Where it came from, for records.
        sigma: Standard deviation of the noise on the scale 0 to 255.
        sigma_source: Where σ comes from: ``"given"``, ``"added"`` (with the noise) or ``"estimated"`` from ``noisy``.
        sigma_estimated: σ as estimated from ``noisy``.
        sigma_in_force: What the fit reckons with: σ, or what clipping to black and white left of the noise added.
        correlated: Whether neighbouring pixels seem to share their noise; only asked where σ is estimated.
        data_term: The name of the data term that suits the noise.
    """

    noisy: Tensor
    clean: Tensor | None
    picture: Picture
    source: str
    sigma: float
    sigma_source: str
    sigma_estimated: float
    sigma_in_force: float
    correlated: bool
    data_term: str

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the image x."""
        return int(self.picture.samples.shape[2]), self.picture.height, self.picture.width

    def cropped(self, top: int, left: int, height: int, width: int, scale: int = 1) -> "Observation":
        """Return a rectangle of it, in pixels of x, with the noise of the whole; the caller checks that it lies inside.

        ``scale`` is how many of them there are for one of y, along each side; the rectangle is aligned to it.

        Its picture is a PNG of 16 bits without alpha, whatever the whole is, so that what is handed back is rounded
        but little before it is put together with others.
        """
        part = np.s_[:, :, top : top + height, left : left + width]
        seen = np.s_[:, :, *(slice(a // scale, (a + b) // scale) for a, b in ((top, height), (left, width)))]
        samples = self.picture.cropped(top, left, height, width).to_unit() * np.iinfo(np.uint16).max
        return replace(
            self,
            noisy=self.noisy[seen].contiguous(),
            clean=None if self.clean is None else self.clean[part].contiguous(),
            picture=Picture(np.rint(samples).astype(np.uint16)),
        )

    def describe(self) -> str:
        """Say in a few words what it is and how noisy: ``"photo.png: 64x64, grey, noise σ = 25.0 of 255 (added)"``."""
        _, channels, height, width = self.noisy.shape
        kind = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
        large = "" if self.noisy.shape[1:] == self.picture_shape else f" of {self.picture.height}x{self.picture.width}"
        noise = f"noise σ = {self.sigma:.1f} of 255 ({self.sigma_source})"
        return f"{Path(self.source).name}: {height}x{width}{large}, {kind}, {noise}"

    @cached_property
    def digest(self) -> str:
        """Hexadecimal digits that two observations share if their pixels, noise included, are equal."""
        digest = hashlib.sha256(self.noisy.numpy().data)
        if self.clean is not None:
            digest.update(self.clean.numpy().data)
        return digest.hexdigest()


def load_observation(
    path: str | Path | NDArray[np.generic],
    degradation: Degradation | DefaultNoise,
    *,
    clean: str | Path | NDArray[np.generic] | None = None,
    crop: int | Sequence[int] | None = None,
    size: int | Sequence[int] | None = None,
    sigma: float | None = None,
    operator: "Operator | None" = None,
) -> Observation:
    """Read a picture, choose a part of it, and make an observation of it unless it is one.

    Args:
        path: An image file, ``skimage:NAME`` for a sample, or an array of samples (H, W[, C]), uint8 or uint16.
        degradation: What corrupts it; :class:`NoDegradation` for one that is corrupted already.
        clean: The clean image, for measuring; allowed only where nothing is added to ``path``.
        crop: Side of the central square in pixels, or ``[top, left, height, width]``; None for all.
        size: Longest side in pixels, or ``[height, width]``, after cropping; None to leave it.
        sigma: Standard deviation of the noise on the scale 0 to 255, if you know better than what is added or
            estimated. It adds nothing.
        operator: How y arises from the image, before noise is added; None for the identity.

    Returns:
        The observation.

    Raises:
        UserError: A file cannot be read, or the settings do not fit it.
    """
    if isinstance(degradation, DefaultNoise):
        is_sample = isinstance(path, str) and path.startswith(SAMPLE_PREFIX)
        degradation = degradation.choose(is_sample=is_sample and clean is None)
    picture = resize_picture(crop_picture(read_source(path), crop), size)
    scale = 1 if operator is None else operator.scale or 1
    if min(picture.height, picture.width) < _SMALLEST_SIDE:
        raise UserError(
            f"a picture of {picture.height}x{picture.width} pixels",
            f"at least {_SMALLEST_SIDE} on each side",
            "use a larger part of it",
        )
    exact = picture.to_unit()
    truth: NDArray[np.float64] | None = None
    if clean is not None:
        if not isinstance(degradation, NoDegradation):
            raise UserError(
                "image.clean together with noise to add",
                "a picture that is noisy already",
                "try degradation=none, or leave image.clean out",
            )
        truth = resize_picture(crop_picture(read_source(clean, "image.clean"), crop, scale), size, scale).to_unit()
        expected = _image_shape(exact, operator)
        if truth.shape != expected:
            told = "as image.path has" if scale == 1 else "which image.path calls for"
            raise UserError(
                f"image.clean of {_describe(truth.shape)}", f"{_describe(expected)}, {told}", "name its clean image"
            )
    elif not isinstance(degradation, NoDegradation):
        truth = exact
        if operator is not None:
            operator.check_image(picture.height, picture.width)
            exact = _observe(exact, operator)
    noisy = degradation(exact)
    estimated = estimate_noise(noisy)
    if sigma is not None:
        level, origin = check_number("image.sigma", sigma, 0, 255, example=25), "given"
    elif degradation.sigma is not None:
        level, origin = degradation.sigma, "added"
    else:
        level, origin = estimated, "estimated"
    # Noise that was not clipped leaves the range.
    clipped = origin == "added" and noisy.min() >= 0 and noisy.max() <= 1
    return Observation(
        noisy=_to_tensor(noisy),
        clean=None if truth is None else _to_tensor(truth),
        picture=picture if truth is not None and clean is None else _enlarged(picture, _image_shape(exact, operator)),
        source="array" if isinstance(path, np.ndarray) else str(path),
        sigma=level,
        sigma_source=origin,
        sigma_estimated=estimated,
        sigma_in_force=clipped_noise(noisy, level) if clipped else level,
        correlated=origin == "estimated" and is_correlated(noisy),
        data_term=degradation.data_term,
    )


def _observe(image: NDArray[np.float64], operator: "Operator") -> NDArray[np.float64]:
    """Apply an operator to (H, W, C)."""
    with torch.no_grad():
        seen: NDArray[np.float64] = operator(_to_tensor(image))[0].permute(1, 2, 0).numpy()
    return seen


def _image_shape(observed: NDArray[np.float64], operator: "Operator | None") -> tuple[int, int, int]:
    """(H, W, C) of the image that an observation (H_y, W_y, C_y) is of."""
    height, width, channels = observed.shape
    if operator is not None:
        channels, height, width = operator.image_shape((channels, height, width))
    return height, width, channels


def _enlarged(picture: Picture, shape: tuple[int, int, int]) -> Picture:
    """Make a picture like the image (H, W, C) that it is an observation of."""
    height, width, channels = shape
    if (height, width) != (picture.height, picture.width):
        picture = resize_picture(picture, [height, width])
    if channels == picture.samples.shape[2]:
        return picture
    return picture.with_unit(picture.to_unit().mean(axis=2, keepdims=True).repeat(channels, axis=2))


def _describe(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{height}x{width} pixels and {channels} {'channel' if channels == 1 else 'channels'}"


def _to_tensor(image: NDArray[np.float64]) -> Tensor:
    """(H, W, C) → (1, C, H, W), contiguous."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
