"""One fit as a LightningModule: a network, its fixed input, and the objective that ties it to one image."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from dip_lightning.checks import check_number
from dip_lightning.compilation import Program
from dip_lightning.curves import Curves
from dip_lightning.metrics import psnr
from dip_lightning.problems.data_terms import mse

__all__ = ["DeepImagePrior", "Iterate"]


@dataclass
class Iterate:
    """What one iteration gave, on the device. Made by the training step; callbacks add to it in their order.

    Attributes:
        iteration: Which iteration, from 0.
        one_pass: f_θ(z) of this iteration, (1, C, H, W), detached.
        averaged: The moving average up to this iteration, set by ``OutputEMA``.
        diverged: Whether the fit had left its course here, a bool tensor of shape (), set by ``DivergenceGuard``.
    """

    iteration: int
    one_pass: Tensor
    averaged: Tensor | None = None
    diverged: Tensor | None = None


class DeepImagePrior(pl.LightningModule):
    """Fits a network to one observation: min_θ ‖A(f_θ(z)) − y‖².

    One batch is one iteration is one optimiser step; the batch itself carries nothing. Observation, clean image and
    input are buffers, so they move to the device once, with the weights, and follow the precision of the fit.

    A stopping rule may hold samples back, or set something else before the objective than the observation:

    Attributes:
        target: What the objective compares with, (1, C, H, W); None for the observation itself.
        weight: Weight of each pixel in the objective, (1, 1, H, W) with mean 1; None for 1 everywhere.
        sigma: Standard deviation of the noise on the scale 0 to 255, known or estimated; None where it is not known.
        first_iteration: The iteration that the first batch is; not 0 in a fit that goes on where an earlier one ended.
        program: The network as one program, compiled in the first iteration; None where it is not compiled.
        seconds_compiling: How long the first iteration took where the network is compiled in it, else 0.
        memory_estimate_mb: The peak memory that the fit is expected to have, in MB; None where nobody estimated it.
    """

    observation: Tensor
    clean: Tensor | None
    z: Tensor
    target: Tensor | None
    weight: Tensor | None
    iterate: Iterate
    curves: Curves

    def __init__(
        self,
        network: nn.Module,
        observation: Tensor,
        clean: Tensor | None = None,
        *,
        input_channels: int = 32,
        input_scale: float = 0.1,
        input_noise_std: float = 1 / 30,
        lr: float = 0.01,
        objective: Callable[[Tensor, Tensor], Tensor] = mse,
        operator: nn.Module | None = None,
        sigma: float | None = None,
        seed: int = 0,
        program: Program | None = None,
    ) -> None:
        """Draw the fixed input z ~ U(0, 1) · input_scale, as in the DIP code.

        Args:
            network: Maps (1, input_channels, H, W) to (1, C, H, W).
            observation: The corrupted image y that is fitted, (1, C, H, W) in [0, 1].
            clean: The clean image x of the same shape, or None. Only for measuring: it never enters the objective.
            input_channels: Channels of z.
            input_scale: The upper end of z's values.
            input_noise_std: Standard deviation of the Gaussian perturbation of z, drawn afresh each iteration.
            lr: Adam's learning rate.
            objective: Loss of A(f_θ(z)) against y, one value a sample; see :mod:`dip_lightning.problems.data_terms`.
            operator: The forward operator A, which says how the observation arises from the image; None for the
                identity (denoising). Its output has the observation's shape.
            sigma: Standard deviation of the noise on the scale 0 to 255, for the stopping rules that need one.
            seed: Seed of z, independent of the network's own initialisation.
            program: ``network.forward`` as one program, for the iterations; None to call the network. The
                LightningModule itself is never compiled.

        Raises:
            UserError: A value is not allowed.
        """
        super().__init__()
        check_number("input_scale", input_scale, 0, low_open=True, example=0.1)
        check_number("input_noise_std", input_noise_std, 0, example=0.033)
        check_number("lr", lr, 0, low_open=True, example=0.01)
        self.network = network
        self.program = program
        self.objective = objective
        self.operator = operator if operator is not None else nn.Identity()
        self.lr = lr
        self.input_noise_std = input_noise_std
        self.sigma = sigma
        self.first_iteration = 0
        self.seconds_compiling = 0.0
        self.memory_estimate_mb: float | None = None
        generator = torch.Generator().manual_seed(seed)
        z = torch.rand((1, input_channels, *observation.shape[-2:]), generator=generator) * input_scale
        self.register_buffer("z", z)
        # The images are not part of a checkpoint: they are read again from their files.
        self.register_buffer("observation", observation, persistent=False)
        self.register_buffer("clean", clean, persistent=False)
        self.register_buffer("target", None, persistent=False)
        self.register_buffer("weight", None, persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """Compute f_θ(z): (1, C_z, H, W) → (1, C, H, W), in the observation's type whatever the autocast."""
        kind = z.device.type
        if torch.is_autocast_enabled(kind):  # once, rather than in each layer that it goes into
            z = z.to(torch.get_autocast_dtype(kind))
        # In evaluation mode, which is rare, a second program would have to be built.
        out: Tensor = self.network(z) if self.program is None or not self.network.training else self.program(z)
        return out.to(self.observation.dtype)

    def on_train_start(self) -> None:
        """Make room for the curves, on the device where the values arise."""
        iterations = self.first_iteration + int(self.trainer.num_training_batches)
        self.curves = Curves(iterations, self.device, self.observation.dtype)
        self._started = time.perf_counter()

    def training_step(self, batch: object, batch_idx: int) -> Tensor:
        """Do one iteration.

        Args:
            batch: Ignored.
            batch_idx: How many iterations there were since ``first_iteration``.

        Returns:
            The loss, of shape ().
        """
        out = self.forward(self.perturbed_input())
        prediction = self.operator(out)
        losses = self.objective(prediction, self.observation if self.target is None else self.target)
        loss = losses.mean() if self.weight is None else (losses * self.weight).mean()
        iteration = self.first_iteration + batch_idx
        self.iterate = Iterate(iteration, one_pass=out.detach())
        self.curves.record("loss", iteration, loss.detach())
        self.curves.record("psnr_observation", iteration, psnr(prediction.detach(), self.observation))
        return loss

    def on_train_batch_end(self, outputs: object, batch: object, batch_idx: int) -> None:
        """Note how long the iteration took that compiles: the network, and its gradient."""
        if batch_idx == 0 and self.program is not None:
            self.seconds_compiling = time.perf_counter() - self._started

    def perturbed_input(self) -> Tensor:
        """Return z plus fresh Gaussian noise, (1, C_z, H, W)."""
        if self.input_noise_std == 0:
            return self.z
        _, channels, height, width = self.z.shape
        # Drawn in one run of memory whatever the layout of z: numbers in another order are drawn four times as slowly.
        if self.z.is_contiguous(memory_format=torch.channels_last):
            noise = self.z.new_empty((1, height, width, channels)).normal_(std=self.input_noise_std).permute(0, 3, 1, 2)
        else:
            noise = self.z.new_empty((1, channels, height, width)).normal_(std=self.input_noise_std)
        return noise.add_(self.z)

    @torch.no_grad()
    def evaluate(self) -> Tensor:
        """Compute f_θ(z) in evaluation mode: no dropout, running batch statistics, z unperturbed.

        The network is back in training mode afterwards, and no random number is drawn.

        Returns:
            (1, C, H, W).
        """
        self.network.eval()
        try:
            with self.trainer.precision_plugin.forward_context():
                return self.forward(self.z)
        finally:
            self.network.train()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Make the original's optimiser: Adam with default moments and no schedule."""
        # A gradient scaler (fp16) hands its scale to a fused step, which Lightning then cannot look into.
        fused = self.trainer.precision != "16-mixed" and self.device.type in ("cpu", "cuda")
        return torch.optim.Adam(self.parameters(), lr=self.lr, fused=fused)
