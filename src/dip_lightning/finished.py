"""Whether a run folder holds the finished run of a configuration, so that it need not be done again."""

import hashlib
import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

__all__ = ["fingerprint", "is_finished"]

# What has no influence on the result.
_WITHOUT_INFLUENCE = (
    *("logger", "save_checkpoint", "size"),
    *(f"callbacks.{name}" for name in ("checkpoint", "curve_logger", "fit_progress", "pictures")),
)


def fingerprint(cfg: DictConfig) -> str:
    """Return sixteen hexadecimal digits that two configurations share if they describe the same fit.

    Args:
        cfg: The composed configuration.
    """
    settings = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(settings, dict)
    for key in _WITHOUT_INFLUENCE if cfg.tile is not None else (*_WITHOUT_INFLUENCE, "tile", "overlap"):
        _remove(settings, key.split("."))
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _remove(settings: dict[Any, Any], path: list[str]) -> None:
    *outer, last = path
    for key in outer:
        settings = settings.get(key) or {}
    settings.pop(last, None)


def is_finished(run_folder: Path, cfg: DictConfig) -> bool:
    """Tell whether a run folder holds the complete run of a configuration, younger than its picture.

    Args:
        run_folder: Where the run would be written.
        cfg: The composed configuration.
    """
    record = run_folder / "summary.json"
    try:
        summary = json.loads(record.read_text(encoding="utf-8"))
        if summary["signal"] is not None or summary.get("out_of_memory") or summary["fingerprint"] != fingerprint(cfg):
            return False
        pictures = [Path(str(path)) for path in (cfg.image.path, cfg.image.clean) if path is not None]
        if any(path.is_file() and path.stat().st_mtime > record.stat().st_mtime for path in pictures):
            return False
        return any(run_folder.glob("restored.*"))
    except (OSError, ValueError, KeyError, TypeError):
        return False
