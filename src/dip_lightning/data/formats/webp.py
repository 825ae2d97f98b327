"""WebP through Pillow, which reads and writes all that the format can carry: colour profile, EXIF, XMP."""

from pathlib import Path

from PIL import Image

from dip_lightning.data.formats import flat
from dip_lightning.data.formats.orientation import (
    orientation_of_exif,
    orientation_of_xmp,
    turned,
    upright_exif,
    upright_xmp,
)
from dip_lightning.data.picture import Picture, picture_from_array

__all__ = ["read", "write"]


def read(path: Path, page: int) -> Picture:
    """Read a frame of a WebP.

    Raises:
        UserError: There is no such frame.
        Exception: The file is damaged; what is raised depends on where.
    """
    with Image.open(path, formats=["WEBP"]) as image:
        pages = flat.frame_of(path, image, page)
        samples, alpha, _ = flat.decode(path, image)
        metadata = {key: image.info[key] for key in ("icc_profile", "exif", "xmp") if image.info.get(key)}
    orientation = orientation_of_exif(metadata.get("exif", b""))
    if orientation == 1:
        orientation = orientation_of_xmp(metadata.get("xmp", b""))
    if orientation != 1:
        upright = {"exif": upright_exif, "xmp": upright_xmp}
        metadata = {key: upright[key](value) if key in upright else value for key, value in metadata.items()}
    return picture_from_array(
        turned(samples, orientation), file_format="WEBP", metadata=metadata, alpha=alpha, page=page, pages=pages
    )


def write(path: Path, picture: Picture) -> None:
    """Write a picture of 3 bands, uint8; nothing is lost."""
    options = {key: picture.metadata[key] for key in ("icc_profile", "exif", "xmp") if picture.metadata.get(key)}
    flat.encode(picture.interleaved()).save(path, "WEBP", lossless=True, exact=True, **options)
