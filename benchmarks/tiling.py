"""Measure the seams of tiles: all stopped at one iteration, against each stopped by itself.

    python benchmarks/tiling.py --more --out docs/results/tiling

Every fit keeps what it made under ``outputs/tiling``, and the same command goes on where it was. Of the pixels that two
neighbouring tiles share, each has an image of its own: what differs between these two can only come from the tiles.
"""

import argparse
import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import laplace

from dip_lightning.config.compose import compose_config
from dip_lightning.data import GaussianNoise, Observation, load_observation, read_image
from dip_lightning.runs.status import is_finished
from dip_lightning.workflows.restore import fit
from dip_lightning.workflows.tiled_fit import choose_pilots
from dip_lightning.workflows.tiles import Tiles

Images = Mapping[str, NDArray[np.floating]]

PICTURES = {
    "astronaut": ("skimage:astronaut", [60, 170, 112, 160]),
    "camera": ("skimage:camera", [90, 180, 64, 160]),
    "chelsea": ("skimage:chelsea", [110, 120, 64, 160]),
}
SIDE, OVERLAP = 64, 16
SETTINGS = [
    *("trainer=cpu", "precision=fp32", "alpha=0.99", "model=unet", "model.channels=32", "model.levels=4"),
    *("logger=none", "save_checkpoint=false"),
]


def fit_tile(observation: Observation, folder: Path, *overrides: str) -> tuple[NDArray[np.floating], dict[str, object]]:
    """Fit a tile, unless that is done; returns its image, (H, W, C), and the summary."""
    cfg = compose_config([*SETTINGS, *overrides, "image.path=null", "callbacks.fit_progress=null"])
    if not is_finished(folder, cfg, observation.digest) and fit(cfg, folder, image=observation).signal is not None:
        raise SystemExit("interrupted; the same command goes on")
    return read_image(folder / "restored.png").to_unit(), json.loads((folder / "summary.json").read_text())


def seams(images: Images, tiles: Tiles) -> tuple[float, float, float]:
    """Compare what neighbours made of the pixels that they share.

    Returns:
        The RMS of the difference, of 255; and of the ratio of their fine structure (energy of the Laplacian), in dB,
        the mean and the largest absolute value over all pairs of neighbours.
    """
    placed = {(tile.row, tile.column): tile for tile in tiles}
    squares, ratios = [], []
    for (row, column), tile in placed.items():
        for other in (placed.get((row + 1, column)), placed.get((row, column + 1))):
            if other is None:
                continue
            top, left = max(tile.top, other.top), max(tile.left, other.left)
            bottom, right = min(tile.top, other.top) + tile.height, min(tile.left, other.left) + tile.width
            one, two = (
                images[each.name][top - each.top : bottom - each.top, left - each.left : right - each.left]
                for each in (tile, other)
            )
            squares.append(np.square(one - two).mean())
            ratios.append(10 * np.log10(roughness(one) / roughness(two)))
    absolute = np.abs(ratios)
    return 255 * float(np.sqrt(np.mean(squares))), float(absolute.mean()), float(absolute.max())


def roughness(image: NDArray[np.floating]) -> float:
    """Mean square of the Laplacian, each channel apart, without the outermost pixels."""
    planes = np.stack([laplace(image[:, :, channel]) for channel in range(image.shape[2])])
    return float(np.square(planes[:, 1:-1, 1:-1]).mean())


def step_across(images: Images, tiles: Tiles, clean: NDArray[np.floating]) -> float:
    """How much larger the steps of the error are across borders than elsewhere, tiles put side by side, as a ratio."""
    error, owner = np.zeros_like(clean), np.zeros(clean.shape[:2], int)
    nearest = np.full(clean.shape[:2], -1.0)
    for number, tile in enumerate(tiles):
        weight = tiles.weight(tile)[:, :, 0]
        wins = weight > nearest[tile.part]
        nearest[tile.part][wins] = weight[wins]
        owner[tile.part][wins] = number
        error[tile.part][wins] = (images[tile.name] - clean[tile.part])[wins]
    across, inside = [], []
    for axis in (0, 1):
        steps = np.square(np.diff(error, axis=axis)).mean(axis=2)
        borders = np.diff(owner, axis=axis) != 0
        across.append(steps[borders])
        inside.append(steps[~borders])
    return float(np.concatenate(across).mean() / np.concatenate(inside).mean())


