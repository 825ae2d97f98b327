"""Files that are damaged, or are not what they say: each is read, or costs one line, and no memory."""

import json
import os
import resource
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from dip_lightning.data.image_io import read_image
from dip_lightning.errors import UserError
from tests.conftest import TINY_UNET, Outcome

Dip = Callable[..., Outcome]
SETTINGS = tuple(override for override in TINY_UNET if not override.startswith("image.crop"))

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


def tiff_of_many_samples(path: Path, side: int) -> None:
    """A page within the limit of pixels, each of which claims to hold 65535 samples."""
    tiff_that_claims(path, side)
    data = path.read_bytes()
    samples = struct.pack("<HHII", 277, 3, 1, 1)  # the tag "samples a pixel"
    assert data.count(samples) == 1
    path.write_bytes(data.replace(samples, struct.pack("<HHII", 277, 3, 1, 65535)))


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
    "samples.tif": lambda path: tiff_of_many_samples(path, 10_000),
    "no-page.tif": lambda path: tifffile.TiffWriter(path).close(),
    "nothing.tif": lambda path: tifffile.imwrite(path, np.full((32, 40), np.nan, np.float32)),
    "animated.gif": animated,
    "inks.jpg": lambda path: Image.fromarray(PICTURE).convert("CMYK").save(path),
    "one-bit.png": lambda path: Image.fromarray(PICTURE[:, :, 0] > 128).save(path),
}

REFUSED = [
    ("empty.png", "is no image that can be read"),
    ("text.png", "is no image that can be read"),
    ("missing.png", "no file"),
    ("directory.png", "is a folder"),
    ("loop.png", "is a link that leads back to itself.*name the file itself"),
    ("truncated.png", "is damaged"),
    ("truncated.jpg", "is damaged"),
    ("truncated.tif", "damaged|no image"),
    ("header.png", "is damaged"),
    ("header.jpg", "no image|damaged"),
    ("claims8.png", r"is too large \(\d+ megapixels\): expected less than 178 megapixels"),
    ("claims16.png", "less than 178 megapixels"),
    ("claims.tif", "less than 178 megapixels"),
    ("no-page.tif", "is damaged"),
    ("nothing.tif", "no sample is known"),
    ("animated.gif", "is no image"),
    ("inks.jpg", "CMYK"),
    ("one-bit.png", "1 bit"),
    ("samples.tif", "less than 178 megapixels"),
]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a" * 300 + ".png", "has a name that is too long: .*rename it"),
        (
            "photos/*.jpg",
            r"no file photos/\*\.jpg: .*there are no patterns; try image\.path=photos/, or a loop of the shell$",
        ),
    ],
)
def test_a_name_that_no_file_can_have(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        read_image(name)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("kind", "said"), REFUSED)
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


@pytest.mark.parametrize("kind", [kind for kind, _ in REFUSED if kind != "directory.png"])
def test_on_the_command_line_it_costs_one_line_and_leaves_nothing(dip: Dip, tmp_path: Path, kind: str) -> None:
    MAKERS[kind](tmp_path / kind)
    told = dip(*SETTINGS, f"image.path={kind}")
    assert told.code == 2
    (line,) = told.err.strip().splitlines()
    assert line.startswith("dip: ")
    assert kind in line
    assert "Traceback" not in told.out
    assert not (tmp_path / "outputs").exists()


def test_a_folder_without_pictures_costs_one_line(dip: Dip, tmp_path: Path) -> None:
    (tmp_path / "directory.png").mkdir()
    told = dip(*SETTINGS, "image.path=directory.png")
    assert told.code == 2
    (line,) = told.err.strip().splitlines()
    assert "no picture in directory.png" in line
    assert not (tmp_path / "outputs").exists()


def open_folders_above(folder: Path) -> None:
    """Let everybody into the folders that pytest makes for one user alone."""
    for parent in folder.parents:
        if parent == Path(tempfile.gettempdir()):
            return
        parent.chmod(0o755)


