"""The figures, by what can be told of them without eyes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dip_lightning.runs.figures import draw_comparison, draw_curves


@pytest.mark.parametrize("shape", [(32, 32, 1), (96, 96, 3), (33, 400, 3), (900, 40, 1), (1500, 2100, 3)])
def test_a_comparison_shows_every_panel_at_a_size_to_look_at(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    panels = {"black": np.zeros(shape), "white": np.ones(shape)}
    draw_comparison(tmp_path / "comparison.png", panels)
    with Image.open(tmp_path / "comparison.png") as figure:
        pixels = np.asarray(figure.convert("L"))
    height, width = pixels.shape
    assert 300 < max(height, width) < 2400
    left, right = pixels[:, : width // 2], pixels[:, width // 2 :]
    # The panels stand side by side: the dark one takes most of the left, in the proportions of the image.
    # Rows and columns that are mostly dark, which those of the title are not.
    counts = [(left == 0).sum(axis=axis) for axis in (1, 0)]
    extent = [int((count > count.max() / 2).sum()) for count in counts]
    assert extent[0] / extent[1] == pytest.approx(shape[0] / shape[1], rel=0.2)
    assert (right[extent[0] // 2 :] == 255).mean() > 0.9


def test_curves_are_drawn_with_and_without_a_clean_image(tmp_path: Path) -> None:
    iterations = np.arange(50)
    summary: dict[str, Any] = {"model": "unet", "num_parameters": 1, "dropout": 0.0, "precision": "fp32"}
    summary["stopping"] = {"rule": "none", "iteration": 49, "picks": {}}
    without = summary | {"psnr_observation": None, "averaged": None}
    curves = {"loss": 1 / (1 + iterations), "psnr_observation": 10 + iterations / 5}
    draw_curves(tmp_path / "without.png", curves, without)
    with_clean = curves | {
        "psnr_one_pass": 15 - (iterations - 30) ** 2 / 100,
        "psnr_averaged": 18 - (iterations - 30) ** 2 / 100,
        "psnr_eval": np.where(iterations % 10 == 9, 16.0, np.nan),
    }
    averaged = {"peak_psnr": 18.0, "peak_iteration": 30}
    draw_curves(tmp_path / "with.png", with_clean, summary | {"psnr_observation": 12.0, "averaged": averaged})
    rules = {"stopping_wmv": np.where(iterations < 9, np.nan, iterations / 50), "stopping_sure": -iterations / 50}
    stopping = {"rule": "vote", "iteration": 30, "picks": {"wmv": 30}}
    judged = summary | {"psnr_observation": 12.0, "averaged": averaged, "stopping": stopping}
    draw_curves(tmp_path / "rules.png", with_clean | rules, judged)
    with Image.open(tmp_path / "rules.png") as higher, Image.open(tmp_path / "with.png") as lower:
        assert higher.height > lower.height
    sizes = {name: (tmp_path / f"{name}.png").stat().st_size for name in ("with", "without")}
    assert sizes["with"] > sizes["without"] > 5000


@pytest.mark.parametrize("value", [np.nan, np.inf, 20.0])
def test_a_curve_of_one_iteration_or_without_values_is_drawn(tmp_path: Path, value: float) -> None:
    summary: dict[str, Any] = {"model": "unet", "num_parameters": 1, "dropout": 0.0, "precision": "fp32"}
    summary["stopping"] = {"rule": "wmv", "iteration": 0, "picks": {}}
    curves = {"loss": np.array([0.1]), "psnr_observation": np.array([value])}
    draw_curves(tmp_path / "c.png", curves, summary | {"psnr_observation": None, "averaged": None})
    assert (tmp_path / "c.png").exists()
