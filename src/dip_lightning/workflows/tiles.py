"""How a picture is cut into overlapping tiles, and put together again."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dip_lightning.checks import check_integer, check_tile
from dip_lightning.errors import UserError

__all__ = ["Tile", "Tiles"]


@dataclass(frozen=True)
class Tile:
    """A rectangle of a picture, in pixels.

    Attributes:
        row: Which row of tiles, from 0.
        column: Which column of tiles, from 0.
        top: Its first row of pixels.
        left: Its first column of pixels.
        height: Rows of pixels.
        width: Columns of pixels.
    """

    row: int
    column: int
    top: int
    left: int
    height: int
    width: int

    @property
    def name(self) -> str:
        """The name of its folder: ``"0-3"`` is the fourth of the first row."""
        return f"{self.row}-{self.column}"

    @property
    def part(self) -> tuple[slice, slice]:
        """Its rows and columns, as an index of the picture."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


class Tiles:
    """Tiles of equal size, spread evenly, which cover a picture and share at least ``overlap`` pixels with neighbours.

    Each has a weight that falls to 0 towards a neighbour, a raised cosine over what they share. In every pixel the
    weights add up to 1. Of the pixels next to a neighbour that a forward operator sees in part alone, the halo, none
    counts.
    """

    def __init__(self, height: int, width: int, side: int, overlap: int, multiple: int = 1, halo: int = 0) -> None:
        """Cut a picture.

        Args:
            height: Rows of the picture.
            width: Columns of the picture.
            side: Of a tile, what it shares with its neighbours included; a picture that is smaller is one tile.
            overlap: How many pixels neighbours share, at least, but for the rounding to ``multiple``; at most half of
                ``side``.
            multiple: What tiles are aligned to; ``side`` is rounded down to it. A divisor of height and width, but for
                a last tile.
            halo: How many pixels of a tile, next to a neighbour, do not count; neighbours share twice as many more.

        Raises:
            UserError: ``side`` or ``overlap`` is not allowed.
        """
        check_tile(side)
        check_integer("overlap", overlap, 0, side // 2, example=side // 8)
        if halo and 2 * halo + overlap > side // 2:
            told = f"tile={side} with an operator that looks {halo} pixels far"
            raise UserError(told, f"at least {4 * halo + 2 * overlap}", f"try tile={4 * halo + 2 * overlap}")
        overlap += 2 * halo
        self.height, self.width, self._halo = height, width, halo
        side = max(side // multiple, 1) * multiple
        # Where a length is no multiple, tiles are a little longer, so that the last one ends with it.
        sides = [min(side + max(length - side, 0) % multiple, length) for length in (height, width)]
        lengths = zip((height, width), sides, strict=True)
        self._tops, self._lefts = (_starts(length, own, overlap, multiple) for length, own in lengths)
        self._tile_height, self._tile_width = sides

    @property
    def rows(self) -> int:
        """How many tiles stand above each other."""
        return len(self._tops)

    @property
    def columns(self) -> int:
        """How many tiles stand side by side."""
        return len(self._lefts)

    def __len__(self) -> int:
        """How many tiles there are."""
        return self.rows * self.columns

    def __iter__(self) -> Iterator[Tile]:
        """Yield the tiles, row by row."""
        for row, top in enumerate(self._tops):
            for column, left in enumerate(self._lefts):
                yield Tile(row, column, top, left, self._tile_height, self._tile_width)

    def weight(self, tile: Tile) -> NDArray[np.float32]:
        """How much each pixel of a tile counts, (H, W, 1) in [0, 1]."""
        return self._weights[0][tile.row][:, None, None] * self._weights[1][tile.column][None, :, None]

    @cached_property
    def _weights(self) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
        """The weights along rows and columns, whose product is that of a pixel."""
        rows = _ramps(self._tops, self._tile_height, self.height, self._halo)
        return rows, _ramps(self._lefts, self._tile_width, self.width, self._halo)


def _starts(length: int, side: int, overlap: int, multiple: int) -> list[int]:
    """Where the fewest tiles that cover a length begin: the first at 0, the last flush with the end."""
    if length <= side:
        return [0]
    count = -(-(length - overlap) // (side - overlap))
    return [multiple * round(index * (length - side) / (count - 1) / multiple) for index in range(count)]


def _ramps(starts: list[int], side: int, length: int, halo: int) -> list[NDArray[np.float32]]:
    """The weight of each of several intervals, (side,), which add up to 1 wherever intervals meet."""
    raw = []
    for index, start in enumerate(starts):
        weight = np.ones(side)
        if index > 0:
            weight *= _rise(side, starts[index - 1] + side - start, halo)
        if index + 1 < len(starts):
            weight *= _rise(side, start + side - starts[index + 1], halo)[::-1]
        raw.append(weight)
    # Neighbours alone would add up to 1 as they are; where tiles lie close, three of them meet.
    total = np.zeros(length)
    for start, weight in zip(starts, raw, strict=True):
        total[start : start + side] += weight
    return [
        (weight / total[start : start + side]).astype(np.float32) for start, weight in zip(starts, raw, strict=True)
    ]


def _rise(side: int, shared: int, halo: int) -> NDArray[np.float64]:
    """From almost 0 to 1 over the first ``shared`` of ``side`` values, then 1; 0 in the first ``halo`` of them."""
    if shared == 0:
        return np.ones(side)
    return np.sin(np.pi / 2 * np.clip((np.arange(side) - halo + 0.5) / (shared - 2 * halo), 0, 1)) ** 2
