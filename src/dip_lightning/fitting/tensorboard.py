"""What TensorBoard is told of a whole run: its settings when it begins, its figures when it has ended.

The HParams tab takes its columns from the first run that it finds, sorts those of settings by name, and ticks the first
five of settings and of figures. So every job of a sweep writes the same columns, by names that begin with their place.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary as SummaryMessage
from tensorboard.plugins.hparams.api_pb2 import Experiment, HParamInfo, MetricInfo, MetricName, Status
from tensorboard.plugins.hparams.metadata import (
    EXPERIMENT_TAG,
    SESSION_END_INFO_TAG,
    SESSION_START_INFO_TAG,
    create_summary_metadata,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo

from dip_lightning.callbacks import Detection
from dip_lightning.config.settings import flatten
from dip_lightning.fitting.build import Fit
from dip_lightning.names import printable
from dip_lightning.runs.record import Summary
from dip_lightning.runs.sweep import Sweep, read_sweep
from dip_lightning.system.loggers import close_loggers, spared_loggers

log = logging.getLogger(__name__)

__all__ = ["hyperparameters", "log_figures", "log_settings", "run_figures"]

# The figures of a whole run, by their tags, in the order of the HParams tab, and what they are called there.
_FIGURES = {
    "whole_fit/psnr_handed_back": "handed back (dB)",
    "whole_fit/psnr_averaged_peak": "peak, averaged (dB)",
    "whole_fit/psnr_one_pass_peak": "peak, one-pass (dB)",
    "whole_fit/plateau_0.1db": "within 0.1 dB",
    "whole_fit/iterations": "iterations",
    "whole_fit/seconds": "seconds",
    "whole_fit/iteration_handed_back": "iteration handed back",
    "whole_fit/iteration_averaged_peak": "iteration of the peak",
    "whole_fit/plateau_0.5db": "within 0.5 dB",
}


def log_settings(fit: Fit, run_folder: Path) -> None:
    """Tell the loggers the settings of a fit that begins, and TensorBoard the columns of its sweep."""
    values, sweep = hyperparameters(fit), read_sweep(run_folder)
    with spared_loggers(fit.trainer) as loggers:
        for logger in loggers:
            if not isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(values)
                continue
            logger.hparams.update(values)  # of hparams.yaml; its log_hyperparams would write columns of its own
            if sweep is not None and sweep.differs:
                _write(logger, EXPERIMENT_TAG, HParamsPluginData(experiment=_columns(sweep)))
                values = _named(sweep, _of_sweep(sweep, fit.settings.resolved))
            session = SessionStartInfo()
            for name, value in values.items():
                kind = "bool" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"
                setattr(session.hparams[name], f"{kind}_value", value)
            _write(logger, SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=session))


def log_figures(fit: Fit, summary: Summary) -> None:
    """Write the figures of a fit that has ended, and close the loggers.

    Where a logger refuses them, whatever its reason, the fit is handed back all the same.
    """
    try:
        _log_figures(fit, summary)
    except Exception as error:
        log.warning("the last figures could not be logged (%s: %s)", type(error).__name__, error)


def _log_figures(fit: Fit, summary: Summary) -> None:
    with spared_loggers(fit.trainer) as loggers:
        for logger in loggers:
            if isinstance(logger, TensorBoardLogger):
                # After the last iteration, where a fit that goes on begins: TensorBoard then forgets them.
                logger.log_metrics(run_figures(summary), step=summary["iterations"])
                end = SessionEndInfo(status=Status.Value("STATUS_SUCCESS"))
                _write(logger, SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end))
    close_loggers(fit.trainer)


def hyperparameters(fit: Fit) -> dict[str, Any]:
    """The settings of a fit as plain values, in the order of their weight.

    Args:
        fit: The fit.
    """
    settings, observation, detection = fit.settings, fit.data.observation, fit.find(Detection)
    chosen = {
        "model": type(fit.module.prior.network).__name__.lower(),
        "residual": settings.residual,
        "dropout": settings.dropout,
        "precision": settings.precision,
        "seed": settings.seed,
        "image": observation.source,
        "sigma": observation.sigma,
        "data_term": getattr(fit.module.problem.data_term, "__name__", type(fit.module.problem.data_term).__name__),
        "num_parameters": sum(parameter.numel() for parameter in fit.module.prior.network.parameters()),
        "stopping": "none" if detection is None else detection.name,
        "iterations": fit.data.iterations,
    }
    structure = {f"model.{key}": value for key, value in settings.structure.items() if key not in chosen}
    others = {"lr": settings.lr, "alpha": settings.alpha, "input_noise_std": fit.module.prior.policy.std}
    return {name: _plain(value) for name, value in (chosen | structure | others).items()}


def run_figures(summary: Summary) -> dict[str, float]:
    """The figures of a run by their tags in TensorBoard; without those that need a clean image where there is none.

    Args:
        summary: The content of ``summary.json``.
    """
    averaged: Mapping[str, Any] = summary["averaged"] or {}
    one_pass: Mapping[str, Any] = summary["one_pass"] or {}
    measured = {
        "whole_fit/psnr_handed_back": summary["selected"]["psnr"],
        "whole_fit/psnr_averaged_peak": averaged.get("peak_psnr"),
        "whole_fit/psnr_one_pass_peak": one_pass.get("peak_psnr"),
        "whole_fit/plateau_0.1db": averaged.get("plateau_0.1db"),
        "whole_fit/iterations": summary["iterations"],
        "whole_fit/seconds": summary["seconds"],
        "whole_fit/iteration_handed_back": summary["selected"]["iteration"],
        "whole_fit/iteration_averaged_peak": averaged.get("peak_iteration"),
        "whole_fit/plateau_0.5db": averaged.get("plateau_0.5db"),
    }
    return {tag: float(value) for tag, value in measured.items() if value is not None}


def _columns(sweep: Sweep) -> Experiment:
    """The columns of the HParams tab: what differs between the jobs, then the figures."""
    titles = dict(zip(_named(sweep, dict.fromkeys(sweep.differs)), sweep.differs, strict=True))
    columns = [HParamInfo(name=name, display_name=title, differs=True) for name, title in titles.items()]
    figures = [MetricInfo(name=MetricName(tag=tag), display_name=title) for tag, title in _FIGURES.items()]
    return Experiment(hparam_infos=columns, metric_infos=figures)


def _named(sweep: Sweep, values: Mapping[str, Any]) -> dict[str, Any]:
    """Name settings so that their names, sorted, come in the order of the command line."""
    digits = len(str(len(sweep.differs)))
    return {f"{place:0{digits}} {key}": values[key] for place, key in enumerate(sweep.differs, 1) if key in values}


def _of_sweep(sweep: Sweep, resolved: Mapping[str, Any]) -> dict[str, Any]:
    """What a job has of the settings that differ; without those that its network lacks."""
    own, composed = sweep.own, flatten(resolved)

    def found() -> Iterator[tuple[str, Any]]:
        for key in sweep.differs:
            if key == "seed" and key in own:
                yield key, str(own[key])  # a name, which TensorBoard would write as 1.0000
            elif key in own:
                yield key, _plain(own[key])
            elif composed.get(key) is not None:  # null: a switch that the network does not have
                yield key, _plain(composed[key])

    return dict(found())


def _plain(value: Any) -> bool | float | str:
    """A value that TensorBoard takes: no lists, such as widths, and no null."""
    if value is None:
        return "none"
    return value if isinstance(value, (bool, int, float)) else printable(str(value))


def _write(logger: TensorBoardLogger, tag: str, content: Message) -> None:
    metadata = create_summary_metadata(content)
    value = SummaryMessage.Value(tag=tag, metadata=metadata)
    writer = logger.experiment._get_file_writer()
    assert writer is not None  # only of a writer that was closed
    writer.add_summary(SummaryMessage(value=[value]))
