"""The variances: against their definitions, over long fits, and with outputs that are no numbers."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from dip_lightning.errors import UserError
from dip_lightning.stopping import MovingVariance, StoppingRule, WindowedVariance
from tests.stopping.fake import FakeFit


def naive(outputs: np.ndarray) -> float:
    """The definition in float64: the mean squared distance of the outputs from their mean."""
    double = outputs.astype(np.float64)
    return float(np.square(double - double.mean(axis=0)).mean())


def test_the_windowed_variance_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    outputs = rng.random((40, 1, 3, 8, 8)).astype(np.float32)
    rule, fit = WindowedVariance(window=7), FakeFit(outputs[0])
    fit.prepare(rule)
    for i, output in enumerate(outputs):
        value = fit.judge(rule, output)
        if i < 6:
            assert value is None
        else:
            assert float(value) == pytest.approx(naive(outputs[i - 6 : i + 1]), rel=1e-5)


@pytest.mark.slow
def test_the_windowed_variance_stays_sound_over_a_hundred_thousand_float32_iterations() -> None:
    # Bright, slowly drifting outputs that hardly vary: where running sums cancel worst.
    rng = np.random.default_rng(1)
    window, samples, total = 100, 192, 100_000
    rule, fit = WindowedVariance(window=window), FakeFit(np.zeros((1, 3, 8, 8), np.float32))
    fit.prepare(rule)
    kept: list[np.ndarray] = []
    worst = 0.0
    base = rng.random(samples)
    for i in range(total):
        drift = 0.2 * np.sin(i / 9000 + base)
        output = (0.7 + drift + rng.normal(0, 2e-3, samples)).astype(np.float32)
        kept = [*kept[-(window - 1) :], output]
        value = rule.update(torch.from_numpy(output))
        if i >= window and (i % 997 == 0 or i == total - 1):
            worst = max(worst, abs(float(value) / naive(np.stack(kept)) - 1))
    assert worst < 2e-3


def values_of(rule: StoppingRule, outputs: np.ndarray, diverged: np.ndarray) -> np.ndarray:
    """What a rule says of each output; NaN for nothing."""
    fit = FakeFit(outputs[-1])
    fit.prepare(rule)
    said = [fit.judge(rule, output, bool(flag)) for output, flag in zip(outputs, diverged, strict=True)]
    return np.array([np.nan if value is None else float(value) for value in said])


@pytest.mark.parametrize("first", [0, 3, 20, 37])
@pytest.mark.parametrize("fault", [np.nan, np.inf, 1e3])
@pytest.mark.parametrize("make", [lambda: WindowedVariance(window=8), lambda: MovingVariance(alpha=0.2)])
def test_outputs_that_are_no_numbers_or_had_diverged_leave_no_trace(
    make: Callable[[], StoppingRule], fault: float, first: int
) -> None:
    rng = np.random.default_rng(2)
    good = rng.random((60, 1, 1, 8, 8)).astype(np.float32)
    bad = np.zeros(60 + 11, bool)
    bad[first : first + 11] = True
    outputs = np.full((len(bad), *good.shape[1:]), fault, np.float32)
    outputs[~bad] = good
    # What is no number needs nobody to say that it is none.
    told = bad if np.isfinite(fault) else np.zeros_like(bad)
    values, expected = values_of(make(), outputs, told), values_of(make(), good, np.zeros(60, bool))
    assert np.isnan(values[bad]).all()
    np.testing.assert_allclose(values[~bad], expected, rtol=1e-5)


def test_the_windowed_variance_looks_at_no_more_samples_than_told() -> None:
    rng = np.random.default_rng(3)
    outputs = rng.random((300, 1, 3, 32, 32)).astype(np.float32)
    few, every, fit = WindowedVariance(50, max_samples=512), WindowedVariance(50), FakeFit(outputs[0])
    for rule in (few, every):
        fit.prepare(rule)
    for output in outputs:
        fit.step(output)
        one, other = (rule.statistic(fit.iterate, fit.iterate.one_pass) for rule in (few, every))
    assert few._outputs.shape == (50, 512)
    assert float(one) == pytest.approx(float(other), rel=0.02)
    assert float(one) != float(other)


def test_the_samples_that_are_looked_at_lie_all_over_the_picture() -> None:
    rng = np.random.default_rng(3)
    few, every = WindowedVariance(20, max_samples=512), WindowedVariance(20)
    fit = FakeFit(np.zeros((1, 3, 32, 32)))
    for rule in (few, every):
        fit.prepare(rule)
    for _ in range(30):
        output = np.zeros((1, 3, 32, 32))
        output[..., 16:, :] = rng.random((16, 32))  # nothing moves in the upper half
        fit.step(output)
        one, other = (rule.statistic(fit.iterate, fit.iterate.one_pass) for rule in (few, every))
    assert float(one) == pytest.approx(float(other), rel=0.1)


def test_the_moving_variance_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(4)
    outputs = rng.random((30, 1, 3, 8, 8))
    rule, fit = MovingVariance(alpha=0.2), FakeFit(outputs[0].astype(np.float32))
    fit.prepare(rule)
    mean, variance = outputs[0].copy(), 0.0
    for i, output in enumerate(outputs):
        delta = output - mean
        mean += 0.2 * delta
        variance = 0.8 * (variance + 0.2 * np.square(delta).mean())
        value = fit.judge(rule, output.astype(np.float32))
        assert (value is None) == (i < 5)
        if value is not None:
            assert float(value) == pytest.approx(variance, rel=1e-4)


@pytest.mark.parametrize("wrong", [{"window": 1}, {"window": 2.5}, {"max_samples": 0}])
def test_a_window_without_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        WindowedVariance(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("alpha", [0, 1, -0.1, "x"])
def test_a_weight_without_sense_is_refused(alpha: float) -> None:
    with pytest.raises(UserError, match="alpha"):
        MovingVariance(alpha)