def test_an_unreadable_folder_costs_one_line(dip: Dip, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir(mode=0)
    tmp_path.chmod(0o777)
    user = os.geteuid()
    if user == 0:
        open_folders_above(tmp_path)
        os.seteuid(65534)
    try:
        told = dip(*SETTINGS, "image.path=photos")
    finally:
        os.seteuid(user)
    assert told.code == 2
    (line,) = told.err.strip().splitlines()
    assert "photos cannot be read" in line


@pytest.mark.parametrize("flags", [(), ("-m",)])
def test_a_run_folder_that_may_not_be_written_to_costs_one_line(
    dip: Dip, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    (tmp_path / "run" / "0").mkdir(mode=0o555, parents=True)
    (tmp_path / "run").chmod(0o555)
    user = os.geteuid()
    if user == 0:
        open_folders_above(tmp_path)
        tmp_path.chmod(0o777)
        os.seteuid(65534)
    try:
        told = dip(*flags, *SETTINGS, "hydra.run.dir=run", "hydra.sweep.dir=run")
    finally:
        os.seteuid(user)
    assert told.code == 2
    (line,) = told.err.strip().splitlines()
    assert "cannot be written (Permission denied)" in line


def test_one_pixel_is_refused_and_eight_are_restored(dip: Dip, tmp_path: Path) -> None:
    for side in (1, 8):
        Image.fromarray(PICTURE[:side, :side]).save(tmp_path / f"{side}.png")
    told = dip(*SETTINGS, "image.path=1.png")
    assert told.code == 2
    assert told.err == "dip: a picture of 1x1 pixels: expected at least 8 on each side; use a larger part of it\n"
    assert dip(*SETTINGS, "image.path=8.png").code == 0
    (restored,) = tmp_path.glob("outputs/*/*/restored.png")
    assert read_image(restored).samples.shape == (8, 8, 3)


def test_more_levels_than_pixels_cost_one_line_with_a_number_that_works(dip: Dip, tmp_path: Path) -> None:
    Image.fromarray(PICTURE[:8, :8]).save(tmp_path / "8.png")
    told = dip(*SETTINGS, "image.path=8.png", "model.levels=5")
    assert told.code == 2
    (line,) = told.err.strip().splitlines()
    assert "try model.levels=3" in line
    assert dip(*SETTINGS, "image.path=8.png", "model.levels=3").code == 0


def test_far_too_many_levels_are_refused_before_their_memory_is_looked_at(
    dip: Dip, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For the estimate the network is run on a picture as large as its levels need, which here would take all there is.
    monkeypatch.setattr("dip_lightning.fitting.fit.check_memory", lambda parts: pytest.fail("it was looked at"))
    told = dip(*SETTINGS, "image.crop=32", "model.levels=12", "model.channels=1")
    assert told.code == 2
    assert "try model.levels=5" in told.err


@pytest.mark.parametrize("value", [0, 77, 255])
def test_a_constant_image_is_restored(dip: Dip, tmp_path: Path, value: int) -> None:
    Image.fromarray(np.full((32, 40, 3), value, np.uint8)).save(tmp_path / "flat.png")
    told = dip(*SETTINGS, "image.path=flat.png", "iterations=12", "stopping.min_iterations=2")
    assert (told.code, told.err) == (0, "")
    (restored,) = tmp_path.glob("outputs/*/*/restored.png")
    assert read_image(restored).samples.shape == (32, 40, 3)


@pytest.mark.parametrize(
    "name",
    [
        "a b.png",
        " .png",
        "a\nb.png",
        "a=b.png",
        "a,b.png",
        'it\'s "q".png',
        "grün 图.png",
        "[x].png",
        "-x.png",
        "a\\b.png",
    ],
)
def test_any_name_can_be_given_in_quotes(dip: Dip, tmp_path: Path, name: str) -> None:
    Image.fromarray(PICTURE).save(tmp_path / name)
    # As the README says: quotes for Hydra, and a backslash before those in the name.
    quoted = name.replace('"', '\\"')
    told = dip(*SETTINGS, f'image.path="{quoted}"')
    assert (told.code, told.err) == (0, "")
    (summary,) = tmp_path.glob("outputs/*/*/summary.json")
    assert json.loads(summary.read_text())["image"] == name


def test_the_name_of_a_missing_file_stays_on_one_line(dip: Dip) -> None:
    told = dip(*SETTINGS, 'image.path="a\nb.png"')
    assert told.code == 2
    assert len(told.err.strip().splitlines()) == 1


def test_decoders_warn_of_nothing_that_is_told(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """A TIFF whose tags are cut makes Pillow warn before it gives up."""
    for kind in ("truncated.tif", "header.png"):
        MAKERS[kind](tmp_path / kind)
        with pytest.raises(UserError):
            read_image(tmp_path / kind)
    assert not recwarn.list


def test_libtiff_writes_nothing_past_python(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "short.tif"
    Image.fromarray(PICTURE).save(path, compression="tiff_lzw")
    data = path.read_bytes()
    damaged = 0
    for at in range(8, len(data) - 200, 97):
        path.write_bytes(data[:at] + b"\xff" * 8 + data[at + 8 :])
        try:
            read_image(path)
        except UserError:
            damaged += 1
    assert damaged > 0
    assert capfd.readouterr().err == ""
