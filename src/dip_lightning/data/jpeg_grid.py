"""What a JPEG says exactly: in which interval each DCT coefficient of the picture lay before it was compressed."""

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn
from scipy.linalg import solveh_banded
from scipy.sparse import csr_array

from dip_lightning.errors import UserError

__all__ = ["JpegGrid", "JpegPlane", "read_grid"]

BLOCK = 8
# Chroma is kept at half the resolution at most; other files are rare.
_FACTORS = (1, 2)


@dataclass(frozen=True)
class JpegPlane:
    """Brightness, or one of the two planes of colour.

    Attributes:
        coefficients: Of each whole block of 8×8 samples its quantised DCT coefficients, (8·rows, 8·columns), of the
            orthonormal DCT, samples on the scale −128 to 127.
        steps: Of the quantisation, (8, 8): a coefficient lay within half a step of what the file says.
        rows: Rows of the picture for one of the plane, 1 or 2.
        columns: Columns, likewise.
    """

    coefficients: NDArray[np.float64]
    steps: NDArray[np.float64]
    rows: int
    columns: int


@dataclass(frozen=True)
class JpegGrid:
    """The planes of a JPEG: one, or brightness, blue and red (Y, Cb, Cr)."""

    planes: tuple[JpegPlane, ...]

    @property
    def align(self) -> int:
        """Pixels that a part of the picture must begin at a multiple of, so that the blocks stay whole."""
        return BLOCK * max(max(plane.rows, plane.columns) for plane in self.planes)

    def cropped(self, top: int, left: int, height: int, width: int) -> "JpegGrid":
        """Return what is known of a rectangle of the picture; its corner is aligned."""
        planes = []
        for plane in self.planes:
            begin = top // plane.rows, left // plane.columns
            size = [length // (BLOCK * f) * BLOCK for length, f in ((height, plane.rows), (width, plane.columns))]
            part = plane.coefficients[begin[0] : begin[0] + size[0], begin[1] : begin[1] + size[1]]
            planes.append(replace(plane, coefficients=part))
        return JpegGrid(tuple(planes))


def read_grid(source: Path | bytes, name: str) -> JpegGrid:
    """Read the quantised coefficients of a JPEG.

    They are computed from the decoded samples, which leaves them exact wherever a step is at least about 3; the
    interpolation of the colours is undone first (least squares). Blocks that the border cuts are left out.

    Args:
        source: The file, or what is in it.
        name: What it is called in messages.

    Raises:
        UserError: It is no JPEG, or one of another kind than grey or YCbCr, or it is to be turned.
    """
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
        image: Any = file
        if image.format not in ("JPEG", "MPO"):
            raise UserError(f"{name}, which is no JPEG", "the file as it was compressed", "try problem=denoise")
        layers, tables = image.layer, image.quantization
        factors = _factors(layers)
        is_known = image.mode == "L" or (image.mode == "RGB" and image.info.get("adobe_transform", 1) == 1)
        if not is_known or factors is None:
            raise UserError(f"{name} of {image.mode}, {len(layers)} layers", "grey or YCbCr", "try problem=denoise")
        if image.getexif().get(0x0112, 1) != 1:
            raise UserError(f"{name}, which is to be turned", "a JPEG that stands upright", "try problem=denoise")
        if image.mode == "RGB":
            image.draft("YCbCr", image.size)
        samples = np.asarray(image, np.float64).reshape(image.height, image.width, -1)
    planes = []
    for index, (rows, columns) in enumerate(factors):
        plane = _narrowed(_narrowed(samples[:, :, index], rows, 0), columns, 1)
        height, width = (length // BLOCK * BLOCK for length in plane.shape)
        steps = np.asarray(tables[layers[index][3]], np.float64).reshape(BLOCK, BLOCK)
        blocks = _blocks(plane[:height, :width] - 128)
        quantised = np.rint(dctn(blocks, axes=(2, 3), norm="ortho") / steps) * steps
        planes.append(JpegPlane(quantised.transpose(0, 2, 1, 3).reshape(height, width), steps, rows, columns))
    return JpegGrid(tuple(planes))


def _factors(layers: list[tuple[int, int, int, int]]) -> list[tuple[int, int]] | None:
    """Pixels for one sample of each layer, rows and columns; None where they are none of those handled."""
    across, down = (max(layer[axis] for layer in layers) for axis in (1, 2))
    factors = []
    for _, wide, high, _ in layers:
        if across % wide or down % high:
            return None
        factors.append((down // high, across // wide))
    return factors if all(f in _FACTORS for pair in factors for f in pair) and factors[0] == (1, 1) else None


def _blocks(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """(8·rows, 8·columns) → (rows, columns, 8, 8)."""
    height, width = plane.shape
    return plane.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).transpose(0, 2, 1, 3)


def _narrowed(plane: NDArray[np.float64], factor: int, axis: int) -> NDArray[np.float64]:
    """Undo libjpeg's interpolation along an axis: samples 2i and 2i + 1 are (3·c_i + c_{i∓1})/4, at the ends c_i."""
    if factor == 1:
        return plane
    moved = np.moveaxis(plane, axis, 0)
    length, half = len(moved), (len(moved) + 1) // 2
    # The interpolation U as its taps: three quarters of the own sample, one of the neighbour before or behind.
    own = np.arange(length) // 2
    other = np.clip(own + np.where(np.arange(length) % 2, 1, -1), 0, half - 1)
    rows = np.arange(length)
    taps = np.repeat([0.75, 0.25], length)
    # Duplicates, at the ends, are summed.
    weights = csr_array((taps, (np.tile(rows, 2), np.concatenate([own, other]))), shape=(length, half))
    normal = weights.T @ weights
    bands = np.zeros((3, half))
    for offset in range(min(3, half)):
        bands[2 - offset, offset:] = normal.diagonal(offset)
    solved = solveh_banded(bands, weights.T @ moved)
    return np.moveaxis(np.asarray(solved), 0, axis)
