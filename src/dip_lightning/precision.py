"""In which arithmetic a fit runs, and proof of what was in force."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from dip_lightning.checks import check_choice, check_flag
from dip_lightning.errors import UserError
from dip_lightning.system.environment import device_for
from dip_lightning.system.processor import has_native_bf16
from dip_lightning.system.shared_state import Turns

__all__ = ["LIGHTNING_PRECISIONS", "NativePrecision", "Precision"]

# Lightning's word, the type of the weights, and the type that autocast computes convolutions in.
LIGHTNING_PRECISIONS: dict[str, tuple[torch.dtype, torch.dtype | None]] = {
    "64-true": (torch.float64, None),
    "32-true": (torch.float32, None),
    "bf16-mixed": (torch.float32, torch.bfloat16),
    "16-mixed": (torch.float32, torch.float16),
}

_NAMES = {"64-true": "fp64", "32-true": "fp32", "bf16-mixed": "bf16", "16-mixed": "fp16"}
_HIGHER = {"bf16": "fp32", "fp16": "fp32", "tf32": "fp32", "fp32": "fp64"}


class Precision:
    """A precision option: Lightning's precision, and whether float32 products may be rounded to TF32.

    TF32 is a setting of the process, on by default for convolutions; here it is on only where asked for, and set
    back after the fit.
    """

    def __init__(self, lightning: str, tf32: bool = False) -> None:
        """Set the precision.

        Args:
            lightning: A key of :data:`LIGHTNING_PRECISIONS`.
            tf32: Whether matrix products and convolutions of float32 use TF32.

        Raises:
            UserError: A value is not allowed.
        """
        self.lightning = check_choice("precision.lightning", lightning, LIGHTNING_PRECISIONS)
        self.tf32 = check_flag("precision.tf32", tf32)
        if tf32 and lightning != "32-true":
            raise UserError(
                f"precision.tf32=true with {lightning}", "32-true, whose products TF32 rounds", "try precision=tf32"
            )

    @property
    def name(self) -> str:
        """The option that this is: ``fp64``, ``fp32``, ``tf32``, ``bf16`` or ``fp16``."""
        return "tf32" if self.tf32 else _NAMES[self.lightning]

    @classmethod
    def named(cls, name: str) -> "Precision":
        """Return the precision that an option's name stands for: ``fp64``, ``fp32``, ``tf32``, ``bf16`` or ``fp16``.

        Raises:
            UserError: There is none of that name.
        """
        check_choice("precision", name, ("tf32", *_NAMES.values()))
        if name == "tf32":
            return cls("32-true", tf32=True)
        return cls(next(word for word, option in _NAMES.items() if option == name))

    def higher(self, device: torch.device) -> str | None:
        """Return the name of the next higher precision that a device knows; None where there is none."""
        name = _HIGHER.get(self.name)
        return None if name == "fp64" and device.type == "mps" else name

    def check_device(self, device: torch.device) -> None:
        """Refuse a device that would quietly compute in another precision.

        Raises:
            UserError: The device cannot do it.
        """
        asked, fallback = f"precision={self.name} on {device.type}", "try precision=fp32"
        if self.tf32 and not (device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)):
            raise UserError(asked, "an NVIDIA GPU of the Ampere generation or later", fallback)
        if self.lightning == "16-mixed" and device.type != "cuda":
            raise UserError(asked, "an NVIDIA GPU", "try precision=bf16")
        if self.lightning == "64-true" and device.type == "mps":
            raise UserError(asked, "a device that knows float64", fallback)

    def in_force(self) -> AbstractContextManager[None]:
        """Allow or forbid TF32 inside the ``with`` block, in matrix products and in convolutions.

        Fits in several threads that differ in it, which belongs to the process, take turns; so do fits in float64, to
        which Lightning sets the process in every iteration.
        """
        return _turns.take(self.tf32, threading.get_ident() if self.lightning == "64-true" else None)

    def describe(self, weights: torch.dtype) -> dict[str, str | bool | None]:
        """Tell what is in force now, read back from torch rather than from the settings.

        Args:
            weights: The type of the network's weights.
        """
        autocast = LIGHTNING_PRECISIONS[self.lightning][1]
        return {
            "weights": str(weights).removeprefix("torch."),
            "autocast": None if autocast is None else str(autocast).removeprefix("torch."),
            "tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
            "tf32_convolution": torch.backends.cudnn.allow_tf32,
        }


class NativePrecision(Precision):
    """bf16 where the processor or the GPU computes in it natively, else float32: the faster of the two without a loss.

    What it became is its name, in the record and in the table at the end as well.
    """

    def __init__(self, accelerator: str) -> None:
        """Look at the machine.

        Args:
            accelerator: Where the fit will run, as Lightning names it: ``"cpu"``, ``"gpu"``, ``"auto"``.

        Raises:
            UserError: It is no word.
        """
        if not isinstance(accelerator, str):
            raise UserError(f"precision.accelerator={accelerator}", "a word", "try precision.accelerator=auto")
        super().__init__("bf16-mixed" if _computes_in_bf16(accelerator) else "32-true")


def _computes_in_bf16(accelerator: str) -> bool:
    device = device_for(accelerator)
    if device.type == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    return device.type == "cpu" and accelerator in ("auto", "cpu") and has_native_bf16()


@contextmanager
def _tf32_allowed(allowed: bool, _: object) -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32 = allowed
        torch.backends.cudnn.allow_tf32 = allowed
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


_turns = Turns(_tf32_allowed)
