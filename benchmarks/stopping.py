"""What the stopping rules add to an iteration.

Times, in one process and in turn, (a) the bare step: perturb, forward, loss, backward, Adam; (b) what
`callbacks.Detection` does after it, the statistics of its rules, the picks and their images included, on outputs that
change. Prints milliseconds and the share of (b) in (a).

    python benchmarks/stopping.py [--size 128] [--iterations 20] [--repeats 5] [OVERRIDE...]
"""

import argparse
import statistics
import time
from typing import Any

import torch

from arguments import mistakes_told, positive, square
from dip_lightning.callbacks import Detection
from dip_lightning.config.build import build
from dip_lightning.config.compose import compose_config
from dip_lightning.curves import Curves
from dip_lightning.fitting.build import Fit, build_fit
from dip_lightning.fitting.isolation import isolated
from dip_lightning.module import Iterate
from dip_lightning.precision import Precision
from dip_lightning.system import environment
from loop import time_bare
from timing import synchronise


def time_detection(fit: Fit, iterations: int) -> float:
    """Seconds an iteration of the callback alone, with its window full and its picks in use."""
    module, detection = fit.module, fit.find(Detection)
    assert detection is not None
    device = fit.trainer.strategy.root_device
    module = fit.trainer.precision_plugin.convert_module(module).to(device)
    detection.min_iterations = 0
    warm_up = 120
    problem, dtype = module.problem, module.problem.observation.dtype
    module.curves = Curves(warm_up + iterations, device, dtype)
    outputs = [torch.rand((1, *problem.shape), device=device, dtype=dtype) for _ in range(4)]
    nothing: Any = None
    detection.on_fit_start(fit.trainer, module)
    detection.prepare(problem)
    for iteration in range(warm_up + iterations):
        if iteration == warm_up:
            synchronise(device)
            started = time.perf_counter()
        output = outputs[iteration % len(outputs)]
        diverged = torch.zeros((), dtype=torch.bool, device=device)
        module.iterate = Iterate(iteration, output, averaged=output, diverged=diverged)
        detection.on_train_batch_end(fit.trainer, module, nothing, nothing, iteration)
    synchronise(device)
    return (time.perf_counter() - started) / iterations


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=positive, default=128, help="side of the picture, pixels")
    parser.add_argument("--iterations", type=positive, default=20, help="of each side, a repeat")
    parser.add_argument("--repeats", type=positive, default=5, help="how often, in turn")
    parser.add_argument("overrides", nargs="*", help="as for dip: model=unet precision=bf16 stopping=wmv")
    options = parser.parse_args()
    cfg = compose_config([*square(options.size), *options.overrides, "callbacks.fit_progress=null"])
    precision: Precision = build(cfg.precision)
    bare, added = [], []
    for repeat in range(options.repeats + 1):
        with precision.in_force(), isolated():
            fit = build_fit(cfg, None, precision, {})
            step = time_bare(fit, options.iterations)
            extra = time_detection(fit, 10 * options.iterations)
        if repeat > 0:  # the first is the warm-up
            bare.append(step)
            added.append(extra)
    device = environment.describe_device(fit.trainer.strategy.root_device)
    rule = cfg.stopping.rules
    print(f"{cfg.model._target_.rsplit('.', 1)[-1]} at {options.size}x{options.size}, {precision.name}, {device}")
    print(f"rules {', '.join(rule)}; {options.repeats} repeats, in turn; milliseconds an iteration")
    for name, times in (("bare step", bare), ("detection", added)):
        shown = [1000 * value for value in (statistics.median(times), min(times), max(times))]
        print(f"  {name:<11} median {shown[0]:.3f}  min {shown[1]:.3f}  max {shown[2]:.3f}")
    shares = [extra / step for extra, step in zip(added, bare, strict=True)]
    print(f"  share       median {statistics.median(shares):.2%}  min {min(shares):.2%}  max {max(shares):.2%}")


if __name__ == "__main__":
    with mistakes_told():
        main()
