"""A picture that was compressed."""

from dip_lightning.problems.operators.operator import Identity

__all__ = ["Jpeg"]


class Jpeg(Identity):
    """The picture itself, of which the file says within which bounds it lay before it was compressed."""

    # Parts begin where blocks do, also those of colours at half the resolution.
    align = 16
    is_compressed = True
