"""Tomography: a slice from its projections at a few angles, with a parallel-beam projector of a few lines.

    python examples/tomography.py [--side 128] [--angles 30] [--iterations 1500] [--out outputs/tomography]

Makes the Shepp-Logan phantom's projections with noise, fits a network to them, and writes the slice beside what
filtered back-projection makes of the same projections. What to change for data of one's own: `observation`, and `A`.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.data import shepp_logan_phantom
from skimage.transform import iradon, resize
from torch import Tensor, nn

from dip_lightning import Problem, restore


class ParallelBeam(nn.Module):
    """Line integrals of an image: it is turned by each angle, and its columns are summed."""

    def __init__(self, angles: int, side: int) -> None:
        """Lay the rays: ``angles`` directions over half a turn, through an image of ``side`` × ``side`` pixels."""
        super().__init__()
        turns = [math.pi * k / angles for k in range(angles)]
        rotations = [[[math.cos(a), math.sin(a), 0.0], [-math.sin(a), math.cos(a), 0.0]] for a in turns]
        grid = F.affine_grid(torch.tensor(rotations), [angles, 1, side, side], align_corners=False)
        self.register_buffer("grid", grid, persistent=False)

    grid: Tensor

    def forward(self, image: Tensor) -> Tensor:
        """Map (1, 1, N, N) to the sinogram (1, 1, angles, N): means along the rays, so that it lies in [0, 1]."""
        turned = F.grid_sample(image.expand(len(self.grid), -1, -1, -1), self.grid.to(image), align_corners=False)
        return turned.mean(dim=2).transpose(0, 1)[None]


def main() -> None:
    """Make the projections, fit, compare, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=128, help="of the slice, in pixels; a multiple of 32")
    parser.add_argument("--angles", type=int, default=30)
    parser.add_argument("--noise", type=float, default=0.5, help="standard deviation, on the scale 0 to 255")
    parser.add_argument("--iterations", type=int, default=1500)
    parser.add_argument("--out", type=Path, default=Path("outputs/tomography"))
    parser.add_argument("overrides", nargs="*", help="settings of dip, such as model.channels=16")
    options = parser.parse_intermixed_args()

    phantom = resize(shepp_logan_phantom(), (options.side, options.side), anti_aliasing=True)
    clean = torch.tensor(phantom, dtype=torch.float32)[None, None]
    projector = ParallelBeam(options.angles, options.side)
    noise = torch.randn(1, 1, options.angles, options.side, generator=torch.Generator().manual_seed(0))
    observation = projector(clean) + options.noise / 255 * noise

    problem = Problem(
        observation, clean, operator=projector, shape=(1, options.side, options.side), sigma=options.noise
    )
    result = restore(problem=problem, iterations=options.iterations, overrides=options.overrides)

    degrees = np.arange(options.angles) * 180 / options.angles
    sinogram = observation[0, 0].numpy().T * options.side
    back_projected = np.clip(iradon(sinogram, degrees, circle=True), 0, 1)
    for name, picture in (("fitted", result.output[:, :, 0]), ("back-projected", back_projected)):
        print(f"{name}: {-10 * np.log10(np.square(picture - phantom).mean()):.2f} dB")
    options.out.mkdir(parents=True, exist_ok=True)
    beside = np.concatenate([phantom, back_projected, result.output[:, :, 0]], axis=1)
    Image.fromarray(np.rint(255 * np.clip(beside, 0, 1)).astype(np.uint8)).save(options.out / "comparison.png")
    print(f"clean, back-projected and fitted side by side: {options.out / 'comparison.png'}")


if __name__ == "__main__":
    main()
