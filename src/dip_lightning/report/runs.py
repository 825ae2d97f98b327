"""Finished runs, read from their folders."""

import contextlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from dip_lightning.config.settings import flatten
from dip_lightning.errors import UserError
from dip_lightning.names import printable
from dip_lightning.report.pictures import PictureOfRun, name_pictures, short_name
from dip_lightning.runs.curves_csv import read_curves
from dip_lightning.runs.record import RECORD, TILE_FOLDERS, Summary, read_summary, still_rises
from dip_lightning.runs.status import status_of
from dip_lightning.runs.sweep import read_sweep

__all__ = ["Group", "Run", "find_baseline", "find_runs", "group_runs"]

# What may differ between two runs of one setting.
_NOT_A_SETTING = (
    "seed",
    "callbacks.",
    "logger.",
    "trainer.",
    "save_checkpoint",
    "hydra.",
    "_target_",
    # Told by the names of the precision and of the rule.
    "precision.",
    "stopping.",
)

# Where pictures lie.
_PATHS = {"image.path", "image.clean"}

# The settings that name a run, the most telling first; others follow by name.
_ORDER = (
    *("model", "residual", "dropout", "model.dropout_kind", "precision", "image", "operator", "sigma"),
    *("input", "optimizer", "scheduler", "stopping"),
)


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
        folder: Where it is.
        summary: The content of ``summary.json``.
        settings: Its configuration, flat: ``{"model": "unet", "model.levels": 5, "lr": 0.01, ...}``.
        curves: One array an iteration, by the names of ``curves.csv``; NaN where nothing was measured.
    """

    folder: Path
    summary: Summary
    settings: dict[str, Any]
    curves: dict[str, NDArray[np.floating]]

    @property
    def is_complete(self) -> bool:
        """Whether it came to its end; not where a signal or the memory ended it."""
        return status_of(self.summary).is_end

    def still_rising(self, output: str) -> bool:
        """Whether the PSNR of an output, ``"one_pass"`` say, was highest at the last iteration: that is no peak."""
        return still_rises(self.figure(output, "peak_iteration"), self.figure("iterations"))

    def figure(self, *keys: str) -> float | None:
        """Return a number of the summary by its path, ``run.figure("averaged", "peak_psnr")``; None if absent."""
        value: Any = self.summary
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


@dataclass
class Group:
    """Runs of one picture that differ in nothing but the seed.

    Attributes:
        label: What tells it from the other groups: the model, and what is not usual for it among them.
        settings: The settings that differ between the groups, and their values here.
        usual: Those that the label leaves out, because more than half of the model's groups have them.
        runs: Its runs, in the order of their seeds.
    """

    label: str
    settings: dict[str, Any]
    usual: dict[str, Any] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)

    def figures(self, *keys: str) -> list[float]:
        """Return a number of the summary of each run that has it."""
        found = [run.figure(*keys) for run in self.runs]
        return [value for value in found if value is not None]


def find_runs(paths: Iterable[Path]) -> list[Run]:
    """Find and read every finished run in some folders and their subfolders; of one in tiles, the whole.

    Args:
        paths: Run folders, or folders that hold some.

    Returns:
        The runs, by path, and those of a sweep in its order; each once.

    Raises:
        UserError: There is no such folder, or no finished run in it.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise UserError(f"{path}", "a folder with finished runs", "try dip-report outputs")
        records = [record for record in path.rglob(RECORD) if not _is_of_a_tile(record.relative_to(path))]
        records.sort(key=lambda record: _place_in_sweep(record.parent))
        if not records:
            raise UserError(f"no finished run in {path}", "folders with a summary.json", "try dip-report outputs")
        found |= {record.parent.resolve(): record.parent for record in records}
    return [_read(folder) for folder in found.values()]


def _place_in_sweep(folder: Path) -> tuple[Path, int, Path]:
    """What sorts runs by their paths, but those of a sweep by their place in it."""
    sweep = read_sweep(folder)
    place = 0 if sweep is None or not sweep.jobs else list(sweep.jobs).index(sweep.name)
    return folder.parent, place, folder


def _is_of_a_tile(record: Path) -> bool:
    """Whether a record is of a tile, below the run folder of the whole."""
    return len(record.parts) > 2 and record.parts[-3] in TILE_FOLDERS


def _read(folder: Path) -> Run:
    try:
        summary = read_summary(folder)
        curves = read_curves(folder / "curves.csv")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder} is no finished run ({error})", "summary.json and curves.csv", "leave it out"
        ) from None
    if "model" not in summary:
        raise UserError(f"{folder}/summary.json is no record of a run", "what dip writes", "leave it out")
    return Run(folder, summary, _settings(folder, summary), curves)


def _settings(folder: Path, summary: Summary) -> dict[str, Any]:
    """The configuration that Hydra has written, flat; of a run from Python, what the summary tells."""
    names = ("residual", "dropout", "precision", "seed", "sigma", "data_term")
    settings: dict[str, Any] = {"model": summary["model"], "image": short_name(str(summary.get("image")))}
    settings |= {name: summary.get(name) for name in names}
    settings["operator"] = summary.get("operator", "identity")
    stopping = summary.get("stopping") or {}
    settings |= {"stopping": stopping.get("rule"), "iterations": stopping.get("cap", summary.get("iterations"))}
    settings["size"] = f"{summary.get('height')}x{summary.get('width')}"
    file = folder / ".hydra" / "config.yaml"
    if file.is_file():
        configuration = _read_yaml(file)
        flat = flatten(configuration) if isinstance(configuration, dict) else {}
        for group in ("input", "optimizer", "scheduler"):
            if f"{group}._target_" in flat:
                settings[group] = str(flat[f"{group}._target_"]).rsplit(".", 1)[-1].lower()
        if "${" in str(flat.get("degradation.seed")):  # as a sweep over both seeds says it
            settings["degradation.seed"] = summary.get("seed")
        settings = {key: value for key, value in flat.items() if "${" not in str(value)} | settings
    return {key: printable(value) if isinstance(value, str) else value for key, value in settings.items()}


