"""The iteration loop: it repeats itself, it does not wait for the device, it takes as many steps as told."""

import logging
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from dip_lightning.config.compose import compose_config
from dip_lightning.fitting.build import Fit, build_fit
from dip_lightning.fitting.fit import FitResult
from dip_lightning.module import DeepImagePrior
from dip_lightning.precision import Precision
from tests.conftest import TINY, TINY_UNET


@pytest.mark.parametrize("model", ["unet", "resnet", "resunet"])
def test_the_same_seed_gives_the_same_curves_to_the_last_bit(tiny_fit: Callable[..., FitResult], model: str) -> None:
    size = ["model.num_blocks=2"] if model == "resnet" else ["model.levels=2"]
    from dip_lightning.workflows.restore import fit

    def run(seed: int) -> FitResult:
        return fit(compose_config([*TINY, *size, f"model={model}", "dropout=0.1", "iterations=12", f"seed={seed}"]))

    one, again, other = run(1), run(1), run(2)
    assert one.curves.keys() == again.curves.keys()
    for name, curve in one.curves.items():
        assert np.array_equal(curve, again.curves[name], equal_nan=True), name
    assert np.array_equal(one.image, again.image)
    assert not np.array_equal(one.curves["loss"], other.curves["loss"])
    # Another seed fits the same noisy picture.
    assert one.summary["psnr_observation"] == other.summary["psnr_observation"]


# What makes the host wait for a GPU, or copies from it.
WAITING = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__array__")


@contextmanager
def count_waits() -> Iterator[Counter[str]]:
    """Count the calls of methods that would wait for an accelerator, in everything that runs inside."""
    counts: Counter[str] = Counter()
    originals = {name: getattr(Tensor, name) for name in WAITING}

    def counted(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Tensor, *args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return original(self, *args, **kwargs)

        return call

    try:
        for name, original in originals.items():
            setattr(Tensor, name, counted(name, original))
        yield counts
    finally:
        for name, original in originals.items():
            setattr(Tensor, name, original)


class Wait(pl.Callback):
    """What the loop must not do."""

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, *args: object
    ) -> None:
        pl_module.curves.value("loss", pl_module.iterate.iteration).item()


def fit_of(iterations: int) -> Fit:
    # As on a GPU: guard and stopping rules look, and the curves are copied, every hundred iterations.
    cadence = ["callbacks.divergence_guard.check_every=100", "trainer.log_every_n_steps=100"]
    cadence += ["stopping.check_every=100", "stopping.min_iterations=0", "stopping.rules.wmv.window=5"]
    cfg = compose_config([*TINY_UNET, f"iterations={iterations}", "callbacks.peak_psnr.eval_every=5", *cadence])
    return build_fit(cfg, None, Precision("32-true"), {})


def waits(iterations: int, *callbacks: pl.Callback) -> int:
    fit = fit_of(iterations)
    fit.trainer.callbacks.extend(callbacks)  # type: ignore[attr-defined]
    with count_waits() as counts:
        fit.trainer.fit(fit.module)
    return counts.total()


def test_no_iteration_copies_to_the_host() -> None:
    assert waits(10) == waits(40)


def test_the_count_above_would_notice_one_copy_an_iteration() -> None:
    assert waits(40, Wait()) - waits(10, Wait()) >= 30


def test_one_iteration_is_one_optimiser_step_of_one_epoch() -> None:
    fit = fit_of(9)
    fit.trainer.fit(fit.module)
    assert fit.trainer.global_step == 9
    assert fit.trainer.current_epoch == 1
    steps = {int(state["step"]) for state in fit.trainer.optimizers[0].state.values()}
    assert steps == {9}


def test_the_picture_is_not_part_of_a_batch() -> None:
    assert list(fit_of(3).module.train_dataloader()) == [0, 1, 2]


def test_a_fit_leaves_the_process_as_it_was(tiny_fit: Callable[..., FitResult]) -> None:
    def state() -> tuple[object, ...]:
        return (
            torch.get_default_dtype(),
            torch.backends.cudnn.allow_tf32,
            torch.backends.cudnn.benchmark,
            torch.are_deterministic_algorithms_enabled(),
            torch.get_num_threads(),
            signal.getsignal(signal.SIGINT),
            logging.getLogger("pytorch_lightning").level,
            list(logging.getLogger().handlers),
        )

    before = state()
    tiny_fit("precision=fp64", "trainer.deterministic=true")
    tiny_fit()
    assert state() == before


@pytest.mark.parametrize(
    ("settings", "tried"), [((), True), (("trainer.deterministic=true",), False), (("trainer.benchmark=false",), False)]
)
def test_ways_to_convolve_are_tried_unless_every_run_must_be_alike(
    settings: tuple[str, ...], tried: bool, tiny_fit: Callable[..., FitResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    step = DeepImagePrior.training_step
    monkeypatch.setattr(
        DeepImagePrior,
        "training_step",
        lambda *arguments: (seen.append(torch.backends.cudnn.benchmark), step(*arguments))[1],  # type: ignore[func-returns-value]
    )
    tiny_fit(*settings)
    assert set(seen) == {tried}
