"""What TensorBoard shows of a run and of a sweep, read by its own parts."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.get_experiment import Handler as ExperimentHandler
from tensorboard.plugins.hparams.list_session_groups import Handler as SessionsHandler

from dip_lightning.config.compose import compose_config
from dip_lightning.fitting.fit import FitResult
from dip_lightning.workflows.restore import fit
from tests.conftest import TINY, TINY_UNET, Outcome

Dip = Callable[..., Outcome]
TITLES = ["handed back (dB)", "peak, averaged (dB)", "peak, one-pass (dB)", "within 0.1 dB", "iterations", "seconds"]


def order(tag: str) -> list[tuple[int, float, str]]:
    """How TensorBoard sorts tags: its compareTagNames puts ``/`` and ``_`` before digits, and these before letters."""
    parts = re.findall(r"[0-9.]+|.", tag)
    return [(0, 0, p) if p in "/_" else (1, float(p), "") if p[0].isdigit() else (2, 0, p) for p in parts]


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0}).Reload()


def hparams_of(folder: Path) -> tuple[Any, list[Any]]:
    """What the HParams tab asks of TensorBoard: the columns, and the rows by their names."""
    runs = EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()
    context = Context(TBContext(data_provider=MultiplexerDataProvider(runs, str(folder))))
    experiment = ExperimentHandler(RequestContext(), context, "", api_pb2.GetExperimentRequest()).run()
    columns = [api_pb2.ColParams(hparam=info.name, include_in_result=True) for info in experiment.hparam_infos]
    request = api_pb2.ListSessionGroupsRequest(
        slice_size=100,
        col_params=[*columns, *(api_pb2.ColParams(metric=info.name) for info in experiment.metric_infos)],
        allowed_statuses=[api_pb2.STATUS_SUCCESS, api_pb2.STATUS_RUNNING, api_pb2.STATUS_UNKNOWN],
    )
    rows = SessionsHandler(RequestContext(), context, "", request).run().session_groups
    return experiment, sorted(rows, key=lambda row: row.name)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    overrides = ["iterations=25", "trainer.log_every_n_steps=10", "callbacks.pictures.every=10", "stopping=all"]
    overrides += ["regularizers=tv", "scheduler=step", "scheduler.step_size=10"]
    fit(compose_config([*TINY_UNET, *overrides, "callbacks.peak_psnr.eval_every=5"]), folder)
    return folder


def test_every_iteration_the_pictures_and_the_final_figures_are_there(run_folder: Path) -> None:
    events = read(run_folder)
    with (run_folder / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    tags = {"training/loss": "loss", "psnr/one_pass": "psnr_one_pass", "psnr/averaged": "psnr_averaged"}
    tags |= {"training/psnr_observation": "psnr_observation", "psnr/one_pass_eval": "psnr_eval"}
    tags |= {"training/regularizer_tv": "regularizer_tv", "stopping/sure": "stopping_sure"}
    for tag, column in tags.items():
        scalars = [(event.step, event.value) for event in events.Scalars(tag)]
        expected = [(int(row["iteration"]), float(row[column])) for row in rows if row[column]]
        assert [step for step, _ in scalars] == [step for step, _ in expected], tag
        np.testing.assert_allclose([v for _, v in scalars], [v for _, v in expected], rtol=1e-6)
    assert len(events.Scalars("psnr/one_pass_eval")) == 5
    layout = events.SummaryMetadata("custom_scalars__config__")
    assert layout.plugin_data.plugin_name == "custom_scalars"
    charts = str(events.Tensors("custom_scalars__config__")[0].tensor_proto)
    assert "psnr/one_pass" in charts
    assert "psnr/averaged" in charts


def test_the_cards_begin_with_psnr_and_end_with_single_figures(run_folder: Path) -> None:
    events = read(run_folder)
    tags = sorted([*events.Tags()["scalars"], *events.Tags()["images"]], key=order)
    assert list(dict.fromkeys(tag.split("/")[0] for tag in tags)) == [
        *("psnr", "stopping", "training", "view", "whole_fit")
    ]
    assert tags[:3] == ["psnr/averaged", "psnr/one_pass", "psnr/one_pass_eval"]
    # A card of a single point, of which a sweep has a figure a run, stands nowhere else.
    single = {tag for tag in events.Tags()["scalars"] if len(events.Scalars(tag)) == 1}
    assert single == {tag for tag in tags if tag.startswith("whole_fit/")}


def test_there_is_one_event_file_and_settings_beside_it(run_folder: Path) -> None:
    assert len(list(run_folder.glob("events.out.tfevents*"))) == 1
    settings = (run_folder / "hparams.yaml").read_text()
    for line in ("model: resunet", "dropout: 0.1", "model.levels: 2", "seed: 0", "lr: 0.01"):
        assert line in settings.splitlines()


def test_a_run_done_anew_has_its_own_settings_and_one_file(run_folder: Path, tmp_path: Path) -> None:
    for seed in (3, 4):
        fit(compose_config([*TINY_UNET, f"seed={seed}"]), tmp_path)
    assert "seed: 4" in (tmp_path / "hparams.yaml").read_text()
    assert len(list(tmp_path.glob("events.out.tfevents*"))) == 1


def test_the_learning_rate_has_a_curve(run_folder: Path) -> None:
    rates = [(event.step, event.value) for event in read(run_folder).Scalars("training/lr")]
    assert [step for step, _ in rates] == list(range(25))
    # scheduler=step halves it after every ten iterations.
    assert [rate for _, rate in rates] == pytest.approx([0.01] * 10 + [0.005] * 10 + [0.0025] * 5)


def test_the_figures_are_those_of_the_summary(run_folder: Path) -> None:
    summary, events = json.loads((run_folder / "summary.json").read_text()), read(run_folder)
    expected = {
        "psnr_handed_back": summary["selected"]["psnr"],
        "psnr_averaged_peak": summary["averaged"]["peak_psnr"],
        "psnr_one_pass_peak": summary["one_pass"]["peak_psnr"],
        "plateau_0.1db": summary["averaged"]["plateau_0.1db"],
        "plateau_0.5db": summary["averaged"]["plateau_0.5db"],
        "iterations": 25,
        "seconds": summary["seconds"],
        "iteration_handed_back": summary["selected"]["iteration"],
        "iteration_averaged_peak": summary["averaged"]["peak_iteration"],
    }
    told = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"] if tag.startswith("whole_fit/")}
    assert {tag: values[0].value for tag, values in told.items()} == pytest.approx(
        {f"whole_fit/{name}": value for name, value in expected.items()}, rel=1e-5
    )
    assert {len(values) for values in told.values()} == {1}


def test_what_needs_a_clean_picture_is_absent_without_one(tiny_fit: Callable[..., FitResult], tmp_path: Path) -> None:
    tiny_fit("degradation=none", "stopping=none", run_folder=tmp_path)
    tags = read(tmp_path).Tags()
    assert not [tag for tag in tags["scalars"] if "psnr" in tag and tag != "training/psnr_observation"]
    assert tags["images"] == ["view/noisy-one_pass-averaged"]
    assert "whole_fit/seconds" in tags["scalars"]


# Two networks with options of their own: the columns of both, and an empty cell where one lacks what the other has.
BLOCKS = """
# @package _global_
hydra:
  mode: MULTIRUN
  sweeper:
    params: {seed: "1,0"}
    blocks:
      one: {model: unet, model.levels: "2,3"}
      other: {model: resnet, model.num_blocks: 1, dropout: 0.1}
