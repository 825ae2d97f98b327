"""Whether ``torch.compile`` makes one program of the network, and how."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dip_lightning.checks import check_choice
from dip_lightning.errors import UserError

__all__ = ["COMPILATIONS", "Program", "choose_compilation", "compilation_error"]

log = logging.getLogger(__name__)

# What `torch.compile` is told, by the words of the option `compile`; nothing where nothing is compiled. "capture" makes
# no kernels of its own, which takes long, but has those that are there started as one.
COMPILATIONS: dict[str, dict[str, str]] = {
    "none": {},
    "default": {"mode": "default"},
    "graphs": {"mode": "reduce-overhead"},
    "capture": {"backend": "cudagraphs"},
}
# Those that record CUDA graphs.
_GRAPHS = ("graphs", "capture")

# Compiling takes about a minute. From so many pixels times iterations on it is no more than an eighth of a fit, even at
# 10 ns a pixel (under 3 ms an iteration at 512×512), which is as fast as we aim to be on an H200.
_WORTHWHILE = 5 * 10**10


def choose_compilation(asked: str, device: torch.device, pixels: int, iterations: int) -> str:
    """Turn what was asked for into what is done.

    ``auto`` never compiles on a CPU, where it was measured to gain nothing (docs/performance.md), and on a GPU where
    the fit is so long that compiling cannot cost much of it.

    Args:
        asked: ``"auto"`` or a key of :data:`COMPILATIONS`.
        device: Where the network is.
        pixels: Height times width of the image.
        iterations: How many the fit may have.

    Returns:
        A key of :data:`COMPILATIONS`.

    Raises:
        UserError: The word is unknown, or the device has no such thing.
    """
    check_choice("compile", asked, ("auto", *COMPILATIONS))
    if asked in _GRAPHS and device.type != "cuda":
        raise UserError(f"compile={asked} on {device.type}", "an NVIDIA GPU, for CUDA graphs", "try compile=none")
    if asked != "auto":
        return asked
    return "default" if device.type == "cuda" and pixels * iterations >= _WORTHWHILE else "none"


class Program:
    """A function of one tensor, compiled when it is called first, and its gradient with the first backward pass.

    Attributes:
        builds_kernels: Whether compiling builds kernels, which takes a minute or more.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], compilation: str, *, required: bool = True) -> None:
        """Prepare to compile; nothing is compiled yet.

        Args:
            function: What is compiled. A method rather than a module, which would become a second one with the same
                weights.
            compilation: A key of :data:`COMPILATIONS`, but not ``"none"``.
            required: Whether it is an error if the function cannot be compiled. If not, it costs a warning, and the
                function is called as it is from then on.
        """
        settings: dict[str, Any] = COMPILATIONS[compilation]
        self._function = function
        self._compiled: Callable[[Tensor], Tensor] = torch.compile(function, **settings)
        self._reuses_output = compilation in _GRAPHS
        self.builds_kernels = "backend" not in settings
        self._required = required

    def __call__(self, argument: Tensor) -> Tensor:
        """Call the function."""
        try:
            out = self._compiled(argument)
        except Exception as error:
            told = None if self._required else compilation_error(error)
            if told is None:
                raise
            log.warning("%s; the fit goes on without", told.problem)
            self._compiled, self._reuses_output = self._function, False
            out = self._function(argument)
        # A CUDA graph writes the next output over this one.
        return out.clone() if self._reuses_output else out


def compilation_error(error: Exception) -> UserError | None:
    """Tell that a network could not be compiled; None where the error is another one.

    Args:
        error: What a fit ended with.
    """
    if not type(error).__module__.startswith(("torch._inductor.", "torch._dynamo.", "torch._functorch.")):
        return None
    cause = str(error).strip().splitlines()[0]
    return UserError(
        f"the network could not be compiled ({cause})", "a C++ compiler, and Triton for a GPU", "try compile=none"
    )
