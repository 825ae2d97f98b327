"""The directories of their own that tags of a TIFF point to: EXIF and GPS, carried from one file to another."""

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["DIRECTORIES", "Directory", "places_of_tags", "read_directory", "write_directories"]

DIRECTORIES = {34665: "ExifTag", 34853: "GPSTag"}
_INTEROPERABILITY = 40965  # which EXIF points to
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


@dataclass
class Directory:
    """A directory that a tag points to (EXIF, GPS).

    Attributes:
        entries: Code, type, number of values and their bytes, in the byte order of the file.
        below: The directories that its tags point to, by tag.
    """

    entries: list[tuple[int, int, int, bytes]]
    below: dict[int, "Directory"] = field(default_factory=dict)


def read_directory(handle: Any, order: str, big: bool, depth: int = 0) -> Directory:
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
            found.below[code] = read_directory(handle, order, big, depth + 1)
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
            found = places_of_tags(opened, offset, order, big)
            places += [(found[code], wanted[code]) for code in wanted]
        for place, directory in places:
            _append(opened, place, directory, order, big)


def places_of_tags(file: Any, offset: int, order: str, big: bool) -> dict[int, int]:
    """Return where the value of each tag stands, or where it is told where that stands, by code.

    Args:
        file: A TIFF that is open.
        offset: Where the tags of a page begin.
        order: The byte order, ``"<"`` or ``">"``.
        big: Whether it is a BigTIFF.

    Raises:
        struct.error: It is cut.
    """
    size = 20 if big else 12
    file.seek(offset)
    (count,) = struct.unpack(f"{order}{'Q' if big else 'H'}", file.read(8 if big else 2))
    start, table = file.tell(), file.read(count * size)
    codes = {struct.unpack_from(f"{order}H", table, at)[0]: at for at in range(0, len(table) - size + 1, size)}
    return {code: start + at + size - (8 if big else 4) for code, at in codes.items()}


def _append(file: BinaryIO, place: int, directory: Directory, order: str, big: bool) -> None:
    end = file.seek(0, 2)
    end += end % 2
    file.seek(end)
    file.write(_packed(directory, end, order, big))
    file.seek(place)
    file.write(struct.pack(f"{order}{'Q' if big else 'I'}", end))
