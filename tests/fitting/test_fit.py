"""A fit from configuration to files."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dip_lightning.config.compose import compose_config
from dip_lightning.errors import UserError
from dip_lightning.fitting.build import build_fit
from dip_lightning.fitting.fit import FitResult
from dip_lightning.precision import Precision
from dip_lightning.priors import Perturbed
from dip_lightning.workflows.restore import fit
from tests.conftest import TINY_UNET

# The keys that other programs read; see the README.
SUMMARY_KEYS = {
    *("model", "num_parameters", "residual", "dropout", "precision", "seed", "device", "image"),
    *("height", "width", "channels", "sigma", "iterations", "seconds", "seconds_per_iteration", "peak_memory_mb"),
    "memory_estimate_mb",
    *("psnr_observation", "one_pass", "averaged", "stopping", "selected", "versions", "git_commit"),
}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    overrides = ["alpha=growing", "iterations=25", "trainer.log_every_n_steps=10", "callbacks.peak_psnr.eval_every=5"]
    fit(compose_config([*TINY_UNET, *overrides]), folder)
    return folder


def test_the_run_folder_holds_what_other_programs_read(run_folder: Path) -> None:
    names = {path.name for path in run_folder.iterdir()}
    assert {"restored.png", "comparison.png", "curves.png", "curves.csv", "summary.json", "checkpoints"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    for name in ("restored.png", "comparison.png", "curves.png"):
        with Image.open(run_folder / name) as image:
            image.load()


def test_the_summary_agrees_with_the_curves(run_folder: Path) -> None:
    summary = json.loads((run_folder / "summary.json").read_text())
    assert summary.keys() >= SUMMARY_KEYS
    with (run_folder / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["iteration"]) for row in rows] == list(range(25))
    for key in ("one_pass", "averaged"):
        values = [float(row[f"psnr_{key}"]) for row in rows]
        assert summary[key]["peak_psnr"] == pytest.approx(max(values), abs=1e-6)
        assert summary[key]["peak_iteration"] == int(np.argmax(values))
        assert summary[key]["final_psnr"] == pytest.approx(values[-1], abs=1e-6)
        assert summary[key]["plateau_0.5db"] == sum(value >= max(values) - 0.5 for value in values)
    assert summary["iterations"] == 25
    assert summary["stopping"]["gap_db"] == pytest.approx(
        summary["averaged"]["peak_psnr"] - summary["averaged"]["final_psnr"], abs=1e-5
    )
    assert summary["precision_in_force"]["weights"] == "float32"


def psnr_of_file(run_folder: Path, clean: np.ndarray) -> float:
    (restored,) = run_folder.glob("restored.*")
    error = ((np.asarray(Image.open(restored)).astype(float) - clean) ** 2).mean()
    return float(10 * np.log10(255**2 / error))


def test_the_restored_file_is_the_averaged_output(run_folder: Path) -> None:
    summary = json.loads((run_folder / "summary.json").read_text())
    quality = psnr_of_file(run_folder, skimage.data.astronaut()[240:272, 240:272])
    # Rounding to 8 bit costs little at this quality.
    assert quality == pytest.approx(summary["averaged"]["final_psnr"], abs=0.02)
    assert summary["selected"]["psnr"] == pytest.approx(quality, abs=1e-9)


@pytest.mark.parametrize("tiled", [(), ("tile=32", "overlap=8", "image.crop=[200,200,32,40]")])
def test_the_psnr_in_the_record_is_that_of_the_file_which_is_clipped(
    tiny_fit: Callable[..., FitResult], tmp_path: Path, tiled: tuple[str, ...]
) -> None:
    # A large step drives an output without a sigmoid far beyond black and white.
    settings = ["model.output=linear", "lr=0.1", "iterations=12", "stopping=none", "select=one_pass", *tiled]
    summary = tiny_fit(*settings, run_folder=tmp_path).summary
    whole = skimage.data.astronaut()
    clean = whole[200:232, 200:240] if tiled else whole[240:272, 240:272]
    assert summary["selected"]["psnr"] == pytest.approx(psnr_of_file(tmp_path, clean), abs=1e-9)
    assert summary["stopping"]["psnr"] == summary["selected"]["psnr"]
    if not tiled:  # the gap is one between outputs, as they are in the curves
        assert summary["one_pass"] is not None
        assert summary["averaged"] is not None
        assert summary["selected"]["psnr"] > summary["one_pass"]["final_psnr"] + 0.01
        gap = summary["averaged"]["peak_psnr"] - summary["one_pass"]["final_psnr"]
        assert summary["stopping"]["gap_db"] == pytest.approx(gap, abs=1e-5)


def test_the_checkpoint_holds_the_weights_and_z(run_folder: Path) -> None:
    checkpoint = torch.load(run_folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 25
    assert "prior.z" in checkpoint["state_dict"]
    assert any(name.startswith("prior.network.") for name in checkpoint["state_dict"])


@pytest.mark.parametrize("override", ["logger=none", "logger.tensorboard=null"])
def test_without_a_logger_the_files_are_written_all_the_same(
    tiny_fit: Callable[..., FitResult], tmp_path: Path, override: str
) -> None:
    tiny_fit(override, run_folder=tmp_path)
    assert (tmp_path / "summary.json").exists()
    assert list(tmp_path.glob("events.out*")) == []


def test_nothing_is_written_without_a_run_folder(
    tiny_fit: Callable[..., FitResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tiny_fit().run_folder is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("suffix", "mode"), [(".jpg", "RGB"), (".png", "LA"), (".tif", "L"), (".webp", "RGBA")])
def test_a_picture_comes_back_in_its_own_format(
    tiny_fit: Callable[..., FitResult], tmp_path: Path, suffix: str, mode: str
) -> None:
    source = tmp_path / f"photo{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (45, 39, len(mode) if mode != "L" else 1), dtype=np.uint8)
    original = Image.fromarray(noise.squeeze(), mode=None)
    original.save(source, **({"lossless": True, "exact": True} if suffix == ".webp" else {}))
    tiny_fit("degradation=none", f"image.path={source}", "image.crop=null", run_folder=tmp_path / "run")
    with Image.open(source) as before, Image.open(tmp_path / "run" / f"restored{suffix}") as after:
        assert (after.format, after.mode, after.size) == (before.format, before.mode, before.size)
        if "A" in mode:
            assert np.array_equal(np.asarray(after)[:, :, -1], np.asarray(before)[:, :, -1])


def test_select_hands_back_the_output_that_was_asked_for(tiny_fit: Callable[..., FitResult]) -> None:
    averaged, one_pass = tiny_fit("alpha=growing"), tiny_fit("select=one_pass")
    for kind, summary in (("averaged", averaged.summary), ("one_pass", one_pass.summary)):
        assert summary["selected"]["psnr"] == pytest.approx(summary[kind]["final_psnr"], abs=5e-3)  # to 8 bits
    assert not np.array_equal(averaged.image, one_pass.image)


def test_a_fit_learns_the_picture(tiny_fit: Callable[..., FitResult]) -> None:
    curves = tiny_fit("iterations=150", "model.channels=16", "dropout=0").curves
    # From the mean grey (about 11 dB) to a recognisable picture; the noise is at 20 dB.
    assert curves["psnr_one_pass"][0] < 13
    assert curves["psnr_one_pass"][-1] > 17
    assert curves["loss"][-1] < curves["loss"][0] / 3


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("dropout=1.5", "dropout=1.5: expected a number in [0, 1); try dropout=0.1"),
        ("degradation.sigma=-1", "degradation.sigma=-1"),
        ("iterations=0", "iterations=0"),
        ("iterations=many", "iterations=many"),
        ("alpha=1.2", "alpha=1.2"),
        ("lr=-1", "lr=-1"),
        ("seed=-1", "seed=-1"),
        ("select=best", "select=best"),
        ("image.path=skimage:nobody", "image.path=skimage:nobody"),
        ("callbacks.output_ema=null", "select=averaged without output_ema"),
        ("channels_last=maybe", "channels_last=maybe"),
        ("save_checkpoint=2", "save_checkpoint=2"),
        ("trainer.log_every_n_steps=0", "log_every_n_steps=0"),
        ("trainer.accelerator=tpu", "trainer"),
        ("callbacks.pictures.every=-1", "callbacks.pictures.every=-1"),
        ("callbacks.peak_psnr.eval_every=-1", "callbacks.peak_psnr.eval_every=-1"),
    ],
)
def test_a_value_without_sense_costs_one_line(tiny_fit: Callable[..., FitResult], override: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        tiny_fit(override)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_residual_has_a_meaning_only_where_there_are_residual_blocks(tiny_fit: Callable[..., FitResult]) -> None:
    assert tiny_fit("model=unet").summary["residual"] is False
    assert tiny_fit("residual=false").summary["residual"] is False
    assert tiny_fit().summary["residual"] is True
    with pytest.raises(UserError, match="residual blocks"):
        tiny_fit("model=unet", "residual=true")


def test_a_short_fit_says_so(tiny_fit: Callable[..., FitResult]) -> None:
    remarks = tiny_fit().summary["remarks"]
    assert any("worse than the noisy one" in remark for remark in remarks)
    assert any("95% of the averaged output" in remark for remark in remarks)  # 0.99 ** 5
    assert not any("averaged" in remark for remark in tiny_fit("alpha=0.1").summary["remarks"])
    # After one iteration nothing but the first output is left, and with a growing memory nothing is to be said of it.
    assert any("100% of the averaged output" in remark for remark in tiny_fit("iterations=1").summary["remarks"])
    growing = tiny_fit("iterations=1", "alpha=growing").summary["remarks"]
    assert not any("averaged" in remark for remark in growing)


@pytest.mark.parametrize(("sigma", "expected"), [(2, 1 / 30), (15, 1 / 30), (25, 1 / 30), (50, 1 / 20)])
def test_the_perturbation_follows_the_noise_as_in_the_original(
    tiny_fit: Callable[..., FitResult], sigma: float, expected: float
) -> None:
    assert tiny_fit(f"degradation.sigma={sigma}").summary["input_noise_std"] == pytest.approx(expected)
    assert tiny_fit("input_noise_std=0.1").summary["input_noise_std"] == pytest.approx(0.1)


@pytest.mark.parametrize(("sigma", "expected"), [(5, 0), (25, 1 / 30)])
def test_z_is_not_perturbed_where_there_is_little_noise_to_keep_out(
    tiny_fit: Callable[..., FitResult], sigma: float, expected: float
) -> None:
    settings = ["problem=demosaic", "degradation=gaussian", f"degradation.sigma={sigma}"]
    assert tiny_fit(*settings).summary["input_noise_std"] == pytest.approx(expected)
    assert tiny_fit(*settings, "input_noise_std=0.1").summary["input_noise_std"] == pytest.approx(0.1)
    enlarged = ["problem=downsample", "degradation=gaussian", f"degradation.sigma={sigma}"]
    assert tiny_fit(*enlarged).summary["input_noise_std"] == pytest.approx(1 / 30)


def caps(*overrides: str) -> int:
    cfg = compose_config([*TINY_UNET, *overrides, "iterations=null"])
    return build_fit(cfg, None, Precision("32-true"), {}).module.iterations


def test_how_long_a_fit_may_be_suits_its_problem(tmp_path: Path) -> None:
    quiet = ["degradation=gaussian", "degradation.sigma=2"]
    mask = tmp_path / "mask.png"
    Image.fromarray(np.tile(np.uint8([0, 255]), (512, 256))).save(mask)
    assert caps("problem=deblur", *quiet) == 3000
    assert caps("problem=deblur", "degradation.sigma=25") == 5000
    assert caps("problem=inpaint", f"problem.mask={mask}", *quiet) == 6000
    assert caps(*quiet) == 10_000
    jpeg = ("problem=dejpeg", "degradation=jpeg")
    coarse, fine = (caps(*jpeg, f"degradation.quality={q}") for q in (10, 40))
    assert 325 <= coarse <= 375
    assert fine == pytest.approx(4 * coarse, rel=0.05)
    # With an Adam that remembers longer it takes twice as long.
    assert caps(*jpeg, "degradation.quality=10", "optimizer=adam") == pytest.approx(2 * coarse, abs=1)
    assert caps("problem=inpaint", f"problem.mask={mask}", *quiet, "optimizer=adam") == 12_000
    assert caps("problem=deblur", *quiet, "optimizer=adam") == 3000


def test_the_noise_on_z_falls_where_that_is_said() -> None:
    def policy(*overrides: str) -> Perturbed:
        made = build_fit(compose_config([*TINY_UNET, *overrides]), None, Precision("32-true"), {}).module.prior.policy
        assert isinstance(made, Perturbed)
        return made

    usual, falling = policy(), policy("input.falls=true", "input.std=0.1")
    assert [(one.std, one.falls) for one in (usual, falling)] == [(1 / 30, False), (0.1, True)]


def test_the_stopping_rules_are_in_tensorboard(tiny_fit: Callable[..., FitResult], tmp_path: Path) -> None:
    short = ["lr=0.1", "alpha=0.8", "iterations=90", "stopping.min_iterations=10", "stopping.patience=8"]
    result = tiny_fit("logger=tensorboard", "stopping.rules.wmv.window=5", *short, run_folder=tmp_path)
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    for rule in ("wmv", "holdout", "sure"):
        logged = {event.step: event.value for event in events.Scalars(f"stopping/{rule}")}
        curve = result.curves[f"stopping_{rule}"]
        assert logged == pytest.approx({i: value for i, value in enumerate(curve) if np.isfinite(value)})
    stopping = result.summary["stopping"]
    (handed_back,) = events.Scalars("whole_fit/iteration_handed_back")
    assert handed_back.value == stopping["iteration"]
    assert stopping["iteration"] < result.summary["iterations"] < 90
    assert "stopped by itself" in stopping["reason"]
