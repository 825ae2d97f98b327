"""Each row of the table in docs/formats.md: what is read, what survives, and what is refused in one line."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from dip_lightning.data import Picture, read_image, write_image
from dip_lightning.data.cropping import read_source
from dip_lightning.data.image_io import SUFFIXES, write_pages
from dip_lightning.errors import UserError

RNG = np.random.default_rng(0)
HEIGHT, WIDTH = 21, 26
RGB = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
GREY, FOURTH = RGB[:, :, 0], RNG.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
RGBX = np.dstack([RGB, FOURTH])


def numbers(dtype: str, channels: int = 1) -> np.ndarray:
    """Samples of a type, over much of what it can say."""
    shape = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return RNG.normal(100, 30, shape).astype(kind)
    ends = np.iinfo(kind)
    return RNG.integers(ends.min // 2, ends.max // 2, shape, dtype=kind.newbyteorder("=")).astype(kind)


def written(tmp_path: Path, picture: Picture) -> Path:
    """What is written of a picture whose samples went the way of a fit that changes nothing."""
    path = tmp_path / f"out{SUFFIXES[picture.format]}"
    write_image(path, picture.with_unit(picture.to_unit()))
    return path


def raw_page(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """The samples of a TIFF as they are stored, and how."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        names = ("bitspersample", "photometric", "extrasamples", "planarconfig", "dtype", "sampleformat", "compression")
        return page.asarray(), {name: getattr(page, name) for name in names} | {"order": file.byteorder}


TIFFS: dict[str, tuple[np.ndarray, dict[str, Any], int, bool]] = {
    # name: (samples, how they are stored, bands that are restored, whether one is alpha)
    **{f"grey {dtype}": (numbers(dtype), {"photometric": "minisblack"}, 1, False) for dtype in ("u1", "u2", "u4")},
    **{f"signed {dtype}": (numbers(dtype), {"photometric": "minisblack"}, 1, False) for dtype in ("i1", "i2", "i4")},
    **{f"float {dtype}": (numbers(dtype), {"photometric": "minisblack"}, 1, False) for dtype in ("f2", "f4", "f8")},
    "big-endian": (numbers(">u2", 3), {"photometric": "rgb", "byteorder": ">"}, 3, False),
    "big-endian float": (numbers(">f4"), {"photometric": "minisblack", "byteorder": ">"}, 1, False),
    "beyond 4 GB": (numbers("u2", 3), {"photometric": "rgb", "bigtiff": True}, 3, False),
    "rgb": (RGB, {"photometric": "rgb"}, 3, False),
    "rgb + alpha": (RGBX, {"photometric": "rgb", "extrasamples": ["unassalpha"]}, 3, True),
    "rgb + infrared": (RGBX, {"photometric": "rgb", "extrasamples": ["unspecified"]}, 4, False),
    "grey + alpha": (
        RGBX[:, :, :2],
        {"photometric": "minisblack", "extrasamples": ["unassalpha"], "planarconfig": "contig"},
        1,
        True,
    ),
    "two channels": (RGBX[:, :, :2], {"photometric": "minisblack", "planarconfig": "contig"}, 2, False),
    "five bands": (numbers("u2", 5), {"photometric": "minisblack", "planarconfig": "contig"}, 5, False),
    "two alphas": (
        numbers("u1", 6),
        {"photometric": "rgb", "extrasamples": ["unspecified", "unassalpha", "assocalpha"]},
        4,
        True,
    ),
    "planes": (np.moveaxis(RGB, -1, 0), {"photometric": "rgb", "planarconfig": "separate"}, 3, False),
    "planes of bands": (
        np.moveaxis(numbers("f4", 4), -1, 0),
        {"photometric": "minisblack", "planarconfig": "separate"},
        4,
        False,
    ),
    "white is zero": (GREY, {"photometric": "miniswhite"}, 1, False),
    "white is zero + alpha": (
        RGBX[:, :, :2],
        {"photometric": "miniswhite", "extrasamples": ["unassalpha"], "planarconfig": "contig"},
        1,
        True,
    ),
    **{
        f"{bits} bits": (numbers("u2") >> (16 - bits), {"photometric": "minisblack", "bitspersample": bits}, 1, False)
        for bits in (10, 12, 14)
    },
    "4 bits": (GREY >> 4, {"photometric": "minisblack", "bitspersample": 4}, 1, False),
    "12 bits rgb": (numbers("u2", 3) >> 4, {"photometric": "rgb", "bitspersample": 12}, 3, False),
    "lzw": (RGB, {"photometric": "rgb", "compression": "lzw", "predictor": True}, 3, False),
    "zstd": (numbers("u2"), {"photometric": "minisblack", "compression": "zstd"}, 1, False),
    "float predictor": (numbers("f4"), {"photometric": "minisblack", "compression": "zlib", "predictor": 3}, 1, False),
    "tiles": (np.tile(numbers("u2"), (3, 2)), {"photometric": "minisblack", "tile": (16, 16)}, 1, False),
}


@pytest.mark.parametrize("kind", TIFFS)
def test_a_tiff_is_written_as_it_was(tmp_path: Path, kind: str) -> None:
    samples, options, bands, alpha = TIFFS[kind]
    path = tmp_path / "in.tif"
    file = {key: options[key] for key in ("byteorder", "bigtiff") if key in options}
    page = {key: value for key, value in options.items() if key not in file}
    with tifffile.TiffWriter(path, **file) as opened:
        opened.write(samples, **page)
    picture = read_image(path)
    assert picture.samples.shape[2] == bands
    assert (picture.alpha is not None) == alpha
    (stored, how), (before, was) = raw_page(written(tmp_path, picture)), raw_page(path)
    assert np.array_equal(stored, before)
    assert how == was
    assert picture.notes == ()


def test_white_is_zero_is_turned_round_and_alpha_is_not(tmp_path: Path) -> None:
    options: Any = {"photometric": "miniswhite", "extrasamples": ["unassalpha"], "planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "in.tif", RGBX[:, :, :2], **options)
    picture = read_image(tmp_path / "in.tif")
    assert np.array_equal(picture.samples[:, :, 0], 255 - RGBX[:, :, 0])
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, RGBX[:, :, 1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_associated_alpha_is_undone_and_redone(tmp_path: Path, dtype: Any) -> None:
    white = 1.0 if dtype is np.float32 else np.iinfo(dtype).max
    alpha = (np.linspace(0, 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * white).astype(dtype)
    colour = np.array([0.2, 0.5, 0.9])
    stored = np.dstack([alpha[:, :, None] * colour, alpha]).astype(dtype)
    tifffile.imwrite(tmp_path / "in.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    picture = read_image(tmp_path / "in.tif")
    opaque = picture.alpha > white / 2
    assert np.abs(picture.samples[opaque] / white - colour).max() < 0.02
    out = written(tmp_path, picture)
    kept, how = raw_page(out)
    assert np.allclose(kept, stored, atol=1e-6 if dtype is np.float32 else 0)
    assert [extra.name for extra in how["extrasamples"]] == ["ASSOCALPHA"]
    # A brighter result is a brighter colour, not another opacity; what cannot be seen stays as it was.
    brighter = picture.with_unit(np.ones(picture.samples.shape))
    write_image(out, brighter)
    assert np.allclose(raw_page(out)[0], np.dstack([alpha] * 4), atol=1e-6)
    assert np.array_equal(brighter.samples[picture.alpha == 0], picture.samples[picture.alpha == 0])


def test_bits_say_where_white_is(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", np.full((16, 16), 4095, np.uint16), photometric=1, bitspersample=12)
    picture = read_image(tmp_path / "in.tif")
    assert picture.to_unit().max() == 1
    assert picture.with_unit(np.full((16, 16, 1), 2.0)).samples.max() == 4095


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_of_a_tiff_is_read_as_colour(tmp_path: Path, bits: int) -> None:
    few = Image.fromarray(RGB).quantize(2**bits)
    few.save(tmp_path / "in.tif", bits=bits)
    expected = np.asarray(few.convert("RGB"))
    picture = read_image(tmp_path / "in.tif")
    assert np.array_equal(picture.samples, expected)
    again = read_image(written(tmp_path, picture))
    assert again.palette
    assert np.abs(again.samples.astype(int) - expected).mean() < 3


def test_a_jpeg_in_a_tiff_is_read_as_rgb(tmp_path: Path) -> None:
    flat = np.full((32, 32, 3), (200, 100, 50), np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", flat, photometric="rgb", compression="jpeg")
    picture = read_image(tmp_path / "in.tif")
    assert np.abs(picture.samples.astype(int) - flat).max() <= 2
    stored, how = raw_page(written(tmp_path, picture))
    assert np.array_equal(stored, picture.samples)
    assert how["photometric"].name == "RGB"


# Previews, reduced copies, masks


def test_a_preview_is_not_taken_for_the_picture(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "in.tif") as file:
        file.write(RGB[::4, ::4], photometric="rgb", subifds=1, subfiletype=1, metadata=None)
        file.write(RGB, photometric="rgb", metadata=None)
    picture = read_image(tmp_path / "in.tif")
    assert np.array_equal(picture.samples, RGB)
    assert any("preview (1)" in note for note in picture.notes)
    with tifffile.TiffWriter(tmp_path / "only.tif") as file:
        file.write(RGB[::4, ::4], photometric="rgb", subfiletype=1, metadata=None)
    with pytest.raises(UserError, match="nothing but a preview"):
        read_image(tmp_path / "only.tif")


def test_a_picture_with_copies_and_a_mask_has_one_page(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "in.tif") as file:
        file.write(RGB, photometric="rgb", metadata=None)
        file.write(RGB[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
        file.write(GREY > 9, photometric="minisblack", subfiletype=4, metadata=None)
    picture = read_image(tmp_path / "in.tif")
    assert picture.pages == 1
    assert picture.notes == ("left out: reduced copy or preview (1), transparency mask (1)",)


def test_a_preview_without_a_tag_is_told_by_what_lies_below_it(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "in.tif") as file:
        file.write(RGB[::4, ::4], photometric="rgb", subifds=1, metadata=None)
        file.write(RGB, photometric="rgb", metadata=None)
    assert np.array_equal(read_image(tmp_path / "in.tif").samples, RGB)


# What is refused


def png(depth: int, colour: int, rows: list[bytes], *chunks: tuple[bytes, bytes], width: int = WIDTH) -> bytes:
    """A PNG with any chunks between its header and its samples."""

    def framed(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", body), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed(*part) for part in parts)


def raw_tiff(path: Path, *, dng: bool = False, photometric: str = "cfa") -> None:
    with tifffile.TiffWriter(path) as file:
        extra: Any = [(50706, 1, 4, (1, 4, 0, 0), True)] if dng else []
        file.write(RGB[::4, ::4], photometric="rgb", subifds=1, subfiletype=1, metadata=None, extratags=extra)
        file.write(numbers("u2"), photometric=photometric, metadata=None)


def fits_without_image(path: Path) -> None:
    from astropy.io import fits

    fits.PrimaryHDU().writeto(path)


def of_head(head: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(head + bytes(200))


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "camera.nef": (raw_tiff, "raw file of a camera.*develop it first"),
    "camera.dng": (lambda path: raw_tiff(path, dng=True, photometric="minisblack"), "raw file of a camera"),
    "camera.cr2": (of_head(b"II*\0\x10\0\0\0CR\2\0"), "raw file of a camera"),
    "camera.cr3": (of_head(b"\0\0\0\x18ftypcrx "), "raw file of a camera"),
    "camera.raf": (of_head(b"FUJIFILMCCD-RAW "), "raw file of a camera"),
    "camera.orf": (of_head(b"IIRO\x08\0\0\0"), "raw file of a camera"),
    "camera.rw2": (of_head(b"IIU\0\x18\0\0\0"), "raw file of a camera"),
    "photo.heic": (of_head(b"\0\0\0\x18ftypheic"), "an HEIF .HEIC. file.*convert it first"),
    "some.npz": (of_head(b"PK\3\4"), "a ZIP"),
    "inks.tif": (lambda path: tifffile.imwrite(path, RGBX, photometric="separated"), r"inks \(CMYK\)"),
    "lab.tif": (lambda path: tifffile.imwrite(path, RGB, photometric="cielab"), r"CIE L\*a\*b\*"),
    "ycbcr.tif": (lambda path: tifffile.imwrite(path, RGB, photometric="ycbcr"), "YCbCr"),
    "one-bit.tif": (lambda path: tifffile.imwrite(path, GREY > 99, photometric="minisblack"), "1 bit"),
    "complex.tif": (lambda path: tifffile.imwrite(path, GREY.astype(np.complex64), photometric=1), "complex64"),
    "volume.tif": (
        lambda path: tifffile.imwrite(path, np.zeros((16, 16, 16), np.uint8), volumetric=True, tile=(16, 16, 16)),
        "volume of 16 planes",
    ),
    "twelve.jpg": (
        lambda path: path.write_bytes(b"\xff\xd8\xff\xc1\0\x11\x0c\0\x10\0\x10\3" + bytes(40)),
        "JPEG of 12 bits",
    ),
    "inks.jpg": (lambda path: Image.fromarray(RGB).convert("CMYK").save(path), r"inks \(CMYK\)"),
    "one-bit.png": (lambda path: Image.fromarray(GREY > 99).save(path), "1 bit"),
    "objects.npy": (lambda path: np.save(path, np.array([{}, {}]), allow_pickle=True), "Python objects"),
    "line.npy": (lambda path: np.save(path, np.zeros(9)), "shape 9"),
    "bool.npy": (lambda path: np.save(path, GREY > 9), "one bit"),
    "complex.npy": (lambda path: np.save(path, GREY * 1j), "complex128"),
    "large.npy": (lambda path: np.save(path, np.full((9, 9), 2**60)), r"beyond 2\^53"),
    "lost.npy": (lambda path: np.save(path, np.full((9, 9), np.nan)), "no sample is known"),
    "empty.fits": (fits_without_image, "no image"),
    "ten.bmp": (
        lambda path: path.write_bytes(bmp_of_32_bits(b"\0" * 4, 1, 1, 3, (0x3FF00000, 0xFFC00, 0x3FF, 0))),
        "masks 3ff00000",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_restored_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    make, said = REFUSED[name]
    make(tmp_path / name)
    with pytest.raises(UserError, match=said) as refused:
        read_image(tmp_path / name)
    assert name in str(refused.value)
    assert "damaged" not in str(refused.value)


# PNG, BMP, NumPy, FITS


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("depth", [8, 16])
def test_a_transparent_colour_of_a_png_becomes_alpha(tmp_path: Path, depth: int, channels: int) -> None:
    samples = numbers("u1" if depth == 8 else ">u2", channels).reshape(HEIGHT, WIDTH, channels)
    colour = samples[3, 4].astype(">u2").tobytes()
    path = tmp_path / "in.png"
    path.write_bytes(png(depth, 0 if channels == 1 else 2, [row.tobytes() for row in samples], (b"tRNS", colour)))
    picture = read_image(path)
    assert np.array_equal(picture.samples, samples)
    assert picture.alpha is not None
    assert picture.alpha.dtype == picture.samples.dtype
    assert np.array_equal(picture.alpha == 0, (samples == samples[3, 4]).all(axis=2))
    again = read_image(written(tmp_path, picture))
    assert again.alpha is not None
    assert np.array_equal(again.alpha, picture.alpha)


def bmp_of_32_bits(body: bytes, height: int, width: int, compression: int, masks: tuple[int, ...]) -> bytes:
    size = 108 if compression else 40
    header = struct.pack("<IiiHHIIiiII", size, width, height, 1, 32, compression, len(body), 2835, 2835, 0, 0)
    if compression:
        header += struct.pack("<IIII", *masks) + bytes(size - 56)
    return struct.pack("<2sIHHI", b"BM", 14 + len(header) + len(body), 0, 0, 14 + len(header)) + header + body


@pytest.mark.parametrize(
    ("compression", "masks", "alpha"),
    [
        (3, (0xFF0000, 0xFF00, 0xFF, 0xFF000000), True),
        (3, (0xFF000000, 0xFF0000, 0xFF00, 0xFF), True),
        (3, (0xFF0000, 0xFF00, 0xFF, 0), False),
        (0, (0xFF0000, 0xFF00, 0xFF, 0), False),
    ],
)
def test_the_fourth_byte_of_a_bmp_is_kept_as_what_it_is(
    tmp_path: Path, compression: int, masks: tuple[int, ...], alpha: bool
) -> None:
    value = np.zeros((HEIGHT, WIDTH), "<u4")
    for at, mask in enumerate((*masks[:3], masks[3] or 0xFF000000)):
        value |= RGBX[:, :, at].astype("<u4") * np.uint32(mask & -mask)
    (tmp_path / "in.bmp").write_bytes(bmp_of_32_bits(value[::-1].tobytes(), HEIGHT, WIDTH, compression, masks))
    for path in (tmp_path / "in.bmp", written(tmp_path, read_image(tmp_path / "in.bmp"))):
        picture = read_image(path)
        assert np.array_equal(picture.samples, RGB)
        assert (picture.alpha is not None) == alpha
        assert np.array_equal(picture.alpha if alpha else picture.others[:, :, 0], FOURTH)
        with Image.open(path) as other:  # another program sees the same
            assert np.array_equal(np.asarray(other.convert("RGB")), RGB)
            assert (other.mode == "RGBA") == alpha


@pytest.mark.parametrize(
    ("array", "bands", "pages"),
    [
        (numbers(">f4"), 1, 1),
        (numbers("<i2"), 1, 1),
        (np.asfortranarray(numbers("f8")), 1, 1),
        (numbers("i8") % 1000, 1, 1),
        (numbers("u2", 2), 2, 1),
        (numbers("f4", 4), 4, 1),
        (np.stack([numbers("u2")] * 5), 1, 5),
        (numbers("f4", 3)[None].repeat(6, 0).reshape(2, 3, HEIGHT, WIDTH, 3), 3, 6),
    ],
)
def test_an_array_is_written_as_it_was(tmp_path: Path, array: np.ndarray, bands: int, pages: int) -> None:
    np.save(tmp_path / "in.npy", array)
    pictures = [read_image(tmp_path / "in.npy", page) for page in range(pages)]
    assert pictures[0].samples.shape == (HEIGHT, WIDTH, bands)
    assert (pictures[0].alpha, pictures[0].pages) == (None, pages)
    if array.ndim > 2:
        assert f"its axes {'x'.join(map(str, array.shape))}" in pictures[0].notes[-1]
    write_pages(tmp_path / "out.npy", [picture.with_unit(picture.to_unit()) for picture in pictures])
    again = np.load(tmp_path / "out.npy")
    assert (again.dtype, again.shape, again.flags.f_contiguous) == (array.dtype, array.shape, array.flags.f_contiguous)
    assert np.allclose(again, array, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "f4", "f8"])
def test_a_fits_image_is_written_as_it_was(tmp_path: Path, dtype: str) -> None:
    from astropy.io import fits

    image, quality = numbers(dtype), GREY % 3
    parts = [fits.PrimaryHDU(), fits.ImageHDU(image, name="SCI"), fits.ImageHDU(quality, name="DQ")]
    parts[1].header["OBJECT"] = "M31"
    fits.HDUList(parts).writeto(tmp_path / "in.fits", checksum=True)
    picture = read_image(tmp_path / "in.fits")
    assert picture.samples.dtype == image.dtype
    assert np.array_equal(picture.samples[:, :, 0], image)
    assert "SCI is restored" in picture.notes[0]
    with fits.open(written(tmp_path, picture), checksum=True) as again:
        assert np.array_equal(again["SCI"].data, image)
        assert np.array_equal(again["DQ"].data, quality)
        assert again["SCI"].header["OBJECT"] == "M31"


def test_the_integers_of_a_scaled_fits_image_stay_integers(tmp_path: Path) -> None:
    from astropy.io import fits

    values = {"SIMPLE": "T", "BITPIX": 16, "NAXIS": 2, "NAXIS1": WIDTH, "NAXIS2": HEIGHT}
    values |= {"BSCALE": 0.5, "BZERO": 3.0, "BLANK": 7}
    head = "".join(f"{name:8}= {value!s:>20}".ljust(80) for name, value in values.items()) + "END".ljust(80)
    raw = (numbers("i2") // 600).astype(">i2")
    raw[0, 0] = 7
    body = raw.tobytes()
    (tmp_path / "in.fits").write_bytes(head.ljust(2880).encode() + body + bytes(-len(body) % 2880))
    picture = read_image(tmp_path / "in.fits")
    assert picture.samples.dtype == np.int16
    assert np.array_equal(picture.known[:, :, 0], raw != 7)
    with fits.open(written(tmp_path, picture), do_not_scale_image_data=True) as again:
        assert np.array_equal(again[0].data[raw != 7], raw[raw != 7])
        assert {name: again[0].header[name] for name in ("BSCALE", "BZERO", "BLANK")} == {
            "BSCALE": 0.5,
            "BZERO": 3.0,
            "BLANK": 7,
        }


def test_without_astropy_fits_costs_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.fits").write_bytes(b"SIMPLE  =                    T".ljust(2880))
    monkeypatch.setitem(__import__("sys").modules, "astropy.io", None)
    with pytest.raises(UserError, match=r"pip install 'dip-lightning\[fits\]'"):
        read_image(tmp_path / "in.fits")


# Pages and bands


def frames(path: Path, file_format: str) -> None:
    pictures = [Image.fromarray(np.roll(RGB, at, 0)) for at in range(3)]
    options = {"lossless": True} if file_format == "WEBP" else {}
    pictures[0].save(path, file_format, save_all=True, append_images=pictures[1:], duration=100, **options)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "MPO", "TIFF"])
def test_of_several_pages_one_is_chosen_and_told(tmp_path: Path, file_format: str) -> None:
    frames(tmp_path / "in", file_format)
    first, second = read_image(tmp_path / "in"), read_image(tmp_path / "in", 1)
    assert (first.page, first.pages) == (0, 3)
    assert "the first of 3 pages: image.page= chooses another" in first.notes[0]
    assert second.notes[0] == "page 1 of 3, from 0"
    assert not np.array_equal(first.samples, second.samples)
    if file_format != "MPO":
        assert np.array_equal(second.samples, np.roll(RGB, 1, 0))
    again = read_image(written(tmp_path, second))
    assert again.pages == 1
    with pytest.raises(UserError, match=r"image.page=3 of .*0 to 2"):
        read_image(tmp_path / "in", 3)


@pytest.mark.parametrize("page", [-1, "first", 1.5])
def test_a_page_that_is_no_number_is_refused(tmp_path: Path, page: Any) -> None:
    frames(tmp_path / "in.tif", "TIFF")
    with pytest.raises(UserError, match=r"image\.page"):
        read_source(tmp_path / "in.tif", page=page)


def test_bands_that_are_not_chosen_are_handed_through_in_their_place(tmp_path: Path) -> None:
    options: Any = {"photometric": "rgb", "extrasamples": ["unspecified", "unassalpha"]}
    stored = numbers("u1", 5)
    tifffile.imwrite(tmp_path / "in.tif", stored, **options)
    picture = read_source(tmp_path / "in.tif", bands=[3, 0])
    assert np.array_equal(picture.samples, stored[:, :, [3, 0]])
    assert "bands 1, 2 handed through as in the file" in picture.notes
    write_image(tmp_path / "out.tif", picture.with_unit(np.zeros(picture.samples.shape)))
    again, how = raw_page(tmp_path / "out.tif")
    assert not again[:, :, [0, 3]].any()
    assert np.array_equal(again[:, :, [1, 2, 4]], stored[:, :, [1, 2, 4]])
    assert [extra.name for extra in how["extrasamples"]] == ["UNSPECIFIED", "UNASSALPHA"]


@pytest.mark.parametrize("bands", [[5], [0, 0], [], "red", [True], [-1]])
def test_bands_that_are_not_there_are_refused(tmp_path: Path, bands: Any) -> None:
    tifffile.imwrite(tmp_path / "in.tif", RGBX, photometric="rgb", extrasamples=["unspecified"])
    with pytest.raises(UserError, match=r"image.bands=.*of its 4 bands, 0 to 3"):
        read_source(tmp_path / "in.tif", bands=bands)


def test_stacks_of_imagej_and_ome_are_stacks_again(tmp_path: Path) -> None:
    stack = np.stack([numbers("u2") for _ in range(4)])
    tifffile.imwrite(
        tmp_path / "ij.tif", stack, imagej=True, resolution=(4.5, 4.5), metadata={"axes": "ZYX", "unit": "um"}
    )
    tifffile.imwrite(tmp_path / "in.ome.tif", stack, metadata={"axes": "CYX", "Channel": {"Name": list("abcd")}})
    for name in ("ij.tif", "in.ome.tif"):
        pictures = [read_image(tmp_path / name, page) for page in range(4)]
        write_pages(tmp_path / "out.tif", pictures)
        with tifffile.TiffFile(tmp_path / "out.tif") as after, tifffile.TiffFile(tmp_path / name) as before:
            assert np.array_equal(after.asarray(), stack)
            assert after.series[0].axes == before.series[0].axes
            assert after.imagej_metadata == before.imagej_metadata
            assert after.ome_metadata == before.ome_metadata
            assert after.pages.first.resolution == before.pages.first.resolution


def test_one_page_of_a_stack_does_not_say_that_it_is_the_stack(tmp_path: Path) -> None:
    stack = np.stack([numbers("u2") for _ in range(4)])
    tifffile.imwrite(tmp_path / "ij.tif", stack, imagej=True, metadata={"axes": "ZYX", "spacing": 2.5, "unit": "um"})
    with tifffile.TiffFile(written(tmp_path, read_image(tmp_path / "ij.tif", 2))) as file:
        assert len(file.pages) == 1
        assert np.array_equal(file.asarray(), stack[2])
        assert "images=" not in file.pages.first.description
        assert "spacing=2.5\nunit=um" in file.pages.first.description
    tifffile.imwrite(tmp_path / "in.ome.tif", stack, metadata={"axes": "CYX"})
    picture = read_image(tmp_path / "in.ome.tif", 2)
    assert "left out: the OME description of all pages" in picture.notes
    with tifffile.TiffFile(written(tmp_path, picture)) as file:
        assert not file.is_ome


def test_a_stack_of_which_only_the_first_page_has_tags_is_read(tmp_path: Path) -> None:
    stack = np.stack([numbers("u2") for _ in range(4)])
    tifffile.imwrite(tmp_path / "in.tif", stack, photometric="minisblack", truncate=True)
    with tifffile.TiffFile(tmp_path / "in.tif") as file:
        assert len(file.pages) == 1
    pictures = [read_image(tmp_path / "in.tif", page) for page in range(4)]
    assert np.array_equal(np.stack([picture.samples[:, :, 0] for picture in pictures]), stack)
    write_pages(tmp_path / "out.tif", pictures)
    assert np.array_equal(tifffile.imread(tmp_path / "out.tif"), stack)


def test_the_table_in_the_docs_names_every_format() -> None:
    table = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    for suffix in SUFFIXES.values():
        assert f"`{suffix}`" in table, suffix
