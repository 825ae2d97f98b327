"""Noise of one's own: speckle of a radar or an ultrasound picture, which multiplies, with the term that suits it.

    python examples/own_noise.py [--crop 128] [--looks 4] [--iterations 800] [--out outputs/own-noise]

A data term is a function of the prediction and the observation, one value a sample: the negative log-likelihood of the
noise. Here intensity y = x·s, where s is the mean of `looks` exponential variables, so that it is log p + y/p.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.data import camera
from torch import Tensor

from dip_lightning import Problem, restore


def gamma(prediction: Tensor, observation: Tensor) -> Tensor:
    """Return log p + y/p, for y that is gamma-distributed around p; darker than 0.01 counts as 0.01."""
    expected = prediction.clamp(min=0.01)
    return expected.log() + observation / expected


def main() -> None:
    """Make the observation, fit it with both terms, compare, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crop", type=int, default=128, help="side of the part of the picture, in pixels")
    parser.add_argument("--looks", type=float, default=4.0)
    parser.add_argument("--iterations", type=int, default=800)
    parser.add_argument("--out", type=Path, default=Path("outputs/own-noise"))
    parser.add_argument("overrides", nargs="*", help="settings of dip, such as model.channels=16")
    options = parser.parse_intermixed_args()

    picture = camera()[80 : 80 + options.crop, 160 : 160 + options.crop] / 255
    clean = torch.tensor(picture, dtype=torch.float32)[None, None]
    speckle = np.random.default_rng(0).gamma(options.looks, 1 / options.looks, picture.shape)
    observation = clean * torch.tensor(speckle, dtype=torch.float32)

    shown = [picture, observation[0, 0].numpy()]
    for name, term in (("squared error", None), ("gamma", gamma)):
        problem = Problem(observation, clean, **({} if term is None else {"data_term": term}))
        # The other rules reckon with additive noise; this one looks at the output alone.
        result = restore(problem=problem, iterations=options.iterations, overrides=["stopping=wmv", *options.overrides])
        shown.append(result.output[:, :, 0])
        print(f"{name}: {-10 * np.log10(np.square(shown[-1] - picture).mean()):.2f} dB")
    options.out.mkdir(parents=True, exist_ok=True)
    beside = np.concatenate(shown, axis=1)
    Image.fromarray(np.rint(255 * np.clip(beside, 0, 1)).astype(np.uint8)).save(options.out / "comparison.png")
    print(f"clean, observed, fitted with either term: {options.out / 'comparison.png'}")


if __name__ == "__main__":
    main()
