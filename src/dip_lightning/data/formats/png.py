"""PNG: 8 bits through Pillow, 16 through imagecodecs, and every chunk that says something of the picture by hand.

Neither library writes all chunks (gAMA, cICP, text of either kind), so they are copied as they are.
"""

import io
import struct
import zlib
from collections.abc import Iterator
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

__all__ = ["encode", "read", "write"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_INCH = 0.0254  # metres
Chunk = tuple[bytes, bytes]

# What says how the samples are stored; a writer makes its own.
_STRUCTURE = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"hIST", b"acTL", b"fcTL", b"fdAT")
# Chunks that stay true when samples change, though their names ask editors that do not know them to drop them
# (PNG specification, third edition, 14.3).
_KNOWN = (b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"mDCv", b"cLLi", b"tIME", b"sTER")
# The keywords under which ImageMagick writes EXIF as text.
_TEXT_EXIF = (b"Raw profile type exif", b"Raw profile type APP1")
_XMP = b"XML:com.adobe.xmp"
_LARGEST_TEXT = 64 * 1024 * 1024


def read(path: Path, page: int) -> Picture:
    """Read a page of a PNG.

    Raises:
        UserError: There is no such page, or it is of a kind that is not handled.
        Exception: The file is damaged; what is raised depends on where.
    """
    data = path.read_bytes()
    chunks, damaged = _take_apart(data)
    core = _SIGNATURE + b"".join(_frame(*chunk) for chunk in chunks if chunk[0] in _STRUCTURE) + damaged
    orientation = _orientation(chunks)
    with Image.open(io.BytesIO(core), formats=["PNG"]) as image:
        pages = flat.frame_of(path, image, page)
        depth = chunks[0][1][8] if chunks and chunks[0][0] == b"IHDR" and len(chunks[0][1]) == 13 else 0
        if depth == 16 and page == 0:
            import imagecodecs

            samples = imagecodecs.png_decode(core)
            alpha, palette = samples.ndim == 3 and samples.shape[2] in (2, 4), False
        else:
            samples, alpha, palette = flat.decode(path, image)
    kept, left_out = _carried(chunks, orientation, palette=palette, alpha=alpha)
    notes = [f"its PNG chunks {', '.join(left_out)} are left out"] if left_out else []
    metadata: dict[str, Any] = {"png": kept}
    for kind, body in kept:
        if kind == b"pHYs" and len(body) == 9 and body[8] == 1:
            metadata["dpi"] = tuple(dots * _INCH for dots in struct.unpack(">II", body[:8]))
        if kind == b"iCCP":
            metadata["icc_profile"] = zlib.decompress(body[body.index(b"\0") + 2 :])
    samples = turned(samples, orientation)
    return picture_from_array(
        samples,
        file_format="PNG",
        palette=palette,
        metadata=metadata,
        alpha=alpha,
        page=page,
        pages=pages,
        notes=tuple(notes),
    )


def write(path: Path, picture: Picture) -> None:
    """Write a picture of 1 or 3 bands, uint8 or uint16, with its chunks."""
    path.write_bytes(encode(picture))


def encode(picture: Picture) -> bytes:
    """Return a PNG of a picture, as :func:`write` writes it."""
    samples = picture.interleaved()
    if samples.dtype.itemsize == 2:
        import imagecodecs

        png = bytes(imagecodecs.png_encode(samples[:, :, 0] if samples.shape[2] == 1 else samples))
    else:
        file = io.BytesIO()
        flat.encode(samples, picture.palette).save(file, "PNG")
        png = file.getvalue()
    chunks = picture.metadata.get("png")
    if chunks is None:
        chunks = list(_from_common(picture.metadata))
    header = len(_SIGNATURE) + 25  # with the IHDR chunk; before PLTE and IDAT all of these may stand
    return png[:header] + b"".join(_frame(*chunk) for chunk in chunks) + png[header:]


