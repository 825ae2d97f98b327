"""The tags of a TIFF that say something of the picture, carried from one file to another byte by byte."""

import re
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["DIRECTORIES", "Directory", "Tags", "read_tags", "write_directories"]

ExtraTag = tuple[int, int, int, bytes, bool]

# What says how the samples are stored, which a writer says itself: TIFF 6.0, its supplements, and tifffile.
_STRUCTURE = {
    *(
        254,
        255,
        256,
        257,
        258,
        259,
        262,
        263,
        264,
        265,
        266,
        273,
        274,
        277,
        278,
        279,
        280,
        281,
        284,
        288,
        289,
        292,
        293,
    ),
    *(317, 320, 322, 323, 324, 325, 330, 338, 339, 340, 341, 347, 400, 512, 513, 514, 515, 517, 518, 519, 520, 521),
    *(529, 530, 531, 532, 559, 32995, 32996, 32997, 32998, 34665, 34853, 40965),
}
_RESOLUTION, _UNIT = (282, 283), 296
_PROFILE, _DESCRIPTION, _NODATA = 34675, 270, 42113
_POINTERS = (13, 18)  # types of values that say where something else stands
# The directories of their own that tags point to.
DIRECTORIES = {34665: "ExifTag", 34853: "GPSTag"}
_INTEROPERABILITY = 40965  # which EXIF points to
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
# What would still show the picture as it was, in layers.
_STALE = {37724: "layers", 50706: "raw data"}
# What holds for the whole picture alone: where it lies on the earth, and how large it is.
_OF_PLACE = {33550: "GeoTIFF", 33922: "GeoTIFF", 34264: "GeoTIFF"}

_PAGES_OF_IMAGEJ = re.compile(rb"(?m)^(images|channels|slices|frames|hyperstack|mode|loop)=.*\n?")


@dataclass
class Directory:
    """A directory that a tag points to (EXIF, GPS).

    Attributes:
        entries: Code, type, number of values and their bytes, in the byte order of the file.
        below: The directories that its tags point to, by tag.
    """

    entries: list[tuple[int, int, int, bytes]]
    below: dict[int, "Directory"] = field(default_factory=dict)


@dataclass
class Tags:
    """What a page of a TIFF says of its picture.

    Attributes:
        extra: Tags as tifffile takes them: code, type, count, bytes, whether only the first page has it.
        resolution: Pixels a unit along rows and columns, each as numerator and denominator; None where it is not told.
        unit: The unit of it: 1 none, 2 inch, 3 centimetre.
        profile: The colour profile, or None.
        directories: EXIF and GPS, by tag.
        nodata: The value of samples that were lost (GDAL), or None.
        left_out: What cannot be carried over, in words.
    """

    extra: list[ExtraTag] = field(default_factory=list)
    resolution: tuple[tuple[int, int], tuple[int, int]] | None = None
    unit: int = 1
    profile: bytes | None = None
    directories: dict[int, Directory] = field(default_factory=dict)
    nodata: float | None = None
    left_out: list[str] = field(default_factory=list)

    @property
    def dpi(self) -> tuple[float, float] | None:
        """The resolution in dots an inch, where it has a unit."""
        if self.resolution is None or self.unit not in (2, 3):
            return None
        inches = 1.0 if self.unit == 2 else 2.54
        across, down = (numerator / denominator * inches for numerator, denominator in self.resolution)
        return across, down

    @property
    def about_all_pages(self) -> str | None:
        """What is said of all pages of a file at once and cannot be said of one, in words; None where nothing is."""
        return next((name for tag in self.extra if (name := _tells_of_all(tag))), None)

    def of_one_page(self) -> "Tags":
        """Return what is true of one page that is written alone."""
        extra = [tag for tag in self.extra if not _tells_of_all(tag)]
        for at, (code, kind, _, value, once) in enumerate(extra):
            if code == _DESCRIPTION and value.startswith(b"ImageJ="):
                value = _PAGES_OF_IMAGEJ.sub(b"", value)
                extra[at] = (code, kind, len(value), value, once)
        return replace(self, extra=extra)

    def of_part(self) -> tuple["Tags", list[str]]:
        """Return what is true of a part of the picture, and in words what is not."""
        gone = {name for tag in self.extra if (name := _tells_of_place(tag))}
        return replace(self, extra=[tag for tag in self.extra if not _tells_of_place(tag)]), sorted(gone)


def _tells_of_all(tag: ExtraTag) -> str | None:
    if tag[0] != _DESCRIPTION:
        return None
    return "the OME description of all pages" if b"<OME" in tag[3][:1000] else None


def _tells_of_place(tag: ExtraTag) -> str | None:
    if tag[0] in _OF_PLACE:
        return _OF_PLACE[tag[0]]
    return "the OME description" if tag[0] == _DESCRIPTION and b"<OME" in tag[3][:1000] else None


def read_tags(page: Any) -> Tags:
    """Read the tags of a page.

    Args:
        page: A ``tifffile.TiffPage`` of a file that is open.
    """
    tags = Tags()
    for tag in page.tags:
        if tag.code in _STALE:
            tags.left_out.append(f"its {_STALE[tag.code]} (tag {tag.code})")
        elif tag.code in DIRECTORIES:
            _take_directory(tags, page, tag)
        elif tag.code not in _STRUCTURE:
            _take_tag(tags, page, tag)
    across, down = page.tags.get(282), page.tags.get(283)
    if across is not None and down is not None:
        told = [tag.value for tag in (across, down)]
        if all(isinstance(value, tuple) and len(value) == 2 and all(value) for value in told):
            tags.resolution = tuple((int(numerator), int(denominator)) for numerator, denominator in told)  # type: ignore[assignment]
    return tags


