"""The memory of a fit: estimated before it, refused where it is not there, and told in one line where it runs out."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dip_lightning.config.compose import compose_config
from dip_lightning.errors import UserError
from dip_lightning.fitting import fit as fit_module
from dip_lightning.fitting.build import Fit
from dip_lightning.fitting.fit import FitResult
from dip_lightning.fitting.memory import check_memory
from dip_lightning.module import DeepImagePrior
from dip_lightning.system import environment
from dip_lightning.workflows.restore import fit
from tests.conftest import TINY_UNET, Outcome
from tests.forked import run_forked

Dip = Callable[..., Outcome]

# A fit in a process of its own, since the peak of a process is that of all it has done.
FIT = """
import json, sys, torch
torch.set_num_threads(1)
from dip_lightning.config.compose import compose_config
from dip_lightning.fitting import fit, memory
from dip_lightning.workflows import restore
from dip_lightning.system import environment
present, check = [], fit.check_memory
fit.check_memory = lambda parts: present.append(environment.present_memory(torch.device("cpu"))) or check(parts)
summary = restore.fit(compose_config(["trainer=cpu", "callbacks.fit_progress=null", *sys.argv[1:]])).summary
print(json.dumps([present[0] / 1e6, summary["memory_estimate_mb"], summary["peak_memory_mb"]]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read from /proc")
@pytest.mark.parametrize(
    "overrides",
    [
        ["image.crop=224"],
        ["image.crop=[0,0,201,155]", "model=unet"],
        ["image.crop=112", "model=resnet", "iterations=3"],
        ["image.crop=128", "precision=fp64"],
        ["image.crop=192", "precision=bf16"],
        ["image.crop=128", "model.hourglass=false", "model.channels=48"],
    ],
    ids=" ".join,
)
def test_the_estimate_is_right_within_a_fifth(overrides: list[str], tmp_path: Path) -> None:
    done = run_forked(FIT, "iterations=4", *overrides, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    present, estimate, peak = json.loads(done.stdout)
    assert estimate == pytest.approx(peak, rel=0.2)
    # Of which the libraries are half; what the fit adds is the harder part.
    assert estimate - present == pytest.approx(peak - present, rel=0.4)


# What a process holds in the course of a long fit, and what its curves take.
LONG = """
import json, sys, torch
from pathlib import Path
torch.set_num_threads(1)
import pytorch_lightning as pl
from dip_lightning.system import environment
from dip_lightning.config.compose import compose_config
from dip_lightning.workflows.restore import fit

held = {}

class Meter(pl.Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if batch_idx in (199, 899):
            held[batch_idx] = environment.present_memory(torch.device("cpu"))

run = pl.Trainer.fit
pl.Trainer.fit = lambda self, *a, **k: self.callbacks.append(Meter()) or run(self, *a, **k)
result = fit(compose_config(sys.argv[2:]), Path(sys.argv[1]))
print(json.dumps([held[199], held[899], sum(curve.nbytes for curve in result.curves.values())]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read from /proc")
def test_memory_does_not_grow_with_the_iterations(tmp_path: Path) -> None:
    settings = [*TINY_UNET, "iterations=900", "stopping.patience=10000", "stopping.rules.wmv.window=20"]
    done = run_forked(LONG, str(tmp_path / "run"), *settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    early, late, curves = json.loads(done.stdout)
    assert curves > 900 * 8 * 4
    # Room for the allocator: a tensor of one picture that stayed behind in each iteration would take 9 MB.
    assert late - early < 3e6


def refuse_above(monkeypatch: pytest.MonkeyPatch, megabytes: float) -> None:
    monkeypatch.setattr(environment, "available_memory", lambda device: megabytes * 1e6)


def test_what_does_not_fit_is_refused_and_each_way_out_fits(
    dip: Dip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ["trainer=cpu", "callbacks.fit_progress=null", "iterations=1", "model.input_channels=16"]
    large = [*settings, "image.crop=400", "precision=fp64", "model.channels=32"]
    refuse_above(monkeypatch, 700)
    told = dip(*large)
    assert told.code == 2
    (line,) = told.err.strip().splitlines()
    assert re.search(r"400x400 pixels take about \d\.\d\d GB more memory: expected at most 0\.6[67] GB; try ", line)
    assert not (tmp_path / "outputs").exists()
    ways = line.partition("; try ")[2].split(", or ")
    assert any(way.startswith("image.crop=") for way in ways)
    assert any(way.startswith("precision=") for way in ways)
    # Each way out, taken by itself, is let through.
    passed = []

    def only_check(parts: Fit) -> None:
        check_memory(parts)
        passed.append(parts)
        raise UserError("enough", "nothing", "stop here")

    monkeypatch.setattr(fit_module, "check_memory", only_check)
    for way in ways:
        with pytest.raises(UserError, match="enough"):
            fit(compose_config([*large, way]))
    assert len(passed) == len(ways) > 1


def test_the_estimate_grows_with_what_it_is_of(tiny_fit: Callable[..., FitResult]) -> None:
    def more(*overrides: str) -> float:
        found = []

        def note(parts: Fit) -> object:
            found.append(check_memory(parts))
            return found[0]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fit_module, "check_memory", note)
            tiny_fit("iterations=1", *overrides)
        return float(found[0].more)

    base = more("image.crop=96")
    assert more("image.crop=192") == pytest.approx(4 * base, rel=0.35)  # weights do not grow
    assert more("image.crop=96", "precision=fp64") > 1.8 * base
    assert more("image.crop=96", "model.channels=16") > 1.2 * base
    assert more("image.crop=96", "precision=bf16") < base


def test_the_estimate_draws_no_random_number_of_the_fit(
    tiny_fit: Callable[..., FitResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_estimate = tiny_fit()
    check = fit_module.check_memory

    def twice(parts: Fit) -> object:
        check(parts)
        return check(parts)

    monkeypatch.setattr(fit_module, "check_memory", twice)
    assert np.array_equal(tiny_fit().curves["loss"], with_estimate.curves["loss"])


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")])
@pytest.mark.parametrize("at", [0, 4])
def test_memory_that_runs_out_costs_one_line_and_nothing_else(
    dip: Dip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, at: int
) -> None:
    step = DeepImagePrior.training_step

    def runs_out(self: DeepImagePrior, batch: object, batch_idx: int) -> torch.Tensor:
        if batch_idx == at:
            raise error
        return step(self, batch, batch_idx)

    monkeypatch.setattr(DeepImagePrior, "training_step", runs_out)
    told = dip(*TINY_UNET)
    assert told.code == 2
    (line,) = told.err.strip().splitlines()
    assert f"out of memory after {at} iterations" in line
    assert "Traceback" not in told.out
    found = list(tmp_path.rglob("summary.json"))
    assert len(found) == (1 if at else 0)
    if at:
        assert str(found[0].parent) in line
        summary = json.loads(found[0].read_text())
        assert summary["iterations"] == at
        assert summary["averaged"]["peak_psnr"] is not None
        assert (found[0].parent / "restored.png").exists()


def test_a_fit_without_memory_goes_on_in_a_cheaper_precision(dip: Dip, monkeypatch: pytest.MonkeyPatch) -> None:
    step = DeepImagePrior.training_step

    def runs_out(self: DeepImagePrior, batch: object, batch_idx: int) -> torch.Tensor:
        if batch_idx == 4 and self.trainer.precision == "32-true":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(DeepImagePrior, "training_step", runs_out)
    told = dip(*TINY_UNET, "callbacks.checkpoint.iterations=3", "hydra.run.dir=run")
    assert told.code == 2
    assert re.search(r"try dip resume=\S+/run precision=bf16; what it reached is in ", told.err)
    assert dip("resume=run", "precision=bf16").code == 0
    summary = json.loads(Path("run/summary.json").read_text())
    assert (summary["iterations"], summary["precision"], summary["out_of_memory"]) == (6, "bf16", False)


def test_a_fit_that_goes_on_counts_from_its_first_iteration(dip: Dip, monkeypatch: pytest.MonkeyPatch) -> None:
    step = DeepImagePrior.training_step

    def runs_out(self: DeepImagePrior, batch: object, batch_idx: int) -> torch.Tensor:
        if self.first_iteration + batch_idx == 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(DeepImagePrior, "training_step", runs_out)
    for arguments in ([*TINY_UNET, "callbacks.checkpoint.iterations=3", "hydra.run.dir=run"], ["resume=run"]):
        told = dip(*arguments)
        assert told.code == 2
        assert "out of memory after 4 iterations" in told.err
    assert json.loads(Path("run/summary.json").read_text())["iterations"] == 4


def test_the_introduction_tells_the_memory(dip: Dip) -> None:
    told = dip(*(override for override in TINY_UNET if "fit_progress" not in override))
    assert re.search(r"at most 6 iterations, about \d\.\d GB of memory", told.err)
