"""Backtracking: when a fit leaves its course, it goes back to the last good weights, and in the end changes course."""

import logging
import math
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor

from dip_lightning.checks import check_flag, check_integer, check_number
from dip_lightning.metrics import psnr
from dip_lightning.module import DeepImagePrior
from dip_lightning.stateful import Stateful

__all__ = ["DivergenceGuard"]

log = logging.getLogger(__name__)

# From this PSNR to the observation on, a mean error of one grey level of 255, a fit is perfect: what is left moves by
# many decibels with every step, most of all where the observation is one flat colour.
_PERFECT = 48.0
# An output whose values lie no further apart than this share of the observation's has nothing of a picture left.
_FLAT = 1e-3
# Divergences belong together when they lie within this many iterations.
_TOGETHER = 500
# What a smaller learning rate is, and how often it is made smaller before the precision is raised.
_SMALLER, _TIMES = 0.25, 2


class Snapshot(Stateful):
    """A copy of everything an optimiser step changes (weights, batch statistics, Adam's moments), and their output."""

    remembered: ClassVar[tuple[str, ...]] = ("iteration", "output", "fidelity", "network", "moments")

    def __init__(self) -> None:
        """Begin empty."""
        self.iteration = -1
        self.output: Tensor | None = None
        self.fidelity = -math.inf  # PSNR of the output to the observation, in dB
        self.network: list[Tensor] = []
        self.moments: list[dict[str, Any]] = []  # of each fitted tensor; empty before the first step

    def take(self, pl_module: DeepImagePrior, optimizer: torch.optim.Optimizer) -> None:
        """Copy the present state, on its device."""
        self.iteration, self.output = pl_module.iterate.iteration, pl_module.iterate.one_pass
        self.fidelity = float(pl_module.curves.value("psnr_observation", self.iteration))
        self.take_weights(pl_module, optimizer)

    def take_weights(self, pl_module: DeepImagePrior, optimizer: torch.optim.Optimizer) -> None:
        """Copy the state without an output; before the first iteration there is none."""
        self.network = [tensor.detach().clone() for tensor in pl_module.prior.changing_tensors()]
        states = [optimizer.state.get(parameter, {}) for parameter in pl_module.prior.fitted_parameters()]
        self.moments = [_copied(state) for state in states]

    @torch.no_grad()
    def restore(self, pl_module: DeepImagePrior, optimizer: torch.optim.Optimizer) -> None:
        """Write the copy back."""
        for tensor, copy in zip(pl_module.prior.changing_tensors(), self.network, strict=True):
            tensor.copy_(copy)
        for parameter, moments in zip(pl_module.prior.fitted_parameters(), self.moments, strict=True):
            if moments:
                optimizer.state[parameter] = _copied(moments)
            else:
                optimizer.state.pop(parameter, None)


