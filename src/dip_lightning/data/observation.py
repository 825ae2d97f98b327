"""What was observed of a picture, and what is known of it."""

import hashlib
import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dip_lightning.data.jpeg_grid import JpegGrid
from dip_lightning.data.noise_model import NoiseModel
from dip_lightning.data.observing import fine_picture
from dip_lightning.data.own_range import WorkingRange
from dip_lightning.data.picture import Picture

__all__ = ["Observation"]


# Noise below so many of 255 is hardly seen; in clean pictures with texture up to 3 are estimated.
_FAINT = 4.0


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
        sigma_source: Where σ comes from: ``"given"``, ``"added"`` (with the noise), ``"estimated"`` from ``noisy``, or
            ``"assumed"``, 0, of a small picture that is enlarged.
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
        pasted: The samples of x that were measured and may be handed back as they were, likewise.
        paste: Whether they are; None where their noise is less than what the restored ones miss.
        jpeg: What the file of a compressed picture says of its coefficients; None for any other.
        beside: Digests of the files that belong to it, such as that of a kernel.
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
    pasted: Tensor | None = None
    paste: bool | None = None
    jpeg: JpegGrid | None = None
    beside: bytes = b""

    @property
    def correlated(self) -> bool:
        """Whether neighbouring pixels share their noise."""
        return not self.noise.is_white

    @property
    def beyond(self) -> int:
        """How many pixels of y lie beyond the range."""
        return 0 if self.known is None else int((self.known == 0).sum())

    @property
    def shown(self) -> Tensor:
        """The observation as it is shown to people, (1, C_y, H_y, W_y): what was lost is black."""
        return self.noisy if self.measured is None else self.noisy * self.measured

    def completed(self, image: NDArray[np.floating]) -> NDArray[np.floating]:
        """Put into a restored image (H, W, C) what is known of it: beyond the range, and where it was measured."""
        for values in (self.pasted if self._pastes(image) else None, self.fixed):
            if values is not None:
                exact = values[0].permute(1, 2, 0).numpy()
                image = np.where(np.isnan(exact), image, exact)
        return image

    def _pastes(self, image: NDArray[np.floating]) -> bool:
        """Whether measured samples are handed back as they were.

        Between them and the image lie noise and what the image misses, E = σ² + m²; the smaller one is taken: they
        are if σ² < m². They are, too, if E is far below σ²: then the noise has been fitted along, or is none; and if
        the noise is estimated to be faint, where it is as likely to be texture.
        """
        faint = self.sigma_source == "estimated" and self.sigma < _FAINT
        if self.pasted is None or self.paste is not None or faint:
            return self.pasted is not None
        apart = np.nanmean(np.square(image - self.pasted[0].permute(1, 2, 0).numpy()))
        noise = (self.sigma / 255) ** 2
        return not noise / 2 <= apart <= 2 * noise

    @property
    def lost(self) -> NDArray[np.bool_] | None:
        """Where samples of x were lost, (H, W, C); None where none was, or where x is larger than y."""
        if self.measured is None or self.measured.shape[1:] != self.picture_shape:
            return None
        lost: NDArray[np.bool_] = self.measured[0].permute(1, 2, 0).numpy() == 0
        return lost

    def psnr_of_lost(self, image: NDArray[np.floating]) -> float | None:
        """Return the PSNR in dB of a restored image (H, W, C) where samples were lost.

        None without a clean image, or where none was lost.
        """
        lost = self.lost
        if self.clean is None or lost is None or not lost.any():
            return None
        error = float(np.square(image - self.clean[0].permute(1, 2, 0).numpy()).mean(where=lost))
        return math.inf if error == 0 else -10 * math.log10(error)

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
            picture=fine_picture(self.picture, unit),
            known=None if inside else known,
            measured=None if self.measured is None else self.measured[seen].contiguous(),
            fixed=None if inside or self.fixed is None else self.fixed[part].contiguous(),
            pasted=None if self.pasted is None else self.pasted[part].contiguous(),
            jpeg=None if self.jpeg is None else self.jpeg.cropped(top, left, height, width),
        )

    @property
    def name(self) -> str:
        """The picture's name, without its folder."""
        return Path(self.source).name

    def describe(self) -> str:
        """Say in a few words what it is and how noisy: ``"64x64, grey, noise σ = 25.0 of 255 (added)"``.

        Where the range is not that of the type, it is told: ``"range: 0..4095 of 65535"``.
        """
        _, channels, height, width = self.noisy.shape
        kind = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
        large = "" if self.noisy.shape[1:] == self.picture_shape else f" of {self.picture.height}x{self.picture.width}"
        scale = "" if self.range.source == "type" else f"{self.range.describe(self.beyond)}, "
        noise = f"noise σ = {self.sigma:.1f} of 255 ({self.sigma_source}){self.noise.describe_shared()}"
        notes = "".join(f"; {note}" for note in self.picture.notes)
        return f"{height}x{width}{large}, {kind}, {scale}{noise}{notes}"

    @cached_property
    def digest(self) -> str:
        """Hexadecimal digits that two observations share if their pixels, noise and files beside them are equal."""
        digest = hashlib.sha256(self.noisy.numpy().data)
        if self.clean is not None:
            digest.update(self.clean.numpy().data)
        if self.measured is not None:
            digest.update(self.measured.numpy().data)
        digest.update(self.beside)
        return digest.hexdigest()
