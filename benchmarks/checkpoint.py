"""What checkpoints cost: seconds to write one, its size, and the share of a fit's time at the default cadence.

python benchmarks/checkpoint.py --size 128 --size 512
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import pytorch_lightning as pl

from dip_lightning.callbacks import Checkpoint
from dip_lightning.config.compose import compose_config
from dip_lightning.module import DeepImagePrior
from dip_lightning.workflows.restore import fit


def measure(size: int, iterations: int) -> None:
    """Write a checkpoint in every iteration of a short fit of the default network, and print what it took."""
    times: list[float] = []
    write = Checkpoint.write

    def timed(self: Checkpoint, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:
        began = time.monotonic()
        write(self, trainer, pl_module)
        times.append(time.monotonic() - began)

    overrides = [f"image.crop={size}", f"iterations={iterations}", "callbacks.checkpoint.iterations=1"]
    Checkpoint.write = timed  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory(dir=".") as folder:
            result = fit(compose_config([*overrides, "callbacks.fit_progress=null"]), Path(folder))
            megabytes = (Path(folder) / "checkpoints" / "last.ckpt").stat().st_size / 1e6
    finally:
        Checkpoint.write = write  # type: ignore[method-assign]
    seconds = statistics.median(times)
    share = seconds / max(compose_config().callbacks.checkpoint.seconds, 100 * seconds)
    print(
        f"{size}x{size}: {megabytes:.0f} MB, {seconds:.2f} s (median of {len(times)}, at most {max(times):.2f} s), "
        f"{share:.2%} of the time at the default cadence; {result.summary['device']}",
        flush=True,
    )


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, action="append", required=True, help="side in pixels")
    parser.add_argument("--iterations", type=int, default=8)
    arguments = parser.parse_args()
    for size in arguments.size:
        measure(size, arguments.iterations)


if __name__ == "__main__":
    main()