def _take_directory(tags: Tags, page: Any, tag: Any) -> None:
    handle = page.parent.filehandle
    try:
        handle.seek(_pointer(tag, page.parent.is_bigtiff))
        tags.directories[tag.code] = _read_directory(handle, page.parent.byteorder, page.parent.is_bigtiff)
    except (struct.error, KeyError, ValueError):
        tags.left_out.append(f"its {tag.name}, which is damaged")


def _pointer(tag: Any, big: bool) -> int:
    """Where the number stands that says where a directory stands: ``valueoffset`` is that of the directory."""
    return int(tag.offset) + (12 if big else 8)


def _take_tag(tags: Tags, page: Any, tag: Any) -> None:
    handle = page.parent.filehandle
    handle.seek(tag.valueoffset)
    value = handle.read(tag.valuebytecount)
    if tag.code == _UNIT:
        tags.unit = int(tag.value) if tag.value in (1, 2, 3) else 1
    elif tag.code == _PROFILE:
        tags.profile = value
    elif int(tag.dtype) in _POINTERS or len(value) != tag.valuebytecount:
        tags.left_out.append(f"its tag {tag.code}")
    elif tag.code not in _RESOLUTION:
        tags.extra.append((tag.code, int(tag.dtype), tag.count, value, False))
        if tag.code == _NODATA:
            tags.nodata = _number(value)


def _number(value: bytes) -> float | None:
    try:
        return float(value.rstrip(b"\0 ").decode("ascii"))
    except ValueError:
        return None


def _read_directory(handle: Any, order: str, big: bool, depth: int = 0) -> Directory:
    """Read the directory to which the number at the present place of a file points.

    Raises:
        struct.error: It is cut.
        KeyError: It holds a type that is not known.
        ValueError: It cannot be what it says.
    """
    number, width = (f"{order}Q", 8) if big else (f"{order}I", 4)
    handle.seek(struct.unpack(number, handle.read(width))[0])
    (count,) = struct.unpack(f"{order}{'Q' if big else 'H'}", handle.read(8 if big else 2))
    if count > 4096:
        raise ValueError(f"{count} entries")
    found = Directory([])
    table = handle.read(count * (4 + 2 * width))
    start = handle.tell() - len(table)
    for at in range(0, count * (4 + 2 * width), 4 + 2 * width):
        code, kind, values = struct.unpack_from(f"{order}HH{number[1]}", table, at)
        size = _SIZES[kind] * values
        place = start + at + 4 + width
        if code == _INTEROPERABILITY and depth == 0:
            handle.seek(place)
            found.below[code] = _read_directory(handle, order, big, depth + 1)
            continue
        if size > width:
            (place,) = struct.unpack_from(number, table, at + 4 + width)
        if place + size > handle.size:
            raise ValueError(f"{size} bytes beyond the end")
        handle.seek(place)
        found.entries.append((code, kind, values, handle.read(size)))
    return found


def _packed(directory: Directory, offset: int, order: str, big: bool) -> bytes:
    """Return a directory as it is to stand at an offset, with those below it behind."""
    number, width = (f"{order}Q", 8) if big else (f"{order}I", 4)
    count = len(directory.entries) + len(directory.below)
    head = struct.pack(f"{order}{'Q' if big else 'H'}", count)
    behind = offset + len(head) + count * (4 + 2 * width) + width
    rows, values = [], b""
    for code, kind, amount, value in directory.entries:
        place = value.ljust(width, b"\0")
        if len(value) > width:
            place = struct.pack(number, behind + len(values))
            values += value + bytes(len(value) % 2)
        rows.append((code, struct.pack(f"{order}HH{number[1]}", code, kind, amount) + place))
    for code, below in directory.below.items():
        entry = struct.pack(f"{order}HH{number[1]}", code, 16 if big else 4, 1)
        rows.append((code, entry + struct.pack(number, behind + len(values))))
        values += _packed(below, behind + len(values), order, big)
    return head + b"".join(row for _, row in sorted(rows)) + bytes(width) + values


def write_directories(path: Path, directories: list[dict[int, Directory]]) -> None:
    """Append directories to a TIFF, and let its pages point to them.

    Args:
        path: The file; the tags that are to point to them are there, with any value.
        directories: Those of each page, by tag.
    """
    import tifffile

    if not any(directories):
        return
    places = []
    with tifffile.TiffFile(path) as file:
        order, big = str(file.byteorder), bool(file.is_bigtiff)
        pages = [(page.offset, wanted) for page, wanted in zip(file.pages, directories, strict=True)]
    with path.open("r+b") as opened:
        for offset, wanted in pages:
            places += [(_find_pointer(opened, offset, code, order, big), wanted[code]) for code in wanted]
        for place, directory in places:
            _append(opened, place, directory, order, big)


def _find_pointer(file: BinaryIO, offset: int, code: int, order: str, big: bool) -> int:
    """Return where the value of a tag stands, of the page whose tags begin at an offset."""
    size = 20 if big else 12
    file.seek(offset)
    (count,) = struct.unpack(f"{order}{'Q' if big else 'H'}", file.read(8 if big else 2))
    start, table = file.tell(), file.read(count * size)
    (at,) = (at for at in range(0, len(table), size) if struct.unpack_from(f"{order}H", table, at)[0] == code)
    return start + at + size - (8 if big else 4)


def _append(file: BinaryIO, place: int, directory: Directory, order: str, big: bool) -> None:
    end = file.seek(0, 2)
    end += end % 2
    file.seek(end)
    file.write(_packed(directory, end, order, big))
    file.seek(place)
    file.write(struct.pack(f"{order}{'Q' if big else 'I'}", end))
