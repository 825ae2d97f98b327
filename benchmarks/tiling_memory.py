"""Measure the memory that a 24-megapixel picture takes with ``tile=512``, besides the fits, which are replaced.

    python benchmarks/tiling_memory.py
    python benchmarks/tiling_memory.py --deep --noise
    python benchmarks/tiling_memory.py --fit

Every line is the highest resident memory since the line before (Linux).
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from dip_lightning.config.compose import compose_config
from dip_lightning.data import Observation, observation, picture_from_array, write_image
from dip_lightning.fitting.fit import FitResult
from dip_lightning.runs import figures, run_folder
from dip_lightning.system import environment
from dip_lightning.workflows import tiled_fit
from dip_lightning.workflows.restore import fit

HEIGHT, WIDTH = 4000, 6000
CPU = torch.device("cpu")


def draw(path: Path, *, deep: bool) -> None:
    """Write waves with noise of σ = 15."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    waves = np.stack([np.sin(x / 97 + y / 211), np.sin(x / 331), np.cos(y / 53)], axis=2) * 60 + 128
    waves += np.random.default_rng(0).standard_normal(waves.shape, dtype=np.float32) * 15
    samples = np.clip(waves, 0, 255)
    write_image(path, picture_from_array((samples * 257).astype(np.uint16) if deep else samples.astype(np.uint8)))


def tell(step: str) -> None:
    """Print the highest memory since the last call."""
    print(f"{step:24} {environment.peak_memory_mb(CPU) * 1e6 / 2**20:6.0f} MiB", flush=True)
    environment.reset_peak_memory(CPU)


def watched(function: Callable[..., Any], step: str) -> Callable[..., Any]:
    """Tell about memory before and after a function."""

    def watch(*arguments: Any, **options: Any) -> Any:
        tell(f"before {step}")
        try:
            return function(*arguments, **options)
        finally:
            tell(step)

    return watch


def hands_back(cfg: Any, folder: Any = None, *, image: Observation, resume: Any = None, own: Any = None) -> FitResult:
    """A fit that takes no memory: what it hands back is what it was given."""
    stopping = {"rule": "vote", "iteration": 0, "unsure": None, "cap": 1}
    summary = {"model": "none", "num_parameters": 0, "dropout": 0.0, "precision": "fp32", "iterations": 1}
    summary |= {"seconds": 0.0, "peak_memory_mb": 0.0, "stopping": stopping, "signal": None, "remarks": []}
    summary |= {"restores": [], "selected": {"psnr": None}}
    curves = {"loss": np.zeros(1), "psnr_observation": np.zeros(1)}
    output = image.noisy[0].permute(1, 2, 0).numpy()
    return FitResult(image.picture.with_unit(output), output, curves, summary, None)


def first_only(cfg: Any, folder: Any = None, *, image: Observation, resume: Any = None, own: Any = None) -> FitResult:
    """The fit of the first tile, after which the program ends."""
    summary = fit(cfg, folder, image=image, resume=resume, own=own).summary
    print(f"with the fit of a tile   {summary['peak_memory_mb'] * 1e6 / 2**20:6.0f} MiB")
    raise SystemExit(0)


def main() -> None:
    """Restore a picture with fits that do nothing, or until the first is done."""
    parser = argparse.ArgumentParser(description="memory of a large picture in tiles")
    parser.add_argument("--deep", action="store_true", help="16 bits a sample")
    parser.add_argument("--noise", action="store_true", help="add noise, so that there is a clean picture, too")
    parser.add_argument("--fit", action="store_true", help="do the first fit, 3 iterations, and end")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "large.png"
        draw(path, deep=options.deep)
        overrides = ["tile=512", f"image.path={path}", "callbacks.fit_progress=null", "iterations=3"]
        overrides += ["model=resunet", "precision=fp32", "alpha=0.99"]
        overrides += ["degradation=gaussian"] if options.noise else []
        make = tiled_fit._Fits.__init__

        def without_folder(self: Any, whole: Observation, folder: Path | None, *rest: Any) -> None:
            make(self, whole, None, *rest)

        patches = [
            mock.patch.object(tiled_fit, "fit_picture", first_only if options.fit else hands_back),
            # The replaced fits write nothing that could be read back.
            mock.patch.object(tiled_fit._Fits, "__init__", without_folder),
            *(
                mock.patch.object(module, name, watched(getattr(module, name), name))
                for module, name in (
                    (observation, "read_image"),
                    (observation, "estimate_noise"),
                    (observation, "is_correlated"),
                    (observation, "clipped_noise"),
                    (tiled_fit, "_fit_all"),
                    (tiled_fit, "summarise_tiles"),
                    (run_folder, "write_image"),
                    (figures, "draw_comparison"),
                )
            ),
        ]
        tell("drawing the picture")
        for patch in patches:
            patch.start()
        fit(compose_config(overrides), Path(work) / "run")
        tell("the rest")


if __name__ == "__main__":
    main()
