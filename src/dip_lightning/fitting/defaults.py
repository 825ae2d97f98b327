"""What a fit does where nothing else is said, for each problem: chosen by measurement, never per picture."""

from dataclasses import dataclass

import torch
from omegaconf import DictConfig

from dip_lightning.data import Observation
from dip_lightning.data.noise_level import iterations_for
from dip_lightning.fitting.own import Own
from dip_lightning.problems import Blur, Identity, Inpaint, Mosaic, SuperResolution

__all__ = ["SKIPS", "Defaults", "defaults_for", "may_forget", "suited_iterations", "suited_network", "suited_window"]

# What is seen through an operator with less noise than this, of 255, is fitted otherwise than noise is
# (docs/results/applications.md).
_QUIET = 10.0


# Adam's moments as in the paper, and where they forget sooner: to denoise, of a JPEG, of a small picture and with
# holes, a narrow network needs half of the iterations then for the same picture; of a mosaic and of noise that
# neighbours share it is worse, and of a blur no rule stops it in time (docs/results/width.md, applications.md,
# real-photographs.md).
_ADAM, _FORGETFUL = (0.9, 0.999), (0.9, 0.9)
# Channels of the skip connections: the paper's, and as many as suit holes without noise, where detail is to be learnt
# and nothing to be kept out (docs/results/applications.md).
SKIPS = (4, 16)
# Number of outputs whose variance tells when to stop: half in fits of half of the iterations.
_WINDOW = 100


@dataclass(frozen=True)
class Defaults:
    """What suits a problem.

    Attributes:
        input_noise_std: Standard deviation of the fresh noise on z.
        iterations: At most, with these betas; None for what the noise calls for.
        data_term: By its name; None for what suits the noise.
        tv: Weight of the total variation; None for none.
        betas: Weights of the past in Adam's two moments.
        skip_channels: Channels of the U-net's skip connections.
    """

    input_noise_std: float
    iterations: int | None = None
    data_term: str | None = None
    tv: float | None = None
    betas: tuple[float, float] = _ADAM
    skip_channels: int = SKIPS[0]

    @property
    def forgets(self) -> bool:
        """Whether Adam forgets sooner than the paper's, so that a fit has half of the iterations."""
        return self.betas == _FORGETFUL


def defaults_for(operator: object, observation: Observation) -> Defaults:
    """Choose what suits a problem.

    Args:
        operator: What the picture was seen through.
        observation: What was seen.
    """
    sigma = observation.sigma
    if observation.jpeg is not None:
        # What a compression did is fitted along the sooner the more that is: at quality 10, where these steps have a
        # mean of 64, after 250 to 450 iterations; at quality 40, with 16, after 950 to 1300.
        step = float(observation.jpeg.planes[0].steps[:2, :2].mean())
        return Defaults(1 / 30, iterations=round(min(max(22_500 / step, 250), 3000)), betas=_FORGETFUL)
    if sigma < _QUIET:
        if isinstance(operator, Inpaint):
            return Defaults(1 / 30, iterations=6000, betas=_FORGETFUL, skip_channels=SKIPS[1])
        if isinstance(operator, SuperResolution):
            return Defaults(1 / 30, betas=_FORGETFUL)
        if isinstance(operator, Blur):
            return Defaults(0.0, iterations=3000, data_term="backprojection", tv=1e-3)
        if isinstance(operator, Mosaic):
            return Defaults(0.0)
    denoises = isinstance(operator, Identity) and not observation.correlated and observation.data_term == "mse"
    # The original's values: 1/20 for σ = 50, else 1/30.
    return Defaults(1 / 20 if sigma >= 50 else 1 / 30, betas=_FORGETFUL if denoises else _ADAM)


def may_forget(cfg: DictConfig, own: Own) -> bool:
    """Whether the optimiser is the Adam that forgets sooner, in a problem that this one suits; or SOAP, sooner still.

    Args:
        cfg: The composed configuration, in which it is left open or said.
        own: An optimiser of one's own, which is another.
    """
    if own.optimizer is not None:
        return False
    is_soap = str(cfg.optimizer.get("_target_")).endswith(".SOAP")
    return is_soap or cfg.optimizer.get("betas", ()) in (None, list(_FORGETFUL))


def suited_iterations(operator: object, observation: Observation, *, forgets: bool = True) -> int:
    """Say how many iterations suit a problem, at most.

    Args:
        operator: What the picture was seen through.
        observation: What was seen.
        forgets: What :func:`may_forget` says. Where the problem calls for an Adam that does, others get twice as many.
    """
    suited = defaults_for(operator, observation)
    if suited.iterations is None:
        return iterations_for(observation.sigma, shared=observation.correlated)
    return 2 * suited.iterations if suited.forgets and not forgets else suited.iterations


def suited_window(cfg: DictConfig, *, forgets: bool) -> DictConfig:
    """Say over how many outputs the variance is taken, where ``stopping.rules.wmv.window`` is null.

    Args:
        cfg: The composed configuration; it stays as it is.
        forgets: Whether Adam forgets sooner in this fit.

    Returns:
        The configuration with the window in it.
    """
    cfg = cfg.copy()
    # The callback takes what the group says, or after a resume has a copy of that.
    for node in (cfg.stopping, cfg.callbacks.get("detection")):
        rules = node.get("rules") if isinstance(node, DictConfig) else None
        rule = rules.get("wmv") if isinstance(rules, DictConfig) else None
        if isinstance(rule, DictConfig) and rule.get("window", 0) is None:
            rule.window = _WINDOW // 2 if forgets else _WINDOW
    return cfg


def suited_network(cfg: DictConfig, device: torch.device, skip_channels: int) -> DictConfig:
    """Say how wide the network and its skips are, where ``model.channels`` and ``model.skip_channels`` are null.

    On a CPU an iteration takes as long as its arithmetic, and narrow networks are as good sooner. A GPU waits for the
    host, so that narrow networks' iterations last about as long as wide ones', and on large pictures they need more of
    them (docs/performance.md).

    Args:
        cfg: The composed configuration; it stays as it is.
        device: Where the fit runs.
        skip_channels: What suits the problem.

    Returns:
        The configuration with both in it.
    """
    suited = {"channels": 32 if device.type == "cpu" else 128, "skip_channels": skip_channels}
    chosen = {key: value for key, value in suited.items() if cfg.model.get(key, 0) is None}
    if not chosen:
        return cfg
    cfg = cfg.copy()
    cfg.model.update(chosen)
    return cfg
