"""The data terms: what each is least at, and what it is the likelihood of."""

import numpy as np
import pytest
import torch

from dip_lightning.problems.data_terms import DATA_TERMS, huber, l1, mse, poisson

Y = torch.tensor([0.0, 0.2, 0.5, 1.0])


@pytest.mark.parametrize("name", DATA_TERMS)
def test_a_data_term_is_least_where_prediction_and_observation_agree(name: str) -> None:
    data_term = DATA_TERMS[name]
    observation = torch.tensor([0.2, 0.5, 1.0]).expand(81, 3)
    candidates = torch.linspace(0.02, 1, 81)[:, None].expand(81, 3)
    values = data_term(candidates, observation)
    assert values.shape == candidates.shape
    best = candidates[values.argmin(dim=0), 0]
    assert torch.allclose(best, observation[0], atol=0.013)
    assert torch.allclose(data_term(observation, observation), torch.zeros(81, 3), atol=1e-6)


def test_what_the_mean_of_a_data_term_is_minimised_by() -> None:
    # One black sample among nine of 0.5: the squared error takes the mean, the absolute error the median.
    observation = torch.tensor([0.0, *[0.5] * 9])
    levels = torch.linspace(0.01, 1, 100)[:, None]

    def minimiser(name: str) -> float:
        return float(levels[DATA_TERMS[name](levels.expand(100, 10), observation.expand(100, 10)).mean(dim=1).argmin()])

    assert minimiser("mse") == pytest.approx(0.45, abs=0.01)
    assert minimiser("l1") == pytest.approx(0.5, abs=0.01)
    assert minimiser("poisson") == pytest.approx(0.45, abs=0.01)  # the mean of counts, too
    assert 0.45 < minimiser("huber") < 0.5


def poisson_at(prediction: list[float], observation: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Poisson's values, and their gradients by the prediction."""
    p = torch.tensor(prediction, dtype=torch.float64, requires_grad=True)
    values = poisson(p, torch.full_like(p, observation))
    return values.detach(), torch.autograd.grad(values.sum(), p)[0]


def test_poisson_weighs_dark_samples_more() -> None:
    error = torch.tensor(0.05)
    assert poisson(Y[1] + error, Y[1]) > poisson(Y[3] + error, Y[3])


def test_poisson_is_half_the_deviance_from_a_thousandth_on() -> None:
    observation = torch.tensor([0.002, 0.1, 0.5])
    for level in (0.001, 0.002, 0.005, 0.009, 0.3):
        prediction = torch.full((3,), level, dtype=torch.float64, requires_grad=True)
        value = poisson(prediction, observation.double())
        expected = prediction - observation + observation * (observation.double() / prediction).log()
        assert torch.allclose(value, expected)
        (gradient,) = torch.autograd.grad(value.sum(), prediction)
        assert torch.allclose(gradient, 1 - observation.double() / level)


def test_a_dark_prediction_is_drawn_towards_a_brighter_observation() -> None:
    # d/dp (p - y log p) = 1 - y/p, and below 0.001 that of the tangent, 1 - y/0.001.
    _, gradients = poisson_at([0.0005, 1e-9, -0.3, 0.002], 0.5)
    assert gradients.tolist() == pytest.approx([1 - 500, 1 - 500, -1 - 500, 1 - 250])
    _, (inside, outside) = poisson_at([0.0005, -0.0005], 0.0)
    assert (float(inside), float(outside)) == (1, -1)  # of a black sample, black is best


def test_poisson_goes_on_along_the_tangent() -> None:
    at, below, far = poisson_at([1e-3, 1e-3 - 1e-9, 5e-4], 0.5)[0].tolist()
    assert below - at == pytest.approx(499e-9, rel=1e-3)
    assert far - at == pytest.approx(499 * 5e-4)
    assert at == pytest.approx(1e-3 - 0.5 + 0.5 * np.log(0.5 / 1e-3))


@pytest.mark.parametrize("y", [0.0, 0.0005, 0.001, 0.3, 1.0])
def test_poisson_is_convex_and_bounded_from_below(y: float) -> None:
    grid = np.concatenate((np.linspace(-1, 0, 50), np.linspace(0, 0.003, 301)[1:], np.linspace(0.003, 1, 50)[1:]))
    values, gradients = poisson_at(grid.tolist(), y)
    assert torch.isfinite(values).all()
    assert (gradients.diff() >= -1e-9).all()
    assert values[0] > values[50] > values.min() - 1e-9  # it rises below 0
    assert grid[values.argmin()] == pytest.approx(y if y >= 1e-3 else 0, abs=0.011)  # the step of the grid is 0.02


def test_a_count_below_zero_is_none() -> None:
    # Noise that was not clipped; its logarithm is no number.
    assert torch.equal(poisson(Y, torch.full_like(Y, -0.1)), poisson(Y, torch.zeros_like(Y)))


def test_huber_is_half_the_squared_error_where_it_is_small_and_linear_where_it_is_large() -> None:
    near, far = Y + 0.05, Y + 0.4
    assert torch.allclose(huber(near, Y), mse(near, Y) / 2)
    assert torch.allclose(huber(far + 0.1, Y) - huber(far, Y), 0.1 * (l1(far + 0.1, Y) - l1(far, Y)))
