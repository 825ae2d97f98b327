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

    from dip_lightning.data import deep_images, image_io
    from dip_lightning.data.picture import Picture
    from dip_lightning.errors import UserError

# Real limits allow 178 megapixels, which would spend the time on clearing memory.
_LARGEST = 1_000_000

_MODES = {
    "1": (".png", ".tif"),
    "P": (".png", ".tif"),
    "I;16": (".png", ".tif"),
    "CMYK": (".jpg", ".tif"),
    "F": (".tif",),
}

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
    assert picture.samples.shape[2] in (1, 3)
    assert picture.samples.dtype in (np.uint8, np.uint16)
    assert picture.alpha is None or picture.alpha.shape == picture.samples.shape[:2]
    image_io.write_image(_PATH, picture)
    again = image_io.read_image(_PATH)
    assert again.samples.shape == picture.samples.shape
    if picture.format != "JPEG" and not picture.palette:
        assert np.array_equal(again.samples, picture.samples)


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
    for compression in ("lzw", "packbits", "zlib", "zstd"):
        deep = rng.integers(0, 65535, (9, 11, 3), dtype=np.uint16)
        tifffile.imwrite(
            folder / f"{compression}.tif", deep, photometric="rgb", compression=compression, predictor=True
        )
    tifffile.imwrite(folder / "big.tif", deep, photometric="rgb", bigtiff=True)
    tifffile.imwrite(folder / "tiled.tif", np.zeros((32, 32), np.uint16), tile=(16, 16))


def main() -> None:
    """Make seeds where there are none, and fuzz."""
    Image.MAX_IMAGE_PIXELS = _LARGEST // 2  # Pillow refuses at twice this
    deep_images.LARGEST_AREA = _LARGEST
    folders = [Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")]
    for folder in folders[:1]:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.is_dir() and not any(folder.iterdir()):
            make_seeds(folder)
    atheris.Setup(sys.argv, read_image)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
