"""`dip-report`: it groups runs, compares them, draws them, and lets nothing out of a file name into the page."""

import csv
import json
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dip_lightning.cli import report as cli
from dip_lightning.cli.report import write_report
from dip_lightning.errors import UserError
from dip_lightning.fitting.fit import FitResult
from dip_lightning.report.comparison import compare_groups
from dip_lightning.report.runs import Group, Run, find_runs, group_runs
from dip_lightning.report.table import Spread, explain_groups, make_rows, to_csv, to_latex, to_markdown
from dip_lightning.runs.curves_csv import read_curves

HOSTILE = '"><script>document.title="pwned"</script><img src=x onerror=alert(1)>$x_1$ | & </script>.png'


def write_run(folder: Path, *, model: str = "unet", dropout: float = 0.0, seed: int = 0, **more: Any) -> Path:
    """A run folder as `dip` writes it, with a peak that the test chooses."""
    peak = more.pop("peak", 30.0)
    folder.mkdir(parents=True)
    count = {"unet": 2_217_831, "resnet": 1_665_411, "resunet": 1_706_331}.get(model, 1)
    curve = {"peak_psnr": peak, "peak_iteration": 40, "final_psnr": peak - 2, "plateau_0.1db": 9, "plateau_0.5db": 20}
    summary = {
        "model": model,
        "num_parameters": count,
        "residual": model != "unet",
        "dropout": dropout,
        "precision": "fp64",
        "seed": seed,
        "image": "skimage:astronaut",
        "height": 512,
        "width": 512,
        "iterations": 100,
        "seconds": 10.0,
        "seconds_per_iteration": 0.1,
        "peak_memory_mb": 500.0,
        "one_pass": curve | {"peak_psnr": peak - 2},
        "averaged": curve,
        "stopping": {"rule": "vote", "iteration": 42, "reason": "It stopped by itself.", "psnr": peak - 0.1},
        "selected": {"psnr": peak - 0.1},
        "versions": {"torch": "2.13.0"},
        "git_commit": None,
        **more,
    }
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    iterations = np.arange(100)
    averaged = peak - ((iterations - 40) / 30) ** 2
    lines = ["iteration,loss,psnr_one_pass,psnr_averaged,psnr_eval"]
    lines += [f"{i},0.1,{averaged[i] - 2:.6g},{averaged[i]:.6g},{'30' if i % 50 == 49 else ''}" for i in iterations]
    (folder / "curves.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name in ("observation", "restored"):
        Image.new("RGB", (16, 16), (90, 120, 40)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for seed in (0, 1, 2):
        write_run(tmp_path / "runs" / f"unet-{seed}", seed=seed, peak=30 + 0.1 * seed)
        write_run(tmp_path / "runs" / f"resunet-{seed}", model="resunet", dropout=0.1, seed=seed, peak=31 + 0.1 * seed)
    write_run(tmp_path / "runs" / "resnet", model="resnet", peak=27)
    return tmp_path / "runs"


def test_seeds_are_taken_together_and_the_rest_is_told_apart(runs: Path) -> None:
    groups = group_runs(find_runs([runs]))
    assert {group.label: len(group.runs) for group in groups} == {"unet": 3, "resunet": 3, "resnet": 1}
    write_run(runs / "more", model="resunet", dropout=0.3)
    labels = {group.label for group in group_runs(find_runs([runs]))}
    assert {"resunet, dropout 0.1", "resunet, dropout 0.3"} <= labels


def test_a_run_that_is_named_twice_counts_once(runs: Path) -> None:
    assert len(find_runs([runs, runs / "resnet", runs])) == 7


def test_a_fit_that_was_done_twice_counts_once_and_a_repeated_seed_twice(tmp_path: Path) -> None:
    for name, peak in (("first", 30.0), ("the-same", 30.0), ("on-a-gpu", 30.2)):
        write_run(tmp_path / name, peak=peak)
    (group,) = group_runs(find_runs([tmp_path]))
    assert [run.folder.name for run in group.runs] == ["first", "on-a-gpu"]


def labels_of(folder: Path) -> dict[str, int]:
    return {group.label: len(group.runs) for group in group_runs(find_runs([folder]))}


def test_two_pictures_of_one_name_are_not_two_seeds_of_one_setting(tmp_path: Path) -> None:
    for folder, peak, digest in (("night", 24.0, "aa01"), ("day", 30.0, "bb02")):
        for seed in (0, 1):
            write_run(tmp_path / f"{folder}{seed}", image=f"photos/{folder}/1.png", digest=digest, peak=peak, seed=seed)
    assert labels_of(tmp_path) == {"unet, image night/1.png": 2, "unet, image day/1.png": 2}
    rows = {row["setting"]: row["averaged (dB)"] for row in make_rows(group_runs(find_runs([tmp_path])))}
    assert rows["unet, image night/1.png"] == "24.00 ± 0.00"


def test_another_picture_under_the_same_path_is_another_setting(tmp_path: Path) -> None:
    for seed, digest in enumerate(("aaaaaa01", "bbbbbb02", "aaaaaa01")):
        write_run(tmp_path / str(seed), image="photos/1.png", digest=digest, seed=seed)
    assert labels_of(tmp_path) == {"unet, image 1.png aaaaaa": 2, "unet, image 1.png bbbbbb": 1}


def test_one_picture_that_is_named_differently_is_one_setting(tmp_path: Path) -> None:
    for seed, name in enumerate(("photos/1.png", "/home/me/photos/1.png")):
        write_run(tmp_path / str(seed), image=name, digest="aa01", seed=seed)
    write_run(tmp_path / "older", image="photos/1.png", seed=2)  # whose record has no digest
    assert labels_of(tmp_path) == {"unet": 3}


@pytest.mark.parametrize("noise", ["0,1,2", "${seed}"])
def test_another_noise_on_a_picture_is_a_seed_and_another_strength_a_setting(tmp_path: Path, noise: str) -> None:
    for sigma in (15, 25):
        for seed in range(3):
            run = write_run(tmp_path / f"{sigma}-{seed}", digest=f"{sigma}{seed}", seed=seed, sigma=sigma)
            told = noise if "$" in noise else noise.split(",")[seed]
            (run / ".hydra").mkdir()
            (run / ".hydra" / "config.yaml").write_text(f"degradation: {{seed: '{told}'}}\n", encoding="utf-8")
    assert labels_of(tmp_path) == {"unet, sigma 15": 3, "unet, sigma 25": 3}


def write_ablation(folder: Path) -> Path:
    """Shortcuts and dropout, one factor at a time, around a network with shortcuts and p = 0.1."""
    for residual, dropout in ((True, 0.1), (True, 0.2), (False, 0.1), (True, 0.0)):
        write_run(folder / f"{residual}-{dropout}", model="resunet", residual=residual, dropout=dropout)
    for kind in ("channel", "element"):
        for seed in (0, 1):
            run = write_run(folder / f"{kind}-{seed}", model="resunet", dropout=0.3, seed=seed)
            (run / ".hydra").mkdir()
            (run / ".hydra" / "config.yaml").write_text(f"model: {{dropout_kind: {kind}}}\n", encoding="utf-8")
    return folder


def test_a_label_leaves_out_what_is_usual_and_the_report_says_what_that_is(tmp_path: Path) -> None:
    groups = group_runs(find_runs([write_ablation(tmp_path)]))
    labels = {group.label for group in groups}
    assert "resunet, residual False, dropout 0.1" in labels
    assert "resunet, dropout 0.2" in labels
    assert "resunet, dropout 0.3, dropout_kind channel" in labels
    told = explain_groups(groups)
    assert told == ["resunet: where nothing else is said, residual True"]


def test_the_figure_of_a_factor_joins_what_differs_in_nothing_else(tmp_path: Path) -> None:
    write_report([write_ablation(tmp_path / "runs")], tmp_path / "out")
    figure = (tmp_path / "out" / "factor-dropout.svg").read_text(encoding="utf-8")
    assert ">resunet<" in figure
    assert "channel" not in figure  # one value of dropout: nothing to join
    assert ">0.2<" in figure
    assert (tmp_path / "out" / "factor-model-dropout-kind.png").is_file()


def test_the_table_has_mean_spread_and_the_papers_figures(runs: Path) -> None:
    rows = {row["setting"]: row for row in make_rows(group_runs(find_runs([runs])))}
    assert rows["unet"]["averaged (dB)"] == "30.10 ± 0.10"
    assert rows["resnet"]["averaged (dB)"] == "27.00"
    assert rows["unet"]["paper, averaged"] == "32.53"
    assert rows["unet"]["difference, averaged"] == "-2.43"
    assert rows["resunet"]["paper, one-pass"] == "31.91"
    assert rows["resunet"]["fall to the end (dB)"] == "2.00 ± 0.00"


def test_a_network_of_another_size_is_not_the_papers(tmp_path: Path) -> None:
    write_run(tmp_path / "run", num_parameters=1000)
    (row,) = make_rows(group_runs(find_runs([tmp_path])))
    assert not any("paper" in title or "difference" in title for title in row)


def test_a_difference_counts_when_it_exceeds_chance(runs: Path) -> None:
    groups = {group.label: group for group in group_runs(find_runs([runs]))}
    (clear,) = compare_groups([groups["unet"], groups["resunet"]])
    assert "+1.00 dB averaged (3 pairs of seeds), which exceeds" in clear
    (alone,) = compare_groups([groups["unet"], groups["resnet"]])
    assert "too few seeds" in alone


def test_seeds_that_only_one_has_are_no_pairs(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path / f"one-{seed}", model="resunet", dropout=0.0, seed=seed, peak=30.0 + 0.01 * seed)
        write_run(tmp_path / f"other-{seed}", model="resunet", dropout=0.2, seed=seed + 2, peak=31.0 + 0.01 * seed)
    (told,) = compared(tmp_path)
    assert told.endswith("with too few seeds (at least 3 that both have) it may be chance: resunet, dropout 0.2 +0.98")


def write_pairs(folder: Path, differences: list[float], base: list[float], dropout: float = 0.2) -> None:
    for seed, (difference, peak) in enumerate(zip(differences, base, strict=True)):
        write_run(folder / f"base-{seed}", model="resunet", dropout=0.0, seed=seed, peak=peak)
        run = folder / f"other-{dropout}-{seed}"
        write_run(run, model="resunet", dropout=dropout, seed=seed, peak=peak + difference)


def compared(folder: Path) -> list[str]:
    groups = sorted(group_runs(find_runs([folder])), key=lambda group: group.runs[0].summary["dropout"])
    return compare_groups(groups)


def test_seeds_are_paired(tmp_path: Path) -> None:
    # 0.1 dB is far less than the seeds differ among each other, but each pair has it.
    write_pairs(tmp_path, [0.10, 0.12, 0.11], [30.0, 31.0, 29.0])
    (told,) = compared(tmp_path)
    assert "+0.11 dB averaged (3 pairs of seeds), which exceeds the 0.02 dB" in told


@pytest.mark.parametrize(("shift", "verdict"), [(0.30, "exceeds"), (0.20, "does not exceed")])
def test_the_quantile_is_students(tmp_path: Path, shift: float, verdict: str) -> None:
    # A standard error of 0.0577 and two degrees of freedom: 4.30 times as much, 0.25 dB. Two errors would be 0.12 dB.
    write_pairs(tmp_path, [shift - 0.1, shift, shift + 0.1], [30.0, 30.0, 30.0])
    (told,) = compared(tmp_path)
    assert f"{verdict} the 0.25 dB" in told


def test_more_comparisons_need_more(tmp_path: Path) -> None:
    write_pairs(tmp_path / "one", [0.2, 0.3, 0.4], [30.0, 30.0, 30.0], dropout=0.2)
    (told,) = compared(tmp_path / "one")
    assert "which exceeds" in told
    for seed, difference in enumerate((0.1, 0.0, 0.2)):
        run = tmp_path / "one" / f"third-{seed}"
        write_run(run, model="resunet", dropout=0.3, seed=seed, peak=30 + difference)
    one, other = compared(tmp_path / "one")
    # Student's quantile at 1.25% a side is 6.2.
    assert "does not exceed the 0.36 dB" in one
    assert "does not exceed" in other


def test_equal_settings_are_seldom_called_different(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wrong = 0
    for trial in range(200):
        pairs = {
            name: [
                Run(tmp_path, {"seed": seed, "averaged": {"peak_psnr": float(peak)}}, {}, {})  # type: ignore[typeddict-item]
                for seed, peak in enumerate(rng.normal(30, 0.1, 3))
            ]
            for name in ("one", f"other {trial}")
        }
        (told,) = compare_groups([Group(name, {}, {}, runs) for name, runs in pairs.items()])
        wrong += "which exceeds" in told
    assert wrong <= 20  # 5% are 10; two standard errors were wrong in 18% of them


def test_a_peak_at_the_last_iteration_is_none(tmp_path: Path) -> None:
    rising = {"peak_psnr": 33.0, "peak_iteration": 99, "final_psnr": 33.0, "plateau_0.1db": 9, "plateau_0.5db": 20}
    write_run(tmp_path / "whole", height=512, width=512)
    write_run(tmp_path / "short", model="resunet", dropout=0.1, averaged=rising, height=512, width=512)
    groups = group_runs(find_runs([tmp_path]))
    rows = {row["setting"]: row for row in make_rows(groups)}
    assert rows["resunet"]["averaged (dB)"] == "≥ 33.00"
    assert rows["resunet"]["still rising"] == "1"
    assert rows["resunet"]["paper, averaged"] == ""
    assert rows["unet"]["paper, averaged"] == "32.53"
    (told,) = compare_groups(groups)
    assert told == "resunet: was still rising at the last iteration"
    assert any("still rising" in remark for remark in explain_groups(groups))
    assert "\n" not in to_csv(list(rows.values())).splitlines()[1]
    assert "≥" not in to_csv(list(rows.values()))


def test_how_many_are_unsure_is_a_column(tmp_path: Path) -> None:
    doubt = {"rule": "vote", "iteration": 42, "reason": "", "psnr": 29.0, "unsure": "The rules disagree."}
    write_run(tmp_path / "0", stopping=doubt)
    write_run(tmp_path / "1", seed=1)
    (row,) = make_rows(group_runs(find_runs([tmp_path])))
    assert row["unsure"] == "1"


def test_two_pictures_are_two_settings_and_their_names_tell_them_apart(tmp_path: Path) -> None:
    for name, peak in (("boat", 30.0), ("lake", 24.0)):
        write_run(tmp_path / name, image=f"photos/{name}.png", peak=peak, digest=name)
    rows = {row["setting"]: row["averaged (dB)"] for row in make_rows(group_runs(find_runs([tmp_path])))}
    assert sorted(rows.values()) == ["24.00", "30.00"]
    assert all(any(name in label for label in rows) for name in ("boat", "lake"))


def test_of_single_seeds_one_sentence_tells_all_differences(tmp_path: Path) -> None:
    for dropout, peak in ((0.1, 30.25), (0.2, 29.5), (0.3, 30.0)):
        write_run(tmp_path / str(dropout), model="resunet", dropout=dropout, peak=peak)
    write_run(tmp_path / "unet", peak=30.0)
    groups = group_runs(find_runs([tmp_path]))
    assert groups[-1].label == "unet"  # in the order of the runs
    (told,) = compare_groups(groups)
    assert told.startswith("against unet")
    assert told.endswith("dropout 0.1 +0.25; resunet, dropout 0.2 -0.50; resunet, dropout 0.3 +0.00")


@pytest.mark.slow
def test_fifty_settings_are_told_apart_in_the_page_and_a_part_of_them_is_drawn(tmp_path: Path) -> None:
    for index in range(50):
        run = write_run(tmp_path / "runs" / f"{index:02}", model="resunet", dropout=index / 100)
        (run / "curves.csv").write_text("iteration,psnr_one_pass,psnr_averaged\n0,20,20\n1,21,21\n", encoding="utf-8")
    write_report([tmp_path / "runs"], tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    drawn = re.findall(r'"colour": "(#\w+)", "dashes": "([\d ]*)"', page)
    assert len(drawn) == len(set(drawn)) == 50
    assert "the first 12 of 50 settings" in (tmp_path / "out" / "curves.svg").read_text(encoding="utf-8")


def test_runs_that_were_interrupted_are_left_out_and_told(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "whole", peak=30)
    write_run(tmp_path / "runs" / "cut", seed=1, peak=20, signal=2)
    write_report([tmp_path / "runs"], tmp_path / "out")
    table = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "30.00" in table
    assert "25.00" not in table
    assert "- 1 run was interrupted and left out; started again, it goes on" in table
    with pytest.raises(UserError, match="1 interrupted run:"):
        write_report([tmp_path / "runs" / "cut"], tmp_path / "out")


def test_each_precision_is_one_setting_with_a_figure_of_its_own(tmp_path: Path) -> None:
    for model in ("unet", "resunet"):
        for precision, name in (("fp64", "64-true"), ("bf16", "bf16-mixed")):
            run = write_run(tmp_path / "runs" / f"{model}-{precision}", model=model, precision=precision)
            (run / ".hydra").mkdir()
            (run / ".hydra" / "config.yaml").write_text(f"precision: {{lightning: {name}}}\n", encoding="utf-8")
    assert {group.label for group in group_runs(find_runs([tmp_path / "runs"]))} == {
        *("unet, precision fp64", "unet, precision bf16"),
        *("resunet, precision fp64", "resunet, precision bf16"),
    }
    names = {path.name for path in write_report([tmp_path / "runs"], tmp_path / "out")}
    assert {"factor-precision.png", "factor-model.png"} <= names


def test_the_papers_figures_are_of_its_noise(tmp_path: Path) -> None:
    write_run(tmp_path / "weak", sigma=15)
    write_run(tmp_path / "its-own", sigma=25)
    rows = {row["setting"]: row["paper, averaged"] for row in make_rows(group_runs(find_runs([tmp_path])))}
    assert rows == {"unet, sigma 25": "32.53", "unet, sigma 15": ""}


def test_a_spread_needs_two_values() -> None:
    assert Spread.of([]) is None
    assert Spread.of([1.0]) == Spread(1.0, None, 1)
    assert (Spread.of([1.0, 3.0]) or Spread(0, 0, 0)).text(1) == "2.0 ± 1.4"


def test_the_report_has_all_its_files(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    written = {path.name for path in write_report([runs], out)}
    named = {"table.md", "table.csv", "table.tex", "curves.png", "curves.svg", "report.html"}
    assert named <= written
    with (out / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    for row in rows:
        for title, cell in row.items():
            assert title == "setting" or not cell or math.isfinite(float(cell)), (title, cell)
    assert (out / "table.tex").read_text(encoding="utf-8").count(r"\\") == 4
    ET.parse(out / "curves.svg")
    with Image.open(out / "curves.png") as figure:
        assert figure.width > 1000


def test_nothing_but_what_reports_wrote_is_written_over(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = write_report([runs], out)
    assert write_report([runs], out) == first
    before = {path: path.read_bytes() for path in first}
    for name in ("report.html", "curves.png", "table.csv"):
        (out / name).write_text("mine")
        with pytest.raises(UserError, match=rf"{name} was not written by a report.*--out \S+report-1"):
            write_report([runs], out)
        assert (out / name).read_text() == "mine"
        (out / name).write_bytes(before[out / name])
    run = tmp_path / "run"  # whose curves.png a run may have written, and no report
    run.mkdir()
    (run / "curves.png").write_text("of a run")
    with pytest.raises(UserError, match=r"curves\.png was not written by a report"):
        write_report([runs], run)
    assert [path.name for path in run.iterdir()] == ["curves.png"]


def test_deviations_have_columns_of_their_own_in_csv(tmp_path: Path) -> None:
    for seed, peak in ((1, 30.0), (2, 31.0)):
        write_run(tmp_path / "runs" / str(seed), seed=seed, peak=peak)
    write_report([tmp_path / "runs"], tmp_path / "out")
    with (tmp_path / "out" / "table.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert float(row["averaged (dB)"]) == 30.5
    assert float(row["averaged (dB), sd"]) == 0.71
    assert int(row["parameters"]) > 1e6


def test_a_name_that_looks_like_a_formula_is_text_in_csv(tmp_path: Path) -> None:
    for seed, model in enumerate(("=1+1", "unet")):
        write_run(tmp_path / "runs" / str(seed), peak=20, model=model)
    write_report([tmp_path / "runs"], tmp_path / "out")
    with (tmp_path / "out" / "table.csv").open(encoding="utf-8") as file:
        rows = {row["setting"]: row for row in csv.DictReader(file)}
    assert {*rows} == {"'=1+1", "unet"}
    assert float(rows["unet"]["difference, averaged"]) < 0  # what was computed stays a number


def test_each_factor_of_an_ablation_has_a_figure(tmp_path: Path) -> None:
    for model in ("unet", "resunet"):
        for dropout in (0.0, 0.1, 0.2):
            write_run(tmp_path / "runs" / f"{model}-{dropout}", model=model, dropout=dropout)
    names = {path.name for path in write_report([tmp_path / "runs"], tmp_path / "out")}
    assert {"factor-model.png", "factor-dropout.svg"} <= names


def test_a_hostile_name_stays_text(tmp_path: Path) -> None:
    for seed, name in enumerate((HOSTILE, "plain.png")):
        write_run(tmp_path / "runs" / str(seed), image=name, device=HOSTILE)
    write_report([tmp_path / "runs"], tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("<script>") == 1
    assert page.count("</script>") == 1
    assert "onerror=alert(1)>" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "Content-Security-Policy" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)  # nothing from elsewhere
    table = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "<script" not in table
    assert len({line.count(" | ") for line in table.splitlines() if line.startswith("| ") and "---" not in line}) == 1
    ET.parse(tmp_path / "out" / "curves.svg")


def test_latex_and_markdown_escape_what_means_something_to_them() -> None:
    rows = [{"setting": "a_b & 5% | <b> \\x ± 1"}]
    assert r"a\_b \& 5\% | <b> \textbackslash{}x $\pm$ 1 \\" in to_latex(rows)
    assert "a_b & 5% \\| &lt;b> \\x ± 1" in to_markdown(rows, [])


def test_runs_without_a_clean_image_make_a_report_without_curves(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "own", one_pass=None, averaged=None, selected={"psnr": None})
    (tmp_path / "runs" / "own" / "curves.csv").write_text("iteration,loss\n0,0.1\n1,0.05\n", encoding="utf-8")
    written = {path.name for path in write_report([tmp_path / "runs"], tmp_path / "out")}
    assert "curves.png" not in written
    assert "report.html" in written


def test_a_real_run_is_read(tiny_fit: Callable[..., FitResult], tmp_path: Path) -> None:
    result = tiny_fit(run_folder=tmp_path / "run")
    (run,) = find_runs([tmp_path])
    assert set(run.curves) == set(result.curves)
    for name, curve in result.curves.items():
        np.testing.assert_allclose(run.curves[name], curve, rtol=1e-8)
    page = tmp_path / "out"
    write_report([tmp_path], page)
    assert (page / "report.html").read_text(encoding="utf-8").count("data:image/jpeg;base64") == 2


@pytest.mark.parametrize("text", ["", "loss\n1", "iteration,loss\n0", "iteration,loss\n0,1\n1,x"])
def test_a_damaged_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "curves.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"damaged|could not convert"):
        read_curves(tmp_path / "curves.csv")


def test_what_is_no_run_costs_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in (([str(tmp_path)], "no finished run"), (["gone"], "a folder with finished runs")):
        monkeypatch.setattr(sys, "argv", ["dip-report", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 2
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "summary.json").write_text("{")
    with pytest.raises(UserError, match="is no finished run"):
        find_runs([tmp_path])


def test_a_report_does_not_load_torch() -> None:
    code = "import sys, dip_lightning.cli.report; sys.exit('torch' in sys.modules or 'hydra' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_doubt_stands_on_the_card_of_its_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs" / "1")
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    summary["stopping"]["unsure"] = "The rules <disagree>."
    (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    write_run(tmp_path / "runs" / "2", seed=1)
    write_report([tmp_path / "runs"], tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count('class="unsure"') == 1
    assert "Unsure. The rules &lt;disagree&gt;." in page


def test_the_rows_of_the_paper_s_table_are_in_its_order(tmp_path: Path) -> None:
    settings = [("resunet", 0.1), ("resnet", 0.0), ("resunet", 0.0), ("unet", 0.0)]
    for number, (model, dropout) in enumerate(settings):
        write_run(tmp_path / "runs" / str(number), model=model, dropout=dropout)
    write_report([tmp_path / "runs"], tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "table.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["setting"].split(",")[0], row["paper, averaged"]) for row in rows] == [
        ("unet", "32.53"),
        ("resnet", "29.90"),
        ("resunet", "32.68"),
        ("resunet", "32.97"),
    ]
