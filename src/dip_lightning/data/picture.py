"""A picture as it was in its file: samples, alpha and what is needed to write one like it."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dip_lightning.data.value_range import ValueRange
from dip_lightning.errors import UserError

__all__ = ["LARGEST_AREA", "Picture", "picture_from_array"]

# In pixels; where Pillow refuses a file as a decompression bomb.
LARGEST_AREA = 178_956_970


@dataclass(frozen=True)
class Picture:
    """Samples of an image file, upright, with what belongs to them.

    Attributes:
        samples: (H, W, C), C = 1 (grey) or 3 (RGB), uint8 or uint16.
        alpha: (H, W) of the same type, or None.
        format: The name of the file format as Pillow has it: ``"PNG"``, ``"JPEG"``, ``"TIFF"``, ``"WEBP"``, ``"BMP"``.
        palette: Whether the file held indices into a table of colours.
        metadata: What is handed to the writer unchanged: ``icc_profile``, ``dpi`` and ``exif``, where
            present.
        scale: Which sample values are black and white for the fit; by default all that the type can say.
    """

    samples: NDArray[np.unsignedinteger]
    alpha: NDArray[np.unsignedinteger] | None = None
    format: str = "PNG"
    palette: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    scale: ValueRange = None  # type: ignore[assignment]  # what it is by default depends on the samples

    def __post_init__(self) -> None:
        """Take the whole range of the samples' type where no other is given."""
        if self.scale is None:
            object.__setattr__(self, "scale", self.limits)

    @property
    def limits(self) -> ValueRange:
        """The least and the greatest value that a sample can have in the file."""
        return ValueRange.of_type(self.samples.dtype)

    @property
    def height(self) -> int:
        """Rows in pixels."""
        return int(self.samples.shape[0])

    @property
    def width(self) -> int:
        """Columns in pixels."""
        return int(self.samples.shape[1])

    def to_unit(self) -> NDArray[np.float64]:
        """Return the samples as (H, W, C) float64, in [0, 1] but for those beyond ``scale``."""
        return self.scale.to_unit(self.samples)

    def with_unit(self, image: NDArray[np.floating]) -> "Picture":
        """Return a picture like this one with other samples.

        Args:
            image: (H, W, C), 0 and 1 being the ends of ``scale``. Integers are clipped to what their type can say, and
                rounded to the nearest; floats stay as they are.
        """
        samples = self.scale.to_samples(image)
        if np.issubdtype(self.samples.dtype, np.integer):
            samples = np.rint(np.clip(samples, self.limits.low, self.limits.high))
        return replace(self, samples=samples.astype(self.samples.dtype))

    def cropped(self, top: int, left: int, height: int, width: int) -> "Picture":
        """Return a rectangle of it, in pixels; the caller checks that it lies inside."""
        part = np.s_[top : top + height, left : left + width]
        return replace(self, samples=self.samples[part], alpha=None if self.alpha is None else self.alpha[part])


def picture_from_array(
    samples: NDArray[np.generic],
    *,
    file_format: str = "PNG",
    palette: bool = False,
    metadata: dict[str, object] | None = None,
) -> Picture:
    """Take apart an array of samples.

    Args:
        samples: (H, W), or (H, W, C) with C = 1 grey, 2 grey + alpha, 3 RGB, 4 RGB + alpha; uint8 or uint16.
        file_format: What it is to be written as.
        palette: Whether it came from indices into a table of colours.
        metadata: Handed on to the writer.

    Raises:
        UserError: The shape or the type is another.
    """
    if samples.ndim == 2:
        samples = samples[:, :, None]
    if samples.ndim != 3 or samples.shape[2] not in (1, 2, 3, 4) or 0 in samples.shape:
        shape = "x".join(map(str, samples.shape))
        raise UserError(f"an array of shape {shape}", "(H, W), or (H, W, C) with 1 to 4 channels", "rearrange its axes")
    if samples.dtype not in (np.uint8, np.uint16):
        raise UserError(
            f"samples of type {samples.dtype}", "uint8 or uint16", "convert it, scaled to 0..255 or 0..65535"
        )
    # A copy: the array may be a view into a decoder's memory, or turned.
    whole = np.ascontiguousarray(samples).astype(samples.dtype.newbyteorder("="))
    has_alpha = whole.shape[2] in (2, 4)
    return Picture(
        samples=whole[:, :, :-1] if has_alpha else whole,
        alpha=whole[:, :, -1] if has_alpha else None,
        format=file_format,
        palette=palette,
        metadata=metadata or {},
    )
