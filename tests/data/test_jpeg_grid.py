"""What a JPEG says of its coefficients, read from decoded samples; and the distance to all that compresses to it."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter
from skimage.data import astronaut

from dip_lightning import UserError, restore
from dip_lightning.data import JpegCompression, NoDegradation, load_observation
from dip_lightning.data.jpeg_grid import JpegGrid, read_grid
from dip_lightning.problems import Identity, Jpeg
from dip_lightning.problems.jpeg_intervals import JpegIntervals
from tests.conftest import TINY_UNET

PICTURE = astronaut()[:70, 200:290]  # of 70x90 pixels: the border cuts blocks


def compressed(picture: NDArray[np.uint8] = PICTURE, quality: int = 25, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality, **options)
    return file.getvalue()


def blocks(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    height, width = plane.shape
    return plane.reshape(height // 8, 8, width // 8, 8).transpose(0, 2, 1, 3)


def in_steps(grid: JpegGrid, picture: NDArray[np.uint8]) -> float:
    """How far at most coefficients of the uncompressed picture are from the file's, in steps of the quantisation."""
    ycbcr = np.asarray(Image.fromarray(picture).convert("YCbCr" if picture.ndim == 3 else "L"), float)
    farthest = []
    for index, plane in enumerate(grid.planes):
        height, width = plane.coefficients.shape
        samples = ycbcr.reshape(*picture.shape[:2], -1)[: height * plane.rows, : width * plane.columns, index]
        means = samples.reshape(height, plane.rows, width, plane.columns).mean(axis=(1, 3)) - 128
        apart = dctn(blocks(means), axes=(2, 3), norm="ortho") - blocks(plane.coefficients)
        farthest.append(np.abs(apart / plane.steps).max())
    return float(max(farthest))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_the_uncompressed_picture_lies_in_the_intervals(subsampling: int) -> None:
    grid = read_grid(compressed(subsampling=subsampling), "it")
    assert [plane.rows for plane in grid.planes] == ([1, 2, 2] if subsampling == 2 else [1, 1, 1])
    assert [plane.columns for plane in grid.planes] == ([1, 2, 2] if subsampling else [1, 1, 1])
    assert grid.align == (16 if subsampling else 8)
    assert in_steps(grid, PICTURE) < 0.7  # half a step, and what rounding to 8 bits in between adds


def test_grey_and_progressive_files_are_read() -> None:
    grey = PICTURE[:, :, 0].copy()
    assert in_steps(read_grid(compressed(grey), "it"), grey) < 0.7
    assert in_steps(read_grid(compressed(progressive=True), "it"), PICTURE) < 0.7


def test_a_part_has_the_coefficients_of_its_blocks() -> None:
    grid = read_grid(compressed(), "it")
    part = grid.cropped(16, 32, 40, 48)
    assert [plane.coefficients.shape for plane in part.planes] == [(40, 48), (16, 24), (16, 24)]
    assert np.array_equal(part.planes[0].coefficients, grid.planes[0].coefficients[16:56, 32:80])
    assert np.array_equal(part.planes[1].coefficients, grid.planes[1].coefficients[8:24, 16:40])


