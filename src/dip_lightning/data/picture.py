"""A picture as it was in its file: samples, alpha and what is needed to write one like it."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dip_lightning.data.lost_samples import fill_lost
from dip_lightning.data.value_range import ValueRange
from dip_lightning.errors import UserError

__all__ = ["LARGEST_AREA", "Picture", "check_samples", "picture_from_array"]

# In pixels; where Pillow refuses a file as a decompression bomb.
LARGEST_AREA = 178_956_970

# Integers beyond are no longer told apart by the floats of the fit.
_LARGEST_INTEGER = 2**53


@dataclass(frozen=True)
class Picture:
    """Samples of an image file, upright, with what belongs to them.

    Attributes:
        samples: (H, W, C), integers or floats in the machine's byte order; C = 1 is grey, 3 RGB, others are bands.
        alpha: (H, W) of the same type, or None. The samples are never multiplied by it.
        format: The name of the file format: ``"PNG"``, ``"JPEG"``, ``"TIFF"``, ``"WEBP"``, ``"BMP"``, ``"NPY"`` or
            ``"FITS"``.
        palette: Whether the file held indices into a table of colours.
        metadata: What is handed to the writer unchanged: ``icc_profile``, ``dpi``, ``exif`` and ``xmp`` where present,
            and what the writer of the format alone understands.
        scale: Which sample values are black and white for the fit; by default all that the type can say.
        bits: How many bits a sample of unsigned integers has in the file; None for all that its type has.
        known: (H, W, C), False where a sample was lost; None where none was.
        lost: What becomes of lost samples: ``"fill"`` takes what was fitted there, ``"keep"`` leaves them as they were.
        others: (H, W, K), samples that are handed through as they are; None for none.
        order: Where each sample of a pixel in the file is found among ``samples``, ``others`` and ``alpha``, one behind
            the other; None for just that order.
        associated: How many samples of a pixel, the first in the file, are multiplied by alpha there.
        page: Which page of the file it is, from 0.
        pages: How many pages the file has.
        notes: What a user should know of how the file was read, one sentence each, without a full stop.
    """

    samples: NDArray[Any]
    alpha: NDArray[Any] | None = None
    format: str = "PNG"
    palette: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    scale: ValueRange = None  # type: ignore[assignment]  # what it is by default depends on the samples
    bits: int | None = None
    known: NDArray[np.bool_] | None = None
    lost: str = "fill"
    others: NDArray[Any] | None = None
    order: tuple[int, ...] | None = None
    associated: int = 0
    page: int = 0
    pages: int = 1
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Take the whole range of the samples' type where no other is given."""
        if self.scale is None:
            object.__setattr__(self, "scale", self.limits)

    @property
    def limits(self) -> ValueRange:
        """The least and the greatest value that a sample can have in the file; 0 and 1 for floats."""
        if self.bits is not None:
            return ValueRange(0.0, 2.0**self.bits - 1)
        return ValueRange.of_type(self.samples.dtype)

    @property
    def height(self) -> int:
        """Rows in pixels."""
        return int(self.samples.shape[0])

    @property
    def width(self) -> int:
        """Columns in pixels."""
        return int(self.samples.shape[1])

    def filled(self) -> NDArray[Any]:
        """Return the samples, in the place of each lost one the nearest of its band that was not."""
        return fill_lost(self.samples, self.known)

    def to_unit(self) -> NDArray[np.float64]:
        """Return the samples as (H, W, C) float64, in [0, 1] but for those beyond ``scale``.

        In the place of a lost sample stands another, see :meth:`filled`.
        """
        return self.scale.to_unit(self.filled())

    def with_unit(self, image: NDArray[np.floating]) -> "Picture":
        """Return a picture like this one with other samples.

        Args:
            image: (H, W, C), 0 and 1 being the ends of ``scale``. Integers are clipped to what their type can say, and
                rounded to the nearest; floats stay as they are.
        """
        return self._with(image, self._held())

    def as_held(self, image: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return what is left of an image in the samples of a picture like this one: clipped to its type, and rounded.

        Args:
            image: (H, W, C), 0 and 1 being the ends of ``scale``; of any height and width.
        """
        return self.scale.to_unit(self._samples_of(image))

    def _with(self, image: NDArray[np.floating], held: NDArray[np.bool_] | None) -> "Picture":
        samples = self._samples_of(image)
        return replace(self, samples=samples if held is None else np.where(held, self.samples, samples))

    def _samples_of(self, image: NDArray[np.floating]) -> NDArray[Any]:
        samples = self.scale.to_samples(image)
        if np.issubdtype(self.samples.dtype, np.integer):
            samples = np.rint(np.clip(samples, self.limits.low, self.limits.high))
        elif self.samples.dtype != np.float64:
            limits = np.finfo(self.samples.dtype)
            samples = np.clip(samples, limits.min, limits.max)  # a value that overflows would be lost
        return samples.astype(self.samples.dtype)

    def _held(self) -> NDArray[np.bool_] | None:
        """Where samples are handed back as they were."""
        if self.known is None:
            return None
        if self.lost == "keep":
            return ~self.known
        # The colour of what cannot be seen is not known, and nobody asked for one.
        return ~self.known & (self.alpha == 0)[:, :, None] if self.associated and self.alpha is not None else None

    def preview(self, image: NDArray[np.floating]) -> "Picture":
        """Return a PNG that shows an image of the scale of this picture, of any size.

        It has the samples of the picture itself where a PNG can hold them; else 16 bits, in which black and white are
        the ends of ``scale``, and of several bands those that :func:`shown_bands` picks.

        Args:
            image: (H, W, C), 0 and 1 being the ends of ``scale``.
        """
        alpha = self.alpha if image.shape[:2] == self.samples.shape[:2] else None
        exact = self.samples.dtype in (np.uint8, np.uint16) and self.bits is None and image.shape[2] in (1, 3)
        if exact:
            shown = replace(self._with(image, None), alpha=alpha, format="PNG", palette=False)
            return replace(shown, others=None, order=None, associated=0, known=None)
        samples = np.rint(np.clip(shown_bands(image), 0, 1) * np.iinfo(np.uint16).max).astype(np.uint16)
        return Picture(samples, metadata={key: self.metadata[key] for key in ("dpi",) if key in self.metadata})

    def cropped(self, top: int, left: int, height: int, width: int) -> "Picture":
        """Return a rectangle of it, in pixels; the caller checks that it lies inside."""
        part = np.s_[top : top + height, left : left + width]
        names = ("samples", "alpha", "known", "others")
        planes = {name: plane[part] for name in names if (plane := getattr(self, name)) is not None}
        return replace(self, **planes)

    def with_bands(self, bands: "tuple[int, ...]") -> "Picture":
        """Return a picture of some of its bands; the others are handed through.

        Args:
            bands: Which, from 0, in their order; the caller checks that they are there.
        """
        count = self.samples.shape[2]
        rest = tuple(band for band in range(count) if band not in bands)
        passed = 0 if self.others is None else self.others.shape[2]
        order = self.order or tuple(range(count + passed + (self.alpha is not None)))
        place = {band: at for at, band in enumerate((*bands, *rest))}
        parts = [self.samples[:, :, list(rest)]] + ([] if self.others is None else [self.others])
        return replace(
            self,
            samples=np.ascontiguousarray(self.samples[:, :, list(bands)]),
            known=None if self.known is None else np.ascontiguousarray(self.known[:, :, list(bands)]),
            others=np.concatenate(parts, axis=2) if rest or passed else None,
            order=tuple(place.get(index, index) for index in order),
        )

    def interleaved(self) -> NDArray[Any]:
        """Return all samples of a pixel in the order of the file, (H, W, S), colours multiplied by associated alpha."""
        parts = [self.samples] + ([] if self.others is None else [self.others])
        whole = np.concatenate([*parts, *([] if self.alpha is None else [self.alpha[:, :, None]])], axis=2)
        if self.order is not None:
            whole = whole[:, :, list(self.order)]
        if self.associated and self.alpha is not None:
            colours = slice(0, self.associated)
            whole[:, :, colours] = associate(whole[:, :, colours], self.alpha, self.limits.high)
        return np.ascontiguousarray(whole)


def shown_bands(image: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return what is shown of an image (H, W, C) on a screen: itself if it is grey or RGB, the first or three of bands.

    Args:
        image: Of two bands the first is shown, as grey; of more than three the first three, as red, green and blue.
    """
    channels = image.shape[2]
    return image if channels in (1, 3) else image[:, :, : 1 if channels == 2 else 3]


def associate(colours: NDArray[Any], alpha: NDArray[Any], white: float) -> NDArray[Any]:
    """Multiply colours (H, W, C) by alpha (H, W), where it is not 0; ``white`` is the alpha of what is opaque."""
    factor = np.where(alpha == 0, white, alpha.astype(np.float64))[:, :, None] / white
    product = colours * factor
    return (np.rint(product) if np.issubdtype(colours.dtype, np.integer) else product).astype(colours.dtype)


def dissociate(colours: NDArray[Any], alpha: NDArray[Any], white: float) -> NDArray[Any]:
    """Undo :func:`associate`; integers that were greater than their alpha are clipped to white."""
    factor = np.where(alpha == 0, white, alpha.astype(np.float64))[:, :, None] / white
    quotient = colours / factor
    if np.issubdtype(colours.dtype, np.integer):
        quotient = np.rint(np.clip(quotient, None, white))
    return quotient.astype(colours.dtype)


def check_samples(samples: NDArray[np.generic]) -> None:
    """Check that samples are of a type that can be restored.

    Raises:
        UserError: They are no integers or floats, or integers beyond 2⁵³.
    """
    kind = samples.dtype.kind
    if kind == "b":
        raise UserError("samples of one bit (bool)", "numbers, grey or colour", "convert it to grey values first")
    if kind not in "iuf" or samples.dtype.itemsize > 8:
        raise UserError(
            f"samples of type {samples.dtype}", "integers, or floats of at most 64 bits", "convert it to one of these"
        )
    # Not the absolute value, which the least integer has none of.
    if samples.dtype.itemsize == 8 and kind in "iu" and samples.size:
        ends = int(samples.min()), int(samples.max())
        if ends[1] > _LARGEST_INTEGER or ends[0] < -_LARGEST_INTEGER:
            raise UserError("integers beyond 2^53", "such as a float tells apart", "convert it to float64")


def picture_from_array(
    samples: NDArray[np.generic],
    *,
    file_format: str | None = None,
    palette: bool = False,
    metadata: dict[str, object] | None = None,
    alpha: bool | None = None,
    **attributes: Any,
) -> Picture:
    """Take apart an array of samples.

    Args:
        samples: (H, W), or (H, W, C), integers or floats of either byte order. Those that a masked array masks, NaN and
            infinite ones were lost.
        file_format: What it is to be written as; None for PNG where a PNG can hold it, else TIFF.
        palette: Whether it came from indices into a table of colours.
        metadata: Handed on to the writer.
        alpha: Whether the last channel is alpha; None where uint8 or uint16 have 2 (grey + alpha) or 4 (RGB + alpha)
            channels. All other channels are bands.
        attributes: Further attributes of the picture.

    Raises:
        UserError: The shape or the type is another, or every sample of a band is lost.
    """
    if samples.ndim == 2:
        samples = samples[:, :, None]
    if samples.ndim != 3 or 0 in samples.shape:
        shape = "x".join(map(str, samples.shape))
        raise UserError(f"an array of shape {shape}", "(H, W), or (H, W, C) with bands last", "rearrange its axes")
    check_samples(samples)
    masked = np.ma.getmaskarray(samples) if isinstance(samples, np.ma.MaskedArray) else None
    # A copy: the array may be a view into a decoder's memory, or turned.
    whole = np.array(np.ma.getdata(samples), dtype=samples.dtype.newbyteorder("="), order="C")
    if alpha is None:
        alpha = whole.dtype in (np.uint8, np.uint16) and whole.shape[2] in (2, 4)
    known = np.isfinite(whole)
    if masked is not None:
        known &= ~masked
    bands = whole[:, :, :-1] if alpha else whole
    known = known[:, :, : bands.shape[2]]
    lacking = np.flatnonzero(~known.any(axis=(0, 1)))
    if lacking.size:
        raise UserError(
            f"band {lacking[0]}, of which no sample is known", "some that are finite", "leave it out (image.bands=)"
        )
    if file_format is None:
        file_format = "PNG" if whole.dtype in (np.uint8, np.uint16) and bands.shape[2] in (1, 3) else "TIFF"
    if bands.dtype.itemsize == 8 and bands.dtype.kind in "iu" and bands.min() < bands.max():
        # All that the type can say is more than a float tells apart.
        attributes.setdefault("scale", ValueRange(float(bands.min()), float(bands.max())))
    return Picture(
        samples=bands,
        alpha=whole[:, :, -1] if alpha else None,
        format=file_format,
        palette=palette,
        metadata=metadata or {},
        known=None if known.all() else known,
        **attributes,
    )
