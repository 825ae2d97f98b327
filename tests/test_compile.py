"""A compiled network is the same network, and what cannot be compiled costs one line."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dip_lightning.config import compose_config
from dip_lightning.errors import UserError
from dip_lightning.fit import fit
from dip_lightning.models import UNet
from dip_lightning.module import DeepImagePrior
from tests.conftest import TINY

# Those of torch itself, while it compiles.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SETTINGS = (*TINY, "stopping=none", "model=unet", "model.levels=1", "model.channels=4", "dropout=0")


def test_a_compiled_network_computes_the_same_in_one_graph() -> None:
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    compiled, plain = (fit(compose_config([*SETTINGS, f"compile={mode}"])) for mode in ("default", "none"))
    counters = torch._dynamo.utils.counters
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
    for name in ("loss", "psnr_averaged", "psnr_eval"):
        assert np.allclose(compiled.curves[name], plain.curves[name], rtol=1e-3, equal_nan=True), name
    assert not np.array_equal(compiled.curves["loss"], plain.curves["loss"])  # it was another program


def test_a_checkpoint_does_not_tell_whether_the_network_was_compiled() -> None:
    networks = [UNet(levels=1, channels=4) for _ in range(2)]
    image = torch.rand(1, 3, 8, 8)
    states = [
        DeepImagePrior(network, image, compilation=mode).state_dict().keys()
        for network, mode in zip(networks, ("none", "graphs"), strict=True)
    ]
    assert states[0] == states[1]


def test_what_cannot_be_compiled_costs_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.compiler.reset()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # nothing has been compiled yet
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("no-such-compiler",))
    with pytest.raises(UserError, match=r"could not be compiled .* try compile=none"):
        fit(compose_config([*SETTINGS, "compile=default", "model.channels=5"]))


def test_cuda_graphs_are_refused_on_a_cpu() -> None:
    with pytest.raises(UserError, match=r"compile=graphs on cpu: expected an NVIDIA GPU"):
        fit(compose_config([*SETTINGS, "compile=graphs"]))


def test_it_says_that_the_network_is_compiled(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, mode: function)
    settings = [option for option in SETTINGS if "fit_progress" not in option]
    fit(compose_config([*settings, "compile=default", "iterations=1"]))
    assert "the network is compiled first" in capsys.readouterr().err
