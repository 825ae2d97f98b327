"""The values of every iteration, kept on the device until somebody asks for a block of them."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Curves"]


class Curves:
    """Named values, one an iteration, in buffers of fixed size on the device.

    Recording never waits for the device; :meth:`block` does, and copies many iterations at once.
    """

    def __init__(self, iterations: int, device: torch.device, dtype: torch.dtype) -> None:
        """Make room for a number of iterations.

        Args:
            iterations: How many iterations the fit may have.
            device: Where the values arise.
            dtype: float32 or float64.
        """
        self.iterations = iterations
        self.recorded = 0
        self._device = device
        self._dtype = dtype
        self._buffers: dict[str, Tensor] = {}

    @property
    def names(self) -> list[str]:
        """The names recorded so far."""
        return list(self._buffers)

    def record(self, name: str, iteration: int, value: Tensor) -> None:
        """Keep one value.

        Args:
            name: Which curve.
            iteration: Which iteration, from 0.
            value: A tensor of shape () on the device.
        """
        if name not in self._buffers:
            self._buffers[name] = torch.full((self.iterations,), torch.nan, device=self._device, dtype=self._dtype)
        self._buffers[name][iteration] = value
        self.recorded = max(self.recorded, iteration + 1)

    def erase(self, name: str) -> None:
        """Forget every value of a curve, if there is such a curve.

        Args:
            name: Which curve.
        """
        self._buffers.pop(name, None)

    def state_dict(self) -> dict[str, Any]:
        """Return what was recorded so far."""
        values = {name: buffer[: self.recorded].clone() for name, buffer in self._buffers.items()}
        return {"recorded": self.recorded, "values": values}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned; there may be room for more iterations now.

        Args:
            state_dict: Values on the device.
        """
        self._buffers = {}
        for name, values in state_dict["values"].items():
            self.record(name, 0, values[0])
            self._buffers[name][: len(values)] = values
        self.recorded = state_dict["recorded"]

    def value(self, name: str, iteration: int) -> Tensor:
        """Return one recorded value, a tensor of shape () on the device."""
        return self._buffers[name][iteration]

    def block(self, start: int = 0, stop: int | None = None) -> dict[str, NDArray[np.floating]]:
        """Copy a range of iterations to the host; on a GPU this waits until they are computed.

        Args:
            start: The first iteration.
            stop: The iteration after the last; None for all that were recorded.

        Returns:
            For each name an array of ``stop - start`` values, NaN where nothing was recorded.
        """
        stop = self.recorded if stop is None else stop
        names = self.names
        if not names:
            return {}
        rows = torch.stack([self._buffers[name][start:stop] for name in names]).cpu().numpy()
        return dict(zip(names, rows, strict=True))
