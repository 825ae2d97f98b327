"""The report on the stopping rules, at toy size: it fits, goes on where it was, and its figures are right."""

import csv
import json
import sys
from pathlib import Path

import pytest

from dip_lightning.config.compose import compose_config

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="only a checkout has the benchmarks")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    report(out)
    return out / "tiny"


def report(out: Path, *options: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        patch.setattr(sys, "argv", ["stopping_report.py", "--size", "tiny", "--out", str(out), *options])
        import stopping_report

        stopping_report.main()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_the_report_names_every_rule_for_every_fit(folder: Path) -> None:
    cases = rows(folder / "cases.csv")
    assert {row["rule"] for row in cases} == {"vote", "wmv", "wmv, plain", "emv", "holdout", "sure"}
    assert len(cases) == 2 * 6 - 1  # SURE does not judge a fit of the absolute error
    for row in cases:
        curve = rows(folder / f"{row['network']}-{row['noise']}-{row['image']}" / "curves.csv")
        psnr = [float(line["psnr_averaged"]) for line in curve]
        assert float(row["gap"]) == pytest.approx(max(psnr) - psnr[int(row["detected"])], abs=1e-3)
    (cost,) = rows(folder / "cost.csv")
    assert float(cost["cost"]) == pytest.approx(
        float(cost["peak_untouched"]) - float(cost["peak_with_rules"]), abs=2e-3
    )
    assert (folder / "gaps.png").stat().st_size > 10_000
    assert "| target | vote | 1 |" in (folder / "table.md").read_text()


def test_a_second_start_fits_nothing_that_is_there(folder: Path) -> None:
    record = folder / "unet-gaussian25-astronaut" / "summary.json"
    before = record.stat().st_mtime_ns
    report(folder.parent)
    assert record.stat().st_mtime_ns == before
    report(folder.parent, "--table-only")
    assert json.loads(record.read_text())["stopping"]["rule"] == "all"


def test_the_voters_of_the_report_are_those_of_the_configuration() -> None:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import stopping_report
    finally:
        sys.path.remove(str(BENCHMARKS))
    vote = compose_config(["stopping=vote"]).stopping
    voters, agree = stopping_report.RULES["vote"]
    assert (tuple(vote["rules"]), vote["agree"]) == (voters, agree)
    assert (vote["min_iterations"], vote["patience"]) == (stopping_report.MIN_ITERATIONS, stopping_report.PATIENCE)
