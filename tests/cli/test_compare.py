"""`dip-compare`: its figures against their definitions, its verdict on noise and on picture, its mistakes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from dip_lightning.cli import compare
from dip_lightning.cli.compare import psnr_ssim
from dip_lightning.data.whiteness import measure_whiteness
from tests.conftest import Outcome

CLEAN = skimage.data.chelsea()[:120, :150]


@pytest.fixture
def dip_compare(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Return a function that runs ``dip-compare`` in a folder with three pictures."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    noisy = np.clip(CLEAN + rng.normal(0, 25, CLEAN.shape), 0, 255).round().astype(np.uint8)
    for name, picture in (("clean", CLEAN), ("noisy", noisy)):
        Image.fromarray(picture).save(f"{name}.png")
    Image.fromarray(np.clip(CLEAN + rng.normal(0, 5, CLEAN.shape), 0, 255).astype(np.uint8)).save("restored.png")

    def run(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["dip-compare", *arguments])
        with pytest.raises(SystemExit) as stop:
            compare.main()
        out, err = capfd.readouterr()
        return Outcome(int(stop.value.code or 0), out, err)

    return run


def test_psnr_and_ssim_agree_with_torchmetrics() -> None:
    rng = np.random.default_rng(0)
    clean = CLEAN / 255
    noisy = np.clip(clean + rng.normal(0, 0.1, clean.shape), 0, 1)
    quality, similarity = psnr_ssim(noisy, clean)
    tensors = [torch.from_numpy(image.transpose(2, 0, 1))[None] for image in (noisy, clean)]
    assert quality == pytest.approx(float(peak_signal_noise_ratio(*tensors, data_range=1.0)), abs=1e-4)
    # scikit-image averages over a uniform window, torchmetrics with these settings as well.
    reference = structural_similarity_index_measure(*tensors, data_range=1.0, gaussian_kernel=False, kernel_size=7)
    assert similarity == pytest.approx(float(reference), abs=0.01)
    assert psnr_ssim(clean, clean) == (float("inf"), 1.0)


def test_white_noise_is_white_and_picture_is_not() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, (96, 96, 3))
    white = measure_whiteness(noise)
    assert white.verdict == "white, as noise from pixel to pixel is"
    assert abs(white.neighbours) < 4 * white.chance
    # A little of its neighbour in each sample: far above chance, though little of all that is within three pixels.
    shared = noise + 0.09 * (np.roll(noise, 1, axis=0) + np.roll(noise, 1, axis=1))
    assert measure_whiteness(shared).rms < 0.05 < measure_whiteness(shared).neighbours
    assert "neighbours are alike" in measure_whiteness(shared).verdict
    blurred = (noise + np.roll(noise, 1, axis=0)) / 2
    # Each sample shares half of its energy with the one above, and none with the one beside it.
    assert measure_whiteness(blurred).neighbours == pytest.approx(0.25, abs=0.02)
    assert "neighbours are alike" in measure_whiteness(blurred).verdict
    assert "neighbours are alike" in measure_whiteness(CLEAN / 255).verdict
    alternating = np.indices((32, 32)).sum(axis=0)[:, :, None] % 2 - 0.5
    assert measure_whiteness(alternating).neighbours == pytest.approx(-1)
    assert "differ more than by chance" in measure_whiteness(alternating).verdict


def test_another_brightness_is_no_picture() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (96, 96, 3))
    shifted, tinted = noise + 0.3, noise + np.array([0.3, 0.0, -0.2])
    for residual in (shifted, tinted):
        assert measure_whiteness(residual).neighbours == pytest.approx(measure_whiteness(noise).neighbours, abs=1e-9)
        assert measure_whiteness(residual).verdict.startswith("white")


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 3), (9, 1, 1), (2, 2, 1)])
def test_the_smallest_residuals_are_measured_too(shape: tuple[int, int, int]) -> None:
    white = measure_whiteness(np.random.default_rng(0).random(shape))
    assert np.isfinite([white.neighbours, white.rms, white.chance]).all()
    assert measure_whiteness(np.zeros(shape)).verdict == "nothing"


def test_a_comparison_tells_psnr_ssim_and_what_was_removed(dip_compare: Callable[..., Outcome]) -> None:
    told = dip_compare("restored.png", "clean.png", "--noisy", "noisy.png", "--out", "figure.png")
    assert told.code == 0
    assert "34.1" in told.out  # 20·log10(255/5) = 34.15, less a little for the rounding
    assert "removed (noisy - restored): white, as noise from pixel to pixel is. RMS 25." in told.out
    assert "error (restored - clean): white" in told.out
    assert "Written: figure.png" in told.out
    with Image.open("figure.png") as figure:
        assert figure.width > 5 * figure.height / 2


def test_without_a_clean_picture_what_was_removed_is_still_judged(dip_compare: Callable[..., Outcome]) -> None:
    told = dip_compare("restored.png", "--noisy", "noisy.png")
    assert told.code == 0
    assert "PSNR" not in told.out
    assert "removed" in told.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["restored.png"], "one picture"),
        (["restored.png", "gone.png"], "no file gone.png"),
        (["restored.png", "small.png"], "pictures that differ"),
        (["restored.png", "clean.png", "--out", "gone/figure.png"], "--out gone/figure.png"),
        (["restored.png", "clean.png", "--out", "figure.xyz"], "a name that ends in .png"),
    ],
)
def test_a_mistake_costs_one_line(dip_compare: Callable[..., Outcome], arguments: list[str], said: str) -> None:
    Image.fromarray(CLEAN[:50]).save("small.png")
    told = dip_compare(*arguments)
    assert told.code == 2
    assert said in told.err
    assert told.err.count("\n") == 1


def test_comparing_does_not_load_torch() -> None:
    code = "import sys, dip_lightning.cli.compare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_range_is_the_wider_of_the_two(dip_compare: Callable[..., Outcome]) -> None:
    """What is restored may just fall short of half of what its type can say."""
    clean = (np.linspace(0, 1, 64 * 64).reshape(64, 64) * 33959).astype(np.uint16)
    restored = np.minimum(clean, 32700).astype(np.uint16)
    for name, samples in (("clean16", clean), ("restored16", restored)):
        Image.fromarray(samples).save(f"{name}.png")
    error = np.sqrt(np.square(clean.astype(float) - restored).mean()) / 65535 * 255
    for other in (["clean16.png"], ["--noisy", "clean16.png"]):
        outcome = dip_compare("restored16.png", *other)
        assert f"RMS {error:.2f} of 255" in outcome.out
        assert "Black and white" not in outcome.out
