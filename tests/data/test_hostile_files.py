"""Files that are damaged, or are not what they say: each is read, or costs one line, and no memory."""

import os
import resource
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from dip_lightning.data.image_io import read_image
from dip_lightning.errors import UserError

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 255, (32, 40, 3), dtype=np.uint8)


def png_that_claims(path: Path, side: int, depth: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, depth, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0" * 100)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def tiff_that_claims(path: Path, side: int) -> None:
    tifffile.imwrite(path, np.zeros((8, 8), np.uint16))
    data = bytearray(path.read_bytes())
    (directory,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, directory)
    for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
        (tag,) = struct.unpack_from("<H", data, entry)
        if tag in (256, 257, 278):  # width, height, rows a strip
            struct.pack_into("<HHII", data, entry, tag, 4, 1, side)
    path.write_bytes(data)


def cut(path: Path, length: int | None) -> None:
    Image.fromarray(PICTURE).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 if length is None else length])


def not_finite(path: Path) -> None:
    image = RNG.random((32, 40)).astype(np.float32)
    image[3, 3], image[4, 4] = np.nan, np.inf
    tifffile.imwrite(path, image)


def animated(path: Path) -> None:
    frames = [Image.fromarray(RNG.integers(0, 255, (32, 32), dtype=np.uint8)) for _ in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


MAKERS: dict[str, Callable[[Path], object]] = {
    "empty.png": lambda path: path.write_bytes(b""),
    "text.png": lambda path: path.write_text("no image"),
    "missing.png": lambda path: None,
    "directory.png": lambda path: path.mkdir(),
    "loop.png": lambda path: path.symlink_to(path),
    "truncated.png": lambda path: cut(path, None),
    "truncated.jpg": lambda path: cut(path, None),
    "truncated.tif": lambda path: cut(path, None),
    "header.png": lambda path: cut(path, 20),
    "header.jpg": lambda path: cut(path, 20),
    "claims8.png": lambda path: png_that_claims(path, 100_000, 8),
    "claims16.png": lambda path: png_that_claims(path, 100_000, 16),
    "claims.tif": lambda path: tiff_that_claims(path, 100_000),
    "no-page.tif": lambda path: tifffile.TiffWriter(path).close(),
    "nan.tif": not_finite,
    "integers.tif": lambda path: tifffile.imwrite(path, np.zeros((32, 32), np.int32)),
    "animated.gif": animated,
    "inks.jpg": lambda path: Image.fromarray(PICTURE).convert("CMYK").save(path),
    "one-bit.png": lambda path: Image.fromarray(PICTURE[:, :, 0] > 128).save(path),
}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("empty.png", "is no image that can be read"),
        ("text.png", "is no image that can be read"),
        ("missing.png", "no file"),
        ("directory.png", "is a folder"),
        ("loop.png", "Too many levels of symbolic links"),
        ("truncated.png", "is damaged"),
        ("truncated.jpg", "is damaged"),
        ("truncated.tif", "damaged|no image"),
        ("header.png", "is damaged"),
        ("header.jpg", "is no image"),
        ("claims8.png", "less than 178 megapixels"),
        ("claims16.png", "less than 178 megapixels"),
        ("claims.tif", "less than 178 megapixels"),
        ("no-page.tif", "is damaged"),
        ("nan.tif", "32-bit floats"),
        ("integers.tif", "32-bit integers"),
        ("animated.gif", "is no image"),
        ("inks.jpg", "CMYK"),
        ("one-bit.png", "1 bit"),
    ],
)
def test_a_hostile_file_costs_one_line_and_no_memory(tmp_path: Path, kind: str, said: str) -> None:
    path = tmp_path / kind
    MAKERS[kind](path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=said) as refused:
        read_image(path)
    assert "\n" not in str(refused.value)
    assert path.name in str(refused.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB


def test_an_unreadable_file_costs_one_line(tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_text("no image")
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # who may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(UserError, match=r"text\.png cannot be read.*check its permissions"):
            read_image(path)
    finally:
        os.seteuid(user)


def test_of_a_file_with_several_pages_the_first_is_read(tmp_path: Path) -> None:
    pages = RNG.integers(0, 65535, (3, 32, 40), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", pages, photometric="minisblack")
    assert np.array_equal(read_image(tmp_path / "deep.tif").samples[:, :, 0], pages[0])
    flat = [Image.fromarray((page // 257).astype(np.uint8)) for page in pages]
    flat[0].save(tmp_path / "flat.tif", save_all=True, append_images=flat[1:])
    assert np.array_equal(read_image(tmp_path / "flat.tif").samples[:, :, 0], np.asarray(flat[0]))
