"""What is written at the end of a fit is tried at its beginning, when there is nothing to lose."""

from pathlib import Path

from dip_lightning.data import SUFFIXES, Picture, write_image
from dip_lightning.errors import UserError

__all__ = ["try_to_write"]

# Of a corner that is written, in pixels.
_CORNER = 16


def try_to_write(folder: Path, picture: Picture) -> None:
    """Write small pictures of the very kind that will be handed back into the run folder, and remove them.

    A corner shows whether its format takes samples, alpha and metadata, a row and a column whether it takes the size.

    Args:
        folder: The run folder; made where it is missing.
        picture: Format, mode, depth, size and metadata of what will be handed back.

    Raises:
        UserError: It could not be written at the end either.
    """
    height, width = picture.height, picture.width
    parts = ((min(_CORNER, height), min(_CORNER, width)), (height, 1), (1, width))
    path = folder / f".trial{SUFFIXES[picture.format]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for rows, columns in parts:
            write_image(path, picture.cropped(0, 0, rows, columns))
    except OSError as error:
        if error.errno is None:  # Pillow's, of what the format does not take
            raise _refuse(picture, error) from error
        raise UserError(
            f"{folder} cannot be written ({error.strerror or error})",
            "a folder with room that you may write to",
            "try hydra.run.dir=NEW_FOLDER",
        ) from None
    except Exception as error:  # encoders raise whatever they stumble over
        raise _refuse(picture, error) from error
    finally:
        _remove(path)


def _refuse(picture: Picture, error: Exception) -> UserError:
    what = f"{picture.width}x{picture.height} pixels as {picture.format}"
    return UserError(
        f"a picture like this one, {what}, cannot be written ({error})",
        "what its format can hold",
        "convert it to PNG first",
    )


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