def _from_common(metadata: dict[str, Any]) -> Iterator[Chunk]:
    """Chunks of what was read from a file of another format."""
    if metadata.get("icc_profile"):
        yield b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata["icc_profile"])
    if metadata.get("dpi"):
        yield b"pHYs", struct.pack(">IIB", *(round(float(dots) / _INCH) for dots in metadata["dpi"]), 1)
    if metadata.get("exif"):
        yield b"eXIf", metadata["exif"].removeprefix(b"Exif\0\0")
    if metadata.get("xmp"):
        yield b"iTXt", _XMP + bytes(5) + metadata["xmp"]


def _take_apart(data: bytes) -> tuple[list[Chunk], bytes]:
    """Return the chunks, and what follows the last whole one where the file is damaged."""
    chunks: list[Chunk] = []
    at = len(_SIGNATURE)
    while at < len(data):
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        body, end = data[at + 8 : at + 8 + length], at + 12 + length
        sound = len(data) >= end and int.from_bytes(data[end - 4 : end]) == zlib.crc32(kind + body)
        if not sound and (kind in _STRUCTURE or len(data) < end):
            return chunks, data[at:]
        if sound:
            chunks.append((kind, body))
        if kind == b"IEND":
            break
        at = end
    return chunks, b""


def _frame(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _carried(chunks: list[Chunk], orientation: int, *, palette: bool, alpha: bool) -> tuple[list[Chunk], list[str]]:
    """Return the chunks to write again, and the names of those that cannot be."""
    depth, colour = chunks[0][1][8:10]
    kept, left_out = [], []
    for kind, body in chunks:
        if kind in _STRUCTURE:
            continue
        if kind == b"bKGD":
            carried = colour != 3 and depth >= 8  # else it would be an index into another palette, or of another range
        elif kind == b"sBIT":
            carried = (len(body) in (2, 4)) == alpha
        else:
            # The third letter is reserved, the fourth says that what does not know a chunk may copy it.
            carried = kind in _KNOWN or bool(kind[3:].islower() and kind[:1].islower())
        if not carried:
            left_out.append(kind.decode("ascii", "replace"))
        else:
            kept.append((kind, body))
    if orientation != 1:
        kept = [_upright(*chunk, orientation) for chunk in kept]
    return kept, sorted(set(left_out))


def _upright(kind: bytes, body: bytes, orientation: int) -> Chunk:
    """Say in a chunk that the picture stands upright."""
    if kind == b"pHYs" and orientation >= 5 and len(body) == 9:
        return kind, body[4:8] + body[:4] + body[8:]
    if kind == b"eXIf":
        return kind, upright_exif(body)
    keyword, text = _text(kind, body)
    if keyword in _TEXT_EXIF:
        return b"eXIf", upright_exif(_unwrapped(text))
    if keyword == _XMP:
        return kind, _XMP + bytes(5) + upright_xmp(text)
    return kind, body


def _orientation(chunks: list[Chunk]) -> int:
    """Return what the first of EXIF, EXIF as text, and XMP says that says something."""
    told = [orientation_of_exif(body) for kind, body in chunks if kind == b"eXIf"]
    texts = [_text(kind, body) for kind, body in chunks]
    told += [orientation_of_exif(_unwrapped(text)) for keyword, text in texts if keyword in _TEXT_EXIF]
    told += [orientation_of_xmp(text) for keyword, text in texts if keyword == _XMP]
    return next((value for value in told if value != 1), 1)


def _text(kind: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Return keyword and text of a text chunk, empty ones of any other or of one that is damaged."""
    keyword, _, rest = body.partition(b"\0")
    if kind not in (b"tEXt", b"zTXt", b"iTXt") or keyword not in (*_TEXT_EXIF, _XMP):
        return b"", b""
    compressed = kind == b"zTXt"
    if kind == b"zTXt":
        rest = rest[1:]
    elif kind == b"iTXt":
        compressed = rest[:1] == b"\1"
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]  # language, translated keyword
    try:
        return keyword, zlib.decompressobj().decompress(rest, _LARGEST_TEXT) if compressed else rest
    except zlib.error:
        return b"", b""


def _unwrapped(text: bytes) -> bytes:
    """Return the bytes that ImageMagick writes as hexadecimal digits, behind a name and their number."""
    try:
        return bytes.fromhex("".join(text.decode("ascii").split()[2:]))
    except ValueError:
        return b""
