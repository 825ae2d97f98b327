"""Each precision computes in what it says, and leaves the process as it was."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dip_lightning.errors import UserError
from dip_lightning.fitting.fit import FitResult
from dip_lightning.precision import NativePrecision, Precision
from dip_lightning.system.processor import has_native_bf16


@pytest.mark.parametrize(
    ("name", "weights", "convolutions"),
    [
        ("fp64", torch.float64, torch.float64),
        ("fp32", torch.float32, torch.float32),
        ("bf16", torch.float32, torch.bfloat16),
    ],
)
def test_weights_and_convolutions_have_the_type_asked_for(
    tiny_fit: Callable[..., FitResult],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    weights: torch.dtype,
    convolutions: torch.dtype,
) -> None:
    seen: set[tuple[torch.dtype, torch.dtype]] = set()
    forward = nn.Conv2d.forward

    def spy(self: nn.Conv2d, x: Tensor) -> Tensor:
        out = forward(self, x)
        seen.add((self.weight.dtype, out.dtype))
        return out

    monkeypatch.setattr(nn.Conv2d, "forward", spy)
    result = tiny_fit(f"precision={name}")
    assert seen == {(weights, convolutions)}
    in_force = result.summary["precision_in_force"]
    assert in_force["weights"] == str(weights).removeprefix("torch.")
    assert in_force["autocast"] == ("bfloat16" if name == "bf16" else None)
    assert not in_force["tf32_matmul"]
    assert not in_force["tf32_convolution"]


def test_a_remedy_is_the_next_precision_and_none_that_is_slower_than_need_be() -> None:
    steps = {"bf16": "fp32", "fp16": "fp32", "tf32": "fp32", "fp32": "fp64", "fp64": None}
    for name, then in steps.items():
        assert Precision.named(name).higher(torch.device("cpu")) == then
    assert Precision.named("fp32").higher(torch.device("mps")) is None


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("tf32", [True, False])
def test_tf32_is_on_only_inside_and_in_convolutions_as_well(before: bool, tf32: bool) -> None:
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
    kept = matmul.allow_tf32, convolution.allow_tf32
    try:
        matmul.allow_tf32 = convolution.allow_tf32 = before
        precision = Precision("32-true", tf32)
        with precision.in_force():
            assert matmul.allow_tf32 is convolution.allow_tf32 is tf32
            assert precision.describe(torch.float32)["tf32_convolution"] is tf32
        assert matmul.allow_tf32 is convolution.allow_tf32 is before
    finally:
        matmul.allow_tf32, convolution.allow_tf32 = kept


@pytest.mark.parametrize("name", ["tf32", "fp16"])
def test_a_cpu_does_not_pretend(tiny_fit: Callable[..., FitResult], name: str) -> None:
    with pytest.raises(UserError, match=f"precision={name} on cpu"):
        tiny_fit(f"precision={name}")


def test_tf32_is_a_rounding_of_float32_only() -> None:
    assert Precision("32-true", True).name == "tf32"
    with pytest.raises(UserError, match="try precision=tf32"):
        Precision("64-true", True)


def test_an_unknown_precision_of_lightning_is_refused() -> None:
    with pytest.raises(UserError, match="bf16-mixed"):
        Precision("bf16-mixd")


@pytest.mark.parametrize(
    ("flags", "native"),
    [
        ("fpu avx512f avx512_bf16", True),
        ("amx_bf16 fpu", True),
        ("fpu avx2 avx512f avx512_bf16x", False),
        (None, False),
    ],
)
def test_a_processor_says_itself_whether_it_multiplies_in_bf16(flags: str | None, native: bool, tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    if flags is not None:
        told.write_text(f"processor\t: 0\nmodel name\t: bf16\nflags\t\t: {flags}\n\nprocessor\t: 1\n", encoding="utf-8")
    assert has_native_bf16(told) is native


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_bf16_where_the_processor_has_it_and_the_record_says_which(
    tiny_fit: Callable[..., FitResult], monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    monkeypatch.setattr("dip_lightning.precision.has_native_bf16", lambda: native)
    summary = tiny_fit("precision=auto").summary
    assert summary["precision"] == ("bf16" if native else "fp32")
    assert summary["precision_in_force"]["autocast"] == ("bfloat16" if native else None)


@pytest.mark.parametrize(
    ("accelerator", "capability", "name"),
    [("auto", (9, 0), "bf16"), ("gpu", (8, 0), "bf16"), ("gpu", (7, 5), "fp32"), ("auto", (7, 5), "fp32")],
)
def test_auto_on_a_gpu_is_what_the_gpu_computes_in(
    monkeypatch: pytest.MonkeyPatch, accelerator: str, capability: tuple[int, int], name: str
) -> None:
    monkeypatch.setattr("dip_lightning.precision.has_native_bf16", lambda: capability < (8, 0))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert NativePrecision(accelerator).name == name


def test_auto_follows_the_accelerator_and_refuses_what_is_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dip_lightning.precision.has_native_bf16", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert [NativePrecision(word).name for word in ("cpu", "auto", "mps")] == ["bf16", "fp32", "fp32"]
    with pytest.raises(UserError, match=r"precision\.accelerator=3"):
        NativePrecision(3)  # type: ignore[arg-type]
