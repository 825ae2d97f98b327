"""What a fit hands back."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dip_lightning.data import Picture
from dip_lightning.data.handed import Form
from dip_lightning.runs.record import Summary, is_worse

__all__ = ["FitResult"]


@dataclass(frozen=True)
class FitResult:
    """What a fit hands back.

    Attributes:
        picture: The restored picture, like the one that was given; of a whole problem, with 16 bits a sample.
        output: The same, (H, W, C), before it was rounded and clipped: the ends of ``summary["range"]`` are 0 and 1.
        curves: One array an iteration, by the names of ``curves.csv``; NaN where nothing was measured.
        summary: The content of ``summary.json``.
        run_folder: Where the files are, or None where none were written.
        signal: The number of the signal that ended the fit early, or None.
        form: As what the picture was handed over, which ``image`` follows.
    """

    picture: Picture
    output: NDArray[np.floating]
    curves: dict[str, NDArray[np.floating]]
    summary: Summary
    run_folder: Path | None
    signal: int | None = None
    form: Form = field(default_factory=Form)

    @property
    def is_worse(self) -> bool:
        """Whether the result is worse than what was given, after enough iterations for it to be better."""
        return is_worse(self.summary)

    @property
    def image(self) -> Any:
        """The restored image, as the one that was given.

        An array (H, W), or (H, W, C), of its type and without alpha, as of a file; a tensor (H, W), or (C, H, W), of
        its type on its device; or a PIL picture with its alpha, profile, resolution and EXIF. Floats in [0, 1] stay in
        [0, 1].
        """
        return self.form.back(self.picture)