"""


@pytest.fixture
def sweep(dip: Dip, tmp_path: Path) -> Path:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "blocks.yaml").write_text(BLOCKS)
    tiny = [override for override in TINY if not override.startswith("model=")]  # the blocks choose the networks
    common = ("--config-dir", "mine", "experiment=blocks", *tiny, "stopping=none", "hydra.sweep.dir=sweep")
    assert dip("-m", *common).code == 0
    return tmp_path / "sweep"


def test_the_hparams_of_a_sweep_are_what_differs_then_the_figures(sweep: Path) -> None:
    experiment, rows = hparams_of(sweep)
    # As TensorBoard serves them, and ticks the first five.
    assert [info.display_name for info in experiment.hparam_infos] == [
        *("model", "model.levels", "model.num_blocks", "dropout", "seed")
    ]
    assert all(info.differs for info in experiment.hparam_infos)
    assert [info.display_name for info in experiment.metric_infos][:6] == TITLES
    titles = {info.name: info.display_name for info in experiment.hparam_infos}
    told = {row.name: {titles[n]: v.string_value or v.number_value for n, v in row.hparams.items()} for row in rows}
    assert told == {
        "model=unet,levels=2,seed=0": {"model": "unet", "model.levels": 2, "seed": "0", "dropout": 0},
        "model=unet,levels=2,seed=1": {"model": "unet", "model.levels": 2, "seed": "1", "dropout": 0},
        "model=unet,levels=3,seed=0": {"model": "unet", "model.levels": 3, "seed": "0", "dropout": 0},
        "model=unet,levels=3,seed=1": {"model": "unet", "model.levels": 3, "seed": "1", "dropout": 0},
        "model=resnet,num_blocks=1,dropout=0.1,seed=0": {
            **{"model": "resnet", "seed": "0", "model.num_blocks": 1},
            "dropout": 0.1,
        },
        "model=resnet,num_blocks=1,dropout=0.1,seed=1": {
            **{"model": "resnet", "seed": "1", "model.num_blocks": 1},
            "dropout": 0.1,
        },
    }
    for row in rows:
        summary = json.loads((sweep / row.name / "summary.json").read_text())
        measured = {value.name.tag: value.value for value in row.metric_values}
        assert len(measured) == len(experiment.metric_infos)
        assert measured["whole_fit/psnr_averaged_peak"] == pytest.approx(summary["averaged"]["peak_psnr"], rel=1e-5)
        assert row.sessions[0].status == api_pb2.STATUS_SUCCESS
        assert len(list((sweep / row.name).glob("events.out*"))) == 1


def test_a_run_of_no_sweep_is_compared_by_all_its_settings(run_folder: Path) -> None:
    experiment, (row,) = hparams_of(run_folder)
    assert {"model", "dropout", "model.levels", "lr"} <= {info.name for info in experiment.hparam_infos}
    assert row.hparams["model"].string_value == "resunet"
    assert row.hparams["dropout"].number_value == pytest.approx(0.1)


def test_a_table_of_scalars_beside_tensorboard(dip: Dip, tmp_path: Path) -> None:
    short = ("stopping=none", "callbacks.checkpoint.iterations=2", "hydra.run.dir=run", "logger=[tensorboard,csv]")
    assert dip(*TINY_UNET, *short).code == 0
    assert len(list((tmp_path / "run").glob("events.out*"))) == 1

    def steps() -> list[int]:
        with (tmp_path / "run" / "csv" / "metrics.csv").open() as file:
            return [int(row["step"]) for row in csv.DictReader(file) if row["training/loss"]]

    assert steps() == list(range(6))
    # It is one table also of a fit that goes on, though Lightning's logger begins anew.
    assert dip("resume=run", "iterations=9").code == 0
    assert steps() == list(range(9))
    assert "model: resunet" in (tmp_path / "run" / "csv" / "hparams.yaml").read_text()
    assert dip(*TINY_UNET, "stopping=none", "hydra.run.dir=other", "logger=csv").code == 0
    assert not list((tmp_path / "other").glob("events.out*"))
    assert (tmp_path / "other" / "csv" / "metrics.csv").is_file()
