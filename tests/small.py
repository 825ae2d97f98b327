"""A fit of one's own, by public names alone: a network of a few hundred weights and a Trainer that shows nothing."""

from collections.abc import Sequence
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from dip_lightning import DeepImagePrior, Prior, Problem
from dip_lightning.runs import run_folder

SIDE = 16


def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes longer than a fit: the figures of a run folder."""
    for draw in ("draw_comparison", "draw_curves"):
        monkeypatch.setattr(run_folder.figures, draw, lambda path, *_: path.touch())


def picture(channels: int = 3, height: int = SIDE, width: int = SIDE, seed: int = 0) -> Tensor:
    """Samples in [0, 1], (1, C, H, W)."""
    return torch.rand((1, channels, height, width), generator=torch.Generator().manual_seed(seed))


def network(channels: int = 3, inside: int = 8) -> nn.Sequential:
    """A network whose z has 4 channels and is as large as its image; the same at each call."""
    torch.manual_seed(0)
    first, last = nn.Conv2d(4, inside, 3, padding=1), nn.Conv2d(inside, channels, 1)
    return nn.Sequential(first, nn.ReLU(), last, nn.Sigmoid())


def fit(
    problem: Problem,
    prior: Prior | None = None,
    callbacks: Sequence[pl.Callback] = (),
    iterations: int = 8,
    **more: Any,
) -> DeepImagePrior:
    """Fit a prior, by default the network above; ``more`` is of the module, but for ``trainer``."""
    prior = Prior(network(problem.shape[0]), input_channels=4) if prior is None else prior
    trainer = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer |= {"max_epochs": 1, "enable_model_summary": False, **more.pop("trainer", {})}
    module = DeepImagePrior(prior, problem, iterations=iterations, **more)
    torch.manual_seed(1)  # of what is drawn while fitting
    pl.Trainer(**trainer, callbacks=list(callbacks)).fit(module)
    return module
