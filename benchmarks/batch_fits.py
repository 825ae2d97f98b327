"""Many small fits at once: is a machine that one fit leaves idle better used by several?

Measures how many iterations a second all fits together do, in turn: (a) one fit; (b) N processes with a fit each, which
share the device (and, on a CPU, its cores); (c) N independent networks in one step, their weights stacked and the
network mapped over them by `torch.func.vmap`, which makes one grouped convolution of N. The bare step each: perturb,
forward, loss, backward, Adam. First it is checked that (c) computes what N single fits compute.

    python benchmarks/batch_fits.py [--size 128] [--fits 1,2,4,8] [--seconds 10] [--repeats 3] [OVERRIDE...]
"""

import argparse
import copy
import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state

from arguments import duration, mistakes_told, positive, positives, square
from dip_lightning.config.build import build
from dip_lightning.config.compose import compose_config
from dip_lightning.errors import UserError
from dip_lightning.fitting.build import Fit, build_fit
from dip_lightning.fitting.isolation import isolated
from dip_lightning.models import resampling
from dip_lightning.precision import Precision
from dip_lightning.system import environment
from timing import bare_step, learning_rate, spread, synchronise

Step = Callable[[], Any]

# The doubling of feature maps has a gradient of its own on a CPU, which is made of what `vmap` knows.
resampling._Double.generate_vmap_rule = True  # type: ignore[attr-defined]


def make_fit(overrides: list[str], seed: int) -> Fit:
    """One fit, on its device."""
    cfg = compose_config([*overrides, f"seed={seed}"])
    fit = build_fit(cfg, None, build(cfg.precision), {})
    fit.trainer.precision_plugin.convert_module(fit.module).to(fit.trainer.strategy.root_device)
    fit.module.train()
    return fit


class Together:
    """N fits of networks alike, in one step."""

    def __init__(self, overrides: list[str], count: int) -> None:
        """Stack their weights, and give them one Adam, which treats every weight by itself."""
        # In channels-last order, the gradients of grouped 1×1 convolutions come out wrong (torch 2.13 on a CPU).
        fits = [make_fit([*overrides, "channels_last=false"], seed) for seed in range(count)]
        modules = [fit.module for fit in fits]
        priors, problems = [module.prior for module in modules], [module.problem for module in modules]
        self.context = fits[0].trainer.precision_plugin.forward_context
        self.data_term, noise = problems[0].data_term, priors[0].policy.std
        if noise is None:
            raise UserError("an input that is not z plus noise", "one that is", "try input=perturbed")
        self.noise = noise
        self.z = torch.stack([prior.z for prior in priors])
        self.observation = torch.stack([problem.observation for problem in problems])
        networks: Any = [prior.network for prior in priors]
        parameters, self.buffers = stack_module_state(networks)
        self.parameters = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        self.optimizer = torch.optim.Adam(self.parameters.values(), lr=learning_rate(modules[0]), fused=True)
        self.skeleton = copy.deepcopy(priors[0].network).to("meta")

    def outputs(self, z: Tensor) -> Tensor:
        """Compute every network's output: (N, 1, C_z, H, W) → (N, 1, C, H, W)."""

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], z: Tensor) -> Tensor:
            out: Tensor = functional_call(self.skeleton, (parameters, buffers), (z,))
            return out

        mapped: Tensor = torch.vmap(one, randomness="different")(self.parameters, self.buffers, z)
        return mapped

    def step(self, noise: float | None = None) -> Tensor:
        """Do one iteration of all; returns their losses, (N,)."""
        self.optimizer.zero_grad()
        with self.context():
            z = self.z + torch.randn_like(self.z) * (self.noise if noise is None else noise)
            outputs = self.outputs(z).to(self.observation.dtype)
            losses = self.data_term(outputs, self.observation).mean(dim=(1, 2, 3, 4))
        losses.sum().backward()
        self.optimizer.step()
        return losses.detach()