def _copied(value: Any) -> Any:
    """Copy the tensors of nested dictionaries and lists, as optimisers keep them."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


class DivergenceGuard(Stateful, pl.Callback):
    """Restores the last good weights when a fit leaves its course, and takes a remedy when it does so repeatedly.

    A fit has left its course when the PSNR to the observation drops sharply or is no number, or when the output is
    constant where the observation is not (a dead network). Where the input of the network is another one than
    before, as where a step of self-diffusion begins, a drop says nothing. The DIP code looks for the drop only, on
    the host, for every copy of the weights. Here the copy stays on the device and is refreshed every
    ``snapshot_every`` iterations, only from weights whose output was good; Adam's moments go with the weights,
    since moments that hold a NaN would spoil the next step. The step of a bad iteration is not taken.

    When ``max_restores`` restores did not help, the learning rate is lowered, to a quarter and then to a sixteenth;
    then the fit goes on in the next higher precision at its own learning rate, and so on, until no remedy is left:
    then the fit ends. Nothing that was reached is lost by any of these; only where the last good output is worse than a
    constant image, a remedy begins anew with the first weights.

    On a CPU every iteration is looked at. On an accelerator a look means waiting for it, so iterations are judged on
    the device, and the verdict is read every ``check_every`` iterations; from the first bad one on, the averaged
    output is held.

    Attributes:
        restored_at: The iterations at which weights were restored.
        remedies: What was changed, ``{"iteration": 120, "lr": 0.0025}`` or ``{"iteration": 300, "precision": "fp32"}``.
        wants_precision: The fit has ended to go on in this precision; None where it has not.
        gave_up: Whether the fit ended since nothing helped.
        next_precision: The precision that comes after the one in force, set by the fit; None where there is none.
    """

    remembered: ClassVar[tuple[str, ...]] = (
        *("restored_at", "remedies", "gave_up"),
        *("_since", "_lowered", "_last_change", "_previous", "_diverged"),
    )

    def __init__(
        self,
        max_drop_db: float = 5.0,
        snapshot_every: int = 25,
        check_every: int | None = None,
        max_restores: int = 5,
        escalate: bool = True,
    ) -> None:
        """Set what counts as leaving the course, and what is done about it.

        Args:
            max_drop_db: The largest fall of the PSNR to the observation from one iteration to the next, in dB.
            snapshot_every: Iterations between two copies of good weights.
            check_every: Iterations between two looks at the verdict; None for 1 on a CPU and 25 elsewhere.
            max_restores: Restores within 500 iterations after which the next remedy is taken.
            escalate: Whether there are remedies: a lower learning rate, then a higher precision. False ends the fit.

        Raises:
            UserError: A value is not allowed.
        """
        name = "callbacks.divergence_guard."
        self.max_drop_db = check_number(name + "max_drop_db", max_drop_db, 0, low_open=True, example=5)
        self.snapshot_every = check_integer(name + "snapshot_every", snapshot_every, 1, example=25)
        self.max_restores = check_integer(name + "max_restores", max_restores, 1, example=5)
        self.escalate = check_flag(name + "escalate", escalate)
        if check_every is not None:
            check_integer(name + "check_every", check_every, 1, example=25)
        self.check_every = check_every
        self.next_precision: str | None = None
        self.wants_precision: str | None = None
        self.restored_at: list[int] = []
        self.remedies: list[dict[str, Any]] = []
        self.gave_up = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        """Forget an earlier fit."""
        self.restored_at = []
        self.remedies = []
        self.gave_up = False
        self.wants_precision = None
        self._snapshot: Snapshot | None = None
        self._since = 0  # restores before the last remedy no longer count
        self._lowered = 0
        self._last_change = 0
        self._previous: Tensor | None = None
        self._diverged = torch.zeros((), dtype=torch.bool, device=pl_module.device)
        self._looks_every = self.check_every or (1 if pl_module.device.type == "cpu" else 25)
        observation = pl_module.problem.observation
        low, high = observation.aminmax()
        # 0 for a flat picture: any output may be as flat. Images lie in [0, 1], whatever an operator makes of them.
        self._flat = min(float(high - low), 1.0) * _FLAT
        constant = psnr(observation.mean(dim=(2, 3), keepdim=True).expand_as(observation), observation)
        self._constant = float(constant)

    def on_train_start(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        """Copy the first weights: here they are those of the seed, also where an earlier state is put back later."""
        self._first = Snapshot()
        self._first.take_weights(pl_module, trainer.optimizers[0])

    def on_train_batch_start(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, batch: Any, batch_idx: int
    ) -> None:
        """Begin with the first weights: even the first output may be no number, and spoil the batch statistics."""
        if self._snapshot is None:
            self._snapshot = self._first

    @property
    def last_good_output(self) -> Tensor | None:
        """The one-pass output of the last copy of good weights, (1, C, H, W); None before the first."""
        return None if self._snapshot is None else self._snapshot.output

    def state_dict(self) -> dict[str, Any]:
        """Return the verdict so far and the last good copy; see :class:`~dip_lightning.stateful.Stateful`."""
        snapshot = None if self._snapshot is None else self._snapshot.state_dict()
        return super().state_dict() | {"snapshot": snapshot}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned."""
        super().load_state_dict(state_dict)
        if state_dict["snapshot"] is not None:
            self._snapshot = Snapshot()
            self._snapshot.load_state_dict(state_dict["snapshot"])

    def on_before_optimizer_step(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, optimizer: torch.optim.Optimizer
    ) -> None:
        """Judge this iteration's output; the weights are still those that produced it."""
        iteration = pl_module.iterate.iteration
        fidelity = pl_module.curves.value("psnr_observation", iteration).clamp(max=_PERFECT)
        if pl_module.prior.policy.changes_at(iteration):
            self._previous = None
        # "Not greater" is also true of a NaN.
        floor = fidelity.new_tensor(-torch.inf) if self._previous is None else self._previous - self.max_drop_db
        self._diverged = self._diverged | ~(fidelity > floor)
        if self._flat > 0:
            low, high = pl_module.problem.extremes(pl_module.iterate.one_pass)
            self._diverged = self._diverged | (high - low <= self._flat)
        self._previous = fidelity
        pl_module.iterate.diverged = self._diverged
        if iteration % self._looks_every == 0:
            self._act(iteration, trainer, pl_module, optimizer)

    def _act(
        self, iteration: int, trainer: pl.Trainer, pl_module: DeepImagePrior, optimizer: torch.optim.Optimizer
    ) -> None:
        """Read the verdict: keep a copy of good weights, or go back to the last one."""
        assert self._snapshot is not None
        if not bool(self._diverged):
            # Weights just restored are no progress: a fresh copy waits for as many good iterations as any other.
            if self._snapshot.output is None or iteration - self._last_change >= self.snapshot_every:
                self._snapshot = Snapshot()
                self._snapshot.take(pl_module, optimizer)
                self._last_change = iteration
            return
        self.restored_at.append(iteration)
        pl_module.curves.record("restores", iteration, torch.tensor(float(len(self.restored_at))))
        self._last_change = iteration
        self._snapshot.restore(pl_module, optimizer)
        of = "before the first" if self._snapshot.output is None else f"of iteration {self._snapshot.iteration}"
        reached = float(pl_module.curves.value("psnr_observation", iteration))
        told = "iteration %d: the fit diverged (%.2f dB to the observation); restored the weights %s"
        log.warning(told, iteration, reached, of)
        # Without gradients the optimiser leaves the parameters alone: the step of a bad iteration is not taken.
        optimizer.zero_grad(set_to_none=True)
        self._previous = None
        self._diverged = torch.zeros_like(self._diverged)
        recent = [one for one in self.restored_at[self._since :] if iteration - one < _TOGETHER]
        if len(recent) >= self.max_restores:
            if self._snapshot.fidelity < self._constant:
                self._snapshot = self._first
                self._snapshot.restore(pl_module, optimizer)
                log.warning("iteration %d: nothing had been reached yet; begins anew with the first weights", iteration)
            self._remedy(iteration, trainer, optimizer)

    def _remedy(self, iteration: int, trainer: pl.Trainer, optimizer: torch.optim.Optimizer) -> None:
        """Take the next remedy, or end the fit."""
        times = len(self.restored_at) - self._since
        self._since = len(self.restored_at)
        if self.escalate and self._lowered < _TIMES:
            self._lowered += 1
            lr = _scale_learning_rate(trainer, optimizer, _SMALLER)
            self.remedies.append({"iteration": iteration, "lr": lr})
            log.warning("iteration %d: restored %d times; goes on with lr=%g", iteration, times, lr)
            return
        trainer.should_stop = True
        if self.escalate and self.next_precision is not None:
            _scale_learning_rate(trainer, optimizer, 1 / _SMALLER**self._lowered)
            self._lowered = 0
            self.wants_precision = self.next_precision
            self.remedies.append({"iteration": iteration, "precision": self.next_precision})
            log.warning("iteration %d: restored %d times; goes on in %s", iteration, times, self.next_precision)
        else:
            self.gave_up = True
            log.warning("iteration %d: restored %d times, and nothing is left to try; it ends here", iteration, times)


def _scale_learning_rate(trainer: pl.Trainer, optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Scale the learning rate, and what a scheduler makes it from; returns that of the first tensors."""
    for group in optimizer.param_groups:
        for key in {"lr", "initial_lr", "max_lr", "min_lr"} & {*group}:
            group[key] *= factor
    for plan in trainer.lr_scheduler_configs:
        if hasattr(plan.scheduler, "base_lrs"):
            plan.scheduler.base_lrs = [lr * factor for lr in plan.scheduler.base_lrs]
    return float(optimizer.param_groups[0]["lr"])
