"""What a network tells of itself, so that whoever uses it as a prior need not know which one it is."""

from torch import nn

__all__ = ["Network"]


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
