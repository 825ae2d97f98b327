"""Pictures for TensorBoard: how many, of which iterations, and what stands beside what."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dip_lightning.callbacks import Detection
from dip_lightning.callbacks.pictures import due, side_by_side
from dip_lightning.fitting.fit import FitResult
from dip_lightning.stopping import WindowedVariance


@pytest.mark.parametrize("iterations", [10, 15, 60, 300, 5000])
def test_a_fit_that_does_all_its_iterations_has_ten_even_pictures(iterations: int) -> None:
    times = due(iterations, iterations, None)
    assert len(times) == 10
    assert times[-1] == iterations
    gaps = {later - earlier for earlier, later in zip([0, *times[:-1]], times, strict=True)}
    assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("end", [501, 600, 1200, 3000, 5000])
def test_a_fit_that_the_rules_end_has_ten_and_a_few(end: int) -> None:
    shown = len({time for time in due(5000, 501, None) if time <= end} | {end})
    assert 10 <= shown <= 16


def test_a_cadence_of_ones_own() -> None:
    assert due(100, 100, 30) == [30, 60, 90]
    assert due(100, 100, 0) == []
    assert due(4, 4, None) == [1, 2, 3, 4]


def test_the_rules_end_no_fit_before_the_earliest_end() -> None:
    rules = {"wmv": WindowedVariance()}
    assert Detection(rules, min_iterations=100).earliest_end == 501  # 400 without anything better
    assert Detection(rules, min_iterations=2000).earliest_end == 3001  # half of those before
    assert Detection(rules, min_iterations=100, patience=20).earliest_end == 121


@pytest.mark.parametrize("settings", [["stopping=none"], ["stopping.min_iterations=10", "stopping.patience=20"]])
def test_ten_are_written(tiny_fit: Callable[..., FitResult], tmp_path: Path, settings: list[str]) -> None:
    result = tiny_fit("iterations=70", "alpha=0.5", "lr=0.1", *settings, run_folder=tmp_path)
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0}).Reload()
    (tag,) = events.Tags()["images"]
    assert tag == "view/noisy-one_pass-averaged-clean"
    pictures = events.Images(tag)
    assert 10 <= len(pictures) <= 15
    assert pictures[-1].step == result.summary["iterations"] - 1
    assert {(picture.width, picture.height) for picture in pictures} == {(66, 66)}


def test_four_stand_two_by_two() -> None:
    images = [torch.full((1, 3, 4, 6), value / 10) for value in range(4)]
    picture = side_by_side(images)
    assert picture.shape == (3, 10, 14)
    for value, (top, left) in enumerate([(0, 0), (0, 8), (6, 0), (6, 8)]):
        assert torch.equal(picture[:, top : top + 4, left : left + 6], images[value][0])
    assert (picture[:, 4:6] == 1).all()
    assert (picture[:, :, 6:8] == 1).all()


def test_what_is_of_another_size_or_kind_is_made_alike() -> None:
    small, grey, broken = torch.zeros(1, 3, 2, 3), torch.zeros(1, 1, 4, 6), torch.full((1, 2, 4, 6), torch.nan)
    assert side_by_side([small, grey, broken]).shape == (3, 4, 22)
    assert side_by_side([grey, broken]).shape == (1, 4, 14)
    assert torch.isfinite(side_by_side([small, grey, broken])).all()
