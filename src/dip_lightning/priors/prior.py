"""A network as a prior."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from dip_lightning.checks import check_callable, check_integer, check_kind
from dip_lightning.errors import UserError
from dip_lightning.models.layers import DropoutLayer
from dip_lightning.models.network import Network
from dip_lightning.priors.input import InputPolicy, Perturbed, UniformInput
from dip_lightning.system.randomness import Randomness

__all__ = ["Prior"]


class Prior(nn.Module):
    """A network, how its input z is drawn for an image, what z is in each iteration, and which tensors are fitted.

    Attributes:
        network: Maps z to an image.
        policy: What z is in each iteration.
        z: What was drawn, (1, C_z, H_z, W_z); there after :meth:`start`.
        random: The streams that z, the input noise and dropout are drawn from; likewise.
    """

    z: Tensor
    random: Randomness

    def __init__(
        self,
        network: nn.Module,
        *,
        draw: Callable[[tuple[int, int, int], torch.Generator], Tensor] | None = None,
        policy: InputPolicy | None = None,
        input_channels: int = 32,
        fitted: Callable[[str], bool] | None = None,
    ) -> None:
        """Put the prior together.

        Args:
            network: A :class:`~dip_lightning.models.network.Network`, or any module whose z is as large as its image.
            draw: Makes z of a shape (C_z, H_z, W_z), as (1, C_z, H_z, W_z): noise, a grid of coordinates, another
                picture; None for U(0, 1) · 0.1.
            policy: What z is in each iteration; None for z plus fresh noise.
            input_channels: Channels of z, of a network that does not say so itself.
            fitted: Which tensors are fitted, by their names in the network, and ``"z"``; None for all but z.

        Raises:
            UserError: An object is of another kind.
        """
        super().__init__()
        check_kind("network", network, nn.Module, "give a network, such as dip_lightning.models.UNet()")
        if policy is not None:
            check_kind("policy", policy, InputPolicy, "try dip_lightning.priors.Perturbed(0.03)")
        for name, function in (("draw", draw), ("fitted", fitted)):
            if function is not None:
                check_callable(name, function, "give a function, or leave it out")
        check_integer("input_channels", input_channels, 1, example=32)
        self.network = network
        self.policy = Perturbed() if policy is None else policy
        self._draw = UniformInput() if draw is None else draw
        self._input_channels = input_channels
        self._fitted = fitted
        self._image_shape: tuple[int, int, int] | None = None

    def input_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return (C_z, H_z, W_z) of the z for an image of so many pixels."""
        if isinstance(self.network, Network):
            return self.network.input_shape(height, width)
        return self._input_channels, height, width

    @property
    def trial_sides(self) -> tuple[int, int]:
        """Sides of two small images that show how the network's memory grows with their size."""
        told = self.network if isinstance(self.network, Network) else Network()
        # Large enough to be halved as often as the network does, and for activations to outweigh gradients.
        side = max(told.smallest_side + 7, 40)
        side = -(-side // told.multiple) * told.multiple
        return side, side + max(16, told.multiple)

    def start(self, image_shape: tuple[int, int, int], seed: int) -> None:
        """Draw z for an image (C, H, W), and choose what is fitted.

        Raises:
            UserError: The network cannot give such an image, what was drawn is no input of it, or nothing is fitted.
        """
        _, height, width = image_shape
        if isinstance(self.network, Network):
            self.network.check_size(height, width)
        self._image_shape = image_shape
        shape = self.input_shape(height, width)
        self.random = Randomness(seed)
        z = self._draw(shape, self.random.generator("z", torch.device("cpu")))
        if not isinstance(z, Tensor) or z.shape != (1, *shape):
            drawn = tuple(z.shape) if isinstance(z, Tensor) else z
            told = f"{(1, *shape)}, as (1, C_z, H_z, W_z)"
            raise UserError(
                f"a draw of {drawn}", told, "set Prior(input_channels=...) to the channels of what is drawn"
            )
        if self._fitted is not None:
            for name, tensor in self.network.named_parameters():
                tensor.requires_grad_(self._fitted(name))
        if self._fitted is not None and self._fitted("z"):
            self.z = nn.Parameter(z)
        else:
            self.register_buffer("z", z)
        self.policy.random = self.random
        for layer in self.network.modules():
            if isinstance(layer, DropoutLayer):
                layer.random = self.random
        self.policy.start(z, image_shape)
        if not self.fitted_parameters():
            raise UserError("a prior with nothing that is fitted", "some tensors", "try fitted=None, for all weights")

    def fitted_parameters(self) -> list[nn.Parameter]:
        """The tensors that an optimiser is to change."""
        return [tensor for tensor in self.parameters() if tensor.requires_grad]

    def changing_tensors(self) -> Iterator[Tensor]:
        """What an iteration changes: the fitted tensors, and the network's statistics."""
        yield from self.fitted_parameters()
        yield from self.network.buffers()

    def forward(self, z: Tensor, network: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Compute f_θ(z): (1, C_z, H_z, W_z) → (1, C, H, W); what the network gives beyond the image is cut off.

        Args:
            z: The input.
            network: The network as another function, compiled say; None for the network itself.

        Raises:
            UserError: The network gives less than the image.
        """
        out: Tensor = self.network(z) if network is None else network(z)
        if self._image_shape is None or out.shape[1:] == self._image_shape:
            return out
        channels, height, width = self._image_shape
        if out.shape[1] != channels:
            told = f"a network that gives {out.shape[1]} channel{'' if out.shape[1] == 1 else 's'}"
            raise UserError(told, f"the image's {channels}", "give its last layer so many")
        if out.shape[-2] < height or out.shape[-1] < width:
            given = "x".join(map(str, out.shape[-2:]))
            raise UserError(f"a network that gives {given} pixels", f"at least {height}x{width}", "give it a larger z")
        return out[..., :height, :width]
