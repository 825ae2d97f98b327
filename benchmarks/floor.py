"""How far an iteration is from what its convolutions alone cost on this machine.

Measures, in one process and in turn: (a) every convolution of the network as it is, forward and backward, one after
the other on tensors of its own shapes, channels-last and in the type that the fit computes in: the floor; (b) the bare
step: perturb, forward, loss, backward, Adam; (c) the rate of a large copy, and what the activations take at that rate.

    python benchmarks/floor.py [--size 256] [--repeats 5] [OVERRIDE...]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from arguments import mistakes_told, positive, square
from dip_lightning.config.build import build
from dip_lightning.config.compose import compose_config
from dip_lightning.fitting.build import Fit, build_fit
from dip_lightning.fitting.isolation import isolated
from dip_lightning.precision import Precision
from dip_lightning.system import environment
from timing import bare_step, synchronise, tell


class Convolution:
    """A convolution of the network by itself, with an input of the shape that it gets there."""

    def __init__(self, layer: nn.Conv2d, shape: torch.Size, dtype: torch.dtype, *, first: bool) -> None:
        """Take the layer's shape; the first one needs no gradient of its input."""
        device = layer.weight.device
        padded = (*shape[:2], *(side + 2 * pad for side, pad in zip(shape[2:], layer.padding, strict=True)))
        # Padding is no convolution: the border is there already.
        self.input = torch.rand(padded, device=device, dtype=dtype).to(memory_format=torch.channels_last)
        self.input.requires_grad_(not first)
        self.weight = layer.weight.detach().to(dtype).to(memory_format=torch.channels_last).requires_grad_()
        self.bias = None if layer.bias is None else layer.bias.detach().to(dtype).requires_grad_()
        self.stride = layer.stride
        out = self.forward()
        self.gradient = torch.rand_like(out)
        kernel = self.weight.shape[1] * self.weight.shape[2] * self.weight.shape[3]
        passes = 2 if first else 3
        self.flops = 2.0 * passes * out.numel() * kernel

    def forward(self) -> Tensor:
        """Compute it."""
        return torch.nn.functional.conv2d(self.input, self.weight, self.bias, self.stride)

    def run(self) -> None:
        """Compute it and its gradients."""
        self.forward().backward(self.gradient)


def convolutions_of(fit: Fit, dtype: torch.dtype) -> tuple[list[Convolution], int]:
    """The convolutions with the shapes of their inputs in a forward pass, and the bytes of all activations."""
    module, z = fit.module, fit.module.prior.z
    shapes: dict[nn.Conv2d, torch.Size] = {}
    activations = 0

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal activations
        activations += output.numel() * dtype.itemsize
        if isinstance(layer, nn.Conv2d):
            shapes[layer] = inputs[0].shape

    layers = [layer for layer in module.prior.network.modules() if not list(layer.children())]
    handles = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad(), fit.trainer.precision_plugin.forward_context():
        module(z)
    for handle in handles:
        handle.remove()
    # What stands on z alone: the outermost encoder and the outermost skip.
    depth = z.shape[1]
    first = [layer for layer, shape in shapes.items() if shape[1] == depth and shape[2:] == z.shape[2:]]
    return [Convolution(layer, shape, dtype, first=layer in first) for layer, shape in shapes.items()], activations


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that some work takes."""
    synchronise(device)
    started = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - started


def copy_rate(device: torch.device) -> float:
    """Bytes a second that a large copy reads and writes."""
    source = torch.rand(64_000_000 if device.type == "cpu" else 1_000_000_000, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / min(seconds_of(lambda: target.copy_(source), device) for _ in range(6))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=positive, default=256, help="side of the picture, pixels")
    parser.add_argument("--repeats", type=positive, default=5, help="how often, in turn")
    parser.add_argument("overrides", nargs="*", help="as for dip: model=unet precision=bf16")
    options = parser.parse_args()
    cfg = compose_config([*square(options.size), "callbacks.fit_progress=null", *options.overrides])
    precision: Precision = build(cfg.precision)
    dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16, "64-true": torch.float64}.get(
        precision.lightning, torch.float32
    )
    with precision.in_force(), isolated():
        fit = build_fit(cfg, None, precision, {})
        device = fit.trainer.strategy.root_device
        step = bare_step(fit)
        convolutions, activations = convolutions_of(fit, dtype)
        floors, steps = [], []
        for repeat in range(options.repeats + 2):
            alone = seconds_of(lambda: [convolution.run() for convolution in convolutions], device)
            whole = seconds_of(step, device)
            if repeat >= 2:  # the first two are the warm-up
                floors.append(alone)
                steps.append(whole)
        rate = copy_rate(device)
    flops = sum(convolution.flops for convolution in convolutions)
    name = cfg.model._target_.rsplit(".", 1)[-1]
    print(f"{name} at {options.size}x{options.size}, {precision.name}, {environment.describe_device(device)}")
    print(f"{options.repeats} repeats, in turn; seconds")
    tell({"convolutions": floors, "bare step": steps}, "step / floor")
    print(f"  {flops / 1e9:.0f} GFLOP in convolutions: {flops / statistics.median(floors) / 1e9:.0f} GFLOP/s")
    print(
        f"  {activations / 1e6:.0f} MB of activations, {rate / 1e9:.1f} GB/s of copying: "
        f"{activations / rate:.4f} s for each time they are read or written"
    )


if __name__ == "__main__":
    with mistakes_told():
        main()
