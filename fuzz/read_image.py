"""Fuzzing the reading of images with atheris: whatever the bytes, a picture or one line.

    pip install -c constraints.txt -e '.[fuzz]'
    python fuzz/read_image.py CORPUS -max_total_time=600

CORPUS is a folder; where it is empty, small files of every kind that the package writes are put into it first. All
other arguments are libFuzzer's. A finding ends the run, and its bytes are left in a file ``crash-…``, ``timeout-…`` or
``oom-…``.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "tifffile", "dip_lightning"]):
    import numpy as np
    import tifffile
    from PIL import Image

    from dip_lightning.data import image_io
    from dip_lightning.data.formats import bmp, fits, npy, tiff
    from dip_lightning.data.picture import Picture
    from dip_lightning.errors import UserError

# Real limits allow 178 megapixels, which would spend the time on clearing memory.
_LARGEST = 1_000_000

_PATH = Path(tempfile.mkdtemp(prefix="fuzz-")) / "image"


def read_image(data: bytes) -> None:
    """Read bytes as an image file; anything but a sound picture or a one-line refusal is raised."""
    _PATH.write_bytes(data)
    try:
        picture = image_io.read_image(_PATH)
    except UserError as error:
        refusal = str(error)
    else:
        _check(picture)
        return
    assert "\n" not in refusal
    assert _PATH.name in refusal


def _check(picture: Picture) -> None:
    """A sound picture can be written, and is read again as it was."""
    assert picture.samples.ndim == 3
    assert picture.samples.dtype.kind in "iuf"
    assert picture.samples.dtype.isnative
    assert picture.alpha is None or picture.alpha.shape == picture.samples.shape[:2]
    assert picture.known is None or picture.known.shape == picture.samples.shape
    assert np.isfinite(picture.to_unit()).all() or picture.samples.dtype.kind == "f"
    image_io.write_image(_PATH, picture)
    if picture.palette:  # one of black and white alone is one bit for Pillow, which is refused
        return
    again = image_io.read_image(_PATH)
    assert again.samples.shape == picture.samples.shape
    assert again.samples.dtype == picture.samples.dtype
    if picture.format != "JPEG":
        is_float = picture.samples.dtype.kind == "f"
        assert np.array_equal(again.interleaved(), picture.interleaved(), equal_nan=is_float)


def make_seeds(folder: Path) -> None:
    """Put a small file of every kind into a folder: as this package writes them, and as others do."""
    rng = np.random.default_rng(0)
    for name, suffix in image_io.SUFFIXES.items():
        for dtype in (np.uint8, np.uint16) if name in ("PNG", "TIFF") else (np.uint8,):
            for channels in (1, 3):
                shape = (9, 11, channels)
                samples = rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype)
                alpha = samples[:, :, 0] if name in ("PNG", "TIFF", "WEBP") else None
                for kind, picture in (
                    ("plain", Picture(samples, None, name)),
                    ("alpha", Picture(samples, alpha, name)),
                    ("dpi", Picture(samples, None, name, metadata={"dpi": (300, 300)})),
                ):
                    image_io.write_image(folder / f"{kind}-{np.dtype(dtype)}-{channels}{suffix}", picture)
    grey = Image.fromarray(rng.integers(0, 255, (9, 11), dtype=np.uint8))
    for mode in ("1", "P", "CMYK", "I;16", "F"):
        converted = grey.convert(mode)
        for suffix in (
            ".tif",
            *((".png",) if mode in ("1", "P", "I;16") else ()),
            *((".jpg",) if mode == "CMYK" else ()),
        ):
            converted.save(folder / f"mode-{mode.replace(';', '')}{suffix}")
    exif = Image.Exif()
    exif[0x0112] = 6
    grey.save(folder / "turned.jpg", exif=exif)
    grey.save(folder / "turned.png", exif=exif)
    deep = rng.integers(0, 65535, (9, 11, 3), dtype=np.uint16)
    for compression in ("lzw", "packbits", "zlib", "zstd"):
        path = folder / f"{compression}.tif"
        tifffile.imwrite(path, deep, photometric="rgb", compression=compression, predictor=True)
    tifffile.imwrite(folder / "big.tif", deep, photometric="rgb", bigtiff=True)
    tifffile.imwrite(folder / "tiled.tif", np.zeros((32, 32), np.uint16), tile=(16, 16))
    _make_seeds_of_numbers(folder, rng)


def _make_seeds_of_numbers(folder: Path, rng: np.random.Generator) -> None:
    """Floats, bands, alphas, stacks, tags, arrays and FITS."""
    from astropy.io import fits as astropy_fits

    for dtype in ("i2", "u4", "f2", "f4", ">f8"):
        samples = rng.normal(50, 9, (2, 9, 11)).astype(dtype)
        tifffile.imwrite(folder / f"numbers-{dtype[-2:]}.tif", samples, photometric="minisblack")
        np.save(folder / f"numbers-{dtype[-2:]}.npy", samples)
        if dtype != "f2":
            astropy_fits.PrimaryHDU(samples).writeto(folder / f"numbers-{dtype[-2:]}.fits", overwrite=True)
    bands = rng.integers(0, 255, (9, 11, 5), dtype=np.uint8)
    kinds = ["assocalpha", "unspecified"]
    tags = [(42113, 2, 0, "7", True), (700, 1, 7, b"<x:xmp>", True), (33432, 2, 0, "nobody", True)]
    tifffile.imwrite(folder / "bands.tif", bands, photometric="rgb", extrasamples=kinds, extratags=tags)
    tifffile.imwrite(folder / "packed.tif", bands[:, :, 0].astype(np.uint16), bitspersample=12)
    tifffile.imwrite(folder / "white.tif", bands[:, :, 0], photometric="miniswhite")
    tifffile.imwrite(folder / "imagej.tif", rng.integers(0, 255, (3, 9, 11), dtype=np.uint8), imagej=True)
    tifffile.imwrite(folder / "ome.ome.tif", rng.integers(0, 255, (3, 9, 11), dtype=np.uint8), metadata={"axes": "ZYX"})
    image_io.write_image(folder / "alpha.bmp", Picture(bands[:, :, :3], bands[:, :, 3], "BMP"))
    exif = Image.Exif()
    exif[0x0112], exif[0x8769] = 6, {0x9003: "2020:01:01 00:00:00"}
    colours = Image.fromarray(bands[:, :, :3])
    colours.save(folder / "exif.jpg", exif=exif.tobytes(), comment=b"hello", xmp=b'<x tiff:Orientation="6"/>')
    colours.save(folder / "exif.webp", exif=exif.tobytes(), lossless=True)
    colours.save(folder / "frames.png", save_all=True, append_images=[colours, colours])


def main() -> None:
    """Make seeds where there are none, and fuzz."""
    Image.MAX_IMAGE_PIXELS = _LARGEST // 2  # Pillow refuses at twice this
    for module in (bmp, fits, npy, tiff):
        module.LARGEST_AREA = _LARGEST
    folders = [Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")]
    for folder in folders[:1]:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.is_dir() and not any(folder.iterdir()):
            make_seeds(folder)
    atheris.Setup(sys.argv, read_image)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
