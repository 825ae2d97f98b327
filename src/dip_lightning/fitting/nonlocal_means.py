"""Non-local means mixed into what a fit hands back, in the share that Stein's estimate of the error favours.

Noise that neighbours share looks like picture to a network that learns coarse things first; to a filter that compares
patches it does not, as long as the patches are wider. The two err in different places, and a mixture of both is nearer
to the clean image than either.
"""

from dataclasses import replace

import numpy as np
import torch
from skimage.restoration import denoise_nl_means
from torch import Tensor

from dip_lightning.callbacks import Detection
from dip_lightning.fitting.build import Fit
from dip_lightning.fitting.outcome import to_image
from dip_lightning.fitting.selection import Selection
from dip_lightning.problems.operators.operator import Identity
from dip_lightning.stopping import Sure

__all__ = ["with_nonlocal_means"]

# Of a patch and of how far patches are looked for, in pixels: wider than what neighbours share of the noise.
_PATCH, _DISTANCE = 7, 11

# Cut-off distances that are tried, relative to the noise.
_STRENGTHS = (0.6, 1.0)


def with_nonlocal_means(fit: Fit, selection: Selection) -> Selection:
    """Mix non-local means (Buades, Coll & Morel 2005, as scikit-image has it) into what is handed back.

    Of f, the output of the fit, and g, non-local means of what was fitted, told the strength of the noise, w·f + (1 −
    w)·g has the least estimated error at a w that is found in closed form, see :meth:`Sure.share`. Both depend on the
    same perturbed observation, so that the estimate is sound. Pixels that were held out have a share of their own.

    Args:
        fit: A finished fit.
        selection: What it would hand back.

    Returns:
        The mixture; ``selection`` itself where there is nothing to weigh with, or neighbours share no noise.
    """
    problem, setting = fit.module.fitted_problem, fit.settings.nonlocal_means
    if setting == 0.0 or not isinstance(problem.operator, Identity) or problem.known is not None or not problem.sigma:
        return selection
    if setting is None and not problem.shares_noise:
        return selection
    if min(problem.shape[1:]) <= _PATCH:
        return selection
    detection = fit.find(Detection)
    sure = None if detection is None else detection.find(Sure)
    measured = setting is None or setting is True
    if measured and sure is None:
        return selection
    seen = problem.observation if problem.target is None else problem.target
    fitted = selection.image.to(seen)
    filtered = [_filter(seen, strength * problem.sigma / 255, problem.sigma / 255) for strength in _STRENGTHS]
    if not measured or sure is None:
        share = 1 - float(setting or 0.0)
        return replace(
            selection, image=torch.lerp(filtered[-1], fitted, share), nonlocal_means=1 - share, fitted=fitted
        )
    used = torch.ones_like(seen[:, :1]) if problem.used is None else problem.used.to(seen)
    found = [sure.share(fitted, one, used) for one in filtered]
    index = min(range(len(found)), key=lambda at: found[at][1])
    chosen, (share, _) = filtered[index], found[index]
    mixed = torch.lerp(chosen, fitted, share)
    if bool((used == 0).any()):
        unseen, _ = sure.share(fitted, chosen, 1 - used)
        mixed = torch.where(used == 0, torch.lerp(chosen, fitted, unseen), mixed)
    return replace(selection, image=mixed, nonlocal_means=1 - share, fitted=fitted)


def _filter(image: Tensor, cut_off: float, sigma: float) -> Tensor:
    """Non-local means of (1, C, H, W)."""
    pixels = to_image(image).astype(np.float32)
    filtered = denoise_nl_means(
        pixels,
        patch_size=_PATCH,
        patch_distance=_DISTANCE,
        h=cut_off,
        sigma=sigma,
        fast_mode=True,
        channel_axis=-1,
    )
    return torch.from_numpy(np.asarray(filtered).reshape(pixels.shape)).permute(2, 0, 1)[None].to(image)
