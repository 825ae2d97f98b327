"""How the input z is drawn, and what it is in each iteration: perturbed, as in Deep Image Prior."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dip_lightning.checks import check_flag, check_integer, check_number
from dip_lightning.errors import UserError
from dip_lightning.system.randomness import Randomness

__all__ = ["DRAWS", "InputPolicy", "MeshGrid", "Perturbed", "PictureInput", "UniformInput"]


class UniformInput:
    """Draws z ~ U(0, 1) · scale, as the DIP code does."""

    def __init__(self, scale: float = 0.1) -> None:
        """Set the upper end of z's values.

        Raises:
            UserError: It is not positive.
        """
        self.scale = check_number("input_scale", scale, 0, low_open=True, example=0.1)

    def __call__(self, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        """Draw z of ``shape`` (C_z, H_z, W_z) as (1, C_z, H_z, W_z), on the host."""
        return torch.rand((1, *shape), generator=generator) * self.scale


class MeshGrid:
    """z of two channels, which are not drawn: the column and the row of each pixel, from 0 at the left and top to 1."""

    def __call__(self, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        """Make z of ``shape`` (2, H_z, W_z) as (1, 2, H_z, W_z), on the host.

        Raises:
            UserError: It is to have another number of channels.
        """
        channels, height, width = shape
        if channels != 2:
            raise UserError(f"z=meshgrid of {channels} channels", "two", "try model.input_channels=2")
        rows, columns = (torch.linspace(0, 1, length) for length in (height, width))
        return torch.stack(torch.meshgrid(columns, rows, indexing="xy"))[None]


class PictureInput:
    """z is a picture, which is not drawn, such as the same scene with a flash."""

    def __init__(self, picture: Tensor) -> None:
        """Keep the picture.

        Args:
            picture: (1, C, H, W) in [0, 1].
        """
        self.picture = picture

    def __call__(self, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        """Return it, where z is to have its ``shape`` (C, H, W).

        Raises:
            UserError: z is to be of another size.
        """
        if tuple(self.picture.shape[1:]) != shape:
            problem = f"a picture of {tuple(self.picture.shape[1:])} as the input of a network that takes {shape}"
            raise UserError(problem, "a network whose input is as large as its image", "try model=unet")
        return self.picture.clone()


# How z comes about, by the words of the configuration.
DRAWS: dict[str, Callable[[float], UniformInput | MeshGrid]] = {
    "noise": UniformInput,
    "meshgrid": lambda _: MeshGrid(),
}


class InputPolicy(nn.Module):
    """Says what the network gets in an iteration. What it remembers is a buffer, and so a part of checkpoints.

    A kind of it writes ``forward(z, iteration, estimate)``, which returns the input, (1, C_z, H_z, W_z), and waits for
    nothing: of ``z`` as it was drawn, the number of the iteration from 0, and the one-pass output of the iteration
    before, (1, C, H, W), None before the first.

    Attributes:
        std: Standard deviation of the fresh noise on z; None where that is not what the policy does.
        random: The streams of random numbers of the fit, set by the prior; None outside of one.
        iterations: How many the fit has, at most; set by it, None outside of one.
    """

    std: float | None = None
    random: Randomness | None = None
    iterations: int | None = None

    def normal(self, like: Tensor) -> Tensor:
        """Draw from N(0, 1), of the fit's own stream: as large as ``like``, in its type and its order in memory."""
        generator = None if self.random is None else self.random.generator("input noise", like.device)
        batch, channels, height, width = like.shape
        # Drawn in one run of memory whatever the layout of z: numbers in another order are drawn four times as slowly.
        # In float32 whatever the precision, so that two precisions see the same noise.
        if not like.is_contiguous() and like.is_contiguous(memory_format=torch.channels_last):
            shape = (batch, height, width, channels)
            drawn = like.new_empty(shape, dtype=torch.float32).normal_(generator=generator).permute(0, 3, 1, 2)
        else:
            drawn = like.new_empty(like.shape, dtype=torch.float32).normal_(generator=generator)
        return drawn.to(like.dtype)

    def input_channels(self, image_channels: int) -> int | None:
        """Return how many channels z must have for an image of so many; None for what the network asks for."""
        return None

    def changes_at(self, iteration: int) -> bool:
        """Whether the input of an iteration is another than that of the one before, by more than fresh noise.

        Such an output may be far from the one before, without having left its course.
        """
        return False

    def start(self, z: Tensor, image_shape: tuple[int, int, int]) -> None:
        """Prepare for a fit with the input z (1, C_z, H_z, W_z) of an image (C, H, W).

        Raises:
            UserError: Such a z does not suit the policy.
        """

    def unperturbed(self, z: Tensor) -> Tensor:
        """Return the input without fresh noise, for evaluation."""
        return z


class Perturbed(InputPolicy):
    """z plus Gaussian noise, drawn afresh in each iteration, or in every so many; with a deviation of 0, z itself.

    The noise keeps what the network has not learnt to make without it out of the picture, noise and detail alike. Where
    it falls to nothing in the course of the fit, detail gets in at the end; long fits then learn samples by heart.
    """

    noise: Tensor | None

    def __init__(self, std: float = 1 / 30, falls: bool = False, every: int = 1) -> None:
        """Set the noise.

        Args:
            std: Its standard deviation in the first iteration, 0 or more.
            falls: Whether it falls evenly, to nothing at the last iteration that the fit may have; else it stays.
            every: Iterations that see the same noise, 1 or more.

        Raises:
            UserError: A value is not allowed.
        """
        super().__init__()
        self.std: float = check_number("input_noise_std", std, 0, example=0.033)
        self.falls = check_flag("input.falls", falls)
        self.every = check_integer("input.every", every, 1, example=16)
        self.register_buffer("noise", None)

    def start(self, z: Tensor, image_shape: tuple[int, int, int]) -> None:
        """Make room for the noise where several iterations see it."""
        if self.every > 1:
            self.noise = torch.zeros_like(z)

    def forward(self, z: Tensor, iteration: int, estimate: Tensor | None) -> Tensor:
        """Return z plus fresh noise."""
        std = self.std
        if self.falls and self.iterations is not None:
            std *= max(1 - iteration / self.iterations, 0)
        if std == 0:
            return z
        if self.every == 1:
            return self.normal(z).mul_(std).add_(z)
        if iteration % self.every == 0 or self.noise is None:
            self.noise = self.normal(z)
        return torch.add(z, self.noise, alpha=std)
