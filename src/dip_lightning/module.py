"""One fit as a LightningModule: a prior, a problem, and what ties them together."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.utils.data import DataLoader

from dip_lightning.checks import check_callable, check_choice, check_integer, check_kind
from dip_lightning.compilation import Program
from dip_lightning.curves import Curves
from dip_lightning.errors import UserError
from dip_lightning.priors.prior import Prior
from dip_lightning.problems.problem import Problem

__all__ = ["DeepImagePrior", "Iterate", "OptimizerFactory", "PreparesProblem", "SchedulerFactory"]

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
SchedulerFactory = Callable[[Optimizer], LRScheduler]


@dataclass
class Iterate:
    """What one iteration gave, on the device. Made by the training step; callbacks add to it in their order.

    Attributes:
        iteration: Which iteration, from 0.
        one_pass: f_θ(z) of this iteration, (1, C, H, W), detached.
        averaged: The moving average up to this iteration, set by ``OutputEMA``.
        warm_average: The moving average that is handed back, whose memory grows at first; set by ``OutputEMA``.
        diverged: Whether the fit had left its course here, a bool tensor of shape (), set by ``DivergenceGuard``.
    """

    iteration: int
    one_pass: Tensor
    averaged: Tensor | None = None
    warm_average: Tensor | None = None
    diverged: Tensor | None = None


@runtime_checkable
class PreparesProblem(Protocol):
    """A callback that changes the problem before the first iteration, as stopping rules do."""

    def prepare(self, problem: Problem) -> Problem:
        """Return the problem that is fitted instead; ``problem`` is on the device, in the precision of the fit."""
        ...


class DeepImagePrior(pl.LightningModule):
    """Fits a prior to one problem: min over what the prior fits of data_term(A(f_θ(z)), y) + Σ R(f_θ(z)).

    One batch is one iteration is one optimiser step, and all of them are one epoch; the batch itself carries nothing.
    Under a Trainer of one's own: ``pl.Trainer(max_epochs=1, callbacks=[...]).fit(DeepImagePrior(prior, problem))``.

    Attributes:
        prior: What is fitted.
        problem: What was asked.
        fitted_problem: What is fitted, which callbacks may have made of it, see :class:`PreparesProblem`.
        select: Which output is handed back: ``"averaged"``, where ``OutputEMA`` makes one, or ``"one_pass"``.
        first_iteration: The iteration that the first batch is; not 0 in a fit that goes on where an earlier one ended.
        iterations: How many iterations the whole fit has, at most.
        program: The network as one program, compiled in the first iteration; None where it is not compiled.
        seconds_compiling: How long the first iteration took where the network is compiled in it, else 0.
        memory_estimate_mb: The peak memory that the fit is expected to have, in MB; None where nobody estimated it.
    """

    fitted_problem: Problem
    iterate: Iterate
    curves: Curves

    def __init__(
        self,
        prior: Prior,
        problem: Problem,
        *,
        iterations: int = 5000,
        optimizer: OptimizerFactory | None = None,
        scheduler: SchedulerFactory | None = None,
        select: str = "averaged",
        seed: int = 0,
        program: Program | None = None,
    ) -> None:
        """Draw the prior's input for the problem's image.

        Args:
            prior: What is fitted.
            problem: What it is fitted to.
            iterations: Optimiser steps, at most.
            optimizer: Makes the optimiser of the fitted tensors, ``partial(torch.optim.Adam, lr=0.01)``; None for that.
            scheduler: Makes a learning rate scheduler of the optimiser, stepped once an iteration; None for none.
            select: Which output is handed back.
            seed: Seed of z, of the noise on it and of dropout, each drawn apart; the network comes with its weights.
            program: ``prior.network.forward`` as one program, for the iterations; None to call the network. The
                LightningModule itself is never compiled.

        Raises:
            UserError: A value is not allowed, or prior and problem do not fit together.
        """
        super().__init__()
        self.iterations = check_integer("iterations", iterations, 1, 10**7, example=2000)
        self.select = check_choice("select", select, ("averaged", "one_pass"))
        check_kind("problem", problem, Problem, "try Problem(observation)")
        check_kind("prior", prior, Prior, "try Prior(network)")
        for name, function in (("optimizer", optimizer), ("scheduler", scheduler)):
            if function is not None:
                check_callable(name, function, "give what makes one: partial(torch.optim.Adam, lr=0.01)")
        prior.start(problem.shape, check_integer("seed", seed, 0, 2**32 - 1, example=0))
        prior.policy.iterations = self.iterations
        self.prior, self.problem = prior, problem
        self.program = program
        self._make_optimizer = partial(torch.optim.Adam, lr=0.01) if optimizer is None else optimizer
        self._make_scheduler = scheduler
        self.first_iteration = 0
        self.seconds_compiling = 0.0
        self.memory_estimate_mb: float | None = None
        self._keep_problem(problem)

    def _keep_problem(self, problem: Problem) -> None:
        # Past nn.Module, for which it would be a second part with the same tensors.
        self.__dict__["fitted_problem"] = problem

    @property
    def output(self) -> Tensor:
        """The output of the present iteration that would be handed back, (1, C, H, W)."""
        averaged = self.iterate.warm_average if self.select == "averaged" else None
        return self.iterate.one_pass if averaged is None else averaged

    def train_dataloader(self) -> DataLoader[int]:
        """Count the iterations: a batch is a number."""
        counted = range(self.first_iteration, self.iterations)
        # With a generator, since it would otherwise draw a number of the process's own, which it has no use for.
        return DataLoader(counted, batch_size=None, generator=torch.Generator())  # type: ignore[arg-type]

    def val_dataloader(self) -> list[int]:
        """Give Lightning's own callbacks, such as ``EarlyStopping``, an end of validation to look at the metrics."""
        return [0]  # a DataLoader would draw a random number each time

    def validation_step(self, batch: object, batch_idx: int) -> None:
        """Do nothing: a fit has no other data, and its metrics are there."""

    def forward(self, z: Tensor) -> Tensor:
        """Compute f_θ(z): (1, C_z, H_z, W_z) → (1, C, H, W), in the problem's type whatever the autocast."""
        kind = z.device.type
        if torch.is_autocast_enabled(kind):  # once, rather than in each layer that it goes into
            z = z.to(torch.get_autocast_dtype(kind))
        # In evaluation mode, which is rare, a second program would have to be built.
        out: Tensor = self.prior(z, self.program if self.prior.training else None)
        return self.problem.complete(out.to(self.problem.observation.dtype))

    def on_fit_start(self) -> None:
        """Let the callbacks prepare the problem, on its device."""
        _check_trainer(self.trainer)
        problem = self.problem
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, PreparesProblem):
                problem = callback.prepare(problem)
        self._keep_problem(problem)

    def on_train_start(self) -> None:
        """Make room for the curves, on the device where the values arise."""
        iterations = self.first_iteration + int(self.trainer.num_training_batches)
        self.curves = Curves(iterations, self.device, self.problem.observation.dtype)
        self._started = time.perf_counter()

    def training_step(self, batch: object, batch_idx: int) -> Tensor:
        """Do one iteration.

        Args:
            batch: Ignored.
            batch_idx: How many iterations there were since ``first_iteration``.

        Returns:
            The loss, of shape ().
        """
        iteration, problem = self.first_iteration + batch_idx, self.fitted_problem
        estimate = self.iterate.one_pass if iteration > 0 else None
        out = self.forward(self.prior.policy(self.prior.z, iteration, estimate))
        prediction = problem.operator(out)
        loss: Tensor = problem.data_loss(prediction)
        for name, term in problem.regularizers.items():
            value = term(out)
            if not isinstance(value, Tensor) or value.dim() > 0:
                found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise UserError(f"the term {name} that gives {found}", "one number, of shape ()", "take its mean")
            self.curves.record(f"regularizer_{name}", iteration, value.detach())
            loss = loss + value
        self.iterate = Iterate(iteration, one_pass=out.detach())
        self.curves.record("loss", iteration, loss.detach())
        self.curves.record("psnr_observation", iteration, self.problem.fidelity(prediction.detach()))
        return loss

    def on_train_batch_start(self, batch: object, batch_idx: int) -> None:
        """Show the last loss to a scheduler that looks at it, when the curves are read anyway."""
        done = self.first_iteration + batch_idx
        if done == 0 or done % self.trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        for plan in self.trainer.lr_scheduler_configs:
            if isinstance(plan.scheduler, ReduceLROnPlateau):
                plan.scheduler.step(float(self.curves.value("loss", done - 1)))

    def on_train_batch_end(self, outputs: object, batch: object, batch_idx: int) -> None:
        """Note how long the iteration took that compiles: the network, and its gradient."""
        if batch_idx == 0 and self.program is not None:
            self.seconds_compiling = time.perf_counter() - self._started

    @torch.no_grad()
    def evaluate(self) -> Tensor:
        """Compute f_θ(z) in evaluation mode: no dropout, running batch statistics, z unperturbed.

        The network is back in training mode afterwards, and no random number is drawn.

        Returns:
            (1, C, H, W).
        """
        self.prior.eval()
        try:
            with self.trainer.precision_plugin.forward_context():
                return self.forward(self.prior.policy.unperturbed(self.prior.z))
        finally:
            self.prior.train()

    def configure_optimizers(self) -> Any:
        """Make the optimiser and the scheduler."""
        optimizer = self._make_optimizer(self.prior.fitted_parameters())
        if not isinstance(optimizer, torch.optim.Optimizer):
            made = f"an optimizer that makes an object of type {type(optimizer).__name__}"
            raise UserError(made, "one that makes an optimiser", "try optimizer=partial(torch.optim.SGD, lr=1)")
        if isinstance(optimizer, torch.optim.LBFGS):  # which looks at all tensors as one, by views
            self.prior.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        if self._make_scheduler is None:
            return optimizer
        scheduler = self._make_scheduler(optimizer)
        # One that looks at the loss is stepped above: Lightning counts from the first iteration of a part of the fit.
        every = self.iterations + 1 if isinstance(scheduler, ReduceLROnPlateau) else 1
        plan = {"scheduler": scheduler, "interval": "step", "frequency": every, "monitor": "loss"}
        return {"optimizer": optimizer, "lr_scheduler": plan}


def _check_trainer(trainer: pl.Trainer) -> None:
    """Refuse a Trainer under which an iteration would be something else than a step of one epoch on one device.

    Raises:
        UserError: It is such a one.
    """
    wrong = {
        f"max_epochs={trainer.max_epochs}": trainer.max_epochs != 1,
        f"accumulate_grad_batches={trainer.accumulate_grad_batches}": trainer.accumulate_grad_batches != 1,
        f"{trainer.world_size} devices": trainer.world_size != 1,
    }
    for setting, is_wrong in wrong.items():
        if is_wrong:
            raise UserError(
                f"a Trainer with {setting}",
                "one iteration to be one step of one epoch on one device",
                "try pl.Trainer(max_epochs=1, devices=1)",
            )
