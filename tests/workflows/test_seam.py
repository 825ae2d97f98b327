"""Another prior, operator, term, input, optimiser and scheduler: through all that a fit can go through."""

import csv
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_optimizer import SOAP

from dip_lightning import DeepImagePrior, FitResult, Problem, UserError, restore
from dip_lightning.callbacks import Checkpoint, DivergenceGuard
from dip_lightning.cli.report import write_report
from dip_lightning.config.compose import compose_config
from dip_lightning.data import read_image
from dip_lightning.runs.checkpoint_file import read_checkpoint
from dip_lightning.workflows.restore import fit
from dip_lightning.workflows.resume import resume
from dip_lightning.workflows.tiles import Tiles
from tests.conftest import Outcome
from tests.small import fit as fit_own
from tests.small import picture, without_figures

Dip = Callable[..., Outcome]

# 32x32 pixels, and rules and a checkpoint that come into play within 24 iterations.
COMMON = [
    *("trainer=cpu", "model.channels=8", "image.crop=32", "iterations=24", "callbacks.fit_progress=null"),
    *("callbacks.checkpoint.iterations=7", "callbacks.peak_psnr.eval_every=5", "trainer.log_every_n_steps=4"),
]
RULES = ["stopping.min_iterations=5", "stopping.rules.wmv.window=6"]
UNET = ["model=unet", "model.levels=2", "model.input_channels=4"]
DECODER = ["model=deep_decoder", "model.levels=2"]
DOWNSAMPLE = ["problem=downsample", "callbacks.pictures=null"]


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "file" not in request.function.__name__:
        without_figures(monkeypatch)


class DiedError(Exception):
    """The fit was cut off."""


