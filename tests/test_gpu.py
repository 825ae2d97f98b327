"""What only an NVIDIA GPU can show; skipped where there is none."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from dip_lightning.config.compose import compose_config
from dip_lightning.fitting.build import build_fit
from dip_lightning.fitting.fit import FitResult
from dip_lightning.fitting.isolation import isolated
from dip_lightning.precision import Precision
from dip_lightning.workflows.restore import fit

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
    # What PyTorch's own compiler imports.
    pytest.mark.filterwarnings("ignore:.torch.jit.* is deprecated:DeprecationWarning"),
]

SMALL = ["trainer=gpu", "model.channels=16", "image.crop=64", "callbacks.fit_progress=null"]


@pytest.fixture
def gpu_fit() -> Callable[..., FitResult]:
    return lambda *overrides: fit(compose_config([*SMALL, "iterations=60", *overrides]))


@pytest.mark.parametrize("precision", ["fp64", "fp32", "tf32", "bf16", "fp16"])
def test_every_precision_fits_on_the_gpu(gpu_fit: Callable[..., FitResult], precision: str) -> None:
    result = gpu_fit(f"precision={precision}")
    assert result.summary["device"].startswith("cuda")
    assert result.curves["loss"][-1] < result.curves["loss"][0] / 2
    in_force = result.summary["precision_in_force"]
    assert in_force["tf32_matmul"] == in_force["tf32_convolution"] == (precision == "tf32")


def test_tf32_changes_convolutions_and_float32_does_not() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand((1, 128, 64, 64), generator=generator)
    weight = torch.rand((128, 128, 3, 3), generator=generator)
    exact = torch.nn.functional.conv2d(image.double(), weight.double())
    errors = {}
    for name, tf32 in (("fp32", False), ("tf32", True)):
        with Precision("32-true", tf32).in_force():
            out = torch.nn.functional.conv2d(image.cuda(), weight.cuda()).double().cpu()
        errors[name] = float((out - exact).norm() / exact.norm())
    # TF32 keeps 10 bits of the mantissa, float32 23.
    assert errors["fp32"] < 1e-5 < errors["tf32"]


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_the_loop_never_waits_for_the_gpu() -> None:
    overrides = [*SMALL, "iterations=20", "trainer.log_every_n_steps=1000", "callbacks.peak_psnr.eval_every=5"]
    overrides += ["stopping.check_every=1000", "stopping.min_iterations=0", "stopping.rules.wmv.window=5"]
    cfg = compose_config([*overrides, "callbacks.divergence_guard.check_every=1000"])
    with isolated():
        made = build_fit(cfg, None, Precision("32-true"), {})
        step = type(made.module).training_step

        def armed(self: object, batch: object, batch_idx: int) -> torch.Tensor:
            # From the third iteration on, when everything is allocated, any wait raises.
            torch.cuda.set_sync_debug_mode("error" if 3 <= batch_idx < 18 else "default")
            return step(self, batch, batch_idx)  # type: ignore[arg-type]

        made.module.training_step = armed.__get__(made.module)  # type: ignore[method-assign]
        try:
            made.trainer.fit(made.module)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert made.trainer.global_step == 20


def test_the_gpu_agrees_with_the_cpu_at_the_start(gpu_fit: Callable[..., FitResult]) -> None:
    quiet = ["precision=fp64", "dropout=0", "input_noise_std=0", "iterations=5"]
    on_gpu = gpu_fit(*quiet).curves["loss"]
    on_cpu = fit(compose_config([*SMALL, *quiet, "trainer=cpu"])).curves["loss"]
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-6)


@pytest.mark.parametrize("compilation", ["default", "graphs", "capture"])
def test_a_compiled_network_computes_the_same_on_the_gpu(gpu_fit: Callable[..., FitResult], compilation: str) -> None:
    quiet = ["precision=fp32", "dropout=0", "input_noise_std=0", "iterations=8", "stopping=none"]
    torch.compiler.reset()
    compiled, plain = (gpu_fit(*quiet, f"compile={name}") for name in (compilation, "none"))
    np.testing.assert_allclose(compiled.curves["loss"], plain.curves["loss"], rtol=1e-3)


@pytest.mark.parametrize("compilation", ["graphs", "capture"])
def test_a_recorded_graph_drops_other_activations_each_time(
    gpu_fit: Callable[..., FitResult], compilation: str
) -> None:
    torch.compiler.reset()
    settings = ["model=resunet", "dropout=0.5", "input_noise_std=0", "lr=1e-12", "iterations=12", "stopping=none"]
    losses = gpu_fit(*settings, "precision=fp32", f"compile={compilation}").curves["loss"]
    # With the same weights and the same input, only what is dropped differs; rounding differs by less.
    assert np.abs(np.diff(losses)).min() > 1e-6
