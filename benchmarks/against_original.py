"""Seconds an iteration and peak memory, against the original's network and loop.

The original is a checkout of DmitryUlyanov/deep-image-prior that you have: its `models/` are imported from there (its
`utils` no longer import on today's libraries), and the loop does in each iteration what its notebook denoising.ipynb
does: perturb, forward, average, MSE, backward, three PSNRs on the CPU, a line of print, Adam with default arguments,
and its backtracking, which copies all weights to the host on 99 of 100 iterations.
Ours is a whole fit by Lightning with the default callbacks, but without the stopping rules, the progress bar and the
output in evaluation mode, which the original has none of. Both fit the same picture with the U-net of 2,217,831
parameters. They alternate, each in a fresh process; the first iterations of each are not counted.

    python benchmarks/against_original.py --original CHECKOUT [--sizes 128,256] [--iterations 20] [--repeats 3]
        [--precisions fp32,bf16] [--accelerator cpu] [--threads 2] [--out FOLDER] [OVERRIDE...]
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from arguments import check_precisions, device_of, mistakes_told, positive, positives, square
from dip_lightning.config.build import build
from dip_lightning.config.compose import compose_config
from dip_lightning.errors import UserError
from dip_lightning.fitting.build import build_fit
from dip_lightning.fitting.isolation import isolated
from dip_lightning.precision import Precision
from dip_lightning.system import environment
from timing import megabytes_kept, synchronise

# Not counted: libraries choose their kernels then.
WARM_UP = 5


class Stopwatch(pl.Callback):
    """Seconds an iteration after the warm-up."""

    def __init__(self) -> None:
        """Start without a time."""
        self.started = self.seconds = 0.0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Begin after the warm-up; end with the last iteration."""
        if batch_idx + 1 == WARM_UP:
            synchronise(pl_module.device)
            self.started = time.perf_counter()
        elif batch_idx + 1 == trainer.num_training_batches:
            synchronise(pl_module.device)
            self.seconds = (time.perf_counter() - self.started) / (batch_idx + 1 - WARM_UP)


def overrides_of(options: argparse.Namespace, size: int, precision: str) -> list[str]:
    """Our settings for one comparison."""
    return [
        *(
            "model=unet",
            "alpha=0.99",
            "optimizer=adam",
            "stopping=none",
            "callbacks.fit_progress=null",
            "callbacks.peak_psnr.eval_every=0",
        ),
        *(*square(size), f"precision={precision}", f"iterations={WARM_UP + options.iterations}"),
        *(f"trainer={options.accelerator}", *options.overrides),
    ]


def time_ours(options: argparse.Namespace, size: int, precision_name: str) -> dict[str, float]:
    """Run our fit."""
    cfg = compose_config(overrides_of(options, size, precision_name))
    precision: Precision = build(cfg.precision)
    watch = Stopwatch()
    with precision.in_force(), isolated(), tempfile.TemporaryDirectory() as folder:
        fit = build_fit(cfg, Path(folder), precision, {})
        device, module = fit.trainer.strategy.root_device, fit.module
        fit.trainer.callbacks.append(watch)  # type: ignore[attr-defined]
        environment.reset_peak_memory(device)
        fit.trainer.fit(module)
        memory, kept = environment.peak_memory_mb(device), nan
        if device.type == "cpu":  # where the module is now
            module.train()
            with fit.trainer.precision_plugin.forward_context():
                kept = megabytes_kept(module, lambda: module(module.prior.z))
    return {"seconds": watch.seconds, "memory_mb": memory, "kept_mb": kept}


def psnr_on_cpu(truth: np.ndarray, test: np.ndarray) -> float:
    """What scikit-image's compare_psnr does."""
    return float(10 * np.log10(1 / np.mean((truth.astype(np.float64) - test.astype(np.float64)) ** 2)))


