"""Each setting of the core: its least and greatest value are taken, and the line that refuses the next one."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import yaml

from dip_lightning import DeepImagePrior, Prior, Problem, UserError
from dip_lightning.callbacks import (
    Checkpoint,
    Detection,
    DivergenceGuard,
    FitProgress,
    OutputEMA,
    PastPeak,
    PeakPSNR,
    Pictures,
)
from dip_lightning.config.compose import config_folder
from dip_lightning.config.targets import find_target
from dip_lightning.data import GaussianNoise, ImpulseNoise, JpegCompression, ShotNoise, SpeckleNoise
from dip_lightning.stopping import HeldOut, MovingVariance, Sure, WindowedVariance
from tests.small import network, picture

WHOLE, LARGEST = "a whole number of at least {}", 2**31 - 1


def fit(**options: Any) -> DeepImagePrior:
    return DeepImagePrior(Prior(network(), input_channels=4), Problem(picture()), **options)


def detection(**options: Any) -> Detection:
    return Detection({"wmv": WindowedVariance(), "emv": MovingVariance()}, **options)


GUARD = "callbacks.divergence_guard."
SEED = ([0, LARGEST], {-1: WHOLE.format(0), 2**31: f"a whole number of at least 0, at most {LARGEST}"}, "0")
POSITIVE = ([1e-9, 1e9], {0: "a number above 0"})
COUNT = ([1, LARGEST], {0: WHOLE.format(1)})
# The key, what it is given to, values that are taken, others and what is expected instead of them, the one to try.
AVERAGE = "a number in [0, 1), or growing"
RANGES: list[tuple[str, Callable[..., Any], list[Any], dict[Any, str], str]] = [
    ("degradation.sigma", GaussianNoise, *POSITIVE, "25"),
    ("degradation.seed", GaussianNoise, *SEED),
    ("degradation.clip", GaussianNoise, [True, False], {1: "true or false"}, "true"),
    ("degradation.peak", ShotNoise, [1e-9, 1e9], {0: "a number in (0, 1e+09]", 2e9: "a number in (0, 1e+09]"}, "25"),
    ("degradation.seed", ShotNoise, *SEED),
    ("degradation.amount", ImpulseNoise, [1e-9, 1], {0: "a number in (0, 1]", 1.01: "a number in (0, 1]"}, "0.1"),
    ("degradation.seed", ImpulseNoise, *SEED),
    ("degradation.strength", SpeckleNoise, *POSITIVE, "0.3"),
    ("degradation.seed", SpeckleNoise, *SEED),
    ("degradation.quality", JpegCompression, [1, 95], {0: WHOLE.format(1), 96: WHOLE.format(1) + ", at most 95"}, "10"),
    (
        *("stopping.rules.holdout.fraction", HeldOut, [1e-9, 0.5]),
        *({0: "a number in (0, 0.5]", 0.51: "a number in (0, 0.5]"}, "0.05"),
    ),
    ("stopping.rules.holdout.seed", HeldOut, *SEED),
    ("stopping.rules.sure.alpha", Sure, [1e-9, 1], {0: "a number in (0, 1]", 1.01: "a number in (0, 1]"}, "0.2"),
    ("stopping.rules.sure.seed", Sure, *SEED),
    ("stopping.rules.wmv.window", WindowedVariance, [2, LARGEST], {1: WHOLE.format(2)}, "100"),
    ("stopping.rules.wmv.max_samples", WindowedVariance, *COUNT, "65536"),
    (
        *("stopping.rules.emv.alpha", MovingVariance, [1e-9, 1 - 1e-9]),
        *({0: "a number in (0, 1)", 1: "a number in (0, 1)"}, "0.1"),
    ),
    ("stopping.agree", detection, [1, 2], {0: WHOLE.format(1), 3: WHOLE.format(1) + ", at most 2"}, "1"),
    ("stopping.min_iterations", detection, [0, LARGEST], {-1: WHOLE.format(0)}, "100"),
    ("stopping.patience", detection, *COUNT, "500"),
    ("stopping.check_every", detection, *COUNT, "25"),
    ("stopping.check_every", PastPeak, *COUNT, "25"),
    ("stopping.drop_db", PastPeak, *POSITIVE, "0.5"),
    ("callbacks.checkpoint.seconds", Checkpoint, *POSITIVE, "60"),
    ("callbacks.checkpoint.iterations", Checkpoint, *COUNT, "500"),
    (GUARD + "max_drop_db", DivergenceGuard, *POSITIVE, "5"),
    (GUARD + "snapshot_every", DivergenceGuard, *COUNT, "25"),
    (GUARD + "max_restores", DivergenceGuard, *COUNT, "5"),
    (GUARD + "check_every", DivergenceGuard, *COUNT, "25"),
    (GUARD + "escalate", DivergenceGuard, [True, False], {0: "true or false"}, "true"),
    ("callbacks.fit_progress.line_every", FitProgress, *POSITIVE, "15"),
    ("callbacks.fit_progress.bar", FitProgress, [True, False], {"no": "true or false"}, "true"),
    ("alpha", OutputEMA, [0, 1 - 1e-9], {-0.1: AVERAGE, 1: AVERAGE}, "0.99"),
    ("callbacks.peak_psnr.eval_every", PeakPSNR, [0, LARGEST], {-1: WHOLE.format(0)}, "100"),
    ("callbacks.pictures.every", Pictures, [0, LARGEST], {-1: WHOLE.format(0)}, "250"),
    ("iterations", fit, [1, 10**7], {0: WHOLE.format(1), 10**7 + 1: f"{WHOLE.format(1)}, at most 10000000"}, "2000"),
    ("seed", fit, [0, 2**32 - 1], {-1: WHOLE.format(0), 2**32: f"{WHOLE.format(0)}, at most {2**32 - 1}"}, "0"),
    ("select", fit, ["averaged", "one_pass"], {"averagd": "one of averaged, one_pass"}, "averaged"),
    ("sigma", partial(Problem, picture()), [0, 255], {-1: "a number of at least 0"}, "25"),
]


@pytest.mark.parametrize(("key", "make", "taken", "refused", "example"), RANGES, ids=[row[0] for row in RANGES])
def test_a_setting_has_its_range(
    key: str, make: Callable[..., Any], taken: list[Any], refused: dict[Any, str], example: str
) -> None:
    name = key.rsplit(".", 1)[-1]
    for value in taken:
        made = make(**{name: value})
        assert getattr(made, name, value) == value
    for value, expected in refused.items():
        with pytest.raises(UserError) as told:
            make(**{name: value})
        assert str(told.value) == f"{key}={value}: expected {expected}; try {key}={example}"


def built() -> list[tuple[str, dict[str, Any]]]:
    """What the configuration says, at any depth, of each class of this package that need not be told anything."""
    found: list[tuple[str, dict[str, Any]]] = []

    def look(node: Any) -> None:
        if isinstance(node, dict):
            target = str(node.get("_target_"))
            if target.startswith("dip_lightning.") and target != "dip_lightning.precision.Precision":
                asked = inspect.signature(find_target(target)).parameters.values()
                if all(one.default is not one.empty or one.kind is one.VAR_KEYWORD for one in asked):
                    found.append((target, node))
            for value in node.values():
                look(value)

    for file in sorted(config_folder().rglob("*.yaml")):
        look(yaml.safe_load(file.read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize(("target", "node"), built(), ids=lambda value: value if isinstance(value, str) else "")
def test_python_has_the_defaults_of_the_command_line(target: str, node: dict[str, Any]) -> None:
    made = find_target(target)()
    for key, value in node.items():
        kept = getattr(made, key, None)
        if isinstance(kept, (bool, int, float)) and value is not None and "${" not in str(value):
            assert kept == value, key


@pytest.mark.parametrize("value", ["much", torch.nan, True, None, [1]])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(UserError, match=r"^alpha="):
        OutputEMA(value)  # type: ignore[arg-type]
