"""Images come out as they went in: size, mode, depth, alpha."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from dip_lightning.data import SUFFIXES, read_image, write_image
from dip_lightning.data.value_range import ValueRange
from dip_lightning.errors import UserError

RNG = np.random.default_rng(0)
# Odd sizes, and height unlike width, so that a swapped axis shows.
HEIGHT, WIDTH = 37, 51


def samples(channels: int, dtype: Any = np.uint8) -> np.ndarray:
    shape = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize(
    ("file_format", "channels"),
    [
        *[("PNG", channels) for channels in (1, 2, 3, 4)],
        *[("TIFF", channels) for channels in (1, 2, 3, 4)],
        *[("BMP", channels) for channels in (1, 3)],
        *[("WEBP", channels) for channels in (3, 4)],
    ],
)
def test_eight_bits_come_out_exactly(tmp_path: Path, file_format: str, channels: int) -> None:
    source = tmp_path / f"in{SUFFIXES[file_format]}"
    original = samples(channels)
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    Image.fromarray(original).save(source, **options)
    picture = read_image(source)
    assert picture.format == file_format
    assert picture.scale == ValueRange(0, 255)
    assert picture.samples.shape == (HEIGHT, WIDTH, 3 if channels > 2 else 1)
    assert (picture.alpha is not None) == (channels in (2, 4))
    target = tmp_path / f"out{SUFFIXES[file_format]}"
    write_image(target, picture.with_unit(picture.to_unit()))
    with Image.open(source) as before, Image.open(target) as after:
        assert (after.format, after.mode, after.size) == (before.format, before.mode, before.size)
        assert np.array_equal(np.asarray(after), np.asarray(before))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bits_come_out_exactly(tmp_path: Path, file_format: str, channels: int) -> None:
    source, target = (tmp_path / f"{name}{SUFFIXES[file_format]}" for name in ("in", "out"))
    original = samples(channels, np.uint16)
    if file_format == "PNG":
        source.write_bytes(imagecodecs.png_encode(original))
    else:
        tifffile.imwrite(source, original, photometric="rgb" if channels > 2 else "minisblack", planarconfig="contig")
    picture = read_image(source)
    assert picture.scale == ValueRange(0, 65535)
    write_image(target, picture.with_unit(picture.to_unit()))
    decoded = imagecodecs.png_decode(target.read_bytes()) if file_format == "PNG" else tifffile.imread(target)
    assert decoded.dtype == np.uint16
    assert np.array_equal(decoded, original)


def test_a_jpeg_comes_out_as_a_jpeg_close_to_what_went_in(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, WIDTH, dtype=np.uint8)[None, :, None].repeat(HEIGHT, 0).repeat(3, 2)
    Image.fromarray(smooth).save(tmp_path / "in.jpg", quality=95)
    picture = read_image(tmp_path / "in.jpg")
    write_image(tmp_path / "out.jpg", picture)
    with Image.open(tmp_path / "out.jpg") as after:
        assert (after.format, after.mode, after.size) == ("JPEG", "RGB", (WIDTH, HEIGHT))
        assert np.abs(np.asarray(after).astype(int) - smooth).mean() < 2


def test_a_jpeg_is_written_at_quality_95_with_all_its_colours(tmp_path: Path) -> None:
    Image.fromarray(samples(3)).save(tmp_path / "in.jpg")
    picture = read_image(tmp_path / "in.jpg")
    write_image(tmp_path / "out.jpg", picture)
    Image.fromarray(picture.samples).save(tmp_path / "told.jpg", quality=95, subsampling=0)
    with Image.open(tmp_path / "out.jpg") as ours, Image.open(tmp_path / "told.jpg") as told:
        assert ours.quantization == told.quantization  # type: ignore[attr-defined]
        assert np.array_equal(np.asarray(ours), np.asarray(told))


def test_a_grey_jpeg_stays_grey(tmp_path: Path) -> None:
    Image.fromarray(samples(1)).save(tmp_path / "in.jpg")
    picture = read_image(tmp_path / "in.jpg")
    assert picture.samples.shape[2] == 1
    write_image(tmp_path / "out.jpg", picture)
    with Image.open(tmp_path / "out.jpg") as after:
        assert after.mode == "L"


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_a_palette_is_read_as_colour_and_written_as_a_palette(tmp_path: Path, file_format: str) -> None:
    source, target = (tmp_path / f"{name}{SUFFIXES[file_format]}" for name in ("in", "out"))
    Image.fromarray(samples(3)).quantize(64).save(source)
    with Image.open(source) as before:
        colours = np.asarray(before.convert("RGB"))
    picture = read_image(source)
    assert picture.palette
    assert np.array_equal(picture.samples, colours)
    write_image(target, picture)
    with Image.open(target) as after:
        assert after.mode == "P"
        # 64 colours fit into a palette of 256, up to the quantiser's rounding.
        assert np.abs(np.asarray(after.convert("RGB")).astype(int) - colours).mean() < 6


def test_a_palette_with_transparency_keeps_its_alpha_exactly(tmp_path: Path) -> None:
    image = Image.fromarray(samples(3)).quantize(16)
    image.save(tmp_path / "in.png", transparency=bytes(range(0, 160, 10)))
    with Image.open(tmp_path / "in.png") as before:
        expected = np.asarray(before.convert("RGBA"))
    picture = read_image(tmp_path / "in.png")
    write_image(tmp_path / "out.png", picture)
    with Image.open(tmp_path / "out.png") as after:
        assert np.array_equal(np.asarray(after), expected)


def test_a_transparent_colour_becomes_alpha(tmp_path: Path) -> None:
    grey = samples(1)
    Image.fromarray(grey).save(tmp_path / "in.png", transparency=int(grey[0, 0]))
    picture = read_image(tmp_path / "in.png")
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha == 0, grey == grey[0, 0])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "png16", "tiff16"])
def test_orientation_is_applied_as_pillow_applies_it(tmp_path: Path, orientation: int, kind: str) -> None:
    """Pillow turns 8-bit images; our own table turns 16-bit ones. Both must agree with ImageOps.exif_transpose."""
    # A gradient survives JPEG, and tells all eight orientations apart.
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    original = (rows * 3 + columns).astype(np.uint8)[:, :, None].repeat(3, 2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = read_upright(original, orientation)
    path = tmp_path / ("in" + {"jpeg": ".jpg", "tiff": ".tif", "tiff16": ".tif"}.get(kind, ".png"))
    if kind == "png16":
        path.write_bytes(with_png_exif(imagecodecs.png_encode(original.astype(np.uint16) * 257), exif.tobytes()))
    elif kind == "tiff16":
        tifffile.imwrite(
            path, original.astype(np.uint16) * 257, photometric="rgb", extratags=[(274, "H", 1, orientation, False)]
        )
    else:
        Image.fromarray(original).save(path, exif=exif)
    picture = read_image(path)
    assert picture.samples.shape == upright.shape
    scale = 257 if kind.endswith("16") else 1
    assert np.abs(picture.samples.astype(int) // scale - upright).max() <= (3 if kind == "jpeg" else 0)
    out = tmp_path / f"out{path.suffix}"
    write_image(out, picture)
    assert np.array_equal(read_image(out).samples.shape, upright.shape)
    with Image.open(out) as after:
        assert after.getexif().get(0x0112, 1) == 1


def read_upright(original: np.ndarray, orientation: int) -> np.ndarray:
    from PIL import ImageOps

    image = Image.fromarray(original)
    image.getexif()[0x0112] = orientation
    return np.asarray(ImageOps.exif_transpose(image)).astype(int)


def with_png_exif(png: bytes, exif: bytes) -> bytes:
    """Insert an eXIf chunk after the header of a PNG."""
    import struct
    import zlib

    body = b"eXIf" + exif.removeprefix(b"Exif\x00\x00")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:33] + chunk + png[33:]


def test_the_colour_profile_and_resolution_are_kept(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(samples(3)).save(tmp_path / "in.png", icc_profile=profile, dpi=(300, 300))
    write_image(tmp_path / "out.png", read_image(tmp_path / "in.png"))
    with Image.open(tmp_path / "out.png") as after:
        assert after.info["icc_profile"] == profile
        assert round(after.info["dpi"][0]) == 300


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_keep_the_colour_profile_and_resolution_too(tmp_path: Path, suffix: str) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    if suffix == ".tif":
        options: dict[str, Any] = {"iccprofile": profile, "resolution": (300, 300), "resolutionunit": "inch"}
        tifffile.imwrite(source, samples(3, np.uint16), photometric="rgb", **options)
    else:
        # What Pillow writes as 16-bit grey, with both.
        Image.fromarray(samples(1, np.uint16)).save(source, icc_profile=profile, dpi=(300, 300))
    picture = read_image(source)
    assert picture.scale == ValueRange(0, 65535)
    write_image(target, picture)
    with Image.open(target) as after:
        assert after.info["icc_profile"] == profile
        assert round(float(after.info["dpi"][0])) == 300
    assert np.array_equal(read_image(target).samples, picture.samples)


def test_the_content_tells_the_format_not_the_name(tmp_path: Path) -> None:
    Image.fromarray(samples(3)).save(tmp_path / "photo.png", format="JPEG")
    assert read_image(tmp_path / "photo.png").format == "JPEG"


def test_values_are_rounded_and_clipped(tmp_path: Path) -> None:
    Image.fromarray(samples(1)).save(tmp_path / "in.png")
    picture = read_image(tmp_path / "in.png").with_unit(np.array([[[-0.2], [0.5], [1.3]]]))
    assert picture.samples[:, :, 0].tolist() == [[0, 128, 255]]


def truncated(path: Path) -> Path:
    Image.fromarray(samples(3)).save(path)
    path.write_bytes(path.read_bytes()[:200])
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "missing.png", "no file"),
        (lambda folder: folder, "is a folder"),
        (lambda folder: folder / "text.png", "no image"),
        (lambda folder: folder / "empty.png", "no image"),
        (lambda folder: truncated(folder / "short.png"), "damaged"),
        (lambda folder: truncated(folder / "short.jpg"), "damaged"),
        (lambda folder: folder / "cmyk.jpg", "inks .CMYK."),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(tmp_path: Path, make: Any, said: str) -> None:
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.png").touch()
    Image.new("CMYK", (32, 32)).save(tmp_path / "cmyk.jpg")
    with pytest.raises(UserError, match=said) as refused:
        read_image(make(tmp_path))
    assert "\n" not in str(refused.value)
