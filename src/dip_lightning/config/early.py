"""Settings that can be checked in a moment, before the libraries of a fit are loaded."""

from omegaconf import DictConfig

from dip_lightning.checks import check_average, check_choice, check_flag, check_integer, check_number, check_tile
from dip_lightning.config.compose import config_folder
from dip_lightning.config.messages import check_groups

__all__ = ["check_early"]

# Whole numbers of this package's networks, with one that works, and the least.
_OF_NETWORKS = {
    "channels": (128, 1),
    "input_channels": (32, 1),
    "kernel_size": (3, 1),
    "levels": (5, 1),
    "num_blocks": (5, 1),
    "skip_channels": (4, 0),
}
# No picture has as many levels; what else is too much, its memory tells.
_MOST = {"levels": 64}


def check_early(cfg: DictConfig) -> None:
    """Refuse what no fit could be built from. Whatever builds a fit checks the same, and more.

    Args:
        cfg: The composed configuration.

    Raises:
        UserError: A value is not allowed.
    """
    check_groups(cfg, config_folder())
    check_integer("seed", cfg.seed, 0, 2**32 - 1, example=0)
    if cfg.iterations is not None:
        check_integer("iterations", cfg.iterations, 1, 10**7, example=2000)
    check_choice("select", cfg.select, ("averaged", "one_pass"))
    check_number("dropout", cfg.dropout, 0, 1, high_open=True, example=0.1)
    check_number("input_scale", cfg.input_scale, 0, low_open=True, example=0.1)
    check_number("lr", cfg.lr, 0, low_open=True, example=0.01)
    check_average(cfg.alpha)
    check_flag("save_checkpoint", cfg.save_checkpoint)
    check_flag("channels_last", cfg.channels_last)
    if cfg.tile is not None:
        check_tile(cfg.tile)
    _check_network(cfg)


def _check_network(cfg: DictConfig) -> None:
    """Refuse texts, and numbers of no size, where this package's networks take numbers; others take what they like."""
    if not str(cfg.model.get("_target_")).startswith("dip_lightning.models."):
        return
    for name, (example, least) in _OF_NETWORKS.items():
        value = cfg.model.get(name)
        if isinstance(value, (str, int)):
            check_integer(f"model.{name}", value, least, _MOST.get(name, 2**31 - 1), example=example)