def blend(images: Images, tiles: Tiles, channels: int) -> NDArray[np.float32]:
    """Put tiles together."""
    whole = np.zeros((tiles.height, tiles.width, channels), np.float32)
    for tile in tiles:
        whole[tile.part] += tiles.weight(tile) * images[tile.name].astype(np.float32)
    return whole


def psnr(image: NDArray[np.floating], clean: NDArray[np.floating]) -> float:
    """PSNR in dB."""
    return -10 * float(np.log10(np.square(image - clean).mean()))


def measure(name: str, work: Path, *, more: bool) -> list[dict[str, object]]:
    """Fit a picture in two ways, or with ``more`` in four; returns a row for each."""
    path, crop = PICTURES[name]
    observation = load_observation(path, GaussianNoise(25), crop=crop)
    clean = observation.picture.to_unit()
    height, width, channels = clean.shape
    tiles = Tiles(height, width, SIDE, OVERLAP)
    parts = {tile.name: observation.cropped(tile.top, tile.left, tile.height, tile.width) for tile in tiles}
    each = {tile: fit_tile(part, work / name / "each" / tile) for tile, part in parts.items()}
    stops = {tile: int(summary["stopping"]["iteration"]) for tile, (_, summary) in each.items()}  # type: ignore[index]
    pilots = [tile.name for tile in choose_pilots(observation, tiles)]
    common = sorted(stops[pilot] for pilot in pilots)[len(pilots) // 2]
    fixed = ["stopping=none", f"iterations={common + 1}"]
    same = {tile: fit_tile(part, work / name / "same" / tile, *fixed) for tile, part in parts.items()}
    ways = [("one iteration for all", same, [common]), ("each stops by itself", each, list(stops.values()))]
    if more:
        # What tells stopping from the rules' held-out pixels and perturbations: each at its own iteration without.
        own = {
            tile: fit_tile(part, work / name / "own" / tile, "stopping=none", f"iterations={stops[tile] + 1}")
            for tile, part in parts.items()
        }
        ways.append(("each at its own iteration", own, list(stops.values())))
    rows: list[dict[str, object]] = []
    for title, fitted, iterations in ways:
        images = {tile: image for tile, (image, _) in fitted.items()}
        difference, mean, worst = seams(images, tiles)
        rows.append(
            {
                "picture": name,
                "tiles": title,
                "iterations": " ".join(map(str, iterations)),
                "psnr": round(psnr(blend(images, tiles, channels), clean), 2),
                "difference": round(difference, 2),
                "roughness_mean_db": round(mean, 2),
                "roughness_worst_db": round(worst, 2),
                "step_ratio": round(step_across(images, tiles, clean), 2),
            }
        )
    if more:
        whole, summary = fit_tile(observation, work / name / "whole")
        iteration = str(summary["stopping"]["iteration"])  # type: ignore[index]
        quality = round(psnr(whole, clean), 2)
        rows.append({"picture": name, "tiles": "none: fitted as a whole", "iterations": iteration, "psnr": quality})
    return rows


def main() -> None:
    """Measure every picture and write the table."""
    parser = argparse.ArgumentParser(description="seams of tiles that stop together, and each by itself")
    parser.add_argument("--work", type=Path, default=Path("outputs/tiling"), help="where the fits are kept")
    parser.add_argument("--out", type=Path, default=Path("outputs/tiling"), help="where the table is written")
    parser.add_argument("--pictures", nargs="+", default=list(PICTURES), choices=list(PICTURES))
    parser.add_argument("--more", action="store_true", help="fit each at its own iteration, and as a whole, as well")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, object]] = []
    for name in options.pictures:
        measured = measure(name, options.work, more=options.more)
        print(*measured, sep="\n", flush=True)
        rows += measured
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "seams.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