def time_original(options: argparse.Namespace, size: int) -> dict[str, float]:
    """Run the notebook's loop around the checkout's network, in float32 as there."""
    cfg = compose_config(overrides_of(options, size, "fp32"))
    data = build(cfg.image, degradation=build(cfg.degradation), iterations=cfg.iterations)
    device = torch.device("cuda" if options.accelerator == "gpu" else "cpu")
    sys.path.insert(0, str(options.original))
    from models import get_net  # type: ignore[import-not-found]  # of the checkout

    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    net = get_net(
        32, "skip", "reflection", skip_n33d=128, skip_n33u=128, skip_n11=4, num_scales=5, upsample_mode="bilinear"
    )
    net = net.to(device)
    environment.reset_peak_memory(device)
    noisy, clean = data.observation.noisy.float(), data.observation.clean.float()
    noisy_np, clean_np = noisy.numpy()[0], clean.numpy()[0]
    noisy = noisy.to(device)
    saved = torch.rand((1, 32, size, size), device=device) * 0.1
    noise = saved.detach().clone()
    mse = torch.nn.MSELoss()
    optimizer = torch.optim.Adam(list(net.parameters()), lr=0.01)
    average, last_net, psnr_before, started = None, None, 0.0, 0.0
    with redirect_stdout(io.StringIO()):
        for i in range(WARM_UP + options.iterations):
            if i == WARM_UP:
                synchronise(device)
                started = time.perf_counter()
            optimizer.zero_grad()
            out = net(saved + noise.normal_() * (1 / 30))
            average = out.detach() if average is None else average * 0.99 + out.detach() * 0.01
            loss = mse(out, noisy)
            loss.backward()
            psnr_noisy = psnr_on_cpu(noisy_np, out.detach().cpu().numpy()[0])
            psnr_clean = psnr_on_cpu(clean_np, out.detach().cpu().numpy()[0])
            psnr_average = psnr_on_cpu(clean_np, average.cpu().numpy()[0])
            print(
                f"Iteration {i:05d} Loss {loss.item():f} {psnr_noisy:f} {psnr_clean:f} {psnr_average:f}", "\r", end=""
            )
            if i % 100:
                if psnr_noisy - psnr_before < -5 and last_net is not None:
                    for new, parameter in zip(last_net, net.parameters(), strict=True):
                        parameter.data.copy_(new.to(device))
                else:
                    last_net = [x.detach().cpu() for x in net.parameters()]
                    psnr_before = psnr_noisy
            optimizer.step()
    synchronise(device)
    seconds = (time.perf_counter() - started) / options.iterations
    memory = environment.peak_memory_mb(device)
    return {"seconds": seconds, "memory_mb": memory, "kept_mb": megabytes_kept(net, lambda: net(saved))}


