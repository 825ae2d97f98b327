import pytest
import torch

from dip_lightning.errors import UserError
from dip_lightning.models import UNet
from dip_lightning.module import DeepImagePrior
from dip_lightning.priors import Perturbed, Prior, UniformInput
from dip_lightning.problems import Problem

OBSERVATION = torch.rand((1, 3, 32, 40), generator=torch.Generator().manual_seed(0))


def make(std: float = 1 / 30, scale: float = 0.1, clean: torch.Tensor | None = None, **options: int) -> DeepImagePrior:
    torch.manual_seed(0)
    network = UNet(channels=4, levels=2, input_channels=4)
    prior = Prior(network, draw=UniformInput(scale), policy=Perturbed(std))
    return DeepImagePrior(prior, Problem(OBSERVATION, clean), **options)  # type: ignore[arg-type]


def test_z_is_uniform_fixed_and_decided_by_the_seed_alone() -> None:
    z = make(seed=3).prior.z
    assert z.shape == (1, 4, 32, 40)
    assert z.min() >= 0
    assert 0.099 < z.max() < 0.1
    torch.rand(100)  # the global generator does not matter
    assert torch.equal(make(seed=3).prior.z, z)
    assert not torch.equal(make(seed=4).prior.z, z)


def test_the_input_is_perturbed_afresh_and_z_is_not() -> None:
    prior = make().prior
    z = prior.z.clone()
    one, other = (prior.policy(prior.z, iteration, None) for iteration in range(2))
    assert not torch.equal(one, other)
    assert torch.equal(prior.z, z)
    # 5120 samples: the standard error of the deviation is 1 %.
    assert float((one - z).std()) == pytest.approx(1 / 30, rel=0.05)


def test_without_perturbation_the_input_is_z() -> None:
    prior = make(std=0).prior
    assert prior.policy(prior.z, 0, None) is prior.z


def test_images_move_with_the_module_and_stay_out_of_its_checkpoint() -> None:
    module = make(clean=OBSERVATION.clone()).double()
    assert module.problem.observation.dtype == module.prior.z.dtype == torch.float64
    assert module.problem.clean is not None
    assert module.problem.clean.dtype == torch.float64
    assert "prior.z" in module.state_dict()
    assert not any(key.startswith("problem.") for key in module.state_dict())


@pytest.mark.parametrize("options", [{"iterations": 0}, {"std": -1}, {"scale": 0}, {"select": "both"}])
def test_a_value_without_sense_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(UserError, match={"std": "input_noise_std", "scale": "input_scale"}.get(*options, *options)):
        make(**options)
