"""The experiments with the settings of Deep Image Prior's other applications: their networks, to the parameter."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dip_lightning.config.compose import compose_config
from dip_lightning.errors import UserError
from dip_lightning.fitting.build import build_fit
from dip_lightning.fitting.own import Own
from dip_lightning.precision import Precision
from dip_lightning.priors import MeshGrid

# Counted from the notebooks' settings: parameters of the network, and most iterations.
SETTINGS = {
    "kate": (3_002_627, 6001),
    "library": (2_996_467, 3001),
    "vase": (2_157_955, 5001),
    "missing50": (2_217_573, 11000),
    "missing98": (1_027_379, 1000),
    "snail": (572_827, 2400),
    "sr4": (2_217_831, 2000),
    "sr8": (2_217_831, 4000),
    "flash": (2_184_307, 601),
}
MASKED = ("kate", "library", "vase", "missing50", "missing98")


@pytest.mark.parametrize("name", SETTINGS)
def test_the_network_and_the_iterations_are_those_of_the_notebook(name: str, tmp_path: Path) -> None:
    parameters, iterations = SETTINGS[name]
    rng = np.random.default_rng(0)
    shape = (128, 128) if name == "missing50" else (128, 128, 3)
    Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(tmp_path / "picture.png")
    Image.fromarray(((rng.random((128, 128)) > 0.3) * 255).astype(np.uint8)).save(tmp_path / "mask.png")
    settings = [f"experiment=ulyanov_{name}", "trainer=cpu", f"image.path={tmp_path / 'picture.png'}"]
    settings += [f"problem.mask={tmp_path / 'mask.png'}"] if name in MASKED else []
    settings += [f"problem.flash={tmp_path / 'picture.png'}"] if name == "flash" else []
    fit = build_fit(compose_config(settings), None, Precision.named("fp32"), {}, own=Own())
    assert sum(one.numel() for one in fit.module.prior.network.parameters()) == parameters
    assert fit.data.iterations == iterations
    assert fit.module.select == "one_pass"
    scale = {"sr4": 4, "sr8": 8}.get(name, 1)
    assert fit.module.problem.shape[1:] == (128 * scale, 128 * scale)
    if name == "vase":
        assert torch.equal(fit.module.prior.z[0, 0, 5], torch.linspace(0, 1, 128))


def test_a_flash_that_does_not_suit_is_refused(tmp_path: Path) -> None:
    for name, side in (("dark", 64), ("large", 80)):
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(tmp_path / f"{name}.png")

    def refused(*settings: str) -> str:
        cfg = compose_config(["problem=flash", "trainer=cpu", f"image.path={tmp_path / 'dark.png'}", *settings])
        with pytest.raises(UserError) as error:
            build_fit(cfg, None, Precision.named("fp32"), {}, own=Own())
        return str(error.value)

    assert "problem=flash without problem.flash" in refused()
    assert "of 80x80 pixels: expected 64x64" in refused(f"problem.flash={tmp_path / 'large.png'}")
    assert "try input=perturbed" in refused(f"problem.flash={tmp_path / 'dark.png'}", "input=estimate")
    assert "z=meshgrid with problem.flash" in refused(f"problem.flash={tmp_path / 'dark.png'}", "z=meshgrid")


def test_a_meshgrid_has_columns_and_rows() -> None:
    z = MeshGrid()((2, 3, 5), torch.Generator())
    assert z.shape == (1, 2, 3, 5)
    assert z[0, 0, 1].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert z[0, 1, :, 2].tolist() == [0, 0.5, 1]
    with pytest.raises(UserError, match="z=meshgrid of 32 channels"):
        MeshGrid()((32, 3, 5), torch.Generator())
