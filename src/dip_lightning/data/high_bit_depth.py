"""Images of 16 bits a sample, of which Pillow handles only some: PNG through imagecodecs, TIFF through tifffile.

Both libraries are imported where they are needed; most files never get here.
"""

import logging
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dip_lightning.data.picture import LARGEST_AREA
from dip_lightning.errors import UserError

__all__ = ["DeepTiff", "read_png", "read_tiff", "write_png", "write_tiff"]

_ORIENTATION = 0x0112  # a tag of TIFF


@dataclass(frozen=True)
class DeepTiff:
    """What a TIFF of 16-bit samples holds.

    Attributes:
        samples: (H, W), or (H, W, C) with alpha last, as stored: not turned upright.
        orientation: The value of the orientation tag, 1 to 8.
        metadata: ``icc_profile`` and ``dpi``, where present.
    """

    samples: NDArray[np.generic]
    orientation: int
    metadata: dict[str, Any]


def read_png(path: Path) -> NDArray[np.generic]:
    """Read the samples of a PNG: (H, W), or (H, W, C) with alpha last.

    Raises:
        imagecodecs.PngError: The file is damaged.
    """
    import imagecodecs

    samples: NDArray[np.generic] = imagecodecs.png_decode(path.read_bytes())
    return samples


def read_tiff(path: Path) -> DeepTiff | None:
    """Read a TIFF of 16-bit samples; None for any other file.

    Raises:
        UserError: It is too large, or its colours are neither grey nor RGB.
        OSError: The file cannot be read.
        Exception: The file is damaged; what is raised depends on where.
    """
    with path.open("rb") as opened:
        if opened.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):  # the latter two: beyond 4 GB
            return None
    import tifffile

    # It logs what is wrong with a file, which is told in one line here.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        if page.dtype != np.uint16:
            return None
        if page.imagewidth * page.imagelength > LARGEST_AREA or page.size > 4 * LARGEST_AREA:
            # Asked before anything is allocated.
            size = f"{page.imagelength}x{page.imagewidth} pixels of {page.samplesperpixel} samples"
            raise UserError(f"{path} of {size}", "an image of less than 178 megapixels", "crop it first")
        samples = np.asarray(page.asarray())
        metadata = _metadata_of(page)
    if page.axes == "SYX":  # one plane a channel
        samples = np.moveaxis(samples, 0, -1)
    photometric = tifffile.PHOTOMETRIC(page.photometric)
    if photometric is tifffile.PHOTOMETRIC.MINISWHITE:
        samples = 65535 - samples
    elif photometric not in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB):
        raise UserError(f"{path} is a {photometric.name} TIFF", "grey or RGB at 16 bit", "convert it first")
    tag = page.tags.get(_ORIENTATION)
    return DeepTiff(samples, 1 if tag is None else int(tag.value), metadata)


def _metadata_of(page: Any) -> dict[str, Any]:
    """The colour profile and the resolution of a TIFF page, as Pillow calls them; the resolution in dots an inch."""
    metadata: dict[str, Any] = {}
    if page.iccprofile:
        metadata["icc_profile"] = page.iccprofile
    if {"XResolution", "YResolution", "ResolutionUnit"} <= {tag.name for tag in page.tags}:
        metadata["dpi"] = page.get_resolution("inch")
    return metadata


def write_png(path: Path, samples: NDArray[np.generic], metadata: dict[str, Any]) -> None:
    """Write (H, W) or (H, W, C) uint16 samples, with colour profile and resolution.

    Both are chunks behind the header (PNG specification, 11.3.2.3 and 11.3.4.3), which imagecodecs does not write.
    """
    import imagecodecs

    png = bytes(imagecodecs.png_encode(samples))
    chunks = []
    if "icc_profile" in metadata:
        chunks.append(b"iCCP" + b"ICC Profile\0\0" + zlib.compress(metadata["icc_profile"]))
    if "dpi" in metadata:
        per_metre = [round(float(dots) / 0.0254) for dots in metadata["dpi"]]
        chunks.append(b"pHYs" + struct.pack(">IIB", *per_metre, 1))
    framed = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    header = 8 + 25  # the signature, and the IHDR chunk
    path.write_bytes(png[:header] + b"".join(framed) + png[header:])


def write_tiff(path: Path, samples: NDArray[np.generic], metadata: dict[str, Any]) -> None:
    """Write (H, W) or (H, W, C) uint16 samples, alpha last, with colour profile and resolution."""
    import tifffile

    channels = samples.shape[2] if samples.ndim == 3 else 1
    tifffile.imwrite(
        path,
        samples,
        photometric="rgb" if channels >= 3 else "minisblack",
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        planarconfig="contig" if channels > 1 else None,
        compression="zlib",
        iccprofile=metadata.get("icc_profile"),
        resolution=metadata.get("dpi"),
        resolutionunit="inch" if "dpi" in metadata else None,
    )
