"""What `dip-inspect` says of pictures, and that it needs no torch for it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scipy.ndimage import gaussian_filter
from skimage import data

from dip_lightning.cli import inspect
from dip_lightning.config.compose import compose_config
from dip_lightning.config.cost import default_cost
from dip_lightning.fitting.build import build_fit
from dip_lightning.fitting.memory import measure_step
from dip_lightning.fitting.own import Own
from dip_lightning.precision import Precision
from dip_lightning.system import processor
from dip_lightning.system.duration import duration

CLEAN = data.coffee()[40:168, 150:278]


def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["dip-inspect", *arguments])
    with pytest.raises(SystemExit) as end:
        inspect.main()
    out, err = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, out, err


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photograph with noise of 8 that neighbours share, as a JPEG with EXIF."""
    noise = gaussian_filter(np.random.default_rng(0).normal(0, 28, CLEAN.shape), (1, 1, 0))
    image = Image.fromarray((CLEAN + noise).clip(0, 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    (tmp_path / "photos").mkdir()
    image.save(tmp_path / "photos" / "photo.jpg", quality=98, exif=exif, dpi=(300, 300))
    return tmp_path / "photos" / "photo.jpg"


def test_a_photograph_is_described(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], photo: Path
) -> None:
    monkeypatch.chdir(photo.parent)
    code, out, _ = told(monkeypatch, capsys, "photo.jpg")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "photo.jpg: JPEG, 128x128, colour, 8 bits"
    assert lines[1].startswith("  kept: resolution, EXIF")
    assert "neighbours share 0.7 of it: a developed photograph" in out or "neighbours share 0.8" in out
    assert "GB of memory, likely" in out
    assert lines[-1] == "  to restore it: dip image.path=photo.jpg"


def test_texts_of_a_png_are_kept_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    texts = PngInfo()
    texts.add_text("Title", "coffee")
    Image.fromarray(CLEAN).save(tmp_path / "told.png", pnginfo=texts)
    Image.fromarray(CLEAN).save(tmp_path / "bare.png")
    assert "kept: what else the PNG says of itself" in told(monkeypatch, capsys, str(tmp_path / "told.png"))[1]
    assert "there is no metadata in it" in told(monkeypatch, capsys, str(tmp_path / "bare.png"))[1]


def test_of_a_large_picture_a_part_and_tiles_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (1500, 1400), np.uint8)
    Image.fromarray(noisy).save(tmp_path / "my sky.png")
    code, out, _ = told(monkeypatch, capsys, str(tmp_path / "my sky.png"))
    assert code == 0
    assert "PNG, 1500x1400, grey, 8 bits" in out
    assert "image.crop=256" in out
    assert "model=leanunet" in out
    assert "tile=512" in out
    assert f"'image.path=\"{tmp_path}/my sky.png\"'" in out


def test_a_folder_is_a_table_and_a_broken_file_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], photo: Path
) -> None:
    (photo.parent / "broken.png").write_bytes(b"no picture")
    monkeypatch.setenv("COLUMNS", "150")
    code, out, _ = told(monkeypatch, capsys, str(photo.parent))
    assert code == 0
    assert "JPEG 128x128" in out
    assert "broken.png" in out
    assert out.splitlines()[-1].endswith(f"dip image.path={photo.parent}")


@pytest.mark.parametrize("name", ["missing.png", "broken.png", "empty"])
def test_a_mistake_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "empty").mkdir()
    code, out, err = told(monkeypatch, capsys, str(tmp_path / name))
    assert (code, out) == (2, "")
    assert err.startswith("dip-inspect: ")
    assert err.count("\n") == 1


def test_mistyped_arguments_are_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(CLEAN).save("-x.png")
    for arguments, said in (
        ([], "arguments are required: pictures"),
        (["--what"], "arguments are required: pictures"),
        (["a.png", "--what"], "unrecognized arguments: --what: expected dip-inspect [-h]"),
        (["-x.png"], "-x.png: expected no name that begins like an option; try dip-inspect ./-x.png"),
    ):
        code, _, err = told(monkeypatch, capsys, *arguments)
        assert (code, err.count("\n"), said in err) == (2, 1, True), err


def test_a_command_keeps_the_tab_of_a_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Image.fromarray(CLEAN).save(tmp_path / "a\tb.png")
    assert "a\tb.png\"'" in told(monkeypatch, capsys, str(tmp_path / "a\tb.png"))[1]


def test_torch_is_not_loaded(photo: Path) -> None:
    script = (
        "import sys; from dip_lightning.cli import inspect\n"
        f"sys.argv = ['dip-inspect', {str(photo)!r}]\n"
        "try:\n    inspect.main()\nexcept SystemExit:\n    sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_the_memory_told_is_that_of_the_default_network(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dip_lightning.config.cost.has_native_bf16", lambda: precision == "bf16")
    fit = build_fit(compose_config(["image.crop=64", "trainer=cpu"]), None, Precision.named("fp32"), {}, own=Own())
    autocast = torch.bfloat16 if precision == "bf16" else None
    step = measure_step(fit.module.prior, device=torch.device("cpu"), weights=torch.float32, autocast=autocast)
    cost, twice = (default_cost(pixels, 5000) for pixels in (10**6, 2 * 10**6))
    assert cost.precision == precision
    assert (twice.bytes - cost.bytes) / 10**6 == pytest.approx(step.per_pixel, rel=0.15)
    assert 0 < cost.likely < cost.at_most == twice.at_most / 2


def test_durations_are_said_in_fitting_units() -> None:
    assert [duration(seconds) for seconds in (0.2, 40, 89, 300, 7200)] == ["1 s", "40 s", "89 s", "5 min", "2.0 h"]
    assert isinstance(processor.has_native_bf16(), bool)
