"""What is written is read again as it was, whatever the mode, the depth and the size."""

from itertools import product
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dip_lightning.data import SUFFIXES, Picture, read_image, write_image

# Which formats hold which depth, with and without alpha.
KINDS = [
    *product(("PNG", "TIFF"), (8, 16), (1, 3), (False, True)),
    *product(("BMP",), (8,), (1, 3), (False,)),
    *product(("WEBP",), (8,), (3,), (False, True)),
]


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    name, depth, channels, alpha = draw(st.sampled_from(KINDS))
    dtype = np.uint8 if depth == 8 else np.uint16
    height, width = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    samples = draw(arrays(dtype, (height, width, channels)))
    opacity = draw(arrays(dtype, (height, width))) if alpha else None
    dots = draw(st.none() | st.integers(1, 2400))
    return Picture(samples, opacity, name, metadata={} if dots is None or name == "WEBP" else {"dpi": (dots, dots)})


def plain(name: str, height: int, width: int, channels: int = 3) -> Picture:
    return Picture(np.full((height, width, channels), 7, np.uint8), None, name)


@settings(
    max_examples=200, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pictures())
@example(plain("PNG", 1, 1))
@example(plain("TIFF", 1, 3, channels=1))
def test_a_picture_is_read_as_it_was_written(tmp_path: Path, picture: Picture) -> None:
    path = tmp_path / f"picture{SUFFIXES[picture.format]}"
    write_image(path, picture)
    again = read_image(path)
    assert again.format == picture.format
    assert again.samples.dtype == picture.samples.dtype
    assert np.array_equal(again.samples, picture.samples)
    assert (again.alpha is None) == (picture.alpha is None)
    if picture.alpha is not None:
        assert np.array_equal(again.alpha, picture.alpha)
    if "dpi" in picture.metadata:
        # PNG counts in dots a metre.
        assert abs(float(again.metadata["dpi"][0]) - picture.metadata["dpi"][0]) < 0.02


@settings(max_examples=50, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pictures())
def test_a_picture_survives_the_way_through_floats(tmp_path: Path, picture: Picture) -> None:
    assert np.array_equal(picture.with_unit(picture.to_unit()).samples, picture.samples)


@settings(max_examples=50, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]), st.integers(0, 255))
def test_a_flat_jpeg_comes_back_within_a_step(
    tmp_path: Path, height: int, width: int, channels: int, value: int
) -> None:
    """JPEG loses detail; of a picture that has none it keeps size, mode and, up to rounding, the value."""
    path = tmp_path / "picture.jpg"
    picture = Picture(np.full((height, width, channels), value, np.uint8), None, "JPEG")
    write_image(path, picture)
    again = read_image(path)
    assert again.samples.shape == picture.samples.shape
    assert np.abs(again.samples.astype(int) - value).max() <= 1
