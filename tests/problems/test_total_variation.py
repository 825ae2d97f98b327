"""Total variation: against its definition, with gradients everywhere, and in a fit."""

import numpy as np
import pytest
import torch

from dip_lightning import Problem, UserError
from dip_lightning.problems import TotalVariation
from tests.small import fit, picture


def definition(image: torch.Tensor, kind: str) -> float:
    """The mean change from a pixel to the next, sample by sample in float64."""
    x = image[0].double().numpy()
    total = 0.0
    for channel in x:
        down, right = np.diff(channel, axis=0), np.diff(channel, axis=1)
        if kind == "anisotropic":
            total += np.abs(down).sum() + np.abs(right).sum()
        else:
            total += np.hypot(down[:, :-1], right[:-1]).sum()
    return total / x.size


@pytest.mark.parametrize("kind", ["anisotropic", "isotropic"])
def test_both_kinds_are_what_their_definitions_say(kind: str) -> None:
    image = picture(3, 9, 12)
    term = TotalVariation(0.3, kind)(image)
    assert term.shape == ()
    assert float(term) == pytest.approx(0.3 * definition(image, kind), rel=1e-4)


def test_only_the_isotropic_one_measures_an_edge_s_length() -> None:
    # A disc: of its boundary, the anisotropic kind measures the length along rows and columns, 4/π of it.
    side = torch.linspace(-1, 1, 128)
    disc = torch.sigmoid((0.6 - (side[:, None].square() + side.square()).sqrt()) * 60)[None, None]
    ratio = float(TotalVariation(1)(disc) / TotalVariation(1, "isotropic")(disc))
    assert ratio == pytest.approx(4 / np.pi, rel=0.02)


@pytest.mark.parametrize("kind", ["anisotropic", "isotropic"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_on_flat_images(kind: str, dtype: torch.dtype) -> None:
    image = torch.full((1, 3, 8, 8), 0.5, dtype=dtype, requires_grad=True)
    TotalVariation(0.1, kind)(image).backward()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()
    assert float(image.grad.abs().max()) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("wrong", [{"weight": 0}, {"weight": -1}, {"weight": "much"}, {"kind": "round"}])
def test_a_value_without_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match=f"regularizers.tv.{next(iter(wrong))}"):
        TotalVariation(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["anisotropic", "isotropic"])
def test_a_fit_records_the_term_and_heeds_it(kind: str) -> None:
    term = TotalVariation(0.2, kind)
    with_it, without = (
        fit(Problem(picture(), regularizers={"tv": term}), iterations=60),
        fit(Problem(picture()), iterations=60),
    )
    curves = with_it.curves.block()
    assert "regularizer_tv" not in without.curves.block()
    assert curves["regularizer_tv"].shape == curves["loss"].shape
    last = with_it.iterate.one_pass
    assert curves["regularizer_tv"][-1] == pytest.approx(float(term(last)), rel=1e-5)
    data = float((last - picture()).square().mean())
    assert curves["loss"][-1] == pytest.approx(data + float(term(last)), rel=1e-5)
    assert definition(last, kind) < 0.7 * definition(without.iterate.one_pass, kind)


def test_terms_add_up() -> None:
    terms = {"one": lambda x: 0.1 * x.mean(), "two": lambda x: 0.2 * x.square().mean()}
    curves = fit(Problem(picture(), regularizers=terms)).curves.block()
    data = 10 ** (-curves["psnr_observation"] / 10)
    assert np.allclose(curves["loss"], data + curves["regularizer_one"] + curves["regularizer_two"], rtol=1e-5)
