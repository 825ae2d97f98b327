import pytest
import torch
from torch import Tensor, nn

from dip_lightning.errors import UserError
from dip_lightning.models import UNet
from dip_lightning.module import DeepImagePrior
from dip_lightning.problems.data_terms import mse

OBSERVATION = torch.rand((1, 3, 32, 40), generator=torch.Generator().manual_seed(0))


def make(**options: object) -> DeepImagePrior:
    torch.manual_seed(0)
    network = UNet(channels=4, levels=2, input_channels=4)
    return DeepImagePrior(network, OBSERVATION, input_channels=4, **options)  # type: ignore[arg-type]


def test_z_is_uniform_fixed_and_decided_by_the_seed_alone() -> None:
    module = make(input_scale=0.1, seed=3)
    assert module.z.shape == (1, 4, 32, 40)
    assert module.z.min() >= 0
    assert 0.099 < module.z.max() < 0.1
    torch.rand(100)  # the global generator does not matter
    assert torch.equal(make(seed=3).z, module.z)
    assert not torch.equal(make(seed=4).z, module.z)


def test_the_input_is_perturbed_afresh_and_z_is_not() -> None:
    module = make(input_noise_std=1 / 30)
    z = module.z.clone()
    one, other = module.perturbed_input(), module.perturbed_input()
    assert not torch.equal(one, other)
    assert torch.equal(module.z, z)
    # 5120 samples: the standard error of the deviation is 1 %.
    assert float((one - z).std()) == pytest.approx(1 / 30, rel=0.05)


def test_without_perturbation_the_input_is_z() -> None:
    module = make(input_noise_std=0)
    assert module.perturbed_input() is module.z


def test_images_move_with_the_module_and_stay_out_of_its_checkpoint() -> None:
    module = make(clean=OBSERVATION.clone()).double()
    assert module.observation.dtype == module.z.dtype == torch.float64
    assert module.clean is not None
    assert module.clean.dtype == torch.float64
    assert "z" in module.state_dict()
    assert not {"observation", "clean"} & module.state_dict().keys()


class Halves(nn.Module):
    """A forward operator that sees every second pixel."""

    def forward(self, image: Tensor) -> Tensor:
        return image[..., ::2, ::2]


def test_the_objective_compares_what_the_operator_sees() -> None:
    module = make(operator=Halves(), input_noise_std=0)
    module.observation = OBSERVATION[..., ::2, ::2]
    out = module(module.z)
    assert out.shape == (1, 3, 32, 40)
    losses = mse(module.operator(out), module.observation)
    assert torch.allclose(losses, (out[..., ::2, ::2] - OBSERVATION[..., ::2, ::2]) ** 2)


@pytest.mark.parametrize("options", [{"lr": 0}, {"lr": "fast"}, {"input_noise_std": -1}, {"input_scale": 0}])
def test_a_value_without_sense_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        make(**options)
