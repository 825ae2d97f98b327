"""The pictures that a job names, looked at before the libraries of a fit are loaded, which takes seconds."""

from omegaconf import DictConfig, OmegaConf

from dip_lightning.config.paths import NO_FILE, is_folder

__all__ = ["check_files"]

# Settings that name a picture wherever they are a text; problem.mask=alpha is the one other thing they may be.
_PICTURES = ("image.path", "image.clean", "problem.mask", "problem.flash")


def check_files(cfg: DictConfig) -> None:
    """Refuse a picture that is not there, or is none by its first bytes. A fit refuses the same, and more.

    Args:
        cfg: The composed configuration.

    Raises:
        UserError: A file cannot be read.
    """
    for name in _PICTURES:
        value = OmegaConf.select(cfg, name)
        if not isinstance(value, str) or value in ("", "alpha") or NO_FILE.match(value) or is_folder(value):
            continue
        from dip_lightning.data.image_io import check_readable

        check_readable(value)
