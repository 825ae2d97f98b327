"""The runs of a sweep in a report: their order and their names."""

from pathlib import Path

from dip_lightning.cli.report import write_report
from dip_lightning.report.runs import find_runs
from dip_lightning.runs.sweep import Sweep
from tests.report.test_report import write_run

# Neither in the order of their names, nor of their numbers as words.
JOBS = {
    f"model={model},dropout={dropout}": {"model": model, "dropout": dropout}
    for model, dropout in [("unet", 0.3), ("unet", 0.0), ("resunet", 0.3), ("resunet", 0.1)]
}


def make_sweep(folder: Path) -> Path:
    for name, settings in JOBS.items():
        write_run(folder / name, **settings)
    Sweep(["model", "dropout"], JOBS).write(folder)
    return folder


def test_runs_come_in_the_order_of_their_sweep(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "sweep")
    assert [run.folder.name for run in find_runs([sweep])] == list(JOBS)
    assert [run.folder.name for run in find_runs([tmp_path])] == list(JOBS)
    # One begun under numbers, of more than ten jobs: 10 does not stand before 2.
    numbers = {str(number): {"seed": number} for number in range(12)}
    for name, settings in numbers.items():
        write_run(tmp_path / "numbers" / name, **settings)
    Sweep(["seed"], numbers).write(tmp_path / "numbers")
    assert [run.folder.name for run in find_runs([tmp_path / "numbers"])] == list(numbers)


def test_the_runs_of_one_sweep_have_its_names(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "sweep")
    write_report([sweep], tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    for name in JOBS:
        assert f"<h3>{name}</h3>" in page
    # Beside a run of another folder, names would not tell what differs.
    write_run(tmp_path / "other", model="resnet")
    write_report([tmp_path / "sweep", tmp_path / "other"], tmp_path / "both")
    page = (tmp_path / "both" / "report.html").read_text()
    assert "<h3>resnet</h3>" in page
    assert "<h3>model=" not in page
