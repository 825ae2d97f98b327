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

from dip_lightning.data.beyond import degrade, fixed_pixels
from dip_lightning.data.cropping import (
    SAMPLE_PREFIX,
    crop_picture,
    read_clean,
    read_source,
    resize_picture,
    with_lost,
)
from dip_lightning.data.degradation import DefaultNoise, Degradation, NoDegradation
from dip_lightning.data.noise_level import clipped_noise
from dip_lightning.data.noise_model import NoiseModel, observed_noise
from dip_lightning.data.own_range import WorkingRange, choose_range, range_of_clean
from dip_lightning.data.picture import Picture
from dip_lightning.errors import UserError

if TYPE_CHECKING:
    from dip_lightning.problems.operators.operator import Operator

__all__ = ["Observation", "load_observation"]

_SMALLEST_SIDE = 8

# The share of known samples from which one that is mixed of several counts as known; the rest is rounding.
_WHOLLY = 0.999


@dataclass(frozen=True)
class Observation:
    """What was read, and what is known of it.

    Attributes:
        noisy: The observation y, (1, C_y, H_y, W_y) float64; in [0, 1] unless the noise was not clipped, or beyond the
            range.
        clean: The clean image x, (1, C, H, W) likewise; None for a picture of which there is none.
        picture: Format, mode, depth and alpha of what will be handed back, as large as x: the file, enlarged where y
            is smaller.
        source: Where it came from, for records.
        sigma: Standard deviation of the noise on the scale 0 to 255.
        sigma_source: Where σ comes from: ``"given"``, ``"added"`` (with the noise) or ``"estimated"`` from ``noisy``.
        sigma_estimated: σ as estimated from ``noisy``.
        sigma_in_force: What the fit reckons with: σ, or what clipping to black and white left of noise that was told.
        noise: What the noise is like: how neighbours and colours share it, and how it grows with brightness.
        data_term: The name of the data term that suits the noise.
        range: Which sample values are 0 and 1. All that is told of 255, and the peak of each PSNR, count on it.
        known: 1 where a pixel of y lies in the range, 0 where beyond, (1, 1, H_y, W_y); None where all lie in it. What
            lies beyond is not fitted.
        measured: 1 where a sample of y was measured, 0 where it was lost, (1, C_y, H_y, W_y); None where none was. The
            fit knows nothing of what was lost; ``noisy`` has its neighbours' values there.
        fixed: The pixels of x that lie beyond, as they were observed, NaN elsewhere, (1, C, H, W); None for none.
    """

    noisy: Tensor
    clean: Tensor | None
    picture: Picture
    source: str
    sigma: float
    sigma_source: str
    sigma_estimated: float
    sigma_in_force: float
    noise: NoiseModel
    data_term: str
    range: WorkingRange
    known: Tensor | None = None
    fixed: Tensor | None = None
    measured: Tensor | None = None

    @property
    def correlated(self) -> bool:
        """Whether neighbouring pixels share their noise."""
        return not self.noise.is_white

    @property
    def beyond(self) -> int:
        """How many pixels of y lie beyond the range."""
        return 0 if self.known is None else int((self.known == 0).sum())

    def completed(self, image: NDArray[np.floating]) -> NDArray[np.floating]:
        """Put into a restored image (H, W, C) what lies beyond the range, as it was observed."""
        if self.fixed is None:
            return image
        fixed = self.fixed[0].permute(1, 2, 0).numpy()
        return np.where(np.isnan(fixed), image, fixed)

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the image x."""
        return int(self.picture.samples.shape[2]), self.picture.height, self.picture.width

    def cropped(self, top: int, left: int, height: int, width: int, scale: int = 1) -> "Observation":
        """Return a rectangle of it, in pixels of x, with the noise of the whole; the caller checks that it lies inside.

        ``scale`` is how many of them there are for one of y, along each side; the rectangle is aligned to it.

        Its picture has 16 bits without alpha, or floats where the whole has more than 16 bits, whatever the whole is,
        so that what is handed back is rounded but little before it is put together with others.
        """
        part = np.s_[:, :, top : top + height, left : left + width]
        seen = np.s_[:, :, *(slice(a // scale, (a + b) // scale) for a, b in ((top, height), (left, width)))]
        unit = self.picture.cropped(top, left, height, width).to_unit()
        known = None if self.known is None else self.known[seen].contiguous()
        inside = known is None or bool(known.all())
        return replace(
            self,
            noisy=self.noisy[seen].contiguous(),
            clean=None if self.clean is None else self.clean[part].contiguous(),
            picture=_fine_picture(self.picture, unit),
            known=None if inside else known,
            measured=None if self.measured is None else self.measured[seen].contiguous(),
            fixed=None if inside or self.fixed is None else self.fixed[part].contiguous(),
        )

    def describe(self) -> str:
        """Say in a few words what it is and how noisy: ``"photo.png: 64x64, grey, noise σ = 25.0 of 255 (added)"``.

        Where the range is not that of the type, it is told: ``"range: 0..4095 of 65535"``.
        """
        _, channels, height, width = self.noisy.shape
        kind = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
        large = "" if self.noisy.shape[1:] == self.picture_shape else f" of {self.picture.height}x{self.picture.width}"
        scale = "" if self.range.source == "type" else f"{self.range.describe(self.beyond)}, "
        noise = f"noise σ = {self.sigma:.1f} of 255 ({self.sigma_source}){self.noise.describe_shared()}"
        notes = "".join(f"; {note}" for note in self.picture.notes)
        return f"{Path(self.source).name}: {height}x{width}{large}, {kind}, {scale}{noise}{notes}"

    @cached_property
    def digest(self) -> str:
        """Hexadecimal digits that two observations share if their pixels, noise included, are equal."""
        digest = hashlib.sha256(self.noisy.numpy().data)
        if self.clean is not None:
            digest.update(self.clean.numpy().data)
        if self.measured is not None:
            digest.update(self.measured.numpy().data)
        return digest.hexdigest()


def load_observation(
    path: str | Path | NDArray[np.generic],
    degradation: Degradation | DefaultNoise,
    *,
    clean: str | Path | NDArray[np.generic] | None = None,
    crop: int | Sequence[int] | None = None,
    size: int | Sequence[int] | None = None,
    sigma: float | None = None,
    range: Sequence[float] | None = None,
    page: int | str | None = None,
    bands: Sequence[int] | str | None = None,
    lost: str = "fill",
    operator: "Operator | None" = None,
    noise: str | None = None,
) -> Observation:
    """Read a picture, choose a part of it, and make an observation of it unless it is one.

    Args:
        path: An image file, ``skimage:NAME`` for a sample, or an array of samples (H, W[, C]), integers or
            floats, masked where samples were lost.
        degradation: What corrupts it; :class:`NoDegradation` for one that is corrupted already.
        clean: The clean image, for measuring; allowed only where nothing is added to ``path``.
        crop: Side of the central square in pixels, or ``[top, left, height, width]``; None for all.
        size: Longest side in pixels, or ``[height, width]``, after cropping; None to leave it.
        sigma: Standard deviation of the noise on the scale 0 to 255, if you know better than what is added or
            estimated. It adds nothing.
        range: The sample values that are black and white for the fit, ``[low, high]``; None to find them, see
            :func:`~dip_lightning.data.own_range.find_range`. Noise that is added to 8 bits counts in their grey levels.
        page: Which page of a file with several, from 0; None for the first.
        bands: Which bands are fitted, from 0; None for all. The others are handed through as they are.
        lost: What becomes of samples that were lost (NaN, masked, no data): ``"fill"`` or ``"keep"``.
        operator: How y arises from the image, before noise is added; None for the identity.
        noise: What the noise is like: None to estimate it, ``"white"``, or an ``.npy`` file with its autocorrelation.

    Returns:
        The observation.

    Raises:
        UserError: A file cannot be read, or the settings do not fit it.
    """
    if isinstance(degradation, DefaultNoise):
        is_sample = isinstance(path, str) and path.startswith(SAMPLE_PREFIX)
        degradation = degradation.choose(is_sample=is_sample and clean is None)
    picture = resize_picture(crop_picture(read_source(path, page=page, bands=bands), crop), size)
    picture = with_lost(picture, lost)
    scale = 1 if operator is None else operator.scale or 1
    if min(picture.height, picture.width) < _SMALLEST_SIDE:
        raise UserError(
            f"a picture of {picture.height}x{picture.width} pixels",
            f"at least {_SMALLEST_SIDE} on each side",
            "use a larger part of it",
        )
    added = not isinstance(degradation, NoDegradation)
    chosen = choose_range(picture, range, of_type=added and picture.samples.dtype == np.uint8)
    picture = replace(picture, scale=chosen.values)
    exact = picture.to_unit()
    measured = None if picture.known is None else picture.known.astype(np.float64)
    truth: NDArray[np.float64] | None = None
    if clean is not None:
        if added:
            raise UserError(
                "image.clean together with noise to add",
                "a picture that is noisy already",
                "try degradation=none, or leave image.clean out",
            )
        like = resize_picture(crop_picture(read_clean(clean, page, bands), crop, scale), size, scale)
        truth = replace(like, scale=range_of_clean(picture, like)).to_unit()
        _check_clean(truth, _image_shape(exact, operator), scale)
    elif added:
        truth = exact
        if operator is not None:
            operator.check_image(picture.height, picture.width)
            exact = _observe(exact, operator)
            measured = None if measured is None else (_observe(measured, operator) > _WHOLLY).astype(np.float64)
    beyond: NDArray[np.bool_] = np.any((exact < 0) | (exact > 1), axis=2)
    noisy, inside = degrade(exact, degradation, beyond)
    model, estimated = observed_noise(inside, degradation.sigma if sigma is None else sigma, sigma is None, noise)
    level, origin = model.level, model.source
    # Noise that was not clipped leaves the range; what was clipped lies at its ends. An estimate is of what is left.
    low, high = inside.min(), inside.max()
    clipped = origin != "estimated" and low >= 0 and high <= 1 and (low == 0 or high == 1)
    shape = _image_shape(exact, operator)
    return Observation(
        noisy=_to_tensor(noisy),
        clean=None if truth is None else _to_tensor(truth),
        picture=picture if truth is not None and clean is None else _enlarged(picture, shape),
        source="array" if isinstance(path, np.ndarray) else str(path),
        sigma=level,
        sigma_source=origin,
        sigma_estimated=estimated,
        sigma_in_force=clipped_noise(inside, level) if clipped else level,
        noise=model,
        data_term=degradation.data_term,
        range=chosen,
        measured=None if measured is None else _to_tensor(measured),
        known=_to_tensor((~beyond[:, :, None]).astype(np.float64)) if beyond.any() else None,
        fixed=_to_tensor(fixed_pixels(noisy, beyond, shape)) if beyond.any() else None,
    )


def _check_clean(truth: NDArray[np.float64], expected: tuple[int, int, int], scale: int) -> None:
    """Check that a clean image has the shape of the image that the observation is of."""
    if truth.shape != expected:
        told = "as image.path has" if scale == 1 else "which image.path calls for"
        problem = f"image.clean of {_describe(truth.shape)}"
        raise UserError(problem, f"{_describe(expected)}, {told}", "name its clean image")


def _fine_picture(whole: Picture, unit: NDArray[np.float64]) -> Picture:
    """A picture of (H, W, C) in [0, 1] with as many bits as it takes, alike in nothing else."""
    is_fine = whole.samples.dtype.kind != "f" and whole.samples.dtype.itemsize <= 2
    picture_format = "PNG" if is_fine and unit.shape[2] in (1, 3) else "TIFF"
    return Picture(np.zeros((1, 1, 1), np.uint16 if is_fine else np.float64), format=picture_format).with_unit(unit)


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
    unit = picture.to_unit().mean(axis=2, keepdims=True).repeat(channels, axis=2)
    return replace(picture, known=None, others=None, order=None).with_unit(unit)


def _describe(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{height}x{width} pixels and {channels} {'channel' if channels == 1 else 'channels'}"


def _to_tensor(image: NDArray[np.float64]) -> Tensor:
    """(H, W, C) → (1, C, H, W), contiguous."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