@pytest.fixture
def cut_off(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that begins a fit in a folder, and has it die in the middle."""
    before = Checkpoint.on_train_batch_end

    def run(folder: Path, *overrides: str, at: int = 17) -> None:
        def die(self: Checkpoint, trainer: Any, module: DeepImagePrior, *rest: Any) -> None:
            if module.iterate.iteration == at:
                raise DiedError
            before(self, trainer, module, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(Checkpoint, "on_train_batch_end", die)
            with pytest.raises(DiedError):
                fit(compose_config(list(overrides)), folder)

    return run


@pytest.mark.parametrize(
    "overrides",
    [
        [*DECODER, *RULES],
        [*DOWNSAMPLE, *UNET, *RULES, "input=estimate", "input.inner=6", "model.input_channels=32", "scheduler=step"],
        [
            *DECODER,
            *DOWNSAMPLE,
            "stopping=none",
            "optimizer=adamw",
            "scheduler=cosine",
            "regularizers=tv",
            "dropout=0.1",
        ],
        [
            *UNET,
            "stopping=none",
            "optimizer=sgd",
            "lr=1",
            "scheduler=plateau",
            "scheduler.patience=0",
            "precision=bf16",
        ],
        [*UNET, *RULES, "optimizer=lbfgs", "lr=0.5", "optimizer.max_iter=2", "regularizers=tv"],
        [*UNET, *RULES, "optimizer=soap", "optimizer.precondition_frequency=3", "scheduler=step", "input.every=4"],
        [
            *(*UNET, "stopping=none", "scheduler=step", "scheduler.step_size=5", "lr=0.1"),
            *("callbacks.divergence_guard.max_drop_db=0.01", "callbacks.divergence_guard.max_restores=2"),
        ],
    ],
    ids=["decoder", "downsample", "both", "plateau", "lbfgs", "soap", "remedies"],
)
def test_a_fit_that_was_cut_off_goes_on_to_the_same_result_to_the_last_bit(
    cut_off: Callable[..., None], tmp_path: Path, overrides: list[str]
) -> None:
    whole = fit(compose_config([*COMMON, *overrides]))
    cut_off(tmp_path, *COMMON, *overrides)
    state = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    assert state["global_step"] == 14
    assert len(state["lr_schedulers"]) == any(setting.startswith("scheduler=") for setting in overrides)
    resumed = resume(tmp_path)
    assert whole.curves.keys() == resumed.curves.keys()
    for name, values in whole.curves.items():
        assert np.array_equal(values, resumed.curves[name], equal_nan=True), name
    assert np.array_equal(whole.output, resumed.output)
    for key in ("stopping", "selected", "restores", "remedies", "iterations", "operator", "model"):
        assert whole.summary[key] == resumed.summary[key], key  # type: ignore[literal-required]
    if any("max_drop_db" in setting for setting in overrides):
        assert whole.summary["remedies"]


@pytest.mark.parametrize(
    ("model", "stopping", "problem"),
    [(DECODER, "none", "denoise"), (UNET, "none", "downsample"), (DECODER, "vote", "downsample")],
)
def test_python_and_the_command_line_give_the_same(
    dip: Dip, tmp_path: Path, model: list[str], stopping: str, problem: str
) -> None:
    rules = RULES if stopping == "vote" else []
    settings = [*COMMON, *model, f"stopping={stopping}", *rules, "iterations=8"]
    told = dip(*settings, f"problem={problem}", "hydra.run.dir=run", "logger=none")
    assert told.code == 0, told.err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["operator"] == {"denoise": "identity"}.get(problem, problem)
    assert (summary["height"], summary["width"]) == (32, 32)
    assert (summary["psnr_observation"] is None) == (problem == "downsample")
    assert summary["selected"]["psnr"] is not None
    assert len(summary["stopping"]["picks"]) == (0 if stopping == "none" else 3)
    restored = np.asarray(Image.open(tmp_path / "run" / "restored.png"))
    assert restored.shape == (32, 32, 3)
    seen = np.asarray(Image.open(tmp_path / "run" / "observation.png"))
    assert seen.shape == ((16, 16, 3) if problem == "downsample" else (32, 32, 3))
    group = model[0].removeprefix("model=")
    result = restore("skimage:astronaut", model=group, problem=problem, stopping=stopping, overrides=settings)
    assert np.array_equal(result.image, restored)


def test_the_command_line_goes_on_with_both(cut_off: Callable[..., None], dip: Dip, tmp_path: Path) -> None:
    overrides = [*COMMON, *DECODER, *DOWNSAMPLE, *RULES, "logger=none"]
    whole = fit(compose_config(overrides))
    cut_off(tmp_path / "run", *overrides)
    told = dip("resume=run")
    assert told.code == 0, told.err
    assert np.array_equal(np.asarray(Image.open(tmp_path / "run" / "restored.png")), whole.image)


@pytest.mark.slow
def test_a_report_of_such_runs(dip: Dip, tmp_path: Path) -> None:
    common = [*COMMON, "stopping=none", "logger=none", "iterations=6"]
    runs = tmp_path / "runs"
    fit(compose_config([*common, *DECODER]), runs / "python")
    fit(compose_config([*common, *DECODER, *DOWNSAMPLE]), runs / "python_downsample")
    radam, adamax = (["optimizer=other", f"+optimizer._target_=torch.optim.{name}"] for name in ("RAdam", "Adamax"))
    for name, more in {"tv": ["regularizers=tv"], "radam": radam, "adamax": adamax}.items():
        assert dip(*common, *UNET, *more, f"hydra.run.dir={runs / name}").code == 0
    write_report([runs], tmp_path / "report")
    table = (tmp_path / "report" / "table.csv").read_text(encoding="utf-8").splitlines()
    labels = [row["setting"] for row in csv.DictReader(table)]
    assert len(labels) == 5
    assert sum(label.startswith("deepdecoder") for label in labels) == 2
    assert sum("downsample" in label for label in labels) == 1
    for word in ("radam", "adamax", "regularizers.tv"):
        assert any(word in label for label in labels), word


def small_file(folder: Path, alpha: bool = True) -> np.ndarray:
    """Write a small picture of a large one, 20x24 of 40x48 pixels; returns the large one."""
    rows, columns = np.mgrid[:40, :48]
    large = np.stack([rows * 6, columns * 5, (rows + columns) * 2, (rows * 6) % 256], axis=2).astype(np.uint8)
    Image.fromarray(large[:, :, :3]).save(folder / "large.png")
    small = large.reshape(20, 2, 24, 2, 4).mean(axis=(1, 3)).round().astype(np.uint8)
    Image.fromarray(small if alpha else small[:, :, :3]).save(folder / "small.png")
    Image.fromarray(small[:, :, :3]).save(folder / "as_small.png")
    return large


FILE = ["image.path=small.png", "image.crop=null", *DOWNSAMPLE, *UNET, "iterations=6", "stopping=none", "logger=none"]


def test_a_small_file_gives_a_large_picture_alpha_included(dip: Dip, tmp_path: Path) -> None:
    large = small_file(tmp_path)
    told = dip(*COMMON, *FILE, "hydra.run.dir=run")
    assert told.code == 0, told.err
    restored = Image.open(tmp_path / "run" / "restored.png")
    assert (restored.mode, restored.size) == ("RGBA", (48, 40))
    # Alpha is enlarged, since nothing is fitted to it.
    assert np.abs(np.asarray(restored)[:, :, 3].astype(int) - large[:, :, 3])[:, 2:-2].mean() < 12
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["selected"]["psnr"] is None
    assert (summary["height"], summary["width"]) == (40, 48)


def test_a_clean_image_must_be_as_large_as_the_restored_one(dip: Dip, tmp_path: Path) -> None:
    large = small_file(tmp_path)
    told = dip(*COMMON, *FILE, "image.clean=large.png", "hydra.run.dir=run")
    assert told.code == 0, told.err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    restored = np.asarray(Image.open(tmp_path / "run" / "restored.png"))[:, :, :3]
    error = np.square(restored / 255 - large[:, :, :3] / 255).mean()
    assert summary["selected"]["psnr"] == pytest.approx(-10 * np.log10(error), abs=0.05)
    told = dip(*COMMON, *FILE, "image.clean=as_small.png", "hydra.run.dir=wrong")
    assert told.code == 2
    (line,) = told.err.strip().splitlines()
    assert "image.clean of 20x24 pixels and 3 channels: expected 40x48 pixels and 3 channels" in line


def test_a_crop_counts_pixels_of_the_file(dip: Dip, tmp_path: Path) -> None:
    large = small_file(tmp_path, alpha=False)
    part = ["image.crop=[2,4,16,10]", "image.clean=large.png"]
    result = fit(compose_config([*COMMON, *FILE, *part]))
    assert result.output.shape == (32, 20, 3)
    error = np.square(result.output - large[4:36, 8:28, :3] / 255).mean()
    assert result.summary["selected"]["psnr"] == pytest.approx(-10 * np.log10(error), abs=0.01)


def test_an_image_that_cannot_be_made_small_is_refused_in_one_line(dip: Dip) -> None:
    told = dip(*COMMON, "problem=downsample", "image.crop=33")
    assert told.code == 2
    (line,) = told.err.strip().splitlines()
    assert "33x33 pixels with problem.factor=2" in line
    assert "image.crop=32" in line


@pytest.mark.parametrize("overrides", [[*DECODER, *RULES], [*UNET, "stopping=none"]])
def test_tiles_are_aligned_and_blended(tmp_path: Path, overrides: list[str]) -> None:
    tiled = ["image.crop=[60,100,52,44]", "tile=33", "overlap=8", *DOWNSAMPLE, "logger=none", "iterations=8"]
    result = fit(compose_config([*COMMON, *overrides, *tiled]), tmp_path)
    assert result.image.shape == (52, 44, 3)
    tiles = Tiles(52, 44, 33, 8, 2)
    assert all(side % 2 == 0 for tile in tiles for side in (tile.top, tile.left, tile.height, tile.width))
    assert result.summary["tiles"]["rows"] * result.summary["tiles"]["columns"] == len(tiles) == 4
    blended = np.zeros((52, 44, 3))
    for tile in tiles:
        part = read_image(tmp_path / "tiles" / tile.name / "restored.png").to_unit()
        assert part.shape == (32, 32, 3)
        blended[tile.part] += tiles.weight(tile) * part
    assert np.allclose(result.output, blended, atol=1e-4)
    assert result.summary["selected"]["psnr"] is not None
    assert np.asarray(Image.open(tmp_path / "observation.png")).shape in ((26, 22, 3), (52, 44, 3))
    # Each tile was fitted to what the whole was seen as, and goes on where it was.
    again = fit(compose_config([*COMMON, *overrides, *tiled]), tmp_path)
    assert np.array_equal(again.output, result.output)
    write_report([tmp_path], tmp_path / "report")


def test_a_folder_of_small_pictures(dip: Dip, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    small_file(tmp_path / "in")
    told = dip(*COMMON, *FILE, "image.path=in", "hydra.run.dir=out")
    assert told.code == 0, told.err
    shapes = {path.parent.name: read_image(path).samples.shape for path in (tmp_path / "out").glob("*/restored.png")}
    assert shapes == {"as_small.png": (40, 48, 3), "large.png": (80, 96, 3), "small.png": (40, 48, 3)}


@pytest.mark.parametrize("kind", ["anisotropic", "isotropic"])
def test_total_variation_from_the_command_line(dip: Dip, tmp_path: Path, kind: str) -> None:
    settings = ["regularizers=tv", "regularizers.tv.weight=0.5", f"regularizers.tv.kind={kind}"]
    told = dip(*COMMON, *UNET, "stopping=none", *settings, "hydra.run.dir=run", "iterations=6")
    assert told.code == 0, told.err
    header, *rows = (tmp_path / "run" / "curves.csv").read_text().splitlines()
    column = header.split(",").index("regularizer_tv")
    assert all(float(row.split(",")[column]) > 0 for row in rows)


@pytest.mark.parametrize(
    "wrong",
    [
        ["regularizers=tv", "regularizers.tv.weight=-1"],
        ["problem=downsample", "problem.factor=1"],
        ["model=deep_decoder", "model.levels=0"],
        ["model=deep_decoder", "input=estimate"],
        ["model=deep_decoder", "residual=true"],
        ["input=estimate", "input.steps=0"],
        ["optimizer=sgd", "optimizer.momentum=-1"],
        ["optimizer=adam", "+optimizer.what=1"],
        ["scheduler=step", "+scheduler.what=1"],
        ["scheduler=plateau", "scheduler.factor=2"],
        ["problem=sharpen"],
    ],
)
def test_a_mistake_in_the_new_groups_is_told_in_one_line(dip: Dip, wrong: list[str]) -> None:
    settings = [setting for setting in COMMON if not setting.startswith("model.") or "model=" not in str(wrong)]
    told = dip(*settings, *wrong, "iterations=2")
    assert told.code == 2, told.out
    assert len(told.err.strip().splitlines()) == 1, told.err


class Rates(pl.Callback):
    """Notes the learning rate of every iteration, and spoils the weights after the steps of some."""

    def __init__(self, spoiled: range = range(0)) -> None:
        self.rates: list[float] = []
        self._spoiled = spoiled

    @torch.no_grad()
    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:  # type: ignore[override]
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        if pl_module.iterate.iteration in self._spoiled:
            for parameter in pl_module.prior.network.parameters():
                parameter.fill_(torch.nan)


SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "none": lambda optimizer: torch.optim.lr_scheduler.ConstantLR(optimizer, 1),
    "step": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 5, 0.5),
    "cosine": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30),
    "lambda": lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "cycle": lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=30),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_remedy_lowers_the_whole_schedule(name: str) -> None:
    rates = []
    for spoiled in (range(0), range(9, 11)):
        noted, guard = Rates(spoiled), DivergenceGuard(max_restores=2)
        fit_own(Problem(picture()), callbacks=[guard, noted], iterations=30, scheduler=SCHEDULERS[name])
        rates.append(np.array(noted.rates))
    assert [remedy["iteration"] for remedy in guard.remedies] == [11]
    assert np.array_equal(rates[0][:11], rates[1][:11])
    assert np.allclose(rates[1][11:], rates[0][11:] / 4)
    assert guard.remedies[0]["lr"] == pytest.approx(rates[0][10] / 4)


@pytest.mark.parametrize("least", [1e-3, 5e-3])
def test_a_remedy_stands_where_the_loss_decides(least: float) -> None:
    noted, guard = Rates(range(9, 11)), DivergenceGuard(max_restores=2)
    plateau = partial(torch.optim.lr_scheduler.ReduceLROnPlateau, patience=0, threshold=0.9, min_lr=least)
    settings: dict[str, Any] = {"scheduler": plateau, "iterations": 30, "trainer": {"log_every_n_steps": 6}}
    fit_own(Problem(picture()), callbacks=[guard, noted], **settings)
    # At 12 and later no loss is ten times better than the one at 6; a rate below the least is not raised to it.
    assert noted.rates[:11] == [0.01] * 11
    assert noted.rates[11] == pytest.approx(0.0025)
    assert noted.rates[12:] == pytest.approx([min(least, 0.0025)] * 18)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lbfgs", "soap"])
def test_spoiled_weights_are_restored_whatever_the_optimiser(optimizer: str) -> None:
    makers: dict[str, Any] = {
        "sgd": lambda tensors: torch.optim.SGD(tensors, lr=1, momentum=0.9),
        "adamw": lambda tensors: torch.optim.AdamW(tensors, lr=0.01),
        "lbfgs": lambda tensors: torch.optim.LBFGS(tensors, lr=0.5, max_iter=3),
        "soap": lambda tensors: SOAP(tensors, lr=0.01, precondition_frequency=2),
    }
    guard = DivergenceGuard(snapshot_every=2)
    module = fit_own(
        Problem(picture()), callbacks=[guard, Rates(range(9, 10))], iterations=30, optimizer=makers[optimizer]
    )
    assert 10 in guard.restored_at
    losses = module.curves.block()["loss"]
    assert np.isnan(losses[10])
    assert np.isfinite(losses[11:]).all()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("group", ["sgd", "adamw", "lbfgs", "soap"])
def test_an_optimizer_is_built_with_the_learning_rate(tiny_fit: Callable[..., FitResult], group: str) -> None:
    curves = [tiny_fit(f"optimizer={group}", f"lr={lr}", "iterations=5").curves["loss"] for lr in (1e-9, 0.1)]
    assert np.ptp(curves[0]) < np.ptp(curves[1])


def test_another_optimizer_of_torch(tiny_fit: Callable[..., FitResult]) -> None:
    settings = ["optimizer=other", "+optimizer._target_=torch.optim.RAdam", "+optimizer.betas=[0.5,0.9]"]
    assert np.isfinite(tiny_fit(*settings).output).all()
    with pytest.raises(UserError, match="_target_"):
        tiny_fit("optimizer=other", "+optimizer._target_=torch.nn.Linear")
