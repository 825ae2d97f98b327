"""Each structural option changes what it says, and nothing else."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dip_lightning.errors import UserError
from dip_lightning.models import ResNet, ResUNet, UNet
from dip_lightning.models.layers import ACTIVATIONS

HOURGLASSES = [UNet, ResUNet]
ALL = [UNet, ResNet, ResUNet]


def make(network: type[nn.Module], **options: Any) -> nn.Module:
    """A small network; the same seed, so that equal structure means equal weights."""
    torch.manual_seed(0)
    small: dict[str, Any] = {"channels": 6, "input_channels": 4, "dropout": 0.0}
    small |= {"num_blocks": 3} if network is ResNet else {"levels": 2}
    return network(**(small | options))


def shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


def layers(network: nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kind)]


def z(height: int = 32, width: int = 32, channels: int = 4) -> Tensor:
    return torch.rand((1, channels, height, width), generator=torch.Generator().manual_seed(1))


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("network", ALL)
def test_dropout_stands_between_blocks_and_leaves_the_weights_alone(network: type[nn.Module]) -> None:
    without, with_dropout = make(network), make(network, dropout=0.25)
    dropouts = layers(with_dropout, nn.Dropout)
    # Between the two encoder and two decoder blocks of an hourglass, and between three residual blocks.
    assert [layer.p for layer in dropouts] == [0.25] * (2 if network is ResNet else 3)
    assert layers(without, (nn.Dropout, nn.Dropout2d)) == []
    # Equal but for the names of the layers behind a dropout.
    assert all(
        torch.equal(a, b)
        for a, b in zip(without.state_dict().values(), with_dropout.state_dict().values(), strict=True)
    )
    assert torch.equal(without.eval()(z()), with_dropout.eval()(z()))
    assert not torch.equal(with_dropout.train()(z()), with_dropout(z()))


@pytest.mark.parametrize(("network", "count"), [(UNet, 3 + 2 * 2), (ResUNet, 3 + 2 * 3), (ResNet, 2 + 3)])
def test_dropout_place_layer_adds_dropout_inside_the_blocks(network: type[nn.Module], count: int) -> None:
    """A level has one activation inside its decoder, and inside its encoder one (U-net) or two (residual U-net)."""
    inside = make(network, dropout=0.25, dropout_place="layer")
    assert [layer.p for layer in layers(inside, nn.Dropout)] == [0.25] * count
    between = make(network, dropout=0.25)
    assert sum(p.numel() for p in inside.parameters()) == sum(p.numel() for p in between.parameters())
    assert not layers(make(network, dropout=0.0, dropout_place="layer"), nn.Dropout)


@pytest.mark.parametrize("network", ALL)
def test_dropout_kind_drops_whole_channels(network: type[nn.Module]) -> None:
    by_channel = make(network, dropout=0.5, dropout_kind="channel")
    assert layers(by_channel, nn.Dropout) == []
    assert same_weights(by_channel, make(network, dropout=0.5, dropout_kind="element"))
    layer = layers(by_channel, nn.Dropout2d)[0]
    dropped = layer(torch.ones(1, 64, 8, 8))
    per_channel = dropped.flatten(2).std(dim=2)
    assert per_channel.max() == 0
    assert 0 < (dropped == 0).float().mean() < 1


@pytest.mark.parametrize("network", [ResNet, ResUNet])
def test_residual_false_removes_every_shortcut_and_nothing_else(network: type[nn.Module]) -> None:
    with_shortcuts, without = make(network), make(network, residual=False)
    kept = {name: shape for name, shape in shapes(with_shortcuts).items() if ".shortcut." not in name}
    assert shapes(without) == kept
    without.load_state_dict({name: with_shortcuts.state_dict()[name] for name in kept})
    assert not torch.allclose(with_shortcuts(z()), without(z()))


def test_a_residual_block_adds_its_input() -> None:
    network = make(ResNet)
    block = network.blocks[0]
    for parameter in block.body.parameters():
        nn.init.zeros_(parameter)
    features = torch.rand(1, 6, 8, 8)
    assert torch.equal(block(features), features)


@pytest.mark.parametrize("network", HOURGLASSES)
def test_skip_channels_zero_removes_the_skips(network: type[nn.Module]) -> None:
    with_skips, without = make(network), make(network, skip_channels=0)
    assert not list(without.skips.parameters())
    assert len(with_skips.skips) == 2
    assert shapes(without).keys() <= shapes(with_skips).keys()
    wide = make(network, skip_channels=5)
    assert all(skip[0].out_channels == 5 for skip in wide.skips)


@pytest.mark.parametrize("network", HOURGLASSES)
def test_hourglass_false_keeps_every_feature_map_at_full_size(network: type[nn.Module]) -> None:
    flat = make(network, hourglass=False)
    assert same_weights(flat, make(network))
    sizes: list[torch.Size] = []
    for encoder in flat.encoders:
        encoder.register_forward_hook(lambda module, inputs, output: sizes.append(output.shape[-2:]))
    flat(z(32, 40))
    assert sizes == [(32, 40), (32, 40)]


@pytest.mark.parametrize("network", HOURGLASSES)
def test_levels_sets_how_often_the_image_is_halved(network: type[nn.Module]) -> None:
    deep = make(network, levels=3)
    sizes: list[torch.Size] = []
    for encoder in deep.encoders:
        encoder.register_forward_hook(lambda module, inputs, output: sizes.append(output.shape[-2:]))
    deep(z(32, 40))
    assert sizes == [(16, 20), (8, 10), (4, 5)]
    assert len(deep.decoders) == 3


def test_num_blocks_sets_the_number_of_residual_blocks() -> None:
    assert len(make(ResNet, num_blocks=4).blocks) == 4


@pytest.mark.parametrize("network", ALL)
def test_channels_and_input_channels_set_the_widths(network: type[nn.Module]) -> None:
    wide = make(network, channels=10, input_channels=7)
    assert wide(z(channels=7)).shape == (1, 3, 32, 32)
    assert wide.head.in_channels == 10


@pytest.mark.parametrize("network", HOURGLASSES)
def test_upsample_changes_only_the_interpolation(network: type[nn.Module]) -> None:
    bilinear, nearest = make(network), make(network, upsample="nearest")
    assert same_weights(bilinear, nearest)
    for one in (bilinear, nearest):
        one.eval()
    # A constant is interpolated alike: the two agree where there is nothing to interpolate.
    flat = torch.full((1, 4, 32, 32), 0.05)
    assert torch.allclose(bilinear(flat), nearest(flat), atol=1e-6)
    assert not torch.allclose(bilinear(z()), nearest(z()))


@pytest.mark.parametrize("network", ALL)
def test_padding_changes_only_what_lies_near_the_border(network: type[nn.Module]) -> None:
    shallow = {} if network is ResNet else {"levels": 1}
    reflect, zeros = make(network, **shallow).eval(), make(network, padding="zeros", **shallow).eval()
    assert same_weights(reflect, zeros)
    one, other = reflect(z(48, 48)), zeros(z(48, 48))
    assert torch.allclose(one[..., 20:28, 20:28], other[..., 20:28, 20:28], atol=1e-6)
    assert not torch.allclose(one[..., 0, :], other[..., 0, :], atol=1e-6)


@pytest.mark.parametrize("network", ALL)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_replaces_every_activation(network: type[nn.Module], name: str) -> None:
    changed = make(network, activation=name)
    kinds = {type(factory()) for factory in ACTIVATIONS.values()}
    assert {type(layer) for layer in layers(changed, tuple(kinds))} == {type(ACTIVATIONS[name]())}
    assert same_weights(changed, make(network))


@pytest.mark.parametrize("network", ALL)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(32, 32), (33, 32), (32, 61), (47, 101), (64, 96)])
def test_the_output_has_the_size_of_the_input(network: type[nn.Module], channels: int, size: tuple[int, int]) -> None:
    options = {} if network is ResNet else {"levels": 5}
    output = make(network, output_channels=channels, **options)(z(*size))
    assert output.shape == (1, channels, *size)
    assert torch.isfinite(output).all()
    assert 0 <= output.min() <= output.max() <= 1


@pytest.mark.parametrize("network", ALL)
def test_float64_and_channels_last_compute_the_same(network: type[nn.Module]) -> None:
    reference = make(network)(z())
    double = make(network).double()(z().double())
    assert double.dtype == torch.float64
    assert torch.allclose(reference.double(), double, atol=1e-5)
    last = make(network).to(memory_format=torch.channels_last)(z().to(memory_format=torch.channels_last))
    assert torch.allclose(reference, last, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"dropout": -0.1}, "dropout=-0.1"),
        ({"dropout_kind": "pixel"}, "dropout_kind=pixel"),
        ({"dropout_place": "skip"}, "dropout_place=skip"),
        ({"channels": 0}, "channels=0"),
        ({"input_channels": 1.5}, "input_channels=1.5"),
        ({"padding": "mirror"}, "padding=mirror"),
        ({"activation": "rleu"}, "activation=rleu"),
    ],
)
@pytest.mark.parametrize("network", ALL)
def test_a_value_without_sense_is_refused(network: type[nn.Module], options: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        make(network, **options)


def test_an_image_too_small_for_the_levels_is_refused_with_levels_that_fit() -> None:
    with pytest.raises(UserError, match=r"try model.levels=3") as refused:
        make(UNet, levels=6)(z(8, 8))
    assert "8x8" in str(refused.value)
    assert make(UNet, levels=3)(z(8, 8)).shape == (1, 3, 8, 8)


@pytest.mark.parametrize("network", [UNet, ResUNet])
def test_each_level_has_its_own_width(network: type[nn.Module]) -> None:
    tapered = make(network, channels=[4, 8], skip_channels=[3, 0])
    assert tapered(z()).shape == (1, 3, 32, 32)
    firsts = [next(layer for layer in part.modules() if isinstance(layer, nn.Conv2d)) for part in tapered.decoders]
    # Skips of 3 and 0 channels; from within 8, of the next decoder, and of the innermost encoder.
    assert [layer.in_channels for layer in firsts] == [3 + 8, 0 + 8]
    assert [layer.out_channels for layer in firsts] == [4, 8]
    assert shapes(make(network, channels=[8, 8], skip_channels=[5, 5])) == shapes(
        make(network, channels=8, skip_channels=5)
    )


@pytest.mark.parametrize("network", [UNet, ResUNet])
def test_widths_must_be_one_for_each_level(network: type[nn.Module]) -> None:
    with pytest.raises(UserError, match=r"model.channels=\[4,8,8\] with model.levels=2: .*try model.levels=3"):
        make(network, channels=[4, 8, 8])
    with pytest.raises(UserError, match=r"model.skip_channels\[1\]=-1"):
        make(network, skip_channels=[4, -1])


@pytest.mark.parametrize("network", HOURGLASSES)
def test_upsampling_may_differ_from_level_to_level(network: type[nn.Module]) -> None:
    outputs = [
        make(network, upsample=upsample).eval()(z())
        for upsample in ("bilinear", ["bilinear"] * 2, ["bilinear", "nearest"], ["nearest", "bilinear"], "nearest")
    ]
    assert torch.equal(outputs[0], outputs[1])
    for index, one in enumerate(outputs[1:], 1):
        assert not any(torch.equal(one, other) for other in outputs[index + 1 :])


@pytest.mark.parametrize("network", HOURGLASSES)
@pytest.mark.parametrize("kernel_size", [1, 5, [7, 3]])
def test_the_kernels_of_the_encoder_have_the_side_that_is_asked_for(
    network: type[nn.Module], kernel_size: int | list[int]
) -> None:
    wide = make(network, kernel_size=kernel_size)
    sides = kernel_size if isinstance(kernel_size, list) else [kernel_size] * 2
    for encoder, side in zip(wide.encoders, sides, strict=True):  # type: ignore[arg-type]
        assert max(layer.kernel_size[0] for layer in layers(encoder, nn.Conv2d)) == side  # type: ignore[index]
    for decoder in wide.decoders:  # type: ignore[union-attr]
        assert max(layer.kernel_size[0] for layer in layers(decoder, nn.Conv2d)) == 3  # type: ignore[index, arg-type]
    for height, width in ((32, 32), (21, 30), (8, 9)):
        assert wide.eval()(z(height, width)).shape == (1, 3, height, width)


def test_averages_halve_as_strides_do() -> None:
    strided, averaging = make(UNet), make(UNet, downsample="average")
    # Equal but for the names of the layers behind the means.
    states = strided.state_dict().values(), averaging.state_dict().values()
    assert all(torch.equal(one, other) for one, other in zip(*states, strict=True))
    assert len(layers(averaging, nn.AvgPool2d)) == 2
    for side in (32, 27):
        assert averaging.eval()(z(side, side)).shape == strided.eval()(z(side, side)).shape
        assert not torch.equal(averaging(z(side, side)), strided(z(side, side)))
    assert layers(make(UNet, downsample="average", hourglass=False), nn.AvgPool2d) == []


def test_a_decoder_without_its_pointwise_convolution_is_that_convolution_smaller() -> None:
    whole, without = make(UNet), make(UNet, pointwise=False)
    missing = set(shapes(whole)) - set(shapes(without))
    assert missing == {name for name in shapes(whole) if name.startswith("decoders.") and ".0.2." in name}
    assert without.eval()(z()).shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"kernel_size": 4}, "model.kernel_size=4"),
        ({"kernel_size": 17}, "up to 15"),
        ({"kernel_size": [3, 3, 3]}, r"model.kernel_size=\[3,3,3\] with model.levels=2"),
        ({"upsample": ["nearest"]}, r"model.upsample=\[nearest\] with model.levels=2"),
        ({"upsample": ["nearest", "cubic"]}, "model.upsample=cubic"),
        ({"downsample": "max"}, "model.downsample=max"),
        ({"pointwise": 3}, "model.pointwise=3"),
    ],
)
def test_what_a_level_cannot_be_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        make(UNet, **options)
