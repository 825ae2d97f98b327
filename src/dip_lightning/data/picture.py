"""A picture as it was in its file: samples, alpha and what is needed to write one like it."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Picture"]


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
    """

    samples: NDArray[np.unsignedinteger]
    alpha: NDArray[np.unsignedinteger] | None = None
    format: str = "PNG"
    palette: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def value_range(self) -> int:
        """The value of white: 255 or 65535."""
        return int(np.iinfo(self.samples.dtype).max)

    @property
    def height(self) -> int:
        """Rows in pixels."""
        return int(self.samples.shape[0])

    @property
    def width(self) -> int:
        """Columns in pixels."""
        return int(self.samples.shape[1])

    def to_unit(self) -> NDArray[np.float64]:
        """Return the samples as (H, W, C) float64 in [0, 1]."""
        return self.samples / self.value_range

    def with_unit(self, image: NDArray[np.floating]) -> "Picture":
        """Return a picture like this one with other samples.

        Args:
            image: (H, W, C) in [0, 1]; values outside are clipped, then rounded to the nearest step.
        """
        samples = np.rint(np.clip(image, 0, 1) * self.value_range).astype(self.samples.dtype)
        return replace(self, samples=samples)

    def cropped(self, top: int, left: int, height: int, width: int) -> "Picture":
        """Return a rectangle of it, in pixels; the caller checks that it lies inside."""
        part = np.s_[top : top + height, left : left + width]
        return replace(self, samples=self.samples[part], alpha=None if self.alpha is None else self.alpha[part])
