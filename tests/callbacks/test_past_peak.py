"""The rule for studies: the fit ends behind its peak, which is handed back."""

from collections.abc import Callable

import numpy as np
import pytest

from dip_lightning.errors import UserError
from dip_lightning.fitting.fit import FitResult

SETTINGS = ("stopping=past_peak", "stopping.min_iterations=5", "lr=0.1", "alpha=0.5", "iterations=300")


@pytest.mark.parametrize("drop", [0.3, 1.0])
def test_a_fit_ends_when_it_has_fallen_below_its_peak_and_hands_the_peak_back(
    tiny_fit: Callable[..., FitResult], drop: float
) -> None:
    result = tiny_fit(*SETTINGS, f"stopping.drop_db={drop}")
    curve, stopping = result.curves["psnr_averaged"][5:], result.summary["stopping"]
    peak = int(np.argmax(curve))
    assert len(curve) < 295
    assert curve[peak] - curve[-1] > drop
    assert np.all(np.maximum.accumulate(curve)[:-1] - curve[:-1] <= drop + 1e-5)
    assert stopping["rule"] == "past_peak"
    assert "stopping rules" not in str(result.summary["remarks"])  # it does not doubt what it handed back
    assert stopping["iteration"] == peak + 5
    assert stopping["psnr"] == pytest.approx(float(curve[peak]), abs=1e-3)


def test_without_a_clean_picture_it_says_what_it_needs(tiny_fit: Callable[..., FitResult]) -> None:
    with pytest.raises(UserError, match=r"past_peak without image\.clean: .* rule for studies; try stopping=vote"):
        tiny_fit(*SETTINGS, "degradation=none")
