"""How much memory a fit will take, told before its first iteration."""

import contextlib
import copy
import math
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dip_lightning.callbacks import Detection, DivergenceGuard
from dip_lightning.errors import UserError
from dip_lightning.fitting.build import Fit
from dip_lightning.precision import LIGHTNING_PRECISIONS
from dip_lightning.priors import Prior
from dip_lightning.stopping import WindowedVariance
from dip_lightning.system import environment
from dip_lightning.system.randomness import drawn_with

__all__ = ["MemoryEstimate", "check_memory", "estimate_memory", "is_out_of_memory", "measure_step"]

# What the process grows by for each byte of tensors on a CPU, where freed memory goes back to the system only in part.
# Measured on 128x128 to 384x384 pixels, three networks and three precisions: 0.97 to 1.35, the less the larger.
_CPU_OVERHEAD = 1.15

# Of what is available, what a fit may take: the rest of the machine goes on living.
_SHARE = 0.95


class _Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages that operations make, and notes the most that there were at a time.

    Attributes:
        peak: In bytes.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak: int = 0
        self._present = 0
        self._seen: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._note(leaf.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._seen:
            return
        size = storage.nbytes()

        def forget(_: object) -> None:
            del self._seen[key]
            self._present -= size

        self._seen[key] = weakref.ref(storage, forget)
        self._present += size
        self.peak = max(self.peak, self._present)


@dataclass(frozen=True)
class StepMemory:
    """What one iteration has in memory at its peak, besides weights, in bytes: ``fixed + per_pixel * pixels``."""

    fixed: float
    per_pixel: float


@dataclass(frozen=True)
class MemoryEstimate:
    """The peak memory of a fit.

    Attributes:
        present: What is taken already, in bytes: by the process, or by tensors on the GPU.
        fixed: What comes to it whatever the size of the picture.
        per_pixel: What comes to it for each pixel.
        pixels: How many pixels the picture has.
    """

    present: float
    fixed: float
    per_pixel: float
    pixels: int

    @property
    def more(self) -> float:
        """What comes to what is there, in bytes."""
        return self.fixed + self.per_pixel * self.pixels

    @property
    def total_mb(self) -> float:
        """The peak in MB (10⁶ bytes), as ``environment.peak_memory_mb`` counts it."""
        return (self.present + self.more) / 1e6

    def largest_side(self, available: float) -> int:
        """The side in pixels of the largest square that fits, a multiple of 8; 0 where none does."""
        pixels = (available - self.fixed) / self.per_pixel
        return 8 * int(math.sqrt(max(pixels, 0)) / 8)


def measure_step(
    prior: Prior,
    *,
    device: torch.device,
    weights: torch.dtype,
    autocast: torch.dtype | None,
) -> StepMemory:
    """Meter two iterations on small pictures. What grows, grows with the number of pixels.

    Args:
        prior: The prior; it is not changed, and no random number is drawn.
        device: Where the fit will run.
        weights: The type of the weights.
        autocast: The type that convolutions compute in, or None for that of the weights.
    """
    copied = copy.deepcopy(prior.network).to(device=device, dtype=weights).train()
    sides = prior.trial_sides
    shapes = [(1, *prior.input_shape(side, side)) for side in sides]
    # Dropout of a network of one's own draws from the process's numbers; nothing of this package does.
    is_ours = type(prior.network).__module__.startswith("dip_lightning.")
    devices = [device] if device.type == "cuda" else []
    kept = contextlib.nullcontext() if is_ours else torch.random.fork_rng(devices=devices)
    with drawn_with(0, "trial"), kept:
        peaks = [_meter_step(copied, shape, device, weights, autocast) for shape in shapes]
    per_pixel = (peaks[1] - peaks[0]) / (sides[1] ** 2 - sides[0] ** 2)
    return StepMemory(peaks[0] - per_pixel * sides[0] ** 2, per_pixel)


def _meter_step(
    network: nn.Module, shape: tuple[int, ...], device: torch.device, weights: torch.dtype, autocast: torch.dtype | None
) -> float:
    columns = 0

    def note(module: nn.Conv2d, _: Any, out: Tensor) -> None:
        # Without oneDNN, which knows no float64, a convolution unfolds its whole input.
        nonlocal columns
        if weights is torch.float64 and device.type == "cpu" and max(module.kernel_size) > 1:
            unfolded = module.in_channels * math.prod(module.kernel_size) * out.shape[-2] * out.shape[-1]
            columns = max(columns, unfolded * out.itemsize)

    hooks = [module.register_forward_hook(note) for module in network.modules() if isinstance(module, nn.Conv2d)]
    casting = torch.autocast(device.type, dtype=autocast) if autocast else contextlib.nullcontext()
    with _Meter() as meter:
        given = torch.rand(shape, dtype=weights, device=device)
        with casting:
            try:
                out = network(given.add(0.1)).to(weights)
            except RuntimeError as error:
                if "to have" not in str(error):  # channels, as torch's layers say it
                    raise
                told, remedy = str(error).splitlines()[0], "model.input_channels=, or Prior(net, input_channels=)"
                raise UserError(
                    f"a z of {shape[1]} channels ({told})", "those of the first layer", f"set {remedy}"
                ) from error
        out.square().mean().backward()
    network.zero_grad(set_to_none=True)
    for hook in hooks:
        hook.remove()
    overhead = _CPU_OVERHEAD if device.type == "cpu" else 1.0
    return float(overhead * meter.peak + columns)


def estimate_memory(fit: Fit, *, lightning: str | None = None, prior: Prior | None = None) -> MemoryEstimate:
    """Estimate the peak memory of a fit.

    Args:
        fit: The fit, before it starts.
        lightning: Another precision to reckon with, as Lightning names it.
        prior: Another prior to reckon with.
    """
    module, device = fit.module, fit.trainer.strategy.root_device
    weights, autocast = LIGHTNING_PRECISIONS[lightning or fit.precision.lightning]
    prior = module.prior if prior is None else prior
    step = measure_step(prior, device=device, weights=weights, autocast=autocast)
    state = sum(tensor.numel() for tensor in prior.network.state_dict().values()) * weights.itemsize
    # Adam's two moments; the guard's first weights, its copy of weights and moments, and the next one while it is made.
    copies = 2 + (7 if fit.find(DivergenceGuard) is not None else 0)
    on_cpu = device.type == "cpu"
    if not on_cpu or weights is not torch.float32:
        copies += 1  # the weights where, or as what, they are not yet
    channels, height, width = module.problem.shape
    images, window = _kept_images(fit)
    return MemoryEstimate(
        present=environment.present_memory(device),
        fixed=step.fixed + copies * state + window * weights.itemsize,
        per_pixel=step.per_pixel + images * channels * weights.itemsize,
        pixels=height * width,
    )


def _kept_images(fit: Fit) -> tuple[int, int]:
    """How many images a fit keeps, and how many samples the stopping rules keep besides."""
    detection = fit.find(Detection)
    rules = [] if detection is None else list(detection.rules.values())
    samples = math.prod(fit.module.problem.shape)
    windows = [rule for rule in rules if isinstance(rule, WindowedVariance)]
    window = sum(rule.window * min(rule.max_samples, samples) for rule in windows)
    # One-pass and averaged output, twice, the guard's, one in the making; for each rule its pick and what it compares.
    return 5 + 3 * len(rules), window


def check_memory(fit: Fit) -> MemoryEstimate:
    """Estimate the memory of a fit, and refuse one for which there is not enough.

    Returns:
        The estimate.

    Raises:
        UserError: It will not fit; the line says what would.
    """
    estimate = estimate_memory(fit)
    available = environment.available_memory(fit.trainer.strategy.root_device)
    if estimate.more <= _SHARE * available:
        return estimate
    _, height, width = fit.module.problem.shape
    raise UserError(
        f"{height}x{width} pixels take about {estimate.more / 1e9:.2f} GB more memory",
        f"at most {_SHARE * available / 1e9:.2f} GB",
        _cheaper(fit, estimate, _SHARE * available),
    )


def _cheaper(fit: Fit, estimate: MemoryEstimate, available: float) -> str:
    """Name what would fit: each setting by itself, computed like the estimate."""
    ways = []
    cheaper = {"64-true": ("32-true", "fp32"), "32-true": ("bf16-mixed", "bf16")}.get(fit.precision.lightning)
    if cheaper is not None and estimate_memory(fit, lightning=cheaper[0]).more <= available:
        ways.append(f"precision={cheaper[1]}")
    channels = _halved(fit.settings.structure["channels"])
    while channels is not None:
        with drawn_with(0, "weights"):
            prior = fit.build_narrower(channels)
        if estimate_memory(fit, prior=prior).more <= available:
            ways.append(f"model.channels={channels}".replace(" ", ""))
            break
        channels = _halved(channels)
    side = estimate.largest_side(available)
    _, height, width = fit.module.problem.shape
    if side >= 8:
        ways.append(f"image.crop={min(side, height, width)}")
    return f"try {', or '.join(ways)}" if ways else "use a machine with more"


def _halved(channels: int | list[int]) -> int | list[int] | None:
    """Half as many channels, of each level; None where too few would be left."""
    if isinstance(channels, list):
        return [max(width // 2, 8) for width in channels] if max(channels) >= 32 else None
    return channels // 2 if channels >= 32 else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is used up, on a GPU or on the host."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )
