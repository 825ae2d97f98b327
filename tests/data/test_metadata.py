"""What a file says of its picture is said by the restored one, or named."""

import contextlib
import struct
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from dip_lightning.data import Picture, read_image, write_image
from dip_lightning.data.cropping import crop_picture
from dip_lightning.data.image_io import SUFFIXES
from dip_lightning.errors import UserError
from tests.data.test_formats import GREY, HEIGHT, RGB, RGBX, WIDTH, bmp_of_32_bits, numbers, png, written

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="%d" xmp:Label="kept"/></x:xmpmeta>'


def exif_of(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[271], exif[274] = "Maker", orientation
    exif[0x8769] = {0x9003: "2020:01:01 00:00:00", 0x927C: b"notes of the maker"}
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 3.5)}
    return exif.tobytes()


def chunks_of(path: Path) -> list[tuple[bytes, bytes]]:
    data, at, found = path.read_bytes(), 8, []
    while at < len(data):
        length = int.from_bytes(data[at : at + 4])
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


CHUNKS = [
    (b"gAMA", struct.pack(">I", 100000)),
    (b"cHRM", struct.pack(">8I", *range(8))),
    (b"sRGB", b"\1"),
    (b"iCCP", b"name\0\0" + zlib.compress(PROFILE)),
    (b"cICP", bytes([9, 16, 0, 1])),
    (b"mDCV", bytes(24)),
    (b"cLLI", bytes(8)),
    (b"pHYs", struct.pack(">IIB", 11811, 5906, 1)),
    (b"tIME", bytes([7, 228, 1, 2, 3, 4, 5])),
    (b"tEXt", b"Title\0a picture"),
    (b"zTXt", b"Long\0\0" + zlib.compress(b"text " * 9)),
    (b"iTXt", b"Author\0\0\0de\0Urheber\0" + "Grün".encode()),
    (b"eXIf", exif_of(1).removeprefix(b"Exif\0\0")),
    (b"sBIT", b"\5\6\5"),
    (b"bKGD", bytes(6)),
    (b"prVt", b"private, may be copied"),
]


@pytest.mark.parametrize("depth", [8, 16])
def test_every_chunk_of_a_png_is_kept(tmp_path: Path, depth: int) -> None:
    samples = RGB if depth == 8 else numbers(">u2", 3)
    (tmp_path / "in.png").write_bytes(png(depth, 2, [row.tobytes() for row in samples], *CHUNKS))
    picture = read_image(tmp_path / "in.png")
    after = chunks_of(written(tmp_path, picture))
    assert [chunk for chunk in after if chunk[0] not in (b"IHDR", b"IDAT", b"IEND")] == CHUNKS
    assert picture.notes == ()
    assert picture.metadata["icc_profile"] == PROFILE
    assert [round(dots) for dots in picture.metadata["dpi"]] == [300, 150]
    assert np.array_equal(read_image(tmp_path / "out.png").samples, samples)


def test_chunks_that_would_not_be_true_are_named(tmp_path: Path) -> None:
    chunks = [(b"dSIG", b"a signature"), (b"caBX", b"credentials"), (b"gAMA", struct.pack(">I", 45455))]
    (tmp_path / "in.png").write_bytes(png(8, 0, [row.tobytes() for row in GREY], *chunks))
    picture = read_image(tmp_path / "in.png")
    assert picture.notes == ("its PNG chunks caBX, dSIG are left out",)
    assert [kind for kind, _ in chunks_of(written(tmp_path, picture))] == [b"IHDR", b"gAMA", b"IDAT", b"IEND"]


def test_an_animation_is_no_longer_one(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.roll(RGB, at, 0)) for at in range(3)]
    frames[0].save(tmp_path / "in.png", save_all=True, append_images=frames[1:], duration=100)
    after = chunks_of(written(tmp_path, read_image(tmp_path / "in.png")))
    assert not {kind for kind, _ in after} & {b"acTL", b"fcTL", b"fdAT"}


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def jpeg(path: Path, *segments: tuple[int, bytes], orientation: int = 1) -> None:
    plain = Image.fromarray(np.full((HEIGHT, WIDTH, 3), 99, np.uint8))
    plain.save(path, "JPEG", exif=exif_of(orientation), xmp=XMP % orientation, comment=b"hello", dpi=(72, 144))
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"".join(segment(*each) for each in segments) + data[2:])


def test_every_segment_of_a_jpeg_is_kept(tmp_path: Path) -> None:
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0a\x1c\x02\x05\0\x05title"
    profile = b"ICC_PROFILE\0\1\1" + PROFILE
    jpeg(tmp_path / "in.jpg", (0xED, iptc), (0xE2, profile), (0xE5, b"of its own"))
    picture = read_image(tmp_path / "in.jpg")
    out = written(tmp_path, picture)
    with Image.open(tmp_path / "in.jpg") as before, Image.open(out) as after:
        for key in ("exif", "xmp", "comment", "icc_profile", "dpi", "jfif_unit", "photoshop"):
            assert before.info[key] == after.info[key], key
    assert segment(0xE5, b"of its own") in out.read_bytes()
    assert out.read_bytes().count(b"JFIF\0") == 1
    assert picture.notes == ()


def test_what_a_jpeg_cannot_keep_is_named(tmp_path: Path) -> None:
    jpeg(tmp_path / "in.jpg", (0xEB, b"JP credentials"))
    with (tmp_path / "in.jpg").open("ab") as file:
        file.write(b"ftypmp42" * 40)
    notes = read_image(tmp_path / "in.jpg").notes
    assert [note for note in notes if "APP11" in note]
    assert [note for note in notes if "320 bytes; a film, say" in note]


@pytest.mark.parametrize("name", ["in.jpg", "in.png", "in.webp", "in.tif"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_metadata_say_that_the_picture_stands_upright(tmp_path: Path, name: str, orientation: int) -> None:
    image, path = Image.fromarray(RGB), tmp_path / name
    exif, xmp = exif_of(orientation), XMP % orientation
    if name == "in.jpg":
        jpeg(path, orientation=orientation)
    elif name == "in.png":
        body = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp
        text = b"Raw profile type exif\0\0" + zlib.compress(f"\nexif\n{len(exif):8}\n{exif.hex()}\n".encode())
        rows = [row.tobytes() for row in RGB]
        dots = struct.pack(">IIB", 1000, 2000, 1)
        path.write_bytes(png(8, 2, rows, (b"iTXt", body), (b"zTXt", text), (b"pHYs", dots)))
    elif name == "in.webp":
        image.save(path, exif=exif, xmp=xmp, lossless=True)
    else:
        extra: Any = [(274, 3, 1, orientation, True), (700, 1, len(xmp), xmp, True)]
        tifffile.imwrite(path, RGB, photometric="rgb", resolution=(10, 20), resolutionunit=3, extratags=extra)
    picture = read_image(path)
    assert picture.samples.shape[:2] == ((HEIGHT, WIDTH) if orientation == 3 else (WIDTH, HEIGHT))
    out = written(tmp_path, picture)
    with Image.open(out) as after:
        assert after.getexif().get(274, 1) == 1
        assert after.getexif().get(271, "Maker") == "Maker"
        text = after.info.get("xmp") or after.info.get("XML:com.adobe.xmp", b"")
    assert XMP % 1 in (text if isinstance(text, bytes) else text.encode()) or name == "in.tif"
    again = read_image(out)
    assert again.samples.shape == picture.samples.shape
    if name != "in.jpg":
        assert np.array_equal(again.samples, picture.samples)
    if name == "in.tif":
        assert again.metadata["dpi"] == ((25.4, 50.8) if orientation == 3 else (50.8, 25.4))
        with tifffile.TiffFile(out) as file:
            assert file.pages.first.tags[700].value == XMP % 1
    if name == "in.png":
        assert (again.metadata["dpi"][0] < again.metadata["dpi"][1]) == (orientation == 3)


def test_exif_of_a_maker_stays_where_it_is(tmp_path: Path) -> None:
    """Notes of makers point into it: all but the two bytes of the orientation are the same."""
    jpeg(tmp_path / "in.jpg", orientation=6)
    picture = read_image(tmp_path / "in.jpg")
    with Image.open(tmp_path / "in.jpg") as before, Image.open(written(tmp_path, picture)) as after:
        pairs = list(zip(before.info["exif"], after.info["exif"], strict=True))
        assert [pair for pair in pairs if pair[0] != pair[1]] == [(6, 1)]
        assert after.getexif().get_ifd(0x8769)[0x927C] == b"notes of the maker"


TAGS: list[tuple[int, int, int, Any, bool]] = [
    (271, 2, 0, "Maker", True),
    (306, 2, 0, "2020:01:01 00:00:00", True),
    (315, 2, 0, "somebody", True),
    (700, 1, 7, b"<x:xmp>", True),
    (33432, 2, 0, "nobody", True),
    (33723, 7, 9, b"\x1c\x02\x05\0\x04word", True),
    (34377, 7, 4, b"8BIM", True),
    (33550, 12, 3, (1.0, 1.0, 0.0), True),
    (65000, 4, 2, (7, 70000), True),
]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_every_tag_of_a_tiff_is_kept(tmp_path: Path, order: Any, big: bool, dtype: str) -> None:
    with tifffile.TiffWriter(tmp_path / "in.tif", byteorder=order, bigtiff=big) as file:
        file.write(
            numbers(dtype, 3),
            photometric="rgb",
            description="what it shows",
            software="of somebody",
            iccprofile=PROFILE,
            resolution=((3000, 7), (12, 1)),
            resolutionunit="centimeter",
            extratags=TAGS,
            metadata=None,
        )
    picture = read_image(tmp_path / "in.tif")
    assert picture.notes == ()
    with tifffile.TiffFile(tmp_path / "in.tif") as before, tifffile.TiffFile(written(tmp_path, picture)) as after:
        assert after.is_bigtiff == big
        told = [{tag.name: tag.value for tag in file.pages.first.tags} for file in (before, after)]
    for values in told:
        for name in ("StripOffsets", "StripByteCounts"):
            del values[name]
    assert told[0] == told[1]


@pytest.mark.parametrize("byte_order", ["II", "MM"])
def test_exif_and_gps_of_a_tiff_are_kept(tmp_path: Path, byte_order: str) -> None:
    exif = Image.Exif()
    exif.load(exif_of(1))
    Image.fromarray(RGB).save(tmp_path / "pillow.tif", exif=exif)
    source = tmp_path / "pillow.tif"
    if byte_order == "MM":  # the same, written by hand
        from dip_lightning.data.formats.tiff_directories import Directory, write_directories

        source = tmp_path / "in.tif"
        extra: Any = [("ExifTag", 4, 1, 0, True), ("GPSTag", 4, 1, 0, True)]
        tifffile.imwrite(source, RGB, photometric="rgb", byteorder=">", extratags=extra)
        inner = {40965: Directory([(1, 2, 4, b"R98\0")])}
        date, notes = (0x9003, 2, 20, b"2020:01:01 00:00:00\0"), (0x927C, 7, 18, b"notes of the maker")
        degrees = b"".join(struct.pack(">II", *pair) for pair in ((48, 1), (8, 1), (7, 2)))
        places = {34665: Directory([date, notes], inner), 34853: Directory([(1, 2, 2, b"N\0"), (2, 5, 3, degrees)])}
        write_directories(source, [places])
    picture = read_image(source)
    assert picture.notes == ()
    with Image.open(source) as before, Image.open(written(tmp_path, picture)) as after:
        for place in (0x8769, 0x8825):
            there, here = (dict(image.getexif().get_ifd(place)) for image in (before, after))
            assert here
            # Where the directory below stands may differ, what is in it may not.
            assert {key: here[key] for key in here if key != 40965} == {
                key: there[key] for key in there if key != 40965
            }
        assert after.getexif().get_ifd(0x8769)[0x927C] == b"notes of the maker"
        if byte_order == "MM":
            assert after.getexif().get_ifd(0xA005)[1] == "R98"


def test_what_a_tiff_cannot_keep_is_named(tmp_path: Path) -> None:
    extra: Any = [(37724, 7, 8, b"Adobe Ph", True), ("ExifTag", 4, 1, 10**6, True)]
    tifffile.imwrite(tmp_path / "in.tif", RGB, photometric="rgb", extratags=extra)
    assert read_image(tmp_path / "in.tif").notes == ("left out: its ExifTag, which is damaged, its layers (tag 37724)",)


def test_where_a_picture_lies_is_not_said_of_a_part_of_it(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "geo.tif", RGB, photometric="rgb", extratags=TAGS)
    part = crop_picture(read_image(tmp_path / "geo.tif"), 16)
    assert part.notes == ("GeoTIFF of the whole picture: left out",)
    with tifffile.TiffFile(written(tmp_path, part)) as file:
        assert 33550 not in file.pages.first.tags
        assert file.pages.first.tags[271].value == "Maker"
    from astropy.io import fits

    image = fits.PrimaryHDU(numbers("f4"))
    image.header["CRPIX1"], image.header["CTYPE1"], image.header["OBJECT"] = 4.5, "RA---TAN", "M31"
    image.writeto(tmp_path / "in.fits")
    whole = read_image(tmp_path / "in.fits")
    assert fits.getheader(written(tmp_path, whole))["CRPIX1"] == 4.5
    part = crop_picture(whole, 16)
    assert part.notes == ("the coordinates (WCS) of the whole picture: left out",)
    header = fits.getheader(written(tmp_path, part))
    assert ("CRPIX1" in header, header["OBJECT"], header["NAXIS1"]) == (False, "M31", 16)


def test_a_bmp_keeps_its_profile_and_resolution(tmp_path: Path) -> None:
    picture = Picture(RGB, RGBX[:, :, 3], "BMP", metadata={"icc_profile": PROFILE, "dpi": (300, 150)})
    write_image(tmp_path / "in.bmp", picture)
    again = read_image(tmp_path / "in.bmp")
    assert again.metadata["icc_profile"] == PROFILE
    assert [round(dots) for dots in again.metadata["dpi"]] == [300, 150]
    with Image.open(tmp_path / "in.bmp") as other:
        assert np.array_equal(np.asarray(other), RGBX)
    plain = bmp_of_32_bits(bytes(4 * 64), 8, 8, 0, ())
    (tmp_path / "plain.bmp").write_bytes(plain)
    assert written(tmp_path, read_image(tmp_path / "plain.bmp")).read_bytes()[14:54] == plain[14:54]


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_what_was_read_from_another_format_is_written_too(tmp_path: Path, file_format: str) -> None:
    """The observation of a JPEG is a PNG; what both can say, it says."""
    metadata = {"icc_profile": PROFILE} | ({} if file_format == "WEBP" else {"dpi": (300, 300)})
    path = tmp_path / f"out{SUFFIXES[file_format]}"
    write_image(path, Picture(RGB, None, file_format, metadata=metadata))
    again = read_image(path)
    assert again.metadata["icc_profile"] == PROFILE
    if "dpi" in metadata:
        assert round(float(again.metadata["dpi"][0])) == 300


def test_reading_leaves_nothing_changed_even_in_threads(tmp_path: Path) -> None:
    """A decoder's warnings and logs are silenced while it reads: afterwards all is as it was, whoever reads at once."""
    import logging
    import os

    Image.fromarray(RGB).save(tmp_path / "in.tif")
    (tmp_path / "bad.tif").write_bytes((tmp_path / "in.tif").read_bytes()[:300])

    def state() -> tuple[Any, ...]:
        logger = logging.getLogger("tifffile")
        return list(warnings.filters), logger.level, list(logger.filters), logger.disabled, os.fstat(2)

    def read() -> None:
        for name in ("in.tif", "bad.tif") * 20:
            with contextlib.suppress(UserError):
                read_image(tmp_path / name)

    before = state()
    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state() == before
