"""One answer to whether a run is done."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dip_lightning.config.compose import compose_config
from dip_lightning.fitting.fit import FitResult
from dip_lightning.runs.status import RunStatus, is_finished, read_status
from tests.conftest import TINY_UNET

CAP = {"iterations": 100, "stopping": {"cap": 100}}


@pytest.mark.parametrize(
    ("record", "status", "is_end"),
    [
        (CAP | {"signal": 15}, RunStatus.INTERRUPTED, False),
        (CAP | {"out_of_memory": True}, RunStatus.OUT_OF_MEMORY, False),
        (CAP | {"gave_up": True, "iterations": 9}, RunStatus.GAVE_UP, True),
        (CAP | {"iterations": 9}, RunStatus.STOPPED, True),
        (CAP, RunStatus.CAP_REACHED, True),
        ({"iterations": 100}, RunStatus.CAP_REACHED, True),  # of an older version
        ([1], RunStatus.UNRECORDED, False),
        (CAP | {"stopping": 3}, RunStatus.UNRECORDED, False),
    ],
)
def test_a_record_tells_what_became_of_the_run(tmp_path: Path, record: Any, status: RunStatus, is_end: bool) -> None:
    assert read_status(tmp_path) is RunStatus.UNRECORDED
    (tmp_path / "summary.json").write_text(json.dumps(record), encoding="utf-8")
    assert read_status(tmp_path) is status
    assert status.is_end is is_end
    (tmp_path / "summary.json").write_text("{", encoding="utf-8")
    assert read_status(tmp_path) is RunStatus.UNRECORDED


def test_other_pixels_are_another_run_whatever_the_date(tiny_fit: Callable[..., FitResult], tmp_path: Path) -> None:
    digest = tiny_fit(run_folder=tmp_path).summary["digest"]
    cfg = compose_config(TINY_UNET)
    assert is_finished(tmp_path, cfg, digest)
    assert is_finished(tmp_path, cfg, lambda: digest)
    assert not is_finished(tmp_path, cfg, digest[::-1])
    assert not is_finished(tmp_path, cfg, lambda: "")  # a picture that cannot be read
    assert is_finished(tmp_path, cfg, lambda: None)  # one that is gone


def test_a_picture_is_read_only_where_all_else_is_finished(tiny_fit: Callable[..., FitResult], tmp_path: Path) -> None:
    def read() -> str:
        raise AssertionError

    tiny_fit(run_folder=tmp_path)
    assert not is_finished(tmp_path, compose_config([*TINY_UNET, "lr=0.02"]), read)
    assert not is_finished(tmp_path / "none", compose_config(TINY_UNET), read)