def check(overrides: list[str], fits: int, iterations: int = 5) -> float:
    """The largest relative difference of the losses of fits by themselves and together, over some iterations."""
    alone = []
    for seed in range(fits):
        fit = make_fit(overrides, seed)
        module, problem = fit.module, fit.module.problem
        optimizer = torch.optim.Adam(module.prior.fitted_parameters(), lr=learning_rate(module))
        for _ in range(iterations):
            optimizer.zero_grad()
            with fit.trainer.precision_plugin.forward_context():
                loss = problem.data_loss(module(module.prior.z))
            loss.backward()
            optimizer.step()
        alone.append(loss.detach())
    together = Together(overrides, fits)
    for _ in range(iterations):
        losses = together.step(noise=0.0)
    return float((losses / torch.stack(alone) - 1).abs().max())


def rate(step: Step, device: torch.device, seconds: float) -> float:
    """Calls a second."""
    for _ in range(3):
        step()
    synchronise(device)
    started, calls = time.perf_counter(), 0
    while calls % 5 or time.perf_counter() - started < seconds:
        step()
        calls += 1
        if calls % 5 == 0:
            synchronise(device)
    return calls / (time.perf_counter() - started)


def one_of_many(overrides: list[str], seed: int, threads: int, seconds: float, start: Any, results: Any) -> None:
    """A process of several: waits for the others, and tells its iterations a second."""
    torch.set_num_threads(threads)
    precision: Precision = build(compose_config(overrides).precision)
    with precision.in_force(), isolated():
        fit = make_fit(overrides, seed)
        step = bare_step(fit)
        step()
        start.wait()
        results.put(rate(step, fit.trainer.strategy.root_device, seconds))


def in_processes(overrides: list[str], fits: int, threads: int, seconds: float) -> float:
    """Iterations a second of several fits, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(fits), context.Queue()
    arguments = [(overrides, seed, threads, seconds, start, results) for seed in range(fits)]
    processes = [context.Process(target=one_of_many, args=each) for each in arguments]
    for process in processes:
        process.start()
    rates = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return sum(rates)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=positive, default=128, help="side of the picture, pixels")
    parser.add_argument("--fits", type=positives, default="1,2,4,8", help="how many at once")
    parser.add_argument("--seconds", type=duration, default="10", help="of each measurement")
    parser.add_argument("--repeats", type=positive, default=3, help="how often, in turn")
    parser.add_argument("overrides", nargs="*", help="as for dip: model=unet precision=bf16")
    options = parser.parse_args()
    overrides = [*square(options.size), "callbacks.fit_progress=null", "stopping=none", *options.overrides]
    cfg, threads = compose_config(overrides), torch.get_num_threads()
    precision: Precision = build(cfg.precision)
    rates: dict[str, list[float]] = {"1 fit": []}
    with precision.in_force(), isolated():
        # In float64: in float32 Adam makes of the last bit of a small gradient another step.
        difference = check([*overrides, "precision=fp64"], min(max(options.fits), 3))
        for _ in range(options.repeats):
            fit = make_fit(overrides, 0)
            device = fit.trainer.strategy.root_device
            rates["1 fit"].append(rate(bare_step(fit), device, options.seconds))
            for count in options.fits:
                if count == 1:
                    continue
                share = max(threads // count, 1) if device.type == "cpu" else threads
                processes = in_processes(overrides, count, share, options.seconds)
                rates.setdefault(f"{count} processes", []).append(processes)
                together = Together(overrides, count)
                rates.setdefault(f"{count} in one step", []).append(
                    count * rate(together.step, device, options.seconds)
                )
    name = cfg.model._target_.rsplit(".", 1)[-1]
    print(f"{name} at {options.size}x{options.size}, {precision.name}, {environment.describe_device(device)}")
    print(f"losses in one step and alone differ by {difference:.1e} after 5 iterations in float64")
    print(f"{options.repeats} repeats of {options.seconds:g} s, in turn; iterations a second of all fits together")
    for side, values in rates.items():
        ratios = [value / one for value, one in zip(values, rates["1 fit"], strict=True)]
        print(f"  {side:<14}  {spread(values, 2)}  of one fit's: {spread(ratios)}")


if __name__ == "__main__":
    with mistakes_told():
        main()
