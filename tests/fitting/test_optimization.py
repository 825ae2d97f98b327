"""What torch looks at only when it takes a step is told before the fit, in one line."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TINY_UNET, Outcome


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("scheduler=step", "scheduler.step_size=0"), "StepLR: "),
        (("scheduler=cosine", "scheduler.T_max=abc"), "CosineAnnealingLR: "),
        (("optimizer=lbfgs", "optimizer.line_search_fn=wolfe"), "LBFGS: only 'strong_wolfe'"),
        (("optimizer=other", "+optimizer._target_=torch.optim.SparseAdam"), "SparseAdam: SparseAdam does not support"),
        (("optimizer.betas=3",), "Adam: "),
    ],
)
def test_settings_that_no_step_can_be_taken_with(
    dip: Callable[..., Outcome], settings: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    told = dip(*TINY_UNET, *settings, "hydra.run.dir=run")
    assert told.code == 2
    (line,) = told.err.strip().splitlines()
    assert said in line
    assert not (tmp_path / "run").exists()


def test_without_its_package_soap_names_what_to_install(
    dip: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    told = dip(*TINY_UNET, "optimizer=soap", "hydra.run.dir=run")
    assert (told.code, told.err.strip()) == (
        2,
        "dip: SOAP without the package pytorch-optimizer: expected the extra that brings it; "
        "pip install 'dip-lightning[soap]'",
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("scheduler", ["step", "cosine", "plateau"])
def test_settings_that_work_are_taken(dip: Callable[..., Outcome], scheduler: str) -> None:
    assert dip(*TINY_UNET, f"scheduler={scheduler}", "stopping=none", "hydra.run.dir=run").code == 0
