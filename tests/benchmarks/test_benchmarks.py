"""The benchmarks run, at a size at which their numbers mean nothing."""

import csv
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from tests.conftest import TINY_UNET
from tests.forked import run_forked, run_script

ROOT = Path(__file__).parents[2]
TINY_NET = tuple(override for override in TINY_UNET if override.startswith("model."))


# Runs a benchmark whose own processes are forked from it, too.
FORKING = """
import subprocess, sys
from pathlib import Path
from tests.forked import fork_python
sys.path.insert(0, str(Path(sys.argv[1]).parent))
del sys.argv[0]
import against_original, gpu
against_original.subprocess.run = lambda command, **options: fork_python(command[1:])
gpu.run = lambda command, limit: fork_python(command) if limit > 0 else None
module = {"against_original.py": against_original, "gpu.py": gpu}[Path(sys.argv[0]).name]
with module.mistakes_told():
    module.main()
"""


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = ROOT / "benchmarks" / script
    if script in ("against_original.py", "gpu.py"):
        return run_forked(FORKING, str(path), *arguments, cwd=ROOT, seconds=600)
    return run_script(path, *arguments, cwd=ROOT)


def write_original(folder: Path) -> Path:
    """A checkout that has what the benchmark takes from the original: `models.get_net`."""
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "skip.py").touch()
    (folder / "models" / "__init__.py").write_text(
        """
from torch import nn

def get_net(input_depth, kind, pad, skip_n33d, skip_n33u, skip_n11, num_scales, upsample_mode):
    assert (input_depth, kind, skip_n33d, skip_n33u, skip_n11, num_scales) == (32, "skip", 128, 128, 4, 5)
    return nn.Sequential(nn.Conv2d(input_depth, 3, 3, padding=1), nn.Sigmoid())
"""
    )
    return folder


@pytest.mark.slow
def test_the_original_and_we_are_timed_in_turn(tmp_path: Path) -> None:
    original = write_original(tmp_path / "original")
    sizes = ["--sizes", "32", "--iterations", "2", "--repeats", "2", "--precisions", "fp32", "--threads", "1"]
    out = tmp_path / "out"
    done = run("against_original.py", "--original", str(original), *sizes, "--out", str(out), *TINY_NET)
    assert done.returncode == 0, done.stderr
    theirs, ours = (line.split("|") for line in done.stdout.splitlines()[2:])
    assert theirs[2].strip() == "original"
    assert theirs[4].strip().startswith("1.00")
    assert ours[2].strip() == "fp32"
    median, low, high = (float(number) for number in re.findall(r"[\d.]+", ours[3]))
    assert 0 < low <= median <= high
    lines = (out / "against-original.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines] == ["side", "original", "fp32"]
    assert float(lines[2].split(",")[2]) == pytest.approx(median, abs=1e-4)
    assert (out / "against-original.png").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.parametrize("size", ["32", "544"])  # the sample has 512 pixels a side
def test_the_floor_is_measured(size: str) -> None:
    done = run("floor.py", "--size", size, "--repeats", "2", "model=unet", "precision=fp32", "trainer=cpu", *TINY_NET)
    assert done.returncode == 0, done.stderr
    assert f"UNet at {size}x{size}, fp32" in done.stdout
    assert float(re.search(r"step / floor +median ([\d.]+)", done.stdout)[1]) > 0  # type: ignore[index]


def test_seconds_to_a_quality_are_measured_and_finished_fits_are_passed_over(tmp_path: Path) -> None:
    overrides = " ".join(["model=unet", "trainer=cpu", *TINY_NET])
    arguments = ["--size", "32", "--iterations", "30", "--seeds", "0,1", "--out", str(tmp_path / "quality")]
    command = ["time_to_quality.py", *arguments, "--overrides", overrides, "--settings", "lr=0.01", "lr=0.0001"]
    done = run(*command)
    assert done.returncode == 0, done.stderr
    reference, slow = (line.split("|") for line in done.stdout.splitlines()[2:])
    assert reference[4].strip() == "+0.00"
    assert slow[5].strip() == "never"
    assert float(slow[4]) < -0.1
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "quality").rglob("summary.json")}
    assert len(written) == 4
    assert run(*command).stdout == done.stdout
    assert written == {path: path.stat().st_mtime_ns for path in written}
    assert (tmp_path / "quality" / "curves.png").exists()


