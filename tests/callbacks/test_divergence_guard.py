"""Faults are put into a fit, and the fit must come out well."""

from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from dip_lightning.callbacks import DivergenceGuard, OutputEMA
from dip_lightning.config import compose_config
from dip_lightning.errors import UserError
from dip_lightning.fit import fit
from dip_lightning.module import DeepImagePrior, Iterate
from dip_lightning.outcome import outputs
from dip_lightning.parts import Parts, build_parts
from dip_lightning.precision import Precision
from dip_lightning.summary import summarise
from tests.conftest import TINY_UNET


class Fault(pl.Callback):
    """Spoils the weights after the steps of some iterations."""

    def __init__(self, at: set[int], kind: str) -> None:
        self.at, self.kind = at, kind

    @torch.no_grad()
    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx not in self.at:
            return
        for parameter in pl_module.network.parameters():
            if self.kind == "nan":
                parameter.fill_(torch.nan)
            elif self.kind == "nan in Adam's moments":
                trainer.optimizers[0].state[parameter]["exp_avg"].fill_(torch.nan)
            else:
                parameter.mul_(-100)


def run(fault: Fault, *overrides: str) -> Parts:
    cfg = compose_config([*TINY_UNET, "iterations=60", "dropout=0", *overrides])
    parts = build_parts(cfg, None, Precision("32-true"), {})
    parts.trainer.callbacks.append(fault)  # type: ignore[attr-defined]
    parts.trainer.fit(parts.module, datamodule=parts.data)
    return parts


def guard_of(parts: Parts) -> DivergenceGuard:
    guard = parts.find(DivergenceGuard)
    assert guard is not None
    return guard


@pytest.mark.parametrize("kind", ["nan", "explosion"])
def test_spoiled_weights_are_restored_at_the_next_iteration(kind: str) -> None:
    parts = run(Fault({40}, kind))
    assert guard_of(parts).restored_at == [41]
    fidelity = parts.module.curves.block()["psnr_observation"]
    assert not fidelity[41] > fidelity[40] - 5  # the fault is there: a NaN or a fall
    # The last good copy is at most 25 iterations old, so at the end the fit is about where it was.
    assert fidelity[59] > fidelity[40] - 1.5
    assert all(torch.isfinite(p).all() for p in parts.module.network.parameters())
    assert all(torch.isfinite(b).all() for b in parts.module.network.buffers() if b.is_floating_point())


def test_spoiled_moments_are_restored_with_the_weights() -> None:
    # The step of iteration 31 makes the weights NaN, which shows at 32.
    parts = run(Fault({30}, "nan in Adam's moments"))
    assert guard_of(parts).restored_at == [32]
    assert np.isfinite(parts.module.curves.block()["psnr_observation"][33:]).all()


@pytest.mark.parametrize("check_every", [1, 10])
def test_the_averaged_output_is_not_spoiled(check_every: int) -> None:
    override = f"callbacks.divergence_guard.check_every={check_every}"
    parts = run(Fault({32}, "nan"), override)
    # Looked at every tenth iteration, the NaN of iteration 33 is seen at 40.
    assert guard_of(parts).restored_at == [33 if check_every == 1 else 40]
    averaged = parts.module.curves.block()["psnr_averaged"]
    assert np.isfinite(averaged).all()
    assert len(set(averaged[32 : guard_of(parts).restored_at[0] + 1])) == 1  # held while diverged
    ema = parts.find(OutputEMA)
    assert ema is not None
    assert ema.average is not None
    assert torch.isfinite(ema.average).all()


def test_restores_are_in_the_summary() -> None:
    parts = run(Fault({20, 40}, "nan"))
    summary = summarise(parts, parts.module.iterate.one_pass, 59, 1.0)
    assert summary["restores"] == [21, 41]
    assert summary["stopping"]["reason"] == "All iterations were done."
    counted = parts.module.curves.block()["restores"]
    assert (counted[21], counted[41]) == (1, 2)


def test_a_fit_that_never_gets_past_its_copy_ends_and_says_so() -> None:
    parts = run(Fault(set(range(30, 60)), "nan"), "callbacks.divergence_guard.max_restores=3")
    guard = guard_of(parts)
    assert guard.gave_up
    assert len(guard.restored_at) == 3
    assert parts.module.curves.recorded < 60
    assert "diverged" in summarise(parts, parts.module.iterate.one_pass, 59, 1.0)["stopping"]["reason"]


@pytest.mark.parametrize("select", ["averaged", "one_pass"])
def test_a_fit_that_ends_diverged_hands_back_a_good_picture(select: str) -> None:
    faults = [f"select={select}", "callbacks.divergence_guard.max_restores=1"]
    parts = run(Fault({30}, "nan"), *faults)
    assert guard_of(parts).gave_up
    assert torch.isnan(parts.module.iterate.one_pass).any()
    assert torch.isfinite(outputs(parts)[select]).all()


def test_a_picture_is_never_made_of_nan() -> None:
    # Without the guard nothing saves a fit of such a step.
    overrides = ["lr=1e30", "select=one_pass", "callbacks.divergence_guard=null"]
    with pytest.raises(UserError, match="diverged"):
        fit(compose_config([*TINY_UNET, *overrides]))


def test_a_perfect_fit_is_no_divergence() -> None:
    guard, module = DivergenceGuard(), run(Fault(set(), "nan")).module
    trainer = module.trainer
    guard.on_fit_start(trainer, module)
    for iteration, fidelity in enumerate([20.0, 156.0, torch.inf, torch.inf, 73.2, 67.4, 52.7, 44.0]):
        module.iterate.iteration = iteration
        module.curves.record("psnr_observation", iteration, torch.tensor(fidelity))
        guard.on_before_optimizer_step(trainer, module, trainer.optimizers[0])
    assert guard.restored_at == []
    module.iterate.iteration = 8
    module.curves.record("psnr_observation", 8, torch.tensor(38.0))
    guard.on_before_optimizer_step(trainer, module, trainer.optimizers[0])
    assert guard.restored_at == [8]


def test_an_average_that_began_with_nan_begins_anew() -> None:
    ema, module = OutputEMA(0.5), run(Fault(set(), "nan")).module
    ema.on_fit_start(module.trainer, module)
    for value, diverged in ((torch.nan, True), (torch.nan, True), (0.4, False), (0.8, False)):
        module.iterate = Iterate(0, torch.full((1, 3, 2, 2), value), diverged=torch.tensor(diverged))
        ema.on_train_batch_end(module.trainer, module, None, None, 0)
    assert ema.average is not None
    assert torch.allclose(ema.average, torch.tensor(0.6))


def test_a_good_fit_is_left_alone() -> None:
    with_guard = run(Fault(set(), "nan"))
    without = run(Fault(set(), "nan"), "callbacks.divergence_guard=null")
    assert guard_of(with_guard).restored_at == []
    assert without.find(DivergenceGuard) is None
    for name, curve in without.module.curves.block().items():
        assert np.array_equal(curve, with_guard.module.curves.block()[name], equal_nan=True), name


def test_the_drop_that_counts_can_be_set() -> None:
    # An early fit falls by some tenths of a decibel now and then.
    parts = run(Fault(set(), "nan"), "callbacks.divergence_guard.max_drop_db=0.001")
    assert guard_of(parts).restored_at


@pytest.mark.parametrize(
    "options", [{"max_drop_db": 0}, {"snapshot_every": 0}, {"check_every": 0}, {"max_restores": 0}]
)
def test_a_value_without_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        DivergenceGuard(**options)
