"""The record of a run: its type, its schema, and what it says of a run that is in tiles."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from dip_lightning.fitting.fit import FitResult
from dip_lightning.runs.record import Summary, is_worse, read_summary

SCRIPT = Path(__file__).parents[2] / "docs" / "write_schema.py"
VALID = TypeAdapter(Summary)


def check(run_folder: Path) -> Summary:
    """Validate a record as it is in the file: no key of another type, none missing and none that is not declared."""
    VALID.validate_json((run_folder / "summary.json").read_text(encoding="utf-8"), strict=True)
    summary = read_summary(run_folder)
    assert {*summary} <= {*Summary.__annotations__}
    return summary


def test_the_schema_is_that_of_the_type() -> None:
    script = runpy.run_path(str(SCRIPT))
    assert script["FILE"].read_text(encoding="utf-8") == script["summary_schema"](), "make schema writes it anew"


def test_the_record_of_a_fit_is_of_the_type(tiny_fit: Callable[..., FitResult], tmp_path: Path) -> None:
    tiny_fit(run_folder=tmp_path)
    summary = check(tmp_path)
    assert "tiles" not in summary
    for key, value in (("seconds", "1"), ("stopping", {}), ("restores", None)):
        with pytest.raises(ValidationError):
            VALID.validate_json(json.dumps(summary | {key: value}), strict=True)


def test_the_record_of_tiles_is_of_the_type_and_tells_that_one_gave_up(
    tiny_fit: Callable[..., FitResult], tmp_path: Path
) -> None:
    tiled = ("image.crop=[200,200,32,40]", "tile=32", "overlap=8", "stopping=none")
    guard = "callbacks.divergence_guard"
    hasty = (f"{guard}.max_drop_db=0.000001", f"{guard}.max_restores=1", f"{guard}.escalate=false", "iterations=40")
    tiny_fit(*tiled, run_folder=tmp_path / "good")
    tiny_fit(*tiled, *hasty, run_folder=tmp_path / "bad")
    for name, gave_up in (("good", False), ("bad", True)):
        summary = check(tmp_path / name)
        assert summary["gave_up"] is gave_up
        assert any("diverged again and again" in remark for remark in summary["remarks"]) is gave_up
        tiles = [read_summary(tmp_path / name / "tiles" / f"0-{column}") for column in (0, 1)]
        assert any(tile["gave_up"] for tile in tiles) is gave_up


@pytest.mark.parametrize(
    ("worse", "iterations", "gave_up", "unsure", "expected"),
    [
        (True, 400, False, None, True),
        (True, 200, False, None, False),  # a trial
        (False, 400, False, "Who knows.", False),
        (False, 94, True, "What was removed is 2.4 times the noise.", True),
        (True, 94, True, None, True),
        (False, 94, True, None, False),  # back at weights that were good
    ],
)
def test_what_came_out_worse(
    worse: bool, iterations: int, gave_up: bool, unsure: str | None, expected: bool, tiny_fit: Callable[..., FitResult]
) -> None:
    summary = tiny_fit().summary
    stopping = {**summary["stopping"], "unsure": unsure}
    told = {"worse_than_observation": worse, "iterations": iterations, "gave_up": gave_up, "stopping": stopping}
    assert is_worse({**summary, **told}) is expected  # type: ignore[typeddict-item]