@pytest.mark.slow
def test_what_waits_for_a_gpu_runs_and_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "bench"
    sizes = ["--size", "32", "--iterations", "6", "--trainer", "cpu", "--precisions", "fp32", "--compile", "none"]
    original = ["--original", str(write_original(tmp_path / "original")), "--scales", "1", "--repeats", "1"]
    many = ["--fits", "2", "--seconds", "0.1"]
    command = ["gpu.py", "--out", str(out), *sizes, *original, *many, *TINY_NET]
    none = run(*command, "--minutes", "0")
    assert none.returncode == 0, none.stderr
    first = "floor-fp32-none, fit-fp32-none, original-32-none, loop-fp32-none, floor-resunet-fp32-none"
    then = "floor-fp32-none-trainer.benchmark=false, floor-fp32-none-channels_last=false, batch-fits-fp32, quality"
    assert f"0 minutes are over; left: {first}, {then}; the same command goes on" in none.stderr
    done = run(*command)
    assert done.returncode == 0, done.stderr
    assert "[9/9] quality … done" in done.stderr
    assert "step / floor" in done.stdout
    assert "300 iterations in" in done.stdout
    assert "ResUNet at 32x32" in done.stdout
    difference = re.search(r"differ by ([\d.e+-]+) after 5 iterations in float64", done.stdout)
    assert difference is not None
    assert float(difference[1]) < 1e-9
    assert re.search(r"2 processes .* of one fit's: median [\d.]+", done.stdout)
    assert float(re.search(r"rest / step from within +median ([\d.]+)", done.stdout)[1]) > 0  # type: ignore[index]
    assert (out / "bench.md").read_text() in done.stdout
    assert run(*command, "--minutes", "0").stdout == done.stdout
    other = run(*command, "lr=0.02")
    assert other.returncode == 2
    assert "of other settings: expected a folder of the same ones; choose another with --out" in other.stderr
    assert len(other.stderr.splitlines()) == 1


def test_what_fails_on_a_gpu_is_told_apart_from_what_is_left(tmp_path: Path) -> None:
    # The U-net has no residual blocks, and the residual U-net has.
    out = tmp_path / "bench"
    sizes = ["--size", "32", "--iterations", "6", "--trainer", "cpu", "--precisions", "fp32", "--compile", "none"]
    command = ["gpu.py", "--out", str(out), *sizes, "--fits", "2", *TINY_NET, "residual=true"]
    done = run(*command)
    assert done.returncode == 1
    assert "floor-resunet-fp32-none … done" in done.stderr
    assert "left" not in done.stderr
    switches = "floor-fp32-none-trainer.benchmark=false, floor-fp32-none-channels_last=false"
    failed = f"floor-fp32-none, fit-fp32-none, loop-fp32-none, {switches}, batch-fits-fp32, quality"
    assert done.stderr.splitlines()[-1] == f"failed: {failed}; why is told by {out}/*.failed"
    assert "residual=True: expected a network with residual blocks" in (out / "floor-fp32-none.failed").read_text()
    later = run(*command, "--minutes", "0")
    assert later.returncode == 0
    assert f"left: {failed}; " in later.stderr


@pytest.mark.slow
def test_what_is_stopped_goes_on_and_leaves_what_was_measured(tmp_path: Path) -> None:
    out = tmp_path / "bench"
    sizes = ["--size", "32", "--iterations", "6", "--trainer", "cpu", "--precisions", "fp32", "--compile", "none"]
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--out", str(out), *sizes, *TINY_NET]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = ""
        while "[2/" not in told:
            told += process.stderr.read(1)
        process.send_signal(signal.SIGTERM)
        told += process.stderr.read()
    assert process.returncode == 128 + signal.SIGTERM
    assert told.endswith("stopped; the same command goes on\n")
    assert "step / floor" in (out / "bench.md").read_text()


