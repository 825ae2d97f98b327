"""Pictures of Python: arrays, tensors and those of PIL go in, and one of the same kind comes out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from dip_lightning import FitResult, UserError, restore
from tests.conftest import TINY_UNET

TINY = [override for override in TINY_UNET if override.startswith(("model.", "trainer"))]
ARRAY = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
UNIT = (ARRAY / 255).astype(np.float32)
CHANNELS_FIRST = np.moveaxis(UNIT, -1, 0).copy()


def fit(image: Any, *overrides: str, **settings: Any) -> FitResult:
    return restore(image, iterations=3, overrides=[*TINY, *overrides], **settings)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_come_back_as_floats(dtype: type[np.floating]) -> None:
    result = fit(UNIT.astype(dtype), clean=UNIT)
    assert (result.image.dtype, result.image.shape) == (dtype, UNIT.shape)
    assert result.image.min() >= 0
    assert result.image.max() <= 1
    assert result.summary["range"]["source"] == "type"


def test_what_comes_back_can_be_given_again() -> None:
    """A bright picture is fitted in a range of its own with a margin, which reaches beyond 1."""
    bright = 0.9 + UNIT / 10
    result = fit(bright)
    assert result.summary["range"]["high"] > 1
    fit(result.image)
    brightest = result.picture.with_unit(np.ones(UNIT.shape))
    assert brightest.samples.max() > 1
    assert result.form.back(brightest).max() == 1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_tensor_gives_a_tensor(dtype: torch.dtype) -> None:
    unit = torch.from_numpy(CHANNELS_FIRST).requires_grad_()
    given = (unit * 255).round().to(dtype) if dtype is torch.uint8 else unit.to(dtype)
    image = fit(given).image
    assert (image.dtype, image.shape, image.device) == (dtype, (3, 16, 24), given.device)
    grey = fit(given[0], clean=given[0]).image
    assert (grey.dtype, grey.shape) == (dtype, (16, 24))
    assert fit(given[:1]).image.shape == (1, 16, 24)


def test_a_tensor_and_its_array_give_the_same() -> None:
    of_tensor = fit(torch.from_numpy(CHANNELS_FIRST)).image
    assert np.array_equal(of_tensor.permute(1, 2, 0).numpy(), fit(UNIT).image)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "I;16", "I", "F"])
def test_a_picture_of_pil_gives_one(mode: str) -> None:
    given = {
        "I;16": lambda: Image.fromarray(ARRAY[:, :, 0].astype(np.uint16) * 257),
        "I": lambda: Image.fromarray(ARRAY[:, :, 0].astype(np.int32)),
        "F": lambda: Image.fromarray(UNIT[:, :, 0]),
    }.get(mode, lambda: Image.fromarray(ARRAY).convert(mode))()
    if mode.endswith("A"):
        given.putalpha(Image.fromarray(ARRAY[:, :, 1]))
    given.info |= {"dpi": (300, 300), "icc_profile": b"profile"}
    image = fit(given).image
    assert (image.mode, image.size) == ("RGB" if mode == "P" else mode, given.size)
    assert (image.info["dpi"], image.info["icc_profile"]) == ((300, 300), b"profile")
    assert image.tobytes() != given.tobytes()
    if mode.endswith("A"):
        assert np.array_equal(np.asarray(image)[:, :, -1], ARRAY[:, :, 1])


def test_a_palette_with_transparency_comes_back_with_alpha(tmp_path: Path) -> None:
    given = Image.fromarray(ARRAY).convert("P")
    given.info["transparency"] = 3
    image = fit(given).image
    assert image.mode == "RGBA"
    image.save(tmp_path / "it.png")


def test_a_file_of_pil_that_breaks_off_is_told(tmp_path: Path) -> None:
    Image.fromarray(ARRAY).save(tmp_path / "whole.png")
    (tmp_path / "part.png").write_bytes((tmp_path / "whole.png").read_bytes()[:300])
    with (
        Image.open(tmp_path / "part.png") as part,
        pytest.raises(UserError, match="image, a PIL picture that cannot be read"),
    ):
        fit(part)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            lambda: CHANNELS_FIRST,
            r"image of shape 3x16x24, its channels first: expected \(H, W\) or \(H, W, C\); try n",
        ),
        (lambda: CHANNELS_FIRST[:1], "image of shape 1x16x24, its channels first"),
        (lambda: CHANNELS_FIRST[[0, 1, 2, 0, 1, 2, 0]], "image of shape 7x16x24, its channels first"),
        (lambda: UNIT[None], r"an array of shape 1x16x24x3: expected \(H, W\)"),
        (lambda: UNIT * 255, r"image with floats from 0 to 255: expected floats in \[0, 1\]; divide them .*0,255"),
        (lambda: UNIT - 0.5, r"image with floats from -0.5 to 0.5: .*overrides=\['image.range=\[-0.5,0.5\]'\]"),
        (lambda: np.ma.MaskedArray(UNIT * 2, UNIT < 0.5), "image with floats from 1.* to 2"),
        (lambda: torch.from_numpy(UNIT), r"a tensor of shape 16x24x3, its channels last: .*permute\(2, 0, 1\)"),
        (lambda: torch.from_numpy(CHANNELS_FIRST)[None], r"a tensor of shape 1x3x16x24: .*try image\[0\]"),
        (lambda: torch.from_numpy(ARRAY[:, :, 0].astype(np.int64)), "a tensor of torch.int64: expected floats"),
        (lambda: torch.from_numpy(CHANNELS_FIRST * 3), "image with floats from 0 to 3"),
        (lambda: Image.fromarray(ARRAY).convert("CMYK"), "a PIL picture of mode CMYK: expected one of L, "),
        (lambda: Image.fromarray(ARRAY).convert("1"), "a PIL picture of mode 1"),
        (lambda: Image.fromarray(UNIT[:, :, 0] * 9), "image with floats from 0 to 8.96"),
        (lambda: ARRAY.tolist(), "image of type list: expected an array, a tensor, a PIL picture or a path"),
    ],
)
def test_what_cannot_be_taken_is_told_in_one_line(wrong: Callable[[], Any], told: str) -> None:
    with pytest.raises(UserError, match=told) as refused:
        fit(wrong())
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match=told.replace("image", "(image|clean)", 1)):
        fit(UNIT, clean=wrong())


@pytest.mark.parametrize("given", ["[0,4095]", "null"])
def test_other_floats_are_taken_where_their_range_is_said(given: str) -> None:
    counts: NDArray[np.float32] = UNIT * 4095
    image = fit(counts, f"image.range={given}").image
    assert image.max() > 100


def test_floats_beyond_by_rounding_alone_are_taken() -> None:
    fit(np.clip(UNIT, None, 1) * np.float32(1 + 1e-6))
    lost = UNIT.copy()
    lost[2, 3] = np.inf
    kept = fit(lost, "image.lost=keep").image
    assert np.isinf(kept[2, 3]).all()
