"""One problem: what was measured, how it arises from the image, and what is minimised."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dip_lightning.checks import check_callable, check_kind, check_number
from dip_lightning.data.noise_model import NoiseModel
from dip_lightning.errors import UserError
from dip_lightning.metrics import psnr
from dip_lightning.problems.data_terms import mse
from dip_lightning.problems.operators.measurement import Measurement, as_operator, in_one
from dip_lightning.problems.operators.operator import Identity, Operator

__all__ = ["DataTerm", "Problem", "Regularizer"]

DataTerm = Callable[[Tensor, Tensor], Tensor]
Regularizer = Callable[[Tensor], Tensor]

_AS_TENSOR = "try torch.from_numpy, as (1, C, H, W)"


class Problem(nn.Module):
    """Find x with ``data_term(A(x), y)`` small, and so each of ``regularizers`` of x.

    A module, so that it moves to the device once, with the prior, and follows the precision of the fit; but nothing of
    it is fitted, and its images are not part of a checkpoint: they are read again from their files. It does not change:
    stopping rules ask :meth:`replace` for another one.

    Attributes:
        observation: y, what was measured, (1, C_y, H_y, W_y); images in [0, 1] unless their noise leaves it.
        target: What the data term compares with, of the same shape; None for the observation itself.
        known: 1 where a sample was measured, 0 where not, (1, 1 or C_y, H_y, W_y); None for all.
        used: 1 where the data term counts it, which may be fewer; None for the known ones.
        fixed: Values of x that are known, and not fitted, NaN elsewhere, (1, C, H, W); None for none.
        clean: x itself, (1, C, H, W), or None. Only for measuring: it never enters what is minimised.
        operator: The forward operator A.
        data_term: Loss of A(x) against y, one value a sample; see :mod:`dip_lightning.problems.data_terms`. One
            in which a sample counts at its neighbours, too, has ``mixes_samples = True``: none can be held out.
        regularizers: Terms on x alone by name, each with its weight in it; of shape ().
        sigma: Standard deviation of the noise on the scale 0 to 255; None where it is not known.
        noise: What neighbours and colours share of it; None for nothing.
        shape: (C, H, W) of x.
    """

    observation: Tensor
    target: Tensor | None
    known: Tensor | None
    used: Tensor | None
    fixed: Tensor | None
    clean: Tensor | None
    known_weight: Tensor | None
    weight: Tensor | None

    def __init__(
        self,
        observation: Tensor | Sequence[Tensor],
        clean: Tensor | None = None,
        *,
        operator: Any = None,
        data_term: DataTerm = mse,
        known: Tensor | None = None,
        regularizers: Mapping[str, Regularizer] | None = None,
        sigma: float | None = None,
        shape: tuple[int, int, int] | None = None,
        target: Tensor | None = None,
        used: Tensor | None = None,
        fixed: Tensor | None = None,
        noise: NoiseModel | None = None,
    ) -> None:
        """Put the problem together.

        Args:
            observation: See the attributes, as for all that is not named here. Where ``operator`` has a method ``A``,
                several tensors, or one of another shape, are laid out in one row, (1, 1, 1, N).
            clean: The image that the fit is measured against.
            operator: An :class:`Operator`, any function or module of an image, or an object whose method ``A`` measures
                one, as the physics of deepinv does; None for the identity.
            data_term: What compares A(x) with y.
            known: Which samples were measured; None for what the operator says, or else all. The others may be NaN.
            regularizers: Terms on x.
            sigma: The noise's standard deviation.
            shape: (C, H, W) of x; None for what the operator says, or else that of the observation.
            target: What to compare with instead of the observation.
            used: Which samples are compared.
            fixed: What is known of x.
            noise: See the attributes.

        Raises:
            UserError: The shapes do not fit together, no sample is known, or an object is of another kind.
        """
        super().__init__()
        operator = as_operator(operator)
        if isinstance(operator, Measurement):
            observation = in_one(observation)
        observation = check_kind("observation", observation, Tensor, _AS_TENSOR)
        images = {"observation": observation, "clean": clean, "known": known, "target": target, "used": used}
        images["fixed"] = fixed
        _check_kinds(images, {"data_term": data_term, "operator": operator}, regularizers)
        if sigma is not None:
            check_number("sigma", sigma, 0, example=25)
        seen = _shape(observation)
        self.operator = operator if operator is not None else Identity()
        self.data_term, self.sigma, self.noise = data_term, sigma, noise
        self.regularizers = dict(regularizers or {})
        # Terms may hold tensors of their own, which must move along.
        self._terms = nn.ModuleList(term for term in self.regularizers.values() if isinstance(term, nn.Module))
        if known is None and isinstance(operator, Operator):
            known = operator.known(observation)
        known_weight = _weight(known, observation)
        weight = known_weight if used is None else _weight(used, observation)
        if known is not None:
            # What a file says of samples that were lost, NaN often, must not count: 0 times NaN would.
            observation = torch.where((known == 0) & ~torch.isfinite(observation), 0.0, observation)
        if not torch.isfinite(observation).all():
            raise UserError(
                "an observation with NaN or infinite samples", "numbers", "give known=, 0 where they are lost"
            )
        images |= {"observation": observation, "known": known}
        for name, image in images.items():
            self.register_buffer(name, image, persistent=False)
        self.register_buffer("known_weight", known_weight, persistent=False)
        self.register_buffer("weight", weight, persistent=False)
        if shape is None and isinstance(operator, Operator):
            shape = operator.image_shape(seen)
        self.shape = shape or seen
        self._check()

    def _check(self) -> None:
        if self.clean is not None and _shape(self.clean) != self.shape:
            raise UserError(
                f"a clean image of {_shape(self.clean)}", f"the image's {self.shape}", "name its clean image"
            )
        if self.fixed is not None and _shape(self.fixed) != self.shape:
            raise UserError(f"fixed samples of {_shape(self.fixed)}", f"the image's {self.shape}", "give it that shape")
        if self.target is not None and self.target.shape != self.observation.shape:
            told = f"a target of {tuple(self.target.shape)}"
            raise UserError(told, f"the observation's {tuple(self.observation.shape)}", "give it that shape")
        if isinstance(self.operator, Identity) and self.shape == _shape(self.observation):
            return
        seen = self.operator(self.observation.new_zeros((1, *self.shape)))
        if _shape(seen) != _shape(self.observation):
            raise UserError(
                f"an operator that maps {self.shape} to {_shape(seen)}",
                f"the observation's {_shape(self.observation)}",
                "give Problem the shape=(C, H, W) of the image",
            )

    @property
    def shares_noise(self) -> bool:
        """Whether neighbouring samples share their noise, as in a developed photograph."""
        return self.noise is not None and not self.noise.is_white

    def replace(self, *, target: Tensor | None = None, used: Tensor | None = None) -> "Problem":
        """Return the same problem with another target, or with other samples compared; None leaves what is there."""
        return Problem(
            self.observation,
            self.clean,
            operator=self.operator,
            data_term=self.data_term,
            known=self.known,
            used=self.used if used is None else used,
            regularizers=self.regularizers,
            sigma=self.sigma,
            shape=self.shape,
            target=self.target if target is None else target,
            fixed=self.fixed,
            noise=self.noise,
        )

    def complete(self, image: Tensor) -> Tensor:
        """Return an image with the samples that are fixed, (1, C, H, W)."""
        return image if self.fixed is None else torch.where(torch.isnan(self.fixed), image, self.fixed)

    def extremes(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the least and the greatest sample of an image that is not fixed, each of shape ()."""
        if self.fixed is None:
            low, high = image.aminmax()
            return low, high
        free = torch.isnan(self.fixed)
        return image.where(free, torch.inf).amin(), image.where(free, -torch.inf).amax()

    def data_loss(self, prediction: Tensor) -> Tensor:
        """Return the data term of A(x), the mean over the samples that are compared, of shape ()."""
        losses = self.data_term(prediction, self.observation if self.target is None else self.target)
        return losses.mean() if self.weight is None else (losses * self.weight).mean()

    def fidelity(self, prediction: Tensor) -> Tensor:
        """Return the PSNR in dB of A(x) to the observation, over the known samples, of shape ()."""
        if self.known_weight is None:
            return psnr(prediction, self.observation)
        return ((prediction - self.observation).square() * self.known_weight).mean().log10() * -10


