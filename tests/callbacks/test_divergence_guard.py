"""Faults are put into a fit, and the fit must come out well."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from dip_lightning.callbacks import DivergenceGuard, OutputEMA
from dip_lightning.config.compose import compose_config
from dip_lightning.curves import Curves
from dip_lightning.errors import UserError
from dip_lightning.fitting import fit as fit_module
from dip_lightning.fitting.build import Fit, build_fit
from dip_lightning.fitting.fit import FitResult
from dip_lightning.fitting.memory import MemoryEstimate, check_memory
from dip_lightning.fitting.selection import last_outputs, select
from dip_lightning.fitting.summary import summarise
from dip_lightning.module import DeepImagePrior, Iterate
from dip_lightning.precision import Precision
from dip_lightning.workflows.restore import fit
from dip_lightning.workflows.resume import resume
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
        for parameter in pl_module.prior.network.parameters():
            if self.kind == "nan":
                parameter.fill_(torch.nan)
            elif self.kind == "nan in Adam's moments":
                trainer.optimizers[0].state[parameter]["exp_avg"].fill_(torch.nan)
            elif self.kind == "explosion":
                parameter.mul_(-100)
        if self.kind == "dead":  # the last bias: nothing but white comes out, whatever goes in
            list(pl_module.prior.network.parameters())[-1].fill_(1e4)
        elif self.kind == "infinite input":
            pl_module.prior.z.fill_(torch.inf)

    def on_after_backward(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        if self.kind == "nan in gradients" and pl_module.iterate.iteration in self.at:
            for parameter in pl_module.prior.network.parameters():
                assert parameter.grad is not None
                parameter.grad.fill_(torch.nan)


def run(fault: pl.Callback, *overrides: str) -> Fit:
    cfg = compose_config([*TINY_UNET, "iterations=60", "dropout=0", *overrides])
    parts = build_fit(cfg, None, Precision("32-true"), {})
    parts.trainer.callbacks.append(fault)  # type: ignore[attr-defined]
    parts.trainer.fit(parts.module)
    return parts


def guard_of(parts: Fit) -> DivergenceGuard:
    guard = parts.find(DivergenceGuard)
    assert guard is not None
    return guard


@pytest.mark.parametrize("kind", ["nan", "explosion", "dead"])
def test_spoiled_weights_are_restored_at_the_next_iteration(kind: str) -> None:
    parts = run(Fault({40}, kind))
    assert guard_of(parts).restored_at == [41]
    fidelity = parts.module.curves.block()["psnr_observation"]
    assert not fidelity[41] > fidelity[40] - 5  # the fault is there: a NaN or a fall
    # The last good copy is at most 25 iterations old, so at the end the fit is about where it was.
    assert fidelity[59] > fidelity[40] - 1.5
    assert all(torch.isfinite(p).all() for p in parts.module.prior.network.parameters())
    assert all(torch.isfinite(b).all() for b in parts.module.prior.network.buffers() if b.is_floating_point())


def test_weights_that_were_restored_are_not_measured_as_those_of_the_iteration() -> None:
    parts = run(Fault({40}, "dead"), "callbacks.peak_psnr.eval_every=7")
    assert guard_of(parts).restored_at == [41]
    measured = parts.module.curves.block()["psnr_eval"]
    assert np.flatnonzero(np.isfinite(measured)).tolist() == [6, 13, 20, 27, 34, 48, 55, 59]


def test_spoiled_gradients_are_gone_at_the_next_iteration() -> None:
    parts = run(Fault({40}, "nan in gradients"))
    assert guard_of(parts).restored_at == [41]
    assert np.isfinite(parts.module.curves.block()["psnr_observation"][42:]).all()


def test_a_constant_output_is_dead_however_near_it_is_to_the_observation() -> None:
    parts = run(Fault({40}, "dead"), "callbacks.divergence_guard.max_drop_db=1000")
    assert guard_of(parts).restored_at == [41]
    assert parts.module.iterate.one_pass.std() > 0.01


def test_a_constant_output_is_right_where_the_picture_is_constant(tmp_path: Path) -> None:
    flat = np.full((32, 32), 255, np.uint8)
    settings = [*TINY_UNET, "iterations=60", "stopping=none"]
    result = fit(compose_config([*settings, "callbacks.divergence_guard.max_drop_db=1000"]), image=flat)
    assert result.summary["restores"] == []


def test_what_is_wrong_from_the_beginning_does_not_spoil_the_batch_statistics() -> None:
    class NaNs(pl.Callback):
        def on_train_batch_start(  # type: ignore[override]
            self, trainer: pl.Trainer, pl_module: DeepImagePrior, batch: Any, batch_idx: int
        ) -> None:
            pl_module.prior.z.fill_(torch.nan if batch_idx < 2 else 0.05)

    parts = run(NaNs())
    assert guard_of(parts).restored_at == [0, 1]
    assert all(torch.isfinite(b).all() for b in parts.module.prior.network.buffers() if b.is_floating_point())
    assert np.isfinite(parts.module.curves.block()["psnr_eval"][-1])


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
    summary = summarise(parts, select(parts.module), 1.0)
    assert summary["restores"] == [21, 41]
    assert summary["stopping"]["reason"] == "All iterations were done."
    assert not summary["gave_up"]
    counted = parts.module.curves.block()["restores"]
    assert (counted[21], counted[41]) == (1, 2)


def test_a_fit_that_never_gets_past_its_copy_ends_and_says_so() -> None:
    overrides = ("callbacks.divergence_guard.max_restores=3", "callbacks.divergence_guard.escalate=false")
    parts = run(Fault(set(range(30, 60)), "nan"), *overrides)
    guard = guard_of(parts)
    assert guard.gave_up
    assert len(guard.restored_at) == 3
    assert parts.module.curves.recorded < 60
    summary = summarise(parts, select(parts.module), 1.0)
    assert "diverged" in summary["stopping"]["reason"]
    assert summary["gave_up"]


@pytest.mark.parametrize("select", ["averaged", "one_pass"])
def test_a_fit_that_ends_diverged_hands_back_a_good_picture(select: str) -> None:
    guard = "callbacks.divergence_guard"
    parts = run(Fault({30}, "nan"), f"select={select}", f"{guard}.max_restores=1", f"{guard}.escalate=false")
    assert guard_of(parts).gave_up
    assert torch.isnan(parts.module.iterate.one_pass).any()
    assert torch.isfinite(last_outputs(parts.module)[select]).all()


def test_a_picture_is_never_made_of_nan() -> None:
    # Without the guard nothing saves a fit of such a step.
    overrides = ["lr=1e30", "select=one_pass", "callbacks.divergence_guard=null"]
    with pytest.raises(UserError, match="diverged"):
        fit(compose_config([*TINY_UNET, *overrides]))


def test_a_perfect_fit_is_no_divergence() -> None:
    guard, module = DivergenceGuard(), run(Fault(set(), "nan")).module
    trainer = module.trainer
    guard.on_fit_start(trainer, module)
    guard.on_train_start(trainer, module)
    guard.on_train_batch_start(trainer, module, None, 0)
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


def test_a_drop_where_a_step_of_self_diffusion_begins_is_none() -> None:
    steps = ["input=estimate", "input.steps=3", "input.inner=20", "input.beta_max=0.5", "lr=0.05"]
    parts = run(Fault(set(), "nan"), *steps, "callbacks.divergence_guard.max_drop_db=3")
    fidelity = parts.module.curves.block()["psnr_observation"]
    falls = fidelity[19:40:20] - fidelity[20:41:20]
    assert falls.max() > 3
    assert not {20, 40} & set(guard_of(parts).restored_at)


class While(pl.Callback):
    """Spoils the weights after every step from iteration 28 on, while a condition holds."""

    def __init__(self, condition: Callable[[pl.Trainer], bool]) -> None:
        self.condition = condition

    @torch.no_grad()
    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if pl_module.iterate.iteration >= 28 and self.condition(trainer) and not trainer.should_stop:
            for parameter in pl_module.prior.network.parameters():
                parameter.fill_(torch.nan)


@pytest.fixture
def fit_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., FitResult]:
    """Return a function that does a whole fit with a further callback, and three restores to a remedy."""

    def run(fault: pl.Callback, *overrides: str) -> FitResult:
        def with_fault(*arguments: Any) -> Fit:
            parts = build_fit(*arguments)
            parts.trainer.callbacks.append(fault)  # type: ignore[attr-defined]
            return parts

        monkeypatch.setattr(fit_module, "build_fit", with_fault)
        settings = ["iterations=60", "callbacks.divergence_guard.max_restores=3", "logger=tensorboard", *overrides]
        return fit(compose_config([*TINY_UNET, *settings]), tmp_path / "run")

    return run


def test_repeated_divergence_lowers_the_learning_rate(
    fit_with: Callable[..., FitResult], caplog: pytest.LogCaptureFixture
) -> None:
    summary = fit_with(While(lambda trainer: trainer.optimizers[0].param_groups[0]["lr"] > 0.001)).summary
    assert summary["remedies"] == [
        {"iteration": 31, "lr": pytest.approx(0.0025)},
        {"iteration": 34, "lr": pytest.approx(0.000625)},
    ]
    assert (summary["iterations"], len(summary["restores"])) == (60, 6)
    assert "It diverged repeatedly and went on with lr=0.0025, lr=0.000625." in summary["remarks"]
    assert [record.getMessage() for record in caplog.records if "goes on with" in record.getMessage()] == [
        "iteration 31: restored 3 times; goes on with lr=0.0025",
        "iteration 34: restored 3 times; goes on with lr=0.000625",
    ]


@pytest.mark.parametrize(("precision", "then", "weights"), [("bf16", "fp32", "float32"), ("fp32", "fp64", "float64")])
def test_then_it_raises_the_precision_and_keeps_what_was_reached(
    fit_with: Callable[..., FitResult], precision: str, then: str, weights: str
) -> None:
    lightning = Precision.named(precision).lightning
    result = fit_with(While(lambda trainer: trainer.precision == lightning), f"precision={precision}")
    summary = result.summary
    assert [sorted(remedy)[1] for remedy in summary["remedies"]] == ["lr", "lr", "precision"]
    assert summary["remedies"][2] == {"iteration": 37, "precision": then}
    assert (summary["iterations"], len(summary["restores"])) == (60, 9)
    assert (summary["precision"], summary["precision_in_force"]["weights"]) == (precision, weights)
    assert summary["precision_in_force"]["autocast"] is None
    curve = result.curves["psnr_averaged"]
    assert np.isfinite(curve).all()
    assert curve[-1] > curve[28] + 0.3  # it got on, from where it was, at its own learning rate
    assert result.curves["psnr_observation"][38] > result.curves["psnr_observation"][25] - 1
    # More iterations go on in the precision that it had come to.
    assert result.run_folder is not None
    longer = resume(result.run_folder, 70).summary
    assert (longer["precision_in_force"]["weights"], longer["iterations"]) == (weights, 70)
    assert longer["remedies"] == summary["remedies"]


def test_in_a_higher_precision_it_goes_on_at_its_own_learning_rate(fit_with: Callable[..., FitResult]) -> None:
    rates: dict[str, set[float]] = {}

    def diverges(trainer: pl.Trainer) -> bool:
        rate = round(trainer.optimizers[0].param_groups[0]["lr"], 9)
        rates.setdefault(str(trainer.precision), set()).add(rate)
        return trainer.precision == "bf16-mixed"

    fit_with(While(diverges), "precision=bf16")
    assert rates == {"bf16-mixed": {0.01, 0.0025, 0.000625}, "32-true": {0.01}}


@pytest.mark.parametrize(("apart", "remedies"), [(110, 1), (600, 0)])
def test_divergences_that_lie_far_apart_do_not_add_up(apart: int, remedies: int) -> None:
    guard, module = DivergenceGuard(), run(Fault(set(), "nan")).module
    trainer = module.trainer
    guard.on_fit_start(trainer, module)
    guard.on_train_start(trainer, module)
    guard.on_train_batch_start(trainer, module, None, 0)
    module.curves = Curves(5 * apart + 1, module.device, torch.float32)
    for iteration in range(0, 5 * apart, 10):
        module.iterate.iteration = iteration
        module.curves.record("psnr_observation", iteration, torch.tensor(5.0 if iteration % apart == 10 else 20.0))
        guard.on_before_optimizer_step(trainer, module, trainer.optimizers[0])
    assert len(guard.restored_at) == 5
    assert len(guard.remedies) == remedies


def test_a_network_that_died_early_begins_anew_with_a_smaller_learning_rate(
    fit_with: Callable[..., FitResult], caplog: pytest.LogCaptureFixture
) -> None:
    class Dies(Fault):
        """Saturates the output, but for what makes a picture of it, so that it is copied; then altogether."""

        @torch.no_grad()
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if trainer.optimizers[0].param_groups[0]["lr"] > 0.005:
                list(pl_module.prior.network.parameters())[-1].fill_(4.0 if batch_idx < 27 else 1e4)

    result = fit_with(Dies(set(), ""), "callbacks.divergence_guard.max_drop_db=1000")
    assert [remedy["lr"] for remedy in result.summary["remedies"]] == [pytest.approx(0.0025)]
    assert any("begins anew with the first weights" in record.getMessage() for record in caplog.records)
    assert result.summary["one_pass"]["peak_iteration"] > 50
    assert result.curves["psnr_observation"][-1] > 10


def test_when_nothing_helps_the_best_picture_is_handed_back(fit_with: Callable[..., FitResult]) -> None:
    result = fit_with(Fault({20}, "infinite input"), "precision=bf16", "callbacks.checkpoint=null", "alpha=growing")
    summary = result.summary
    assert [remedy.get("precision") for remedy in summary["remedies"] if "precision" in remedy] == ["fp32", "fp64"]
    assert summary["stopping"]["reason"] == "It diverged again and again; nothing helped."
    assert summary["iterations"] < 60
    assert summary["selected"]["psnr"] == pytest.approx(result.curves["psnr_averaged"][20], abs=1e-3)


def test_a_precision_for_which_there_is_no_memory_ends_the_fit(
    fit_with: Callable[..., FitResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(parts: Fit) -> MemoryEstimate:
        if parts.precision.name == "fp64":
            raise UserError("32x32 pixels take too much", "less", "take less")
        return check_memory(parts)

    monkeypatch.setattr(fit_module, "check_memory", refuse)
    result = fit_with(While(lambda trainer: True))
    assert result.summary["stopping"]["reason"] == "It diverged again and again; nothing helped."
    assert np.isfinite(result.image).all()


@pytest.mark.parametrize(
    "options", [{"max_drop_db": 0}, {"snapshot_every": 0}, {"check_every": 0}, {"max_restores": 0}]
)
def test_a_value_without_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        DivergenceGuard(**options)
