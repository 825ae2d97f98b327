"""What the benchmarks share: waiting for the device, the bare step, counting memory, how times are told."""

import statistics
from collections.abc import Callable, Sequence
from itertools import count

import torch
from torch import Tensor, nn

from dip_lightning.fitting.build import Fit
from dip_lightning.module import DeepImagePrior

__all__ = ["bare_step", "learning_rate", "megabytes_kept", "spread", "synchronise", "tell"]


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def bare_step(fit: Fit) -> Callable[[], None]:
    """Return a function that does one iteration without Lightning: perturb, forward, loss, backward, Adam."""
    module, trainer = fit.module, fit.trainer
    prior, problem = module.prior, module.problem
    trainer.precision_plugin.convert_module(module).to(trainer.strategy.root_device)
    module.train()
    optimizer = torch.optim.Adam(prior.fitted_parameters(), lr=learning_rate(module), fused=True)
    iterations, estimate = count(), None

    def step() -> None:
        nonlocal estimate
        optimizer.zero_grad()
        with trainer.precision_plugin.forward_context():
            out = module(prior.policy(prior.z, next(iterations), estimate))
            loss = problem.data_loss(problem.operator(out))
            for term in problem.regularizers.values():
                loss = loss + term(out)
        estimate = out.detach()
        loss.backward()
        optimizer.step()

    return step


def learning_rate(module: DeepImagePrior) -> float:
    """The learning rate that a fit begins with."""
    return float(module._make_optimizer(module.prior.fitted_parameters()).defaults["lr"])


def megabytes_kept(network: nn.Module, forward: Callable[[], object]) -> float:
    """Count what a forward pass keeps for the backward pass, in 10⁶ bytes; the weights do not count.

    This part of the memory is the same on every device, and in a large picture it is most of it.
    """
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = forward()  # held, so that no memory is given out twice
    del result
    return sum(size for place, size in kept.items() if place not in weights) / 1e6


def spread(values: Sequence[float], digits: int = 4) -> str:
    """Write median, least and greatest."""
    median = statistics.median(values)
    return f"median {median:.{digits}f}  min {min(values):.{digits}f}  max {max(values):.{digits}f}"


def tell(sides: dict[str, Sequence[float]], ratio: str) -> None:
    """Print the seconds of two sides that were measured in turn, and the ratio of the second to the first."""
    width = max(map(len, [*sides, ratio]))
    for name, seconds in sides.items():
        print(f"  {name:<{width}}  {spread(seconds)}")
    first, second = sides.values()
    print(f"  {ratio:<{width}}  {spread([b / a for a, b in zip(first, second, strict=True)], 3)}")