def _shape(image: Tensor) -> tuple[int, int, int]:
    if image.dim() != 4 or len(image) != 1:
        raise UserError(f"an image of shape {tuple(image.shape)}", "(1, C, H, W)", "try image.reshape(1, C, H, W)")
    _, channels, height, width = image.shape
    return channels, height, width


def _check_kinds(
    images: Mapping[str, object], functions: Mapping[str, object], regularizers: Mapping[str, object] | None
) -> None:
    """Refuse what is not of the kind that its place asks for; None is of any.

    Raises:
        UserError: One is not.
    """
    for name, image in images.items():
        if image is None:
            continue
        tensor = check_kind(name, image, Tensor, _AS_TENSOR)
        if name in ("observation", "clean", "target") and not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UserError(
                f"{name} of {kind} samples", "floating point, black 0 and white 1", "try image.float() / 255"
            )
    if regularizers is not None and not isinstance(regularizers, Mapping):
        raise UserError(f"regularizers of type {type(regularizers).__name__}", "terms by name", "try {'tv': ...}")
    terms = {f"regularizers[{name!r}]": term for name, term in (regularizers or {}).items()}
    for name, function in {**functions, **terms}.items():
        if function is not None:
            check_callable(name, function, "give a function of images (1, C, H, W)")


def _weight(known: Tensor | None, observation: Tensor) -> Tensor | None:
    """Turn a mask into weights with mean 1, so that a mean over all samples is one over the known ones."""
    if known is None:
        return None
    share = float(known.double().mean())
    if share == 0 or known.shape not in (observation.shape, observation[:, :1].shape):
        raise UserError(
            f"known samples of {tuple(known.shape)}, {share:.0%} of them",
            f"some, in a mask of {tuple(observation.shape)} or one channel",
            "1 where a sample counts",
        )
    if not ((known == 0) | (known == 1)).all():
        raise UserError("known samples with other values than 0 and 1", "a mask", "try known > 0.5")
    return (known.to(torch.float32) * (1 / share)).to(observation)
