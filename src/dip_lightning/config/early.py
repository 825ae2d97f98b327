"""Settings that can be checked in a moment, before the libraries of a fit are loaded."""

from omegaconf import DictConfig

from dip_lightning.checks import check_choice, check_flag, check_integer, check_number

__all__ = ["check_early"]


def check_early(cfg: DictConfig) -> None:
    """Refuse what no fit could be built from. Whatever builds a fit checks the same, and more.

    Args:
        cfg: The composed configuration.

    Raises:
        UserError: A value is not allowed.
    """
    check_integer("seed", cfg.seed, 0, 2**32 - 1, example=0)
    if cfg.iterations is not None:
        check_integer("iterations", cfg.iterations, 1, 10**7, example=2000)
    check_choice("select", cfg.select, ("averaged", "one_pass"))
    check_number("dropout", cfg.dropout, 0, 1, high_open=True, example=0.1)
    check_number("input_scale", cfg.input_scale, 0, low_open=True, example=0.1)
    check_flag("save_checkpoint", cfg.save_checkpoint)
    check_flag("channels_last", cfg.channels_last)
