"""The data terms: what each is least at, and what it is the likelihood of."""

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


def test_poisson_is_finite_at_black_and_weighs_dark_samples_more() -> None:
    assert torch.isfinite(poisson(torch.zeros(4), Y)).all()
    assert torch.isfinite(poisson(torch.full((4,), -0.3), Y)).all()  # a network without a sigmoid
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


def test_huber_is_half_the_squared_error_where_it_is_small_and_linear_where_it_is_large() -> None:
    near, far = Y + 0.05, Y + 0.4
    assert torch.allclose(huber(near, Y), mse(near, Y) / 2)
    assert torch.allclose(huber(far + 0.1, Y) - huber(far, Y), 0.1 * (l1(far + 0.1, Y) - l1(far, Y)))
