import csv
from pathlib import Path

import numpy as np
import torch

from dip_lightning.curves import Curves
from dip_lightning.runs.curves_csv import read_curves, write_curves


def test_values_are_kept_by_name_and_iteration() -> None:
    curves = Curves(5, torch.device("cpu"), torch.float32)
    for iteration in range(3):
        curves.record("loss", iteration, torch.tensor(0.5 * iteration))
    curves.record("psnr_eval", 2, torch.tensor(30.0))
    assert curves.recorded == 3
    block = curves.block(1)
    assert block["loss"].tolist() == [0.5, 1.0]
    assert np.isnan(block["psnr_eval"][0])
    assert block["psnr_eval"][1] == 30
    assert float(curves.value("loss", 2)) == 1.0


def test_the_csv_holds_every_value_exactly_and_leaves_gaps_empty(tmp_path: Path) -> None:
    values = {
        "psnr_eval": np.array([np.nan, 30.1], dtype=np.float32),
        "loss": np.array([0.1, 1 / 3], dtype=np.float32),
        "wmv": np.array([1.0, 2.0], dtype=np.float32),
    }
    write_curves(tmp_path / "curves.csv", values)
    with (tmp_path / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["iteration", "loss", "psnr_eval", "wmv"]
    assert rows[0]["psnr_eval"] == ""
    assert np.float32(rows[1]["loss"]) == values["loss"][1]
    assert [row["iteration"] for row in rows] == ["0", "1"]


def test_a_name_with_a_comma_is_read_as_it_was_written(tmp_path: Path) -> None:
    values = {"loss": np.array([1.0, np.nan]), 'stopping_"a", b': np.array([0.5, 2.0])}
    write_curves(tmp_path / "curves.csv", values)
    read = read_curves(tmp_path / "curves.csv")
    assert {*read} == {*values}
    for name, curve in values.items():
        np.testing.assert_array_equal(read[name], curve)
