"""Each precision computes in what it says, and leaves the process as it was."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dip_lightning.errors import UserError
from dip_lightning.fitting.fit import FitResult
from dip_lightning.precision import Precision


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