def measure(options: argparse.Namespace, which: str, size: int) -> dict[str, float]:
    """Run one side in a process of its own."""
    command = [sys.executable, __file__, "--original", str(options.original), "--iterations", str(options.iterations)]
    command += ["--accelerator", options.accelerator, "--child", which, "--sizes", str(size), *options.overrides]
    environment_of_child = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    done = subprocess.run(command, env=environment_of_child, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        if which == "original":
            cause = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise UserError(f"original at {size}x{size}: {cause}", "a side from 64 on", "try --sizes 128")
        sys.stderr.write(done.stderr)  # one line where it is the user's mistake, else a traceback
        sys.exit(done.returncode)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def check_checkout(folder: Path) -> None:
    """Refuse a folder that is no checkout of the original.

    Raises:
        UserError: Its network is not there.
    """
    if not (folder / "models" / "skip.py").is_file():
        raise UserError(f"--original {folder}", "a checkout of DmitryUlyanov/deep-image-prior", "git clone it there")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--original", type=Path, required=True, help="checkout of DmitryUlyanov/deep-image-prior")
    parser.add_argument("--sizes", type=positives, default="128,256", help="sides in pixels, from 64 on: 128,256")
    parser.add_argument("--precisions", default="fp32,bf16", help="of our side: fp32,bf16")
    parser.add_argument("--iterations", type=positive, default=20)
    parser.add_argument("--repeats", type=positive, default=3)
    parser.add_argument("--threads", type=positive, default=os.cpu_count())
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--out", type=Path, help="a folder for against-original.csv and .png")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", help="as for dip, of our side")
    options = parser.parse_args()
    check_checkout(options.original)
    if options.child:
        side, (size,) = options.child, options.sizes
        print(json.dumps(time_original(options, size) if side == "original" else time_ours(options, size, side)))
        return
    sides = ["original", *options.precisions.split(",")]
    # A mistake is told before minutes were spent.
    check_precisions(sides[1:], device_of(options.accelerator), options.overrides)
    print("| size | side | s / iteration: median (min, max) | ratio: median (min, max) | MB | MB, ratio | MB kept |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    figures: list[Figures] = []
    for size in options.sizes:
        runs: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
        for _ in range(options.repeats):
            for side in sides:
                runs[side].append(measure(options, side, size))
        for side in sides:
            figures.append(Figures.of(size, side, runs))
            print(figures[-1].row(), flush=True)
    if options.out is not None:
        write(figures, options.out)


@dataclass(frozen=True)
class Figures:
    """What was measured of one side at one size.

    Attributes:
        size: Side of the image in pixels.
        side: ``original``, or a precision of ours.
        seconds: Seconds an iteration: median, least, greatest.
        ratio: The original's seconds over this side's, repeat by repeat: median, least, greatest.
        memory_mb: Peak memory, the median.
        memory_ratio: The original's over this side's.
        kept_mb: What a forward pass keeps for the backward pass; NaN where it was not counted.
    """

    size: int
    side: str
    seconds: tuple[float, float, float]
    ratio: tuple[float, float, float]
    memory_mb: float
    memory_ratio: float
    kept_mb: float

    @classmethod
    def of(cls, size: int, side: str, runs: dict[str, list[dict[str, float]]]) -> "Figures":
        """Compute them from the runs of every side."""
        seconds = [run["seconds"] for run in runs[side]]
        ratios = [them["seconds"] / us["seconds"] for them, us in zip(runs["original"], runs[side], strict=True)]
        memory = statistics.median(run["memory_mb"] for run in runs[side])
        theirs = statistics.median(run["memory_mb"] for run in runs["original"])
        kept = runs[side][0]["kept_mb"]
        return cls(size, side, spread_of(seconds), spread_of(ratios), memory, theirs / memory, kept)

    def values(self) -> tuple[float, ...]:
        """All numbers, in the order of the table that is written."""
        return *self.seconds, *self.ratio, self.memory_mb, self.kept_mb

    def row(self) -> str:
        """A line of the table."""
        seconds = "{:.4f} ({:.4f}, {:.4f})".format(*self.seconds)
        ratio = "{:.2f} ({:.2f}, {:.2f})".format(*self.ratio)
        size = f"{self.size}x{self.size}"
        memory = f"{self.memory_mb:.0f} | {self.memory_ratio:.2f} | {self.kept_mb:.0f}"
        return f"| {size} | {self.side} | {seconds} | {ratio} | {memory} |"


def spread_of(values: list[float]) -> tuple[float, float, float]:
    """Median, least and greatest."""
    return statistics.median(values), min(values), max(values)


def write(figures: list[Figures], folder: Path) -> None:
    """Write every figure as a table, and the seconds as a drawing."""
    folder.mkdir(parents=True, exist_ok=True)
    names = "size,side,seconds,seconds_min,seconds_max,ratio,ratio_min,ratio_max,memory_mb,kept_mb"
    lines = [",".join([str(one.size), one.side, *(f"{value:.6g}" for value in one.values())]) for one in figures]
    (folder / "against-original.csv").write_text("\n".join([names, *lines]) + "\n", encoding="utf-8")
    drawing = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = drawing.subplots()
    for side in dict.fromkeys(one.side for one in figures):
        mine = [one for one in figures if one.side == side]
        medians, least, greatest = zip(*(one.seconds for one in mine), strict=True)
        errors = [
            [median - low for median, low in zip(medians, least, strict=True)],
            [high - median for median, high in zip(medians, greatest, strict=True)],
        ]
        label = side if side == "original" else f"ours, {side}"
        axes.errorbar([one.size for one in mine], medians, errors, marker="o", capsize=3, label=label)
    sizes = sorted({one.size for one in figures})
    axes.set(xscale="log", yscale="log", xlabel="side of the image, pixels", ylabel="seconds an iteration")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.grid(alpha=0.3)
    axes.legend()
    drawing.savefig(folder / "against-original.png", dpi=110)


if __name__ == "__main__":
    with mistakes_told():
        main()