@pytest.mark.slow
def test_what_a_measurement_has_started_ends_with_it() -> None:
    # A process that starts another one and waits for it, as the benchmarks do.
    program = f"""
import subprocess, sys
sys.path.insert(0, {str(ROOT / "benchmarks")!r})
import gpu
sleeper = "import time; print('here', flush=True); time.sleep(600)"
parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {{sleeper!r}}, 'the-sleeper-of-this-test'])"
print(gpu.run(["-c", parent], 3))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "None", done.stderr
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [command for command in commands if command.endswith(b"\0the-sleeper-of-this-test\0")]


@pytest.mark.parametrize(
    ("script", "arguments", "told"),
    [
        ("floor.py", ["--size", "0"], "'0': expected a whole number from 1 on; try 3"),
        ("loop.py", ["--repeats", "none"], "'none': expected a whole number from 1 on; try 3"),
        ("batch_fits.py", ["--seconds", "0"], "'0': expected a number greater than 0; try 5"),
        ("time_to_quality.py", ["--seeds", "a"], "'a': expected a whole number from 0 on; try 2"),
        ("stopping.py", ["precision=fp33"], "precision=fp33: expected one of"),
        ("floor.py", ["compile=graphs", "trainer=cpu"], "compile=graphs on cpu: expected an NVIDIA GPU"),
        ("time_to_quality.py", ["--settings", "precision=fp32", "nothing=1"], "nothing: expected a key"),
        ("against_original.py", ["--original", "nowhere"], "nowhere: expected a checkout of"),
        ("gpu.py", ["--trainer", "cpu", "--compile", "all"], "'all': expected some of none, default, graphs, capture"),
        ("gpu.py", ["--trainer", "cpu", "--precisions", "fp33"], "precision=fp33: expected one of"),
        ("gpu.py", ["--trainer", "cpu", "--precisions", "tf32"], "precision=tf32 on cpu: expected an NVIDIA GPU"),
        ("gpu.py", ["--trainer", "cpu", "--compile", "capture"], "compile=capture on cpu: expected an NVIDIA GPU"),
        ("gpu.py", ["--trainer", "cpu", "--size", "2"], "--size 2: expected at least 32 pixels a side; try --size 32"),
        ("gpu.py", ["--trainer", "cpu", "--iterations", "3"], "--iterations 3: expected at least 6"),
        ("gpu.py", ["--trainer", "cpu", "--minutes", "nan"], "'nan': expected a number greater than 0"),
    ],
)
def test_mistakes_are_told_in_one_line(script: str, arguments: list[str], told: str, tmp_path: Path) -> None:
    done = run_script(ROOT / "benchmarks" / script, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_each_way_to_fit_a_photograph_is_tried_once(tmp_path: Path) -> None:
    clean = gaussian_filter(np.random.default_rng(0).random((80, 80, 3)) * 255, (3, 3, 0)).astype(np.uint8)
    for kind in ("real", "mean"):
        Image.fromarray(clean).save(tmp_path / f"one_{kind}.png")
    shape = [str(tmp_path), "--side", "80", "--iterations", "2", "--out", str(tmp_path / "out")]
    done = run("photograph_peaks.py", *shape)
    assert done.returncode == 0, done.stderr
    table = list(csv.DictReader((tmp_path / "out" / "peaks.csv").read_text().splitlines()))
    assert len({row["way"] for row in table}) == len(table) == 7
    assert all(float(row["peak averaged"]) > 0 for row in table)
    assert run("photograph_peaks.py", *shape).stdout == ""


@pytest.mark.slow
def test_each_lead_is_fitted_once(tmp_path: Path) -> None:
    clean = gaussian_filter(np.random.default_rng(0).random((32, 32, 3)) * 255, (3, 3, 0)).astype(np.uint8)
    for folder in ("gt", "noisy25"):
        (tmp_path / folder).mkdir()
        Image.fromarray(clean).save(tmp_path / folder / "one.png")
    shape = [str(tmp_path), "--pictures", "one", "--side", "32", "--iterations", "3", "--out", str(tmp_path / "out")]
    done = run("leads.py", *shape)
    assert done.returncode == 0, done.stderr
    table = list(csv.DictReader((tmp_path / "out" / "leads.csv").read_text().splitlines()))
    assert len({row["setting"] for row in table}) == len(table) == 11
    assert all(float(row["handed back"]) > 0 for row in table)
    assert run("leads.py", *shape).stdout == ""


@pytest.mark.slow
def test_photographs_are_fitted_once_and_listed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clean = gaussian_filter(rng.random((48, 48, 3)) * 255, (3, 3, 0))
    noisy = (clean + gaussian_filter(rng.normal(0, 40, clean.shape), (1, 1, 0))).clip(0, 255)
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for kind, samples in (("real", noisy), ("mean", clean)):
        Image.fromarray(samples.astype(np.uint8)).save(photos / f"one_{kind}.png")
    arguments = [str(photos), "--side", "48", "--out", str(out), "--overrides", *TINY_NET, "iterations=20"]
    first = run("real_photographs.py", *arguments)
    assert first.returncode == 0, first.stderr
    assert "one: fitting" in first.stdout
    row, mean = csv.DictReader((out / "photographs.csv").read_text().splitlines())
    assert float(row["handed back"]) == float(mean["handed back"]) > 0
    assert 0 <= float(row["share of non-local means"]) <= 1
    again = run("real_photographs.py", *arguments)
    assert "fitting" not in again.stdout
    estimated = run("noise_estimate.py", str(photos), "--out", str(out))
    assert estimated.returncode == 0, estimated.stderr
    told = list(csv.DictReader((out / "estimate.csv").read_text().splitlines()))
    assert {row["picture"] for row in told} == {"one", "coffee", "astronaut", "chelsea"}
    white = next(row for row in told if row["noise"] == "white")
    assert float(white["estimated"]) == pytest.approx(15, rel=0.15)
    nothing = run("real_photographs.py", str(tmp_path))
    assert nothing.returncode != 0
    assert nothing.stderr.startswith(f"{tmp_path} has no NAME_real.png")


@pytest.mark.slow
def test_pairs_are_made_where_no_photographs_are_named(tmp_path: Path) -> None:
    made = run("real_photographs.py", *("--only", "coffee-photograph", "--side", "48", "--out", str(tmp_path)),
               *("--overrides", *TINY_NET, "iterations=5"))  # fmt: skip
    assert made.returncode == 0, made.stderr
    row, _ = csv.DictReader((tmp_path / "photographs.csv").read_text().splitlines())
    assert row["photograph"] == "coffee-photograph"
    assert float(row["true sigma"]) == pytest.approx(10.2, rel=0.2)
    assert len(list((tmp_path / "made").glob("*_real.png"))) == 14
