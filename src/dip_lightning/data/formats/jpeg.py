"""JPEG through Pillow; what says something of the picture (EXIF, XMP, IPTC, comments) is copied by segments."""

import io
import struct
from pathlib import Path
from typing import Any

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
from dip_lightning.errors import UserError

__all__ = ["read", "write"]

Segment = tuple[int, bytes]

_APP0, _APP1, _APP2, _APP11, _APP14, _COMMENT, _SOS = 0xE0, 0xE1, 0xE2, 0xEB, 0xEE, 0xFE, 0xDA
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # the headers of a frame, one for each kind of JPEG
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"


def read(path: Path, page: int) -> Picture:
    """Read a page of a JPEG; those of cameras may have several (stereo pairs, large previews).

    Raises:
        UserError: There is no such page, or it is of a kind that is not handled.
        Exception: The file is damaged; what is raised depends on where.
    """
    data = path.read_bytes()
    segments, begin = _take_apart(data)
    for marker, body in segments:
        if marker in _FRAMES and body[:1] and body[0] != 8:
            raise UserError(f"{path} is a JPEG of {body[0]} bits", "one of 8 bits", "convert it to TIFF or PNG first")
    notes = []
    with Image.open(path, formats=["JPEG", "MPO"]) as image:
        pages = flat.frame_of(path, image, page)
        if page:
            # The segments of the first page say nothing of another.
            segments = [(_APP1, image.info["exif"])] if image.info.get("exif") else []
        orientation = _orientation(segments)
        samples, _, _ = flat.decode(path, image)
        metadata: dict[str, Any] = {key: image.info[key] for key in ("icc_profile", "dpi") if image.info.get(key)}
    kept = [segment for segment in segments if _is_carried(*segment)]
    if any(marker == _APP11 for marker, _ in segments):
        notes.append("its segments APP11 (content credentials, or a part of the picture) are left out")
    end = data.find(b"\xff\xd9", begin)
    if pages == 1 and end > 0 and len(data) - end - 2 > 64:
        notes.append(f"what follows the picture in the file ({len(data) - end - 2} bytes; a film, say) is left out")
    if orientation != 1:
        kept = [(marker, _upright(marker, body, orientation)) for marker, body in kept]
    exif = next((body for marker, body in kept if marker == _APP1 and body.startswith(_EXIF)), None)
    metadata |= {"jpeg": kept} | ({} if exif is None else {"exif": exif})
    return picture_from_array(
        turned(samples, orientation),
        file_format="JPEG",
        metadata=metadata,
        alpha=False,
        page=page,
        pages=pages,
        notes=tuple(notes),
    )


def write(path: Path, picture: Picture) -> None:
    """Write a picture of 1 or 3 bands, uint8: quality 95, without colour subsampling, with its segments."""
    file = io.BytesIO()
    segments = picture.metadata.get("jpeg")
    common = {} if segments is not None else picture.metadata
    options = {key: common[key] for key in ("icc_profile", "dpi", "exif", "xmp") if common.get(key)}
    flat.encode(picture.interleaved()).save(file, "JPEG", quality=95, subsampling=0, **options)
    jpeg = file.getvalue()
    if segments:
        own = 2
        if any(marker == _APP0 and body.startswith(b"JFIF") for marker, body in segments):
            own += 2 + int.from_bytes(jpeg[4:6])  # Pillow's, which would be the second
        else:
            segments = [(_APP0, jpeg[6 : 4 + int.from_bytes(jpeg[4:6])]), *segments]
            own += 2 + int.from_bytes(jpeg[4:6])
        framed = (struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments)
        jpeg = jpeg[:2] + b"".join(framed) + jpeg[own:]
    path.write_bytes(jpeg)


def _take_apart(data: bytes) -> tuple[list[Segment], int]:
    """Return the segments before the samples, and where these begin."""
    segments = []
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker == _SOS:
            break
        length = int.from_bytes(data[at + 2 : at + 4])
        segments.append((marker, data[at + 4 : at + 2 + length]))
        at += 2 + max(length, 2)
    return segments, at


def _is_carried(marker: int, body: bytes) -> bool:
    """Whether a segment says something of the picture, not of how it or others in the file are stored."""
    if marker == _APP2 and body.startswith(b"MPF\0"):
        return False
    return marker == _COMMENT or (_APP0 <= marker <= 0xEF and marker not in (_APP11, _APP14))


def _orientation(segments: list[Segment]) -> int:
    told = [orientation_of_exif(body) for marker, body in segments if marker == _APP1 and body.startswith(_EXIF)]
    told += [orientation_of_xmp(body) for marker, body in segments if marker == _APP1 and body.startswith(_XMP)]
    return next((value for value in told if value != 1), 1)


def _upright(marker: int, body: bytes, orientation: int) -> bytes:
    """Say in a segment that the picture stands upright."""
    if marker == _APP1 and body.startswith(_EXIF):
        return upright_exif(body)
    if marker == _APP1 and body.startswith(_XMP):
        return upright_xmp(body)
    if marker == _APP0 and body.startswith(b"JFIF\0") and orientation >= 5:
        return body[:8] + body[10:12] + body[8:10] + body[12:]
    return body
