"""The tags of a TIFF that say something of the picture, carried from one file to another byte by byte."""

import re
import struct
from dataclasses import dataclass, field, replace
from typing import Any

from dip_lightning.data.formats.tiff_directories import DIRECTORIES, Directory, places_of_tags, read_directory

__all__ = ["Tags", "read_tags"]

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
# What would still show the picture as it was, in layers.
_STALE = {37724: "layers", 50706: "raw data"}
# What holds for the whole picture alone: where it lies on the earth, and how large it is.
_OF_PLACE = {33550: "GeoTIFF", 33922: "GeoTIFF", 34264: "GeoTIFF"}

# What tifffile writes of the shape of a stack, and where only its first page has tags.
_SHAPE_OF_TIFFFILE = re.compile(rb'^\{"shape": \[[^]]*\](, "truncated": true)?(, )?')
_TRUNCATED = re.compile(rb', "truncated": true')
_IMAGEJ = (50838, 50839)
_PAGES_OF_IMAGEJ = re.compile(rb"(?m)^(images|channels|slices|frames|hyperstack|mode|loop)=.*\n?")


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
            elif code == _DESCRIPTION:
                value = _SHAPE_OF_TIFFFILE.sub(b"{", value)
            extra[at] = (code, kind, len(value), value, once)
        return replace(self, extra=extra)

    def of_many_pages(self) -> "Tags":
        """Return what is true of pages of which each has tags, where only the first had."""
        return replace(
            self,
            extra=[
                (code, kind, count, _TRUNCATED.sub(b"", value) if code == _DESCRIPTION else value, once)
                for code, kind, count, value, once in self.extra
            ],
        )

    def of_later_page(self) -> "Tags":
        """Return what is true of a page that has no tags of its own: what describes a file, the first page tells."""
        return replace(self, extra=[tag for tag in self.extra if tag[0] not in (_DESCRIPTION, *_IMAGEJ)])

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
    tags, handle = Tags(), page.parent.filehandle
    places = places_of_tags(handle, page.offset, page.parent.byteorder, page.parent.is_bigtiff)
    for code, place in places.items():
        if code in DIRECTORIES:
            _take_directory(tags, page, code, place)
        elif code not in _STRUCTURE and code not in page.tags:  # tifffile passes over what it cannot read
            tags.left_out.append(f"its tag {code}, which is damaged")
    for tag in page.tags:
        if tag.code in _STALE:
            tags.left_out.append(f"its {_STALE[tag.code]} (tag {tag.code})")
        elif tag.code not in _STRUCTURE:
            _take_tag(tags, page, tag)
    across, down = page.tags.get(282), page.tags.get(283)
    if across is not None and down is not None:
        told = [tag.value for tag in (across, down)]
        if all(isinstance(value, tuple) and len(value) == 2 and all(value) for value in told):
            tags.resolution = tuple((int(numerator), int(denominator)) for numerator, denominator in told)  # type: ignore[assignment]
    return tags


def _take_directory(tags: Tags, page: Any, code: int, place: int) -> None:
    handle = page.parent.filehandle
    try:
        handle.seek(place)
        tags.directories[code] = read_directory(handle, page.parent.byteorder, page.parent.is_bigtiff)
    except (struct.error, KeyError, ValueError):
        tags.left_out.append(f"its {DIRECTORIES[code]}, which is damaged")


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
