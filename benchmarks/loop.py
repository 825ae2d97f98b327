"""What Lightning's loop and the callbacks add to the bare iteration.

Times, in one process and in turn, (a) the bare step: perturb, forward, loss, backward, Adam; (b) a whole fit by
`pytorch_lightning.Trainer` with every default callback but the progress bar, without its set-up. Both do the same
iterations of the same network on the same picture. Prints seconds an iteration and their ratio.

    python benchmarks/loop.py [--size 128] [--iterations 20] [--repeats 5] [OVERRIDE...]
"""

import argparse
import tempfile
import time
from pathlib import Path

from pytorch_lightning.callbacks import Timer

from dip_lightning import environment
from dip_lightning.config import build, compose_config
from dip_lightning.isolation import isolated
from dip_lightning.parts import Parts, build_parts
from dip_lightning.precision import Precision
from timing import bare_step, synchronise, tell


def time_bare(parts: Parts, iterations: int) -> float:
    """Seconds an iteration of the step alone."""
    step, device = bare_step(parts), parts.trainer.strategy.root_device
    synchronise(device)
    started = time.perf_counter()
    for _ in range(iterations):
        step()
    synchronise(device)
    return (time.perf_counter() - started) / iterations


def time_fit(parts: Parts, iterations: int) -> float:
    """Seconds an iteration of the whole loop."""
    timer = Timer()
    parts.trainer.callbacks.append(timer)  # type: ignore[attr-defined]
    parts.trainer.fit(parts.module, datamodule=parts.data)
    return timer.time_elapsed() / iterations


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("overrides", nargs="*", help="as for dip: model=unet precision=bf16")
    options = parser.parse_args()
    overrides = [f"image.crop={options.size}", f"iterations={options.iterations}", *options.overrides]
    cfg = compose_config([*overrides, "callbacks.fit_progress=null"])
    precision: Precision = build(cfg.precision)
    bare, whole = [], []
    for repeat in range(options.repeats + 1):
        with precision.in_force(), isolated(), tempfile.TemporaryDirectory() as folder:
            seconds = time_bare(build_parts(cfg, None, precision, {}), options.iterations)
            parts = build_parts(cfg, Path(folder), precision, {})
            seconds_fit = time_fit(parts, options.iterations)
        if repeat > 0:  # the first is the warm-up
            bare.append(seconds)
            whole.append(seconds_fit)
    device = environment.describe_device(parts.trainer.strategy.root_device)
    print(f"{cfg.model._target_.rsplit('.', 1)[-1]} at {options.size}x{options.size}, {precision.name}, {device}")
    print(f"{options.repeats} repeats of {options.iterations} iterations, in turn; seconds an iteration")
    tell({"bare step": bare, "whole loop": whole}, "loop / step")


if __name__ == "__main__":
    main()
