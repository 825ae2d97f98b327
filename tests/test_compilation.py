"""A compiled network is the same network, and what cannot be compiled costs one line."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from dip_lightning.cli.summary_table import print_summary
from dip_lightning.compilation import Program, choose_compilation
from dip_lightning.config.compose import compose_config
from dip_lightning.errors import UserError
from dip_lightning.models import UNet
from dip_lightning.module import DeepImagePrior
from dip_lightning.priors import Prior
from dip_lightning.problems import Problem
from dip_lightning.workflows.restore import fit
from tests.conftest import TINY

# Those of torch itself, while it compiles.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SETTINGS = (*TINY, "stopping=none", "model=unet", "model.levels=1", "model.channels=4", "dropout=0", "optimizer=adam")


@pytest.mark.slow
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
    network, image = UNet(levels=1, channels=4), torch.rand(1, 3, 8, 8)
    plain = DeepImagePrior(Prior(network), Problem(image))
    compiled = DeepImagePrior(Prior(network), Problem(image), program=Program(network.forward, "graphs"))
    assert plain.state_dict().keys() == compiled.state_dict().keys()


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    torch.compiler.reset()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # nothing has been compiled yet
    with torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("no_compiler")
def test_what_cannot_be_compiled_costs_one_line() -> None:
    with pytest.raises(UserError, match=r"could not be compiled .* try compile=none"):
        fit(compose_config([*SETTINGS, "compile=default", "model.channels=5"]))


@pytest.mark.usefixtures("no_compiler")
def test_what_auto_cannot_compile_is_called_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    function = Program(lambda x: (2 * x).sin(), "default", required=False)
    x = torch.rand(3)
    for _ in range(2):
        assert torch.equal(function(x), (2 * x).sin())
    told = [record.message for record in caplog.records if "the fit goes on without" in record.message]
    assert len(told) == 1
    assert "could not be compiled" in told[0]


@pytest.mark.parametrize(
    ("device", "pixels", "iterations", "chosen"),
    [
        ("cpu", 4096**2, 10**6, "none"),  # measured: nothing is gained there
        ("cuda", 512**2, 5000, "none"),  # half a minute, less than compiling takes
        ("cuda", 2048**2, 5000, "none"),  # ours may be as fast as 10 ns a pixel: three minutes
        ("cuda", 2048**2, 20000, "default"),
        ("cuda", 512**2, 10**6, "default"),
    ],
)
def test_auto_decides_by_device_size_and_iterations(device: str, pixels: int, iterations: int, chosen: str) -> None:
    assert choose_compilation("auto", torch.device(device), pixels, iterations) == chosen
    assert choose_compilation("default", torch.device(device), pixels, iterations) == "default"
    assert choose_compilation("none", torch.device(device), pixels, iterations) == "none"


def test_a_compiled_fit_tells_how_long_apart_from_its_iterations(
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.compiler.reset()
    summary = fit(compose_config([*SETTINGS, "compile=default"])).summary
    print_summary(summary, Path("run"))
    assert f"s each after {summary['seconds_compiling']:.1f} s of compiling)" in capsys.readouterr().out
    assert summary["seconds_compiling"] > 0.5
    iterating = summary["seconds_per_iteration"] * summary["iterations"]
    assert iterating == pytest.approx(summary["seconds"] - summary["seconds_compiling"], abs=0.01)
    plain = fit(compose_config([*SETTINGS, "compile=auto"])).summary
    assert plain["seconds_compiling"] == 0
    print_summary(plain, Path("run"))
    assert "compiling" not in capsys.readouterr().out


@pytest.mark.parametrize("compilation", ["graphs", "capture"])
def test_cuda_graphs_are_refused_on_a_cpu(compilation: str) -> None:
    with pytest.raises(UserError, match=rf"compile={compilation} on cpu: expected an NVIDIA GPU"):
        fit(compose_config([*SETTINGS, f"compile={compilation}"]))


def test_what_is_captured_computes_the_same_in_one_graph() -> None:
    # On a CPU nothing is recorded; what is shown is that the network, its gradient and its statistics go through.
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    torch.manual_seed(0)
    plain, captured = UNet(levels=1, channels=4), UNet(levels=1, channels=4)
    captured.load_state_dict(plain.state_dict())
    z = torch.rand(1, 32, 16, 16)
    program = Program(captured.forward, "capture")
    for _ in range(2):
        outs = [plain(z), program(z)]
        for out in outs:
            out.square().mean().backward()
        assert torch.allclose(*outs, atol=1e-6)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    pairs = zip(plain.parameters(), captured.parameters(), strict=True)
    assert all(torch.allclose(one.grad, other.grad, atol=1e-6) for one, other in pairs)  # type: ignore[arg-type]
    assert all(torch.allclose(one, other) for one, other in zip(plain.buffers(), captured.buffers(), strict=True))


def test_it_says_that_the_network_is_compiled(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **settings: function)
    settings = [option for option in SETTINGS if "fit_progress" not in option]
    fit(compose_config([*settings, "compile=default", "iterations=1"]))
    assert "the network is compiled first" in capsys.readouterr().err
