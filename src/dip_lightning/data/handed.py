"""Pictures as Python hands them over, and handed back alike: arrays, tensors, and those of PIL."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dip_lightning.data.loading import SMALLEST_SIDE
from dip_lightning.data.picture import Picture
from dip_lightning.errors import UserError

__all__ = ["Form", "read_handed"]

# What an image has at the most where its channels are not bands, and how floats beyond [0, 1] by rounding are told.
_COLOURS = (1, 3, 4)
_ROUNDING = 1e-5

_MODES = ("L", "LA", "RGB", "RGBA", "P", "I;16", "I", "F")


@dataclass(frozen=True)
class Form:
    """As what a picture was handed over: an array.

    Attributes:
        unit: Whether it holds floats in [0, 1].
    """

    unit: bool = False

    def samples(self, picture: Picture) -> NDArray[Any]:
        """Return the samples of a picture, (H, W, C); floats in [0, 1] stay there, to be given again."""
        if not self.unit:
            return picture.samples
        # What was lost may be kept as it was, whatever it was.
        clipped = np.clip(picture.samples, 0, 1)
        return clipped if picture.known is None else np.where(picture.known, clipped, picture.samples)

    def back(self, picture: Picture) -> Any:
        """Return a picture as the one was that was handed over: (H, W) grey or (H, W, C), without alpha."""
        samples = self.samples(picture)
        return samples[:, :, 0] if samples.shape[2] == 1 else samples


@dataclass(frozen=True)
class _TensorForm(Form):
    """A tensor.

    Attributes:
        is_flat: Whether it was (H, W), not (C, H, W).
        like: An empty tensor of its type, where it was.
    """

    is_flat: bool = False
    like: torch.Tensor = field(default_factory=lambda: torch.empty(0))

    def back(self, picture: Picture) -> torch.Tensor:
        """Return a tensor, (C, H, W), or (H, W) where the one that was given was; without alpha."""
        samples = torch.from_numpy(np.ascontiguousarray(self.samples(picture).transpose(2, 0, 1))).to(self.like)
        return samples[0] if self.is_flat and samples.shape[0] == 1 else samples


@dataclass(frozen=True)
class _PilForm(Form):
    """A picture of PIL.

    Attributes:
        info: What belongs to it: profile, resolution, EXIF.
    """

    info: dict[str, Any] = field(default_factory=dict)

    def back(self, picture: Picture) -> Image.Image:
        """Return a picture of PIL, with its alpha and what belongs to it."""
        whole = replace(picture, samples=self.samples(picture)).interleaved()
        image = Image.fromarray(whole[:, :, 0] if whole.shape[2] == 1 else whole)
        image.info.update(self.info)
        return image


def read_handed(name: str, given: object, *, any_range: bool) -> tuple[NDArray[np.generic], Form]:
    """Take a picture from Python.

    Args:
        name: What it stands for, for messages.
        given: An array (H, W) or (H, W, C), a tensor (H, W) or (C, H, W), or a picture of PIL.
        any_range: Whether floats may lie anywhere, and not only in [0, 1].

    Returns:
        Its samples, (H, W) or (H, W, C), and how it is handed back.

    Raises:
        UserError: It is something else, has its channels elsewhere, or floats beyond [0, 1].
    """
    if isinstance(given, torch.Tensor):
        samples = _of_tensor(name, given)
        unit = _is_unit(name, samples, any_range)
        return samples, _TensorForm(unit, given.ndim == 2, torch.empty(0, dtype=given.dtype, device=given.device))
    if isinstance(given, Image.Image):
        samples = _of_pil(name, given)
        info: dict[str, Any] = {str(key): value for key, value in given.info.items()}
        if given.mode == "P":  # its transparent colours are alpha now
            info.pop("transparency", None)
        return samples, _PilForm(_is_unit(name, samples, any_range), info)
    if not isinstance(given, np.ndarray):
        expected = "an array, a tensor, a PIL picture or a path"
        raise UserError(f"{name} of type {type(given).__name__}", expected, "try numpy.asarray on it")
    if given.ndim == 3 and given.shape[0] < min(SMALLEST_SIDE, given.shape[1]) and given.shape[2] > 4:
        problem = f"{name} of shape {_told(given.shape)}, its channels first"
        raise UserError(problem, "(H, W) or (H, W, C)", "try numpy.moveaxis(image, 0, -1), or a torch tensor")
    return given, Form(_is_unit(name, given, any_range))


def _told(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _of_tensor(name: str, given: torch.Tensor) -> NDArray[np.generic]:
    shape, problem = tuple(given.shape), f"{name}, a tensor of shape {_told(given.shape)}"
    if len(shape) not in (2, 3):
        remedy = "try image[0]" if len(shape) == 4 and shape[0] == 1 else "give one picture"
        raise UserError(problem, "(C, H, W) or (H, W)", remedy)
    if len(shape) == 3 and shape[2] in _COLOURS and shape[0] > 4:
        raise UserError(f"{problem}, its channels last", "(C, H, W) or (H, W)", "try image.permute(2, 0, 1)")
    if not given.is_floating_point() and given.dtype is not torch.uint8:
        raise UserError(
            f"{name}, a tensor of {given.dtype}", "floats in [0, 1], or uint8", "convert it to one of these"
        )
    samples = given.detach().cpu()
    if samples.dtype is torch.bfloat16:  # which NumPy has not
        samples = samples.float()
    return (samples if len(shape) == 2 else samples.permute(1, 2, 0)).numpy()


def _of_pil(name: str, given: Image.Image) -> NDArray[np.generic]:
    if given.mode not in _MODES:
        raise UserError(
            f"{name}, a PIL picture of mode {given.mode}", f"one of {', '.join(_MODES)}", "convert it first"
        )
    try:
        if given.mode == "P":
            return np.asarray(given.convert("RGBA" if "transparency" in given.info else "RGB"))
        return np.asarray(given)
    except (OSError, SyntaxError, ValueError) as error:  # it is read from its file only now
        raise UserError(
            f"{name}, a PIL picture that cannot be read ({error})", "a whole one", "open it again"
        ) from None


def _is_unit(name: str, samples: NDArray[np.generic], any_range: bool) -> bool:
    """Whether they are floats in [0, 1]; others are refused unless they may lie anywhere."""
    if samples.dtype.kind != "f" or any_range:
        return False
    known = np.isfinite(np.ma.getdata(samples)) & ~np.ma.getmaskarray(samples)
    held = np.ma.getdata(samples)[known]
    low, high = (float(held.min()), float(held.max())) if held.size else (0.0, 1.0)
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        told = f"'image.range=[{low:.6g},{high:.6g}]'"
        remedy = f"divide them by their white, or say what is black and white: overrides=[{told}]"
        if low >= -1 and high <= 2:  # noise that was added, it seems, and not clipped
            remedy = f"if noise has left it, overrides=['image.range=null'], which finds a range; else {remedy}"
        raise UserError(f"{name} with floats from {low:.6g} to {high:.6g}", "floats in [0, 1]", remedy)
    return True