def tensor(picture: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(picture / 255).permute(2, 0, 1)[None].float().contiguous()


@pytest.mark.parametrize("subsampling", [0, 2])
def test_the_distance_is_none_of_what_compresses_to_the_file(subsampling: int) -> None:
    data = compressed(PICTURE[:64, :80].copy(), subsampling=subsampling)
    term = JpegIntervals(read_grid(data, "it"))
    decoded = tensor(np.asarray(Image.open(io.BytesIO(data))))
    clean = tensor(PICTURE[:64, :80])
    assert term(clean, decoded).mean() < 0.002 * (clean - decoded).square().mean()
    smooth = tensor(gaussian_filter(PICTURE[:64, :80].astype(float), (2, 2, 0)))
    far = smooth.requires_grad_()
    loss = term(far, decoded)
    assert loss.shape == far.shape
    assert loss.mean() > 0.05 * (smooth - decoded).square().mean()
    loss.sum().backward()
    # A step against the gradient leads to the nearest picture that compresses to the file.
    assert far.grad is not None
    nearest = (far - far.grad / 2).detach()
    assert term(nearest, decoded).mean() < 1e-9


def test_where_the_border_cuts_a_block_the_file_s_picture_counts() -> None:
    data = compressed()
    decoded = tensor(np.asarray(Image.open(io.BytesIO(data))))
    loss = JpegIntervals(read_grid(data, "it"))(decoded + 0.001, decoded)
    assert torch.allclose(loss[:, :, 64:, 80:], torch.tensor(1e-6), rtol=0.01)
    assert loss[:, :, :64, :80].max() < 1e-7


def test_files_that_say_nothing_of_the_kind_are_refused(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "it.png")
    (tmp_path / "rgb.jpg").write_bytes(compressed(keep_rgb=True))
    turned = Image.Exif()
    turned[0x0112] = 6
    (tmp_path / "turned.jpg").write_bytes(compressed(exif=turned))
    for name, told in (("it.png", "no JPEG"), ("rgb.jpg", "grey or YCbCr"), ("turned.jpg", "to be turned")):
        with pytest.raises(UserError, match=told):
            load_observation(tmp_path / name, NoDegradation(), operator=Jpeg())
    with pytest.raises(UserError, match="no file"):
        load_observation(PICTURE, NoDegradation(), operator=Jpeg())


def test_what_has_other_samples_than_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "it.jpg").write_bytes(compressed())
    for options, told in (
        ({"size": 40}, "image.size"),
        ({"size": 40, "crop": 48}, "image.size"),
        ({"bands": [0]}, "bands"),
    ):
        with pytest.raises(UserError, match=told):
            load_observation(tmp_path / "it.jpg", NoDegradation(), operator=Jpeg(), **options)


def test_a_part_of_a_file_begins_where_its_blocks_do(tmp_path: Path) -> None:
    (tmp_path / "it.jpg").write_bytes(compressed())
    seen = load_observation(tmp_path / "it.jpg", NoDegradation(), operator=Jpeg(), crop=32)
    assert seen.jpeg is not None
    whole = load_observation(tmp_path / "it.jpg", NoDegradation(), operator=Jpeg())
    assert whole.jpeg is not None
    assert np.array_equal(seen.jpeg.planes[0].coefficients, whole.jpeg.planes[0].coefficients[16:48, 16:48])
    assert torch.equal(seen.noisy, whole.noisy[:, :, 16:48, 16:48])
    tile = whole.cropped(32, 16, 32, 48)
    assert tile.jpeg is not None
    assert np.array_equal(tile.jpeg.planes[0].coefficients, whole.jpeg.planes[0].coefficients[32:64, 16:64])
    assert load_observation(tmp_path / "it.jpg", NoDegradation(), operator=Identity()).jpeg is None


def test_what_is_made_for_a_study_has_its_own_intervals() -> None:
    seen = load_observation(PICTURE, JpegCompression(20), operator=Jpeg())
    assert seen.jpeg is not None
    assert in_steps(seen.jpeg, PICTURE) < 0.7


def test_a_fit_minimises_the_distance(tmp_path: Path) -> None:
    (tmp_path / "it.jpg").write_bytes(compressed())
    settings = [*TINY_UNET, "problem=dejpeg"]

    def losses(*more: str) -> Any:
        result = restore(tmp_path / "it.jpg", iterations=20, overrides=[*settings, *more])
        return result.summary["data_term"], result.curves["loss"][-1]

    intervals, mse = losses("data_term=intervals"), losses()
    assert (intervals[0], mse[0]) == ("intervals", "mse")
    assert intervals[1] < mse[1]
    with pytest.raises(UserError, match="data_term=intervals"):
        restore(PICTURE, iterations=2, overrides=[*TINY_UNET, "data_term=intervals"])
