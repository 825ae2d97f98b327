"""A prior draws its own z, and says which of its tensors are fitted."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dip_lightning import DeepImagePrior, Prior, Problem, UserError
from dip_lightning.callbacks import DivergenceGuard
from dip_lightning.models import Network, UNet
from dip_lightning.priors import Perturbed
from dip_lightning.system.randomness import derived_seed
from tests.small import SIDE, fit, network, picture


def grid(shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Coordinates, (1, 2, H, W)."""
    _, height, width = shape
    rows, columns = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"))[None]


def test_the_input_is_drawn_as_told() -> None:
    points = nn.Sequential(nn.Conv2d(2, 16, 1), nn.Tanh(), nn.Conv2d(16, 3, 1), nn.Sigmoid())
    fitted = fit(Problem(picture()), Prior(points, draw=grid, policy=Perturbed(0), input_channels=2))
    assert torch.equal(fitted.prior.z, grid((2, SIDE, SIDE), torch.Generator()))
    assert fitted.curves.block()["loss"][-1] < fitted.curves.block()["loss"][0]


def test_a_draw_is_asked_for_the_network_s_shape_with_a_generator_of_the_seed() -> None:
    asked: list[tuple[tuple[int, int, int], int]] = []

    def draw(shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        asked.append((shape, generator.initial_seed()))
        return torch.zeros(1, *shape)

    DeepImagePrior(Prior(network(), draw=draw, input_channels=4), Problem(picture(height=8)), seed=7)
    DeepImagePrior(Prior(UNet(channels=4, levels=1, input_channels=5), draw=draw), Problem(picture()), seed=8)
    assert asked == [((4, 8, SIDE), derived_seed(7, "z")), ((5, SIDE, SIDE), derived_seed(8, "z"))]


@pytest.mark.parametrize("callbacks", [(), (DivergenceGuard(snapshot_every=1),)])
def test_frozen_tensors_do_not_move_and_the_others_do(callbacks: tuple[DivergenceGuard, ...]) -> None:
    prior = Prior(network(), input_channels=4, fitted=lambda name: name.startswith("2."))
    before = {name: tensor.clone() for name, tensor in prior.network.state_dict().items()}
    fitted = fit(Problem(picture()), prior, callbacks)
    for name, tensor in fitted.prior.network.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith("0."), name
    z = fitted.prior.z
    assert not z.requires_grad
    fit(Problem(picture()), prior)
    assert torch.equal(prior.z, z)


def test_the_input_can_be_fitted_too() -> None:
    prior = Prior(network(), input_channels=4, fitted=lambda name: name == "z")
    before = {name: tensor.clone() for name, tensor in prior.network.state_dict().items()}
    drawn = DeepImagePrior(prior, Problem(picture())).prior.z.detach().clone()
    fitted = fit(Problem(picture()), prior, [DivergenceGuard(snapshot_every=2)])
    assert not torch.equal(fitted.prior.z, drawn)
    assert all(torch.equal(tensor, before[name]) for name, tensor in prior.network.state_dict().items())
    assert torch.isfinite(fitted.evaluate()).all()


def test_by_default_the_network_is_fitted_and_z_is_not() -> None:
    prior = DeepImagePrior(Prior(network(), input_channels=4), Problem(picture())).prior
    assert len(prior.fitted_parameters()) == 4
    assert "z" in dict(prior.named_buffers())


def test_there_is_something_to_fit() -> None:
    with pytest.raises(UserError, match="nothing that is fitted"):
        DeepImagePrior(Prior(network(), input_channels=4, fitted=lambda name: False), Problem(picture()))


class Halving(Network):
    """A network of one's own whose z is half as large as its image."""

    input_channels, multiple = 4, 2

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def input_shape(self, height: int, width: int) -> tuple[int, int, int]:
        return 4, -(-height // 2), -(-width // 2)

    def forward(self, z: Tensor) -> Tensor:
        return nn.functional.interpolate(self.inner(z), scale_factor=2)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (15, 17), (9, 16)])
def test_what_a_network_gives_beyond_the_image_is_cut_off(height: int, width: int) -> None:
    fitted = fit(Problem(picture(3, height, width)), Prior(Halving()))
    assert fitted.prior.z.shape == (1, 4, -(-height // 2), -(-width // 2))
    assert fitted.iterate.one_pass.shape == (1, 3, height, width)
    assert torch.equal(fitted.evaluate(), whole_of(fitted)[..., :height, :width])


def whole_of(fitted: DeepImagePrior) -> Tensor:
    with torch.no_grad():
        return fitted.prior.network(fitted.prior.z)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (nn.Sequential(nn.Conv2d(4, 3, 3)), "gives 14x14 pixels.*at least 16x16"),
        (network(channels=1), "gives 1 channel"),
        (network(channels=4), "gives 4 channels"),
    ],
)
def test_a_network_that_does_not_give_the_image_is_told_in_one_line(wrong: nn.Module, told: str) -> None:
    with pytest.raises(UserError, match=told):
        fit(Problem(picture()), Prior(wrong, input_channels=4))


def too_small(shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    return torch.zeros(shape)


@pytest.mark.parametrize("draw", [too_small, lambda shape, generator: "noise"])
def test_a_draw_of_something_else_is_told_in_one_line(draw: Callable[..., Tensor]) -> None:
    with pytest.raises(UserError, match=r"\(1, C_z, H_z, W_z\)"):
        DeepImagePrior(Prior(network(), draw=draw, input_channels=4), Problem(picture()))