def _read_yaml(file: Path) -> Any:
    """Read it the quick way; the slow one also takes names that are not UTF-8. None where it is damaged."""
    for loader in (getattr(yaml, "CSafeLoader", yaml.SafeLoader), yaml.SafeLoader):
        with contextlib.suppress(yaml.YAMLError):
            return yaml.load(file.read_text(encoding="utf-8"), loader)
    return None


def group_runs(runs: list[Run]) -> list[Group]:
    """Put runs together that differ in nothing but the seed, and name each group by what tells it from the others.

    Args:
        runs: Finished runs.

    Returns:
        The groups, in the order of the runs.
    """
    kept = [{k: v for k, v in run.settings.items() if not _is_no_setting(k)} for run in runs]
    _tell_pictures_apart(runs, kept)
    keys = {key for settings in kept for key in settings}
    differing = {key for key in keys if len({str(settings.get(key)) for settings in kept}) > 1}
    # A path to the picture is told by its name; the network's own settings by the network, where they follow from it.
    differing -= _PATHS
    shown = [key for key in _ORDER if key in differing] + sorted(differing - set(_ORDER))
    shown = [key for key in shown if key == "model" or not _follows(key, "model", kept)]
    groups: dict[str, Group] = {}
    for run, settings in zip(runs, kept, strict=True):
        identity = json.dumps({key: settings.get(key) for key in sorted(differing)}, default=str)
        group = groups.setdefault(identity, Group("", {key: settings.get(key) for key in shown}))
        # One fit that was done twice, in two sweeps, would make the spread between seeds look smaller than it is.
        if not any(_is_repeated(run, other) for other in group.runs):
            group.runs.append(run)
    for group in groups.values():
        group.runs.sort(key=lambda run: run.figure("seed") or 0)
    _label(list(groups.values()))
    return list(groups.values())


def find_baseline(groups: list[Group]) -> Group:
    """Find what the others are compared with: the original U-net as it usually is, or what comes nearest to it.

    Args:
        groups: Runs that belong together, one group or more.
    """
    return min(groups, key=_place)


def _tell_pictures_apart(runs: list[Run], kept: list[dict[str, Any]]) -> None:
    """Name the picture in the settings of each run so that runs of one setting share it if they are of one picture."""
    alike: dict[str, list[int]] = defaultdict(list)
    for index, settings in enumerate(kept):
        others = {key: value for key, value in settings.items() if key not in _PATHS}
        alike[json.dumps(others, sort_keys=True, default=str)].append(index)
    for members in alike.values():
        found = [(runs[index].summary, runs[index].settings.get("degradation.seed")) for index in members]
        pictures = [PictureOfRun(str(summary.get("image")), summary.get("digest"), noise) for summary, noise in found]
        for index, name in zip(members, name_pictures(pictures), strict=True):
            kept[index]["image"] = name


def _place(group: Group) -> tuple[bool, bool]:
    """The original U-net, as it usually is or at all, then other networks as they usually are, then the rest."""
    model = group.runs[0].summary.get("model")
    return model != "unet", group.label != model


def _is_repeated(run: Run, other: Run) -> bool:
    """Whether two runs of one setting have the same seed and the same curves."""
    names = ("loss", "psnr_one_pass", "psnr_observation")
    return run.summary.get("seed") == other.summary.get("seed") and all(
        np.array_equal(run.curves.get(name, np.empty(0)), other.curves.get(name, np.empty(0)), equal_nan=True)
        for name in names
    )


def _label(groups: list[Group]) -> None:
    """Name each group by its model and by the settings that are not usual for the model."""
    for group in groups:
        model = group.runs[0].summary["model"]
        alike = [other for other in groups if other.runs[0].summary["model"] == model]
        told = []
        for key, value in group.settings.items():
            if key == "model" or value is None:
                continue
            share = sum(str(other.settings.get(key)) == str(value) for other in alike) / len(alike)
            if share > 0.5:
                group.usual[key] = value
            else:
                told.append(f"{key.removeprefix('model.')} {_rounded(value)}")
        group.label = ", ".join([str(model), *told])


def _rounded(value: Any) -> Any:
    """A number that was measured, such as a noise level, has more digits than a name needs."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _is_no_setting(key: str) -> bool:
    if key.startswith("trainer.gradient_clip"):  # what of the Trainer changes results
        return False
    return any(key == name or key.startswith(name) or key.endswith(f".{name}") for name in _NOT_A_SETTING)


def _follows(key: str, cause: str, kept: list[dict[str, Any]]) -> bool:
    """Whether a setting has one value for each value of another: it then says nothing new."""
    pairs = {(str(settings.get(cause)), str(settings.get(key))) for settings in kept}
    return len(pairs) == len({first for first, _ in pairs})
