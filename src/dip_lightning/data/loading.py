"""From files and settings to an observation: which picture, seen through what, with which noise."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dip_lightning.data.beyond import degrade, fixed_pixels
from dip_lightning.data.compressed import grid_of
from dip_lightning.data.cropping import (
    DEFAULT_SAMPLE,
    SAMPLE_PREFIX,
    crop_picture,
    read_clean,
    read_source,
    resize_picture,
    with_lost,
)
from dip_lightning.data.degradation import DefaultNoise, Degradation, NoDegradation
from dip_lightning.data.holes import pasted_pixels, with_holes
from dip_lightning.data.lost_samples import fill_lost
from dip_lightning.data.noise_level import clipped_noise, estimate_noise, estimate_noise_of_known
from dip_lightning.data.noise_model import NoiseModel, observed_noise, white_noise
from dip_lightning.data.observation import Observation
from dip_lightning.data.observing import Directly, check_clean, enlarged, image_shape, observe, to_tensor
from dip_lightning.data.own_range import choose_range, range_of_clean
from dip_lightning.data.picture import Picture
from dip_lightning.errors import UserError

if TYPE_CHECKING:
    from dip_lightning.problems.operators.operator import Operator

__all__ = ["SMALLEST_SIDE", "load_observation"]

Source = str | Path | NDArray[np.generic]

SMALLEST_SIDE = 8

# The share of known samples from which one that is mixed of several counts as known; the rest is rounding.
_WHOLLY = 0.999


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
    path, clean, made = _of_clean_alone(path, clean)
    if isinstance(degradation, DefaultNoise):
        is_sample = isinstance(path, str) and path.startswith(SAMPLE_PREFIX)
        degradation = degradation.choose(is_sample=is_sample and clean is None)
    seen = Directly() if operator is None else operator
    added, scale = made or not isinstance(degradation, NoDegradation), seen.scale or 1
    source = read_source(path, page=page, bands=bands)
    picture = with_lost(resize_picture(crop_picture(source, crop, align=seen.align), size), lost)
    holed = picture
    if seen.has_holes:
        holed = with_lost(resize_picture(crop_picture(with_holes(source, seen.mask), crop), size), lost)
        picture = picture if added else holed
    _check_side(picture)
    chosen = choose_range(picture, range, of_type=added and picture.samples.dtype == np.uint8)
    picture = replace(picture, scale=chosen.values)
    exact, known = picture.to_unit(), holed.known
    truth: NDArray[np.float64] | None = None
    if clean is not None:
        _check_nothing_added(added)
        like = resize_picture(crop_picture(read_clean(clean, page, bands), crop, scale), size, scale)
        truth = replace(like, scale=range_of_clean(picture, like)).to_unit()
        check_clean(truth, image_shape(exact, seen), scale)
    elif added:
        truth = exact
        seen.check_image(picture.height, picture.width)
        exact = observe(exact, seen)
        known = None if known is None else observe(known.astype(np.float64), seen) > _WHOLLY
    beyond: NDArray[np.bool_] = np.any((exact < 0) | (exact > 1), axis=2)
    noisy, inside = degrade(exact, degradation, beyond)
    if seen.has_holes:  # what is lost the fit does not know, also where a clean picture has it
        noisy, inside = (fill_lost(one, known).astype(np.float64) for one in (noisy, inside))
    grid = grid_of(path, source, exact, degradation, crop, seen.align) if seen.is_compressed else None
    told = degradation.sigma if sigma is None else sigma
    if told is None and made:
        told = 0.0
    model, estimated = _noise_of(inside, known, seen, told, sigma is None, noise)
    level, origin = model.level, model.source
    # Noise that was not clipped leaves the range; what was clipped lies at its ends. An estimate is of what is left.
    low, high = inside.min(), inside.max()
    clipped = origin in ("given", "added") and low >= 0 and high <= 1 and (low == 0 or high == 1)
    shape = image_shape(exact, seen)
    pasted = pasted_pixels(noisy, known, seen.paste) if seen.has_holes and known is not None else None
    return Observation(
        noisy=to_tensor(noisy),
        clean=None if truth is None else to_tensor(truth),
        picture=picture if truth is not None and clean is None else enlarged(picture, shape),
        source="array" if isinstance(path, np.ndarray) else str(path),
        sigma=level,
        sigma_source=origin,
        sigma_estimated=estimated,
        sigma_in_force=clipped_noise(inside, level) if clipped else level,
        noise=model,
        data_term=degradation.data_term,
        range=chosen,
        measured=None if known is None else to_tensor(known.astype(np.float64)),
        known=to_tensor((~beyond[:, :, None]).astype(np.float64)) if beyond.any() else None,
        fixed=to_tensor(fixed_pixels(noisy, beyond, shape)) if beyond.any() else None,
        pasted=None if pasted is None else to_tensor(pasted),
        paste=seen.paste,
        jpeg=grid,
    )


def _of_clean_alone(path: Source, clean: Source | None) -> tuple[Source, Source | None, bool]:
    """Where a clean image is named and nothing else, what is observed of it is made."""
    if clean is not None and isinstance(path, str) and path == DEFAULT_SAMPLE:
        return clean, None, True
    return path, clean, False


def _check_side(picture: Picture) -> None:
    if min(picture.height, picture.width) < SMALLEST_SIDE:
        raise UserError(
            f"a picture of {picture.height}x{picture.width} pixels",
            f"at least {SMALLEST_SIDE} on each side",
            "use a larger part of it",
        )


def _check_nothing_added(added: bool) -> None:
    if added:
        raise UserError(
            "image.clean together with noise to add",
            "a picture that is noisy already",
            "try degradation=none, or leave image.clean out",
        )


def _noise_of(
    inside: NDArray[np.float64],
    known: NDArray[np.bool_] | None,
    seen: "Operator | Directly",
    told: float | None,
    added: bool,
    kind: str | None,
) -> tuple[NoiseModel, float]:
    """The noise of what is observed, and its strength as estimated."""
    if told is None and kind is None and seen.has_holes and known is not None:
        level = estimate_noise_of_known(inside, known)
        return white_noise(level, inside.shape[2], "estimated"), level
    if told is None and kind is None and (seen.scale or 1) > 1:
        # So much detail falls on each pixel of a small picture that an estimate would take it for noise: 27 of 255 of a
        # clean one of 32x32 pixels.
        return white_noise(0.0, inside.shape[2], "assumed"), estimate_noise(inside)
    view = seen.noise_view(inside)
    if view is inside:
        return observed_noise(inside, told, added, kind)
    # What is told apart for the estimate is of several kinds of pixels, and says nothing of what neighbours share.
    model, estimated = observed_noise(view, told, added, "white")
    return white_noise(model.level, inside.shape[2], model.source), estimated
