"""What a network tells of itself, so that whoever uses it as a prior need not know which one it is."""

from torch import nn

__all__ = ["Network", "told_size"]

# In pixels; a side beyond is no help to anybody.
_LARGEST_SIDE = 65536


def told_size(levels: int, fitting: int, side: int) -> str:
    """Say what would do where an image is too small for so many levels.

    Args:
        levels: How many there are.
        fitting: How many its size allows; of wide kernels even these may be too many.
        side: From how many pixels on a side there may be as many as there are.
    """
    told = f"at most {fitting} {'level' if fitting == 1 else 'levels'}" if fitting < levels else ""
    if side > _LARGEST_SIDE and told:
        return told
    return f"{told}{', or ' if told else ''}at least {side} pixels on each side"


class Network(nn.Module):
    """A network that maps its input z (1, C_z, H_z, W_z) to an image (1, C, H', W').

    Any other ``nn.Module`` is taken for one whose z is as large as its image.

    Attributes:
        input_channels: Channels of z.
        smallest_side: Height or width in pixels from which on the network computes what its layers say.
        multiple: The sides of its image are multiples of this; what an image is smaller, is cut off.
    """

    input_channels: int
    smallest_side: int = 2
    multiple: int = 1

    def input_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return (C_z, H_z, W_z) of the z that an image of so many pixels arises from."""
        return self.input_channels, height, width

    def check_size(self, height: int, width: int) -> None:
        """Refuse an image that the network cannot give.

        Raises:
            UserError: It is too small.
        """
