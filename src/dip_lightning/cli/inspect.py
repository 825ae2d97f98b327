"""The command ``dip-inspect``: what a fit of a picture would begin with, before anything is fitted."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
from rich.console import Console
from rich.table import Table

from dip_lightning.cli.one_line import OneLineParser, errors_in_one_line
from dip_lightning.config.cost import Cost, default_cost
from dip_lightning.config.paths import expand_home, is_folder, quote_for_shell
from dip_lightning.data.folder import find_pictures
from dip_lightning.data.image_io import read_image
from dip_lightning.data.noise_level import iterations_for
from dip_lightning.data.noise_model import NoiseModel, estimate_model
from dip_lightning.data.own_range import WorkingRange, choose_range
from dip_lightning.data.picture import Picture
from dip_lightning.errors import UserError
from dip_lightning.names import printable
from dip_lightning.system.duration import duration

__all__ = ["main"]

# Longer than this, in seconds, and a part or tiles are named; the part's side in pixels, and the tiles'.
_LONG, _PART, _TILE = 1800.0, 256, 512

# Of larger pictures the noise is read from the central square of so many pixels a side, to tell it in a moment.
_LOOKED_AT = 1024

# What is known of the metadata, by the words that a user has for it.
_METADATA = {"icc_profile": "colour profile", "dpi": "resolution", "exif": "EXIF", "xmp": "XMP"}


@dataclass(frozen=True)
class _Found:
    """What is told of a picture."""

    path: Path
    picture: Picture
    range: WorkingRange
    noise: NoiseModel
    iterations: int
    cost: Cost


def main() -> NoReturn:
    """Run the command line.

    Raises:
        SystemExit: 0 after a look, 2 for a mistake of the user.
    """
    parser = OneLineParser(
        prog="dip-inspect",
        description="Say what a fit of a picture would begin with: its format, what is kept of it, its range and its "
        "noise, the memory and the likely time on this machine, and the command to type. A folder becomes a table.",
    )
    parser.add_argument("pictures", nargs="+", type=expand_home, help="image files, or folders of them")
    with errors_in_one_line("dip-inspect"):
        options = parser.parse_args()
        console = Console(emoji=False, highlight=False)
        for name in options.pictures:
            if is_folder(name):
                _tell_folder(Path(name), console)
            else:
                _tell(_look(Path(name)))
    sys.exit(0)


def _look(path: Path) -> _Found:
    """Read a picture, and find out about it.

    Raises:
        UserError: It cannot be read.
    """
    picture = read_image(path)
    chosen = choose_range(picture, None, of_type=False)
    picture = replace(picture, scale=chosen.values)
    top, left = (max(length - _LOOKED_AT, 0) // 2 for length in (picture.height, picture.width))
    rows, columns = (min(length, _LOOKED_AT) for length in (picture.height, picture.width))
    noise = estimate_model(np.clip(picture.cropped(top, left, rows, columns).to_unit(), 0, 1))
    iterations = iterations_for(noise.level, shared=not noise.is_white)
    # Of noise that neighbours share, rules often do not settle.
    cost = default_cost(picture.height * picture.width, iterations, stops=noise.is_white)
    return _Found(path, picture, chosen, noise, iterations, cost)


def _tell(found: _Found) -> None:
    for line in _lines(found):
        print(line)  # as it is: a console would make blanks of a tab in the command


def _lines(found: _Found) -> Iterator[str]:
    picture, cost, name = found.picture, found.cost, str(found.path)
    yield f"{printable(name)}: {_kind(picture)}"
    yield f"  kept: {', '.join(_kept(picture)) or 'there is no metadata in it'}"
    if found.range.source != "type":
        yield f"  {found.range.describe()}"
    yield f"  {found.noise.describe()}; at most {found.iterations} iterations"
    for note in picture.notes:
        yield f"  {note}"
    yield (
        f"  as a whole: about {cost.bytes / 1e9:.1f} GB of memory, likely {duration(cost.likely)}, at most "
        f"{duration(cost.at_most)} (a rough estimate for a CPU of few cores in {cost.precision}; a GPU is far faster)"
    )
    command = f"dip {quote_for_shell('image.path', name)}" if _is_odd(name) else f"dip image.path={name}"
    pixels = picture.height * picture.width
    if cost.likely > _LONG and pixels > _PART**2:
        part = default_cost(_PART**2, found.iterations, stops=found.noise.is_white)
        yield f"  a part first, likely {duration(part.likely)}: {command} image.crop={_PART}"
        # In about half of the time at 512x512: docs/results/width.md.
        yield f"  at half the resolution, in about half of the time: {command} model=leanunet"
        if pixels > _TILE**2:
            tile = default_cost(_TILE**2, found.iterations)
            yield f"  in tiles, {tile.bytes / 1e9:.1f} GB at a time: {command} tile={_TILE}"
    yield f"  to restore it: {command}"


def _kept(picture: Picture) -> Iterator[str]:
    """What is carried over besides the samples, in a user's words."""
    yield from (word for key, word in _METADATA.items() if key in picture.metadata)
    if any(picture.metadata[key] for key in picture.metadata.keys() - _METADATA.keys()):
        yield f"what else the {picture.format} says of itself"
    if picture.alpha is not None:
        yield "transparency"


def _kind(picture: Picture) -> str:
    channels = picture.samples.shape[2]
    kind = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
    dtype = picture.samples.dtype
    depth = "floats" if dtype.kind == "f" else f"{picture.bits or 8 * dtype.itemsize} bits"
    pages = f", {picture.pages} pages" if picture.pages > 1 else ""
    return f"{picture.format}, {picture.height}x{picture.width}, {kind}, {depth}{pages}"


def _short(picture: Picture) -> str:
    return f"{picture.format} {picture.height}x{picture.width}"


def _is_odd(name: str) -> bool:
    """Whether a shell or Hydra would take some of a name for orders."""
    return not all(letter.isascii() and (letter.isalnum() or letter in "./_-") for letter in name)


def _tell_folder(folder: Path, console: Console) -> None:
    """Print a table of the pictures of a folder; one that cannot be read says why."""
    table = Table(title=f"{printable(str(folder))}", title_justify="left")
    table.add_column("picture")
    for title in ("format", "noise", "shared", "memory", "likely", "at most"):
        table.add_column(title, justify="left" if title == "format" else "right")
    likely = 0.0
    for path in find_pictures(folder):
        try:
            found = _look(path)
        except UserError as error:
            table.add_row(printable(path.name), printable(str(error)))
            continue
        cost, likely = found.cost, likely + found.cost.likely
        shared = "" if found.noise.is_white else f"{found.noise.neighbours:.1f}"
        figures = (f"{found.noise.level:.1f}", shared, f"{cost.bytes / 1e9:.1f} GB")
        table.add_row(
            printable(path.name), _short(found.picture), *figures, duration(cost.likely), duration(cost.at_most)
        )
    console.print(table)
    name = str(folder)
    command = quote_for_shell("image.path", name) if _is_odd(name) else f"image.path={name}"
    print(f"all of them, likely {duration(likely)}: dip {command}")
