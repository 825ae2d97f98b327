"""A stack is a folder in one file: every page, or every band, is fitted by itself, and one file is written."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import tifffile
from PIL import Image

from dip_lightning.data import read_image
from tests.conftest import TINY_UNET, Outcome

Dip = Callable[..., Outcome]
SETTINGS = [*(override for override in TINY_UNET if not override.startswith("image.crop")), "stopping=none"]
COLOURS = skimage.data.astronaut()[60:92, 180:214]
STACK = np.stack([COLOURS[:, :, 0], COLOURS[:, :, 1], COLOURS[:, :, 2]])


def test_every_page_of_a_stack_is_restored_and_one_file_written(dip: Dip, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", STACK.astype(np.uint16) * 9, imagej=True, metadata={"axes": "ZYX"})
    told = dip(*SETTINGS, "image.path=in.tif", "image.page=all", "hydra.run.dir=run")
    assert (told.code, told.err) == (0, "")
    assert "3 of 3 parts restored." in told.out
    with tifffile.TiffFile(tmp_path / "run" / "restored.tif") as file:
        assert (file.series[0].axes, file.series[0].shape) == ("ZYX", STACK.shape)
        whole = file.asarray()
    for page in range(3):
        part = tmp_path / "run" / "parts" / f"page-{page}"
        assert np.array_equal(whole[page], read_image(part / "restored.tif").samples[:, :, 0])
        assert json.loads((part / "summary.json").read_text())["remarks"].count(f"Page {page} of 3, from 0.") == 1
    # Started again it finds them, does what is missing, and writes the same file.
    (tmp_path / "run" / "parts" / "page-1" / "summary.json").unlink()
    (tmp_path / "run" / "restored.tif").unlink()
    told = dip(*SETTINGS, "image.path=in.tif", "image.page=all", "hydra.run.dir=run")
    assert "3 of 3 parts restored, 2 of them before." in told.out
    assert np.array_equal(tifffile.imread(tmp_path / "run" / "restored.tif"), whole)


@pytest.mark.parametrize("dtype", [">i2", "<f4"])
def test_a_stack_of_an_array_comes_back_with_its_axes(dip: Dip, tmp_path: Path, dtype: str) -> None:
    stack = STACK.astype(dtype)
    np.save(tmp_path / "in.npy", stack)
    told = dip(*SETTINGS, "image.path=in.npy", "image.page=all", "image.crop=16", "hydra.run.dir=run")
    assert (told.code, told.err) == (0, "")
    restored = np.load(tmp_path / "run" / "restored.npy")
    assert (restored.dtype, restored.shape) == (np.dtype(dtype), (3, 16, 16))


def test_every_band_is_restored_by_itself(dip: Dip, tmp_path: Path) -> None:
    stored = np.dstack([COLOURS, COLOURS[:, :, :1], COLOURS[:, :, 1:2]])
    kinds = ["unspecified", "unassalpha"]
    tifffile.imwrite(tmp_path / "in.tif", stored, photometric="rgb", extrasamples=kinds)
    told = dip(*SETTINGS, "image.path=in.tif", "image.bands=each", "hydra.run.dir=run")
    assert (told.code, told.err) == (0, "")
    with tifffile.TiffFile(tmp_path / "run" / "restored.tif") as file:
        assert [extra.name.lower() for extra in file.pages.first.extrasamples] == kinds
        whole = file.asarray()
    assert np.array_equal(whole[:, :, 4], stored[:, :, 4])
    for band in range(4):
        part = read_image(tmp_path / "run" / "parts" / f"band-{band}" / "restored.tif").samples
        assert np.array_equal(part[:, :, band], whole[:, :, band])
        rest = [other for other in range(4) if other != band]
        assert np.array_equal(part[:, :, rest], stored[:, :, rest])
        assert not np.array_equal(whole[:, :, band], stored[:, :, band])


def test_a_small_stack_is_restored_to_a_large_one(dip: Dip, tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", STACK[:2])
    told = dip(*SETTINGS, "image.path=in.npy", "image.page=all", "problem=downsample", "hydra.run.dir=run")
    assert (told.code, told.err) == (0, "")
    assert np.load(tmp_path / "run" / "restored.npy").shape == (2, 64, 68)


def test_all_pages_of_a_format_that_holds_one_are_refused(dip: Dip, tmp_path: Path) -> None:
    frames = [Image.fromarray(page) for page in STACK]
    frames[0].save(tmp_path / "in.png", save_all=True, append_images=frames[1:])
    told = dip(*SETTINGS, "image.path=in.png", "image.page=all")
    assert told.code == 2
    assert (
        told.err == "dip: image.page=all of a PNG: expected one of TIFF, NPY, FITS, which hold many; try image.page=0\n"
    )
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("override", ["image.page=all", "image.bands=each"])
def test_all_of_every_file_of_a_folder_is_refused(dip: Dip, tmp_path: Path, override: str) -> None:
    (tmp_path / "photos").mkdir()
    told = dip(*SETTINGS, "image.path=photos", override)
    assert told.code == 2
    assert told.err.startswith("dip: a folder with image.page=all or image.bands=each")


@pytest.mark.parametrize("override", ["image.page=all", "image.bands=each"])
def test_python_is_told_to_take_one_at_a_time(override: str) -> None:
    from dip_lightning import UserError, restore

    with pytest.raises(UserError, match=f"{override}.*try the command dip"):
        restore(COLOURS, iterations=3, overrides=[*SETTINGS, override])
