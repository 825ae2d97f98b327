"""What shortens a fit: each lead by itself, with the default network, stopped without the clean picture.

    python benchmarks/leads.py PICTURES [--pictures f16,lena] [--only WORD,...] [--side 128] [--out FOLDER]

PICTURES is a folder with `noisy25/NAME.png` and `gt/NAME.png`. SOAP and Muon are those of the package
`pytorch-optimizer`, and left out where it is not installed. Fits that are in the table already are passed over. Writes
`leads.csv` into the folder.
"""

import argparse
import csv
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dip_lightning import restore
from dip_lightning.models import UNet
from dip_lightning.priors import Perturbed, Prior
from fitted_tables import read_central, write_table

COLUMNS = (
    "setting", "picture", "peak averaged", "at", "within 0.1 / 0.5 dB", "peak one-pass", "handed back", "iterations",
    "seconds each",
)  # fmt: skip

_ADAM = partial(torch.optim.Adam, lr=0.01, betas=(0.9, 0.9))
# The noise on z that the fits have at σ = 25.
_NOISE = 1 / 30


class Seldom(Perturbed):
    """Perturbed by noise that is drawn anew only in every so many iterations."""

    def __init__(self, every: int) -> None:
        """Set how seldom."""
        super().__init__(_NOISE)
        self.every, self.noise = every, torch.empty(0)

    def forward(self, z: Tensor, iteration: int, estimate: Tensor | None = None) -> Tensor:
        """Return z with the noise of the last multiple of ``every``."""
        if iteration % self.every == 0 or self.noise.shape != z.shape:
            self.noise = self.normal(z) * _NOISE
        return z + self.noise


class Doubled(nn.Module):
    """A network whose z has half the resolution and is doubled, noise and all, before it."""

    def __init__(self, network: nn.Module) -> None:
        """Take the network."""
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> Tensor:
        """Return (1, C, H, W), of every second row and column of a z of (1, D, H, W)."""
        small = F.interpolate(z[..., ::2, ::2], scale_factor=2, mode="bilinear")
        return self.network(small[..., : z.shape[-2], : z.shape[-1]])


def main() -> None:
    """Fit what is missing, and write the table of what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, metavar="PICTURES")
    parser.add_argument("--pictures", dest="names", default="f16,lena", help="names of pictures, with commas between")
    parser.add_argument("--only", default="", help="leads whose name has one of these words in it")
    parser.add_argument("--side", type=int, default=128, help="side of the central part, in pixels")
    parser.add_argument("--iterations", type=int, default=None, help="at most; default: by the noise")
    parser.add_argument("--out", type=Path, default=Path("outputs/leads"))
    arguments = parser.parse_args()
    table = arguments.out / "leads.csv"
    rows = list(csv.DictReader(table.open(encoding="utf-8"))) if table.exists() else []
    done = {(row["setting"], row["picture"]) for row in rows}
    for name in arguments.names.split(","):
        noisy, clean = (
            read_central(arguments.pictures / kind / f"{name}.png", arguments.side) for kind in ("noisy25", "gt")
        )
        for lead, settings in _leads():
            wanted = any(word.strip() in lead for word in arguments.only.split(","))
            if (lead, name) in done or not wanted:
                continue
            rows.append({"setting": lead, "picture": name, **_fit(noisy, clean, arguments.iterations, settings())})
            write_table(rows, table, COLUMNS)
            print(*rows[-1].values(), flush=True)


def _leads() -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Each lead by its name, and what makes its settings anew: networks are fitted once."""
    yield "default", dict
    yield "AdamW, decay of 0.01", lambda: {"optimizer": partial(torch.optim.AdamW, lr=0.01, betas=(0.9, 0.9))}
    yield "lr rises over 100 iterations", lambda: {"optimizer": _ADAM, "scheduler": _warmed}
    yield "lr rises, then halves every 300", lambda: {"optimizer": _ADAM, "scheduler": _falling}
    yield "noise anew every 4th iteration", lambda: {"model": Prior(_network(), policy=Seldom(4))}
    yield "noise anew every 16th iteration", lambda: {"model": Prior(_network(), policy=Seldom(16))}
    yield "z of half the resolution", lambda: {"model": Prior(Doubled(_network()), policy=Perturbed(_NOISE))}
    if importlib.util.find_spec("pytorch_optimizer"):
        for lr in (0.003, 0.01):
            yield f"SOAP, lr {lr}", lambda lr=lr: {"optimizer": partial(_soap, lr=lr)}  # type: ignore[misc]
        for lr in (0.003, 0.01):
            yield f"Muon, lr {lr}", lambda lr=lr: {"optimizer": partial(_muon, lr=lr)}  # type: ignore[misc]


def _network() -> UNet:
    torch.manual_seed(0)
    return UNet(channels=32)


def _warmed(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 100))


def _falling(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 50) * 0.5 ** (step / 300))


def _soap(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    from pytorch_optimizer import SOAP

    return SOAP(parameters, lr=lr, betas=(0.9, 0.9), weight_decay=0)


def _muon(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """Muon for the convolutions, as matrices; Adam for the rest."""
    from pytorch_optimizer import Muon

    given = list(parameters)
    matrices = [parameter for parameter in given if parameter.ndim > 1]
    others = [parameter for parameter in given if parameter.ndim <= 1]
    groups = [{"params": matrices, "use_muon": True}, {"params": others, "use_muon": False}]
    return Muon(groups, lr=lr, adamw_lr=0.01, adamw_betas=(0.9, 0.9))


def _fit(
    noisy: NDArray[np.float64], clean: NDArray[np.float64], iterations: int | None, settings: dict[str, Any]
) -> dict[str, Any]:
    limit = {} if iterations is None else {"iterations": iterations}
    network = {} if "model" in settings else {"model": "narrow"}
    result = restore(noisy, clean=clean, **{**limit, **network, **settings})
    averaged = result.curves["psnr_averaged"]
    near = [int((averaged >= averaged.max() - fall).sum()) for fall in (0.1, 0.5)]
    quality = result.summary["selected"]["psnr"]
    return {
        "peak averaged": f"{averaged.max():.2f}",
        "at": int(averaged.argmax()),
        "within 0.1 / 0.5 dB": f"{near[0]} / {near[1]}",
        "peak one-pass": f"{result.curves['psnr_one_pass'].max():.2f}",
        "handed back": f"{quality:.2f}",
        "iterations": len(averaged),
        "seconds each": f"{result.summary['seconds_per_iteration']:.4f}",
    }


if __name__ == "__main__":
    main()
