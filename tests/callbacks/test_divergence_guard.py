"""Faults are put into a fit, and the fit must come out well."""

from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from dip_lightning.callbacks import DivergenceGuard, OutputEMA
from dip_lightning.config import compose_config
from dip_lightning.errors import UserError
from dip_lightning.module import DeepImagePrior
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
    parts = build_parts(cfg, None, Precision("fp32", "32-true"), {})
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
    summary = summarise(parts, parts.module.iterate.one_pass, 1.0)
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
    assert "diverged" in summarise(parts, parts.module.iterate.one_pass, 1.0)["stopping"]["reason"]


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
