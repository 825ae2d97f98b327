"""Whether a run folder holds the finished run of a configuration, so that it need not be done again."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dip_lightning.config.settings import WITHOUT_INFLUENCE, flatten

__all__ = ["TILE_FOLDERS", "fingerprint", "is_complete", "is_finished"]

# Under the run folder of a picture in tiles: the fits of the tiles, and of those that choose the iteration.
TILE_FOLDERS = ("tiles", "pilots")


def fingerprint(cfg: DictConfig) -> str:
    """Return sixteen hexadecimal digits that two configurations share if they describe the same fit.

    Args:
        cfg: The composed configuration.
    """
    settings = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(settings, dict)
    without = WITHOUT_INFLUENCE if cfg.tile is not None else (*WITHOUT_INFLUENCE, "tile", "overlap")
    flat = flatten(settings, without)
    for key in ("image.path", "image.clean"):  # however a path is spelled, it is the same picture
        if flat[key] is not None and Path(str(flat[key])).exists():
            flat[key] = str(Path(str(flat[key])).resolve())
    text = json.dumps(flat, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_complete(summary: Mapping[str, Any]) -> bool:
    """Tell whether a fit came to its end, and was not ended by a signal or for want of memory.

    Args:
        summary: The content of its ``summary.json``.
    """
    return summary.get("signal") is None and not summary.get("out_of_memory")


def is_finished(run_folder: Path, cfg: DictConfig, pictures: Iterable[str | Path | None] | None = None) -> bool:
    """Tell whether a run folder holds the complete run of a configuration, younger than its pictures.

    Args:
        run_folder: Where the run would be written.
        cfg: The composed configuration.
        pictures: What is fitted and measured against, where it is not what ``cfg`` names.
    """
    record = run_folder / "summary.json"
    try:
        summary = json.loads(record.read_text(encoding="utf-8"))
        if not is_complete(summary) or summary["fingerprint"] != fingerprint(cfg):
            return False
        named = (cfg.image.path, cfg.image.clean) if pictures is None else pictures
        files = [Path(str(picture)) for picture in named if picture is not None]
        if any(file.is_file() and file.stat().st_mtime > record.stat().st_mtime for file in files):
            return False
        return any(run_folder.glob("restored.*"))
    except (OSError, ValueError, KeyError, TypeError):
        return False
