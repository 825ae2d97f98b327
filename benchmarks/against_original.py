"""Seconds an iteration and peak memory, against the original's network and loop.

The original is a checkout of DmitryUlyanov/deep-image-prior that you have: its `models/` are imported from there (its
`utils` no longer import on today's libraries), and the loop does in each iteration what its notebook denoising.ipynb
does: perturb, forward, average, MSE, backward, three PSNRs on the CPU, a line of print, Adam with default arguments,
and its backtracking, which copies all weights to the host on 99 of 100 iterations.
Ours is a whole fit by Lightning with every default callback. Both fit the same picture with the U-net of 2,217,831
parameters. They alternate, each in a fresh process; the first iterations of each are not counted.

    python benchmarks/against_original.py --original CHECKOUT [--sizes 128,256] [--iterations 20] [--repeats 3]
        [--precisions fp32,bf16] [--accelerator cpu] [--threads 2] [OVERRIDE...]
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
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from dip_lightning import environment
from dip_lightning.config import build, compose_config
from dip_lightning.isolation import isolated
from dip_lightning.parts import build_parts
from dip_lightning.precision import Precision
from timing import synchronise

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
        *("model=unet", "stopping=none", "callbacks.fit_progress=null", "callbacks.peak_psnr.eval_every=0"),
        *(f"image.crop={size}", f"precision={precision}", f"iterations={WARM_UP + options.iterations}"),
        *(f"trainer={options.accelerator}", *options.overrides),
    ]


def time_ours(options: argparse.Namespace, size: int, precision_name: str) -> dict[str, float]:
    """Run our fit."""
    cfg = compose_config(overrides_of(options, size, precision_name))
    precision: Precision = build(cfg.precision)
    watch = Stopwatch()
    with precision.in_force(), isolated(), tempfile.TemporaryDirectory() as folder:
        parts = build_parts(cfg, Path(folder), precision, {})
        device = parts.trainer.strategy.root_device
        parts.trainer.callbacks.append(watch)  # type: ignore[attr-defined]
        environment.reset_peak_memory(device)
        parts.trainer.fit(parts.module, datamodule=parts.data)
    return {"seconds": watch.seconds, "memory_mb": environment.peak_memory_mb(device)}


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
    return {"seconds": seconds, "memory_mb": environment.peak_memory_mb(device)}


def measure(options: argparse.Namespace, which: str, size: int) -> dict[str, float]:
    """Run one side in a process of its own."""
    command = [sys.executable, __file__, "--original", str(options.original), "--iterations", str(options.iterations)]
    command += ["--accelerator", options.accelerator, "--child", which, "--sizes", str(size), *options.overrides]
    environment_of_child = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    done = subprocess.run(command, env=environment_of_child, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{which} at {size}x{size} failed:\n{done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--original", type=Path, required=True, help="checkout of DmitryUlyanov/deep-image-prior")
    parser.add_argument("--sizes", default="128,256", help="sides in pixels, from 64 on: 128,256")
    parser.add_argument("--precisions", default="fp32,bf16", help="of our side: fp32,bf16")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", help="as for dip, of our side")
    options = parser.parse_args()
    if not (options.original / "models" / "skip.py").is_file():
        parser.error(f"{options.original} is no checkout of the original: it has no models/skip.py")
    if options.child:
        side = options.child
        size = int(options.sizes)
        print(json.dumps(time_original(options, size) if side == "original" else time_ours(options, size, side)))
        return
    print("| size | side | s / iteration: median (min, max) | ratio: median (min, max) | memory (MB) | memory, ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for size in map(int, options.sizes.split(",")):
        sides = ["original", *options.precisions.split(",")]
        runs: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
        for _ in range(options.repeats):
            for side in sides:
                runs[side].append(measure(options, side, size))
        for side in sides:
            print(row(size, side, runs), flush=True)


def row(size: int, side: str, runs: dict[str, list[dict[str, float]]]) -> str:
    """A line of the table; ratios are the original's figure over this side's, repeat by repeat."""
    seconds = [run["seconds"] for run in runs[side]]
    ratios = [them["seconds"] / us["seconds"] for them, us in zip(runs["original"], runs[side], strict=True)]
    memory = statistics.median(run["memory_mb"] for run in runs[side])
    theirs = statistics.median(run["memory_mb"] for run in runs["original"])
    spread = f"{statistics.median(seconds):.4f} ({min(seconds):.4f}, {max(seconds):.4f})"
    ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f})"
    return f"| {size}x{size} | {side} | {spread} | {ratio} | {memory:.0f} | {theirs / memory:.2f} |"


if __name__ == "__main__":
    main()
