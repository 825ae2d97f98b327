"""Which runs are of one picture: told by its pixels, since two pictures may have one name."""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

__all__ = ["PictureOfRun", "name_pictures", "short_name"]


@dataclass(frozen=True)
class PictureOfRun:
    """What a record says of the picture that was fitted.

    Attributes:
        source: Where it came from, as it was named.
        digest: What two observations share if their pixels, noise included, are equal; None in older records.
        noise: The seed of the noise that was added; None where it is not known.
    """

    source: str
    digest: str | None
    noise: Hashable = None


def short_name(source: str) -> str:
    """The name of a file without its folders."""
    return re.split(r"[/\\]", source)[-1]


def name_pictures(pictures: Sequence[PictureOfRun]) -> list[str]:
    """Name the pictures of runs whose other settings agree, but for seeds: one name for one picture.

    Args:
        pictures: Of each run.

    Returns:
        For each run the name of its file; with as many of its folders as tell it from another picture of that name, or
        with the first digits of the digest where it is another picture under the very same path.
    """
    keys = [_key(picture, pictures) for picture in pictures]
    sources: dict[str, str] = {}
    for key, picture in zip(keys, pictures, strict=True):
        sources.setdefault(key, picture.source)
    names = _shortest(sources)
    return [names[key] for key in keys]


def _key(picture: PictureOfRun, pictures: Sequence[PictureOfRun]) -> str:
    """What two runs share if they are of one picture."""
    same_source = [other for other in pictures if other.source == picture.source]
    # Another noise is another digest of the same picture.
    if len({other.noise for other in same_source if other.noise is not None}) > 1:
        return picture.source
    if picture.digest is not None:
        return picture.digest
    return next((other.digest for other in same_source if other.digest is not None), picture.source)


def _shortest(sources: dict[str, str]) -> dict[str, str]:
    folders = {key: source.split("/") for key, source in sources.items()}
    for count in range(1, max(map(len, folders.values()), default=0) + 1):
        names = {key: "/".join(parts[-count:]) for key, parts in folders.items()}
        if len({*names.values()}) == len(names):
            return names
    return {key: f"{short_name(source)} {key[:6]}" for key, source in sources.items()}
