"""What Lightning's loop and the callbacks add to the bare iteration.

Times, in one process and in turn, (a) the bare step: perturb, forward, loss, backward, Adam; (b) a fit by
`pytorch_lightning.Trainer` with every default callback but the progress bar, from its sixth iteration to its last. Both
do the same iterations of the same network on the same picture. Prints seconds an iteration and their ratio.

On a CPU the machine's own spread is larger than what is looked for, so the same is measured from within, too: in the
whole fits, the time of all that is not perturb, forward, loss, backward or Adam, over the time of these.

    python benchmarks/loop.py [--size 128] [--iterations 20] [--repeats 5] [OVERRIDE...]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from arguments import mistakes_told, positive, square
from dip_lightning.config.build import build
from dip_lightning.config.compose import compose_config
from dip_lightning.fitting.build import Fit, build_fit
from dip_lightning.fitting.isolation import isolated
from dip_lightning.precision import Precision
from dip_lightning.system import environment
from timing import bare_step, spread, synchronise, tell

# Iterations that are not timed.
FIRST = 5


def time_bare(fit: Fit, iterations: int) -> float:
    """Seconds an iteration of the step alone, after the first few."""
    step, device = bare_step(fit), fit.trainer.strategy.root_device
    for _ in range(FIRST):
        step()
    synchronise(device)
    started = time.perf_counter()
    for _ in range(iterations - FIRST):
        step()
    synchronise(device)
    return (time.perf_counter() - started) / (iterations - FIRST)


def time_fit(fit: Fit, iterations: int) -> float:
    """Seconds an iteration of the whole loop, after the first few; what begins and ends a fit does not count."""
    clock = Clock()
    fit.trainer.callbacks.append(clock)  # type: ignore[attr-defined]
    fit.trainer.fit(fit.module)
    return (clock.ended - clock.started) / (iterations - FIRST)


class Clock(pl.Callback):
    """Takes the time after the first few iterations, and after the last."""

    started = ended = 0.0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Take it."""
        if batch_idx + 1 in (FIRST, trainer.num_training_batches):
            synchronise(pl_module.device)
            self.started, self.ended = self.ended, time.perf_counter()


class Within(pl.Callback):
    """Meters in each iteration of a fit what the bare step would do as well, and the rest.

    Attributes:
        step: Seconds of the bare step's parts, one number an iteration.
        rest: Seconds of everything else, likewise.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.step: list[float] = []
        self.rest: list[float] = []
        self._inside = self._beside = 0.0
        self._running = False
        self._last: float | None = None

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Put a clock around each part of the step; of Adam's without the closure, in which Lightning does the others.

        What the training step measures on the side counts to the rest.
        """
        self._last = None
        optimizer = trainer.optimizers[0]
        adam = self._clocked(optimizer.step)
        trainer.strategy.training_step = self._clocked(trainer.strategy.training_step)
        pl_module.backward = self._clocked(pl_module.backward)
        pl_module.curves.record = self._left_out(pl_module.curves.record)
        pl_module.problem.fidelity = self._left_out(pl_module.problem.fidelity)
        optimizer.zero_grad = self._clocked(optimizer.zero_grad)

        def step(closure: Callable[[], Any]) -> Any:
            result = closure()
            adam()
            return result

        optimizer.step = step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """An iteration lasts from the end of the one before to its own; the first has none before it."""
        now = time.perf_counter()
        if self._last is not None:
            self.step.append(self._inside)
            self.rest.append(now - self._last - self._inside)
        self._last, self._inside = now, 0.0

    def _clocked(self, part: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            started, before = time.perf_counter(), self._beside
            self._running = True
            result = part(*arguments, **options)
            self._running = False
            self._inside += time.perf_counter() - started - (self._beside - before)
            return result

        return run

    def _left_out(self, part: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            result = part(*arguments, **options)
            if self._running:
                self._beside += time.perf_counter() - started
            return result

        return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=positive, default=128, help="side of the picture, pixels")
    parser.add_argument("--iterations", type=positive, default=20, help="of each side, a repeat")
    parser.add_argument("--repeats", type=positive, default=5, help="how often, in turn")
    parser.add_argument("overrides", nargs="*", help="as for dip: model=unet precision=bf16")
    options = parser.parse_args()
    if options.iterations <= FIRST:
        parser.error(f"--iterations {options.iterations}: at least {FIRST + 1}, the first {FIRST} are not timed")
    overrides = [*square(options.size), f"iterations={options.iterations}", *options.overrides]
    cfg = compose_config([*overrides, "callbacks.fit_progress=null"])
    precision: Precision = build(cfg.precision)
    bare, whole, within = [], [], Within()
    for repeat in range(options.repeats + 1):
        with precision.in_force(), isolated(), tempfile.TemporaryDirectory() as folder:
            seconds = time_bare(build_fit(cfg, None, precision, {}), options.iterations)
            fit = build_fit(cfg, Path(folder), precision, {})
            seconds_fit = time_fit(fit, options.iterations)
            if fit.trainer.strategy.root_device.type == "cpu":
                inside = build_fit(cfg, Path(folder), precision, {})
                inside.trainer.callbacks.append(within)  # type: ignore[attr-defined]
                inside.trainer.fit(inside.module)
        if repeat > 0:  # the first is the warm-up
            bare.append(seconds)
            whole.append(seconds_fit)
    device = environment.describe_device(fit.trainer.strategy.root_device)
    print(f"{cfg.model._target_.rsplit('.', 1)[-1]} at {options.size}x{options.size}, {precision.name}, {device}")
    print(f"{options.repeats} repeats of {options.iterations} iterations, in turn; seconds an iteration")
    tell({"bare step": bare, "whole loop": whole}, "loop / step")
    if within.step:
        shares = [rest / step for step, rest in zip(within.step, within.rest, strict=True)]
        print(f"  rest / step from within  {spread(shares, 3)}, of all {sum(within.rest) / sum(within.step):.3f}")


if __name__ == "__main__":
    with mistakes_told():
        main()
