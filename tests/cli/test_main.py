"""The command line, run in this process in an empty folder; what needs a process of its own has one."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig
from PIL import Image

from dip_lightning.cli import main
from dip_lightning.cli.mistakes import of_mistake
from dip_lightning.config.compose import config_folder
from tests.conftest import TINY_UNET, Outcome

ROOT = Path(__file__).parents[2]
Dip = Callable[..., Outcome]


def run_folders(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.rglob("summary.json"))


def summaries(folder: Path) -> list[dict[str, object]]:
    return [json.loads((run / "summary.json").read_text()) for run in run_folders(folder)]


def test_one_fit_ends_with_a_table_and_the_run_folder(dip: Dip, tmp_path: Path) -> None:
    outcome = dip(*TINY_UNET)
    assert outcome.code == 0
    (run,) = run_folders(tmp_path)
    assert str(run) in outcome.out.replace("\n", "")
    for row in ("noisy image", "peak, one-pass", "peak, averaged", "restored", "within 0.1 dB"):
        assert row in outcome.out
    # outputs/<date>/<time>/
    assert run.relative_to(tmp_path).parts[0] == "outputs"
    assert len(run.relative_to(tmp_path).parts) == 3
    assert (run / ".hydra" / "overrides.yaml").exists()


def test_the_overrides_of_the_readme_do_what_they_say(dip: Dip, tmp_path: Path) -> None:
    overrides = ["model=unet", "dropout=0", "precision=fp64", "seed=1", "iterations=5", "degradation.sigma=50"]
    assert dip(*(o for o in TINY_UNET if not o.startswith("iterations")), *overrides).code == 0
    (summary,) = summaries(tmp_path)
    assert summary["model"] == "unet"
    assert summary["dropout"] == 0
    assert summary["precision"] == "fp64"
    assert summary["seed"] == 1
    assert summary["iterations"] == 5
    assert summary["sigma"] == 50


def test_a_multirun_fits_every_combination(dip: Dip, tmp_path: Path) -> None:
    tiny = [o for o in TINY_UNET if not o.startswith("model.levels")]
    assert dip("-m", *tiny, "model=unet,resnet,resunet", "seed=1,2").code == 0
    found = {(summary["model"], summary["seed"]) for summary in summaries(tmp_path)}
    assert found == {(model, seed) for model in ("unet", "resnet", "resunet") for seed in (1, 2)}
    assert {run.parents[1].name for run in run_folders(tmp_path)} == {"multirun"}


def test_the_whole_sample_is_fitted_only_where_it_is_asked_for(dip: Dip, tmp_path: Path) -> None:
    told = dip("model=resunet", "iterations=1")
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("dip: nothing to restore: expected a picture; try dip image.path=photo.png")
    # A file of the user's may name the picture, too.
    (tmp_path / "mine" / "image").mkdir(parents=True)
    (tmp_path / "mine" / "image" / "part.yaml").write_text("defaults: [default]\ncrop: 32\n")
    tiny = [one for one in TINY_UNET if not one.startswith("image.")]
    assert dip("--config-dir", "mine", "image=part", *tiny).code == 0


def test_a_job_that_fails_does_not_lose_the_others(dip: Dip, tmp_path: Path) -> None:
    outcome = dip("-m", *TINY_UNET, "image.crop=32,9999,48")
    assert outcome.code == 2
    assert sorted(summary["width"] for summary in summaries(tmp_path)) == [32, 48]
    assert "1 of 3 jobs failed" in outcome.err
    assert "crop=9999" in outcome.err
    assert "Traceback" not in outcome.err + outcome.out


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["dropout=1.5"], "dropout=1.5"),
        (["degradation.sigma=-1"], "degradation.sigma=-1"),
        (["iterations=0"], "iterations=0"),
        (["alpha=1.2"], "alpha=1.2"),
        (
            ["model=vgg"],
            "model=vgg: expected one of auto, deep_decoder, leanunet, narrow, other, resnet, resunet",
        ),
        (["modle=unet"], "modle: expected a key or a group of the configuration; try model"),
        (["model.levles=3"], "try model.levels"),
        (["qqq=1"], "qqq: expected a key or a group of the configuration; see dip --help"),
        (["hydra.job.nam=2"], "expected a key of Hydra's own, which dip --cfg hydra prints; try +hydra.job.nam=VALUE"),
        (["crop=32"], "crop: expected a key or a group of the configuration; try image.crop"),
        (["optimizer.momentun=0.5"], "try optimizer.momentum"),
        (["model.levels=50"], "with model.levels=50: expected at most 5 levels; try model.levels=5"),
        (["model=leanunet", "model.levels=50"], "leanunet of 50 levels: expected at most 4 levels; try model.levels=4"),
        (["image.path=" + "a" * 300], "has a name that is too long"),
        (["image.path=missing.png"], "missing.png"),
        (["image.path=text.png"], "text.png"),
        (["precision=tf32"], "precision=tf32"),
        (["trainer=gpu"], "trainer"),
        (["iterations="], "iterations"),
        (["dropout=[0.1"], "dropout=[0.1: expected a value that Hydra can read"),
        (["experiment=quickstrat"], "try experiment=quickstart"),
        (
            ["model=resnet", "model.levels=2"],
            "one of model=auto, model=deep_decoder, model=leanunet, model=",
        ),
        (["callbacks.nobody.every=3"], "nobody"),
        (["seed=1,2"], "dip -m seed=1,2"),
        (
            ["model=null"],
            "model=null: expected one of auto, deep_decoder, leanunet, narrow, other, resnet, resunet",
        ),
        (["logger="], "expected one of csv, none, tensorboard"),
        (["logger=[]"], "no logger: expected an option or more of this group; try logger=none"),
        (["regularizers=[]"], "try regularizers=none"),
        (["logger=tensorboard,csv"], "for all at once: 'logger=[tensorboard,csv]'; for several fits: dip -m"),
        (["logger=[tensorboard,cvs]"], "logger=cvs: expected one of csv, none, tensorboard; try logger=csv"),
        (["optimizer._target_=os.system"], "or an optimiser or scheduler of torch"),
        (["image.path=grün.png"], """'image.path="grün.png"'"""),
        (["image.path="], "image.path="),
        (["image.path=it's.png"], """'image.path="it'"'"'s.png"'"""),
        (["stopping=none", "stopping.patience=3"], "try stopping=vote"),
        (["image.path=http://host/photo.png"], "a file on this machine"),
        (["image.size=100000000"], "at most 178 megapixels"),
        (["seed=4294967296"], "at most 4294967295"),
        (["iterations=1000000000000"], "at most 10000000"),
        (["callbacks.fit_progress={_target_: dip_lightning.callbacks.FitProgress, line_every: 0}"], "line_every=0"),
        (["trainer.deterministic=foo"], "trainer.deterministic=foo"),
        (["precision=fp64", "precision.tf32=true"], "try precision=tf32"),
        (["hydra.run.dir=/proc/nowhere/run"], "try hydra.run.dir=NEW_FOLDER"),
    ],
)
def test_a_mistake_gives_one_line_and_code_2(dip: Dip, tmp_path: Path, overrides: list[str], said: str) -> None:
    (tmp_path / "text.png").write_text("no image")
    tiny = [o for o in TINY_UNET if "model.levels" not in o or "resnet" not in str(overrides)]
    outcome = dip(*tiny, *overrides)
    assert outcome.code == 2
    (line,) = outcome.err.strip().splitlines()
    assert line.startswith("dip: ")
    assert said in line
    assert "Traceback" not in outcome.err + outcome.out
    assert run_folders(tmp_path) == []


def test_cfg_job_prints_the_configuration(dip: Dip) -> None:
    outcome = dip("--cfg", "job", "model=unet")
    assert outcome.code == 0
    assert "_target_: dip_lightning.models.UNet" in outcome.out


def dip_process(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "dip_lightning", *arguments],
        cwd=cwd,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_help_and_completion_load_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from dip_lightning.cli import main as cli; sys.argv = ['dip', {flag!r}]\n"
        "try: cli.main()\n"
        "except SystemExit as stop: code = stop.code\n"
        "assert not code, code\n"
        "loaded = {{'torch', 'pytorch_lightning', 'skimage', 'matplotlib'}} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code.format(flag="--help")], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Group model" in done.stdout


def test_tab_completion_knows_groups_and_options(tmp_path: Path) -> None:
    process = dip_process("-sc", "query=bash", cwd=tmp_path, COMP_LINE="dip model=res", COMP_POINT="13")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert set(out.split()) == {"model=resnet", "model=resunet"}


def test_the_console_script_is_the_module() -> None:
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="dip")
    assert script.value == "dip_lightning.cli.main:main"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_cleanly_with_everything_written(tmp_path: Path, number: signal.Signals, code: int) -> None:
    overrides = [*(o for o in TINY_UNET if not o.startswith(("iterations", "callbacks.fit_progress")))]
    process = dip_process(*overrides, "iterations=1000000", "callbacks.fit_progress.line_every=0.1", cwd=tmp_path)
    assert process.stderr is not None
    for line in process.stderr:  # the first line of progress: the loop runs
        if line.startswith("iteration"):
            break
    process.send_signal(number)
    started = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert time.monotonic() - started < 30
    assert "Traceback" not in err
    (summary,) = summaries(tmp_path)
    assert summary["stopping"]["reason"] == f"It was interrupted ({number.name})."  # type: ignore[index]
    assert 0 < summary["iterations"] < 1000000  # type: ignore[operator]
    (run,) = run_folders(tmp_path)
    assert (run / "restored.png").exists()
    assert len((run / "curves.csv").read_text().splitlines()) == summary["iterations"] + 1  # type: ignore[operator]


def test_a_picture_alone_is_told_what_it_should_have_been(dip: Dip, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path / "photo.png")
    told = dip("photo.png")
    assert told.code == 2
    way = "try image.path=photo.png, or image.path=. for all pictures of this folder"
    assert told.err == f"dip: photo.png: expected KEY=VALUE; {way}\n"


@pytest.mark.parametrize(
    ("given", "count"), [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)]
)
def test_threads_that_wait_give_way_unless_told_otherwise(
    dip: Dip, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], count: str | None
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert dip("--cfg", "job").code == 0
    assert os.environ.get("GOMP_SPINCOUNT") == count


def test_version_is_that_of_the_package(dip: Dip) -> None:
    from importlib.metadata import version

    assert dip("--version").out.split() == ["dip_lightning", version("dip-lightning")]


def test_an_unexpected_error_in_a_job_is_told_from_a_mistake(
    dip: Dip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dip_lightning.workflows.restore

    fit = dip_lightning.workflows.restore.fit

    def breaks(cfg: DictConfig, run_folder: Path, resume: Path | None = None) -> object:
        if cfg.seed == 1:
            raise ZeroDivisionError("a bug")
        return fit(cfg, run_folder)

    monkeypatch.setattr(dip_lightning.workflows.restore, "fit", breaks)
    outcome = dip("-m", *TINY_UNET, "seed=0,1,2")
    assert outcome.code == 1
    assert "job 1 (seed=1): ZeroDivisionError: a bug" in outcome.err
    assert [summary["seed"] for summary in summaries(tmp_path)] == [0, 2]


def test_conf_of_the_checkout_is_found_from_any_folder() -> None:
    assert config_folder() == ROOT / "conf"


@pytest.mark.parametrize(
    ("name", "mode", "size"),
    [("grey.png", "L", (37, 29)), ("deep.png", "I;16", (33, 45)), ("clear.png", "RGBA", (41, 35))],
)
def test_a_picture_of_ones_own_ends_by_itself_and_comes_back_as_it_was(
    dip: Dip, tmp_path: Path, name: str, mode: str, size: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    width, height = size
    smooth = np.linspace(60, 200, height * width).reshape(height, width) + rng.normal(0, 25, (height, width))
    grey = Image.fromarray(np.clip(smooth, 0, 255).astype(np.uint8))
    picture = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    if mode == "RGBA":
        picture.putalpha(Image.fromarray(rng.integers(0, 255, (height, width), dtype=np.uint8)))
    picture.save(tmp_path / name)
    tiny = [o for o in TINY_UNET if not o.startswith(("image.crop", "iterations"))]
    # A large step, so that a network of this size is past its best soon.
    told = dip(*tiny, "lr=0.1", "alpha=0.8", f"image.path={name}", "stopping.patience=20", "iterations=600")
    assert told.code == 0
    (run,) = run_folders(tmp_path)
    (summary,) = summaries(tmp_path)
    assert summary["iterations"] < 600  # type: ignore[operator]
    assert "It stopped by itself" in told.out.replace("\n", " ")
    assert summary["sigma_source"] == "estimated"
    assert summary["sigma"] == pytest.approx(25, rel=0.4)
    with Image.open(run / "restored.png") as restored:
        assert (restored.size, restored.mode) == (size, mode)
        if mode == "RGBA":
            assert np.array_equal(np.asarray(restored)[:, :, 3], np.asarray(picture)[:, :, 3])


def test_a_bare_command_says_what_to_type(dip: Dip, tmp_path: Path) -> None:
    outcome = dip()
    assert outcome.code == 2
    assert outcome.err.startswith("dip: nothing to restore: expected a picture; try dip image.path=photo.png")
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


TOLD_AT_ONCE = {
    "seed=abc": "seed=abc",
    "iterations=-1": "iterations=-1",
    "dropout=2": "dropout=2",
    "select=both": "select=both",
    "input_scale=0": "input_scale=0",
    "lr=0": "lr=0: expected a number above 0",
    "alpha=2": "alpha=2: expected a number in [0, 1), or growing",
    "tile=8": "tile=8: expected a whole number of at least 16",
    "model.channels=wide": "model.channels=wide",
    "logger=[]": "no logger: expected an option or more of this group; try logger=none",
    "model=[]": "no model: expected an option or more of this group; try model=auto",
    "image.path=nope.png": "no file nope.png: expected a PNG",
    "image.clean=nope.png": "no file nope.png: expected a PNG",
}


@pytest.mark.parametrize("mistake", TOLD_AT_ONCE)
def test_a_mistake_is_told_before_what_takes_long_to_load(mistake: str, tmp_path: Path) -> None:
    script = (
        "import sys; from dip_lightning.cli import main\n"
        f"sys.argv = ['dip', {mistake!r}]\n"
        "slow = {'torch', 'skimage', 'scipy', 'matplotlib'}\n"
        "try:\n    main.main()\nexcept SystemExit as end:\n    print(end.code, slow & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.split() == ["2", "set()"]
    assert TOLD_AT_ONCE[mistake] in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.filterwarnings("ignore")  # of Optuna and of its plugin
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=0", "seed=1,2"], "n_jobs == 0"),
        (["hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "lr=interval(0.1,0.01)"], "low"),
        (["hydra/sweeper=optuna", "hydra.sweeper.direction=up", "lr=0.1,0.2"], "direction"),
        (["hydra/sweeper=optuna", "hydra.sweeper.n_trials=0", "lr=0.1,0.2"], "n_trials above 0"),
    ],
)
def test_what_a_plugin_of_hydra_finds_wrong_is_one_line(
    overrides: list[str], said: str, dip: Dip, tmp_path: Path
) -> None:
    outcome = dip("-m", *TINY_UNET, *overrides)
    assert outcome.code == 2
    (told,) = [line for line in outcome.err.splitlines() if line.startswith("dip: ")]
    assert said in told
    assert "expected" in told
    assert "Traceback" not in outcome.err + outcome.out


def test_an_error_that_nobody_foresaw_keeps_its_traceback() -> None:
    assert of_mistake(RuntimeError("of ours"), []) is None
    assert of_mistake(ValueError("of ours"), []) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m"], "nothing to restore: expected a picture"),
        (["photos/*.jpg"], "photos/*.jpg: expected KEY=VALUE; try image.path=photos for all pictures of that folder"),
        (["a" * 300 + ".png"], "expected KEY=VALUE; a picture is image.path=aaa"),
        ([str(config_folder())], f"try image.path={config_folder()} for all of its pictures"),
        (["model=unet", "model.levels=1000000000"], "expected a whole number of at least 1, at most 64"),
        (
            ["model=unet", "model.levels=-1"],
            "model.levels=-1: expected a whole number of at least 1; try model.levels=5",
        ),
        (["image.crop=32", "data_term=[]"], "data_term=[]: expected one of mse"),
        (["hydra.run.dir="], "hydra.run.dir without a folder"),
        (["hydra.sweep.dir=", "-m", "seed=1,2"], "hydra.sweep.dir without a folder"),
        (
            ["model=[unet,resnet]"],
            "model=[unet,resnet]: expected one option; for several fits: dip -m model=unet,resnet",
        ),
        (
            ["image.path=my", "photo.png"],
            "photo.png: expected KEY=VALUE; a picture is image.path=photo.png; a name with a blank needs quotes",
        ),
    ],
)
def test_what_nobody_can_mean_is_refused(arguments: list[str], said: str, dip: Dip, tmp_path: Path) -> None:
    outcome = dip(*arguments)
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert not list(tmp_path.rglob("summary.json"))


def test_a_sweep_that_is_interrupted_says_that_it_goes_on(dip: Dip, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "_run", interrupted)
    told = {arguments: dip(*arguments) for arguments in (("seed=1",), ("-m", "seed=1,2"))}
    assert {outcome.code for outcome in told.values()} == {130}
    assert "before there was anything to write" in told[("seed=1",)].err
    assert "the same command goes on" in told["-m", "seed=1,2"].err


def write_own(folder: Path) -> None:
    """A folder of configuration of one's own: a network that says nothing of dropout, and an experiment."""
    (folder / "model").mkdir(parents=True)
    (folder / "experiment").mkdir()
    network = ["# A network of mine.", "_target_: dip_lightning.models.UNet", "levels: 2", "channels: 4"]
    (folder / "model" / "mine.yaml").write_text("\n".join(network) + "\n")
    (folder / "experiment" / "night.yaml").write_text("# @package _global_\n# Pictures of the night.\nlr: 0.02\n")


@pytest.mark.parametrize("flag", [["--config-dir", "mine"], ["--config-dir=mine"], ["-cd", "mine"]])
def test_help_lists_options_of_ones_own(dip: Dip, tmp_path: Path, flag: list[str]) -> None:
    write_own(tmp_path / "mine")
    told = dip("--help", *flag).out
    assert "Yours, in mine" in told
    for option, meaning in (("model=mine", "A network of mine."), ("experiment=night", "Pictures of the night.")):
        assert any(option in line and meaning in line for line in told.splitlines())
    assert "Yours" not in dip("--help").out
    assert "Yours" not in dip("--help", "--config-dir", "nowhere").out


def test_a_network_of_ones_own_without_dropout_is_told_what_its_file_lacks(dip: Dip, tmp_path: Path) -> None:
    write_own(tmp_path / "mine")
    outcome = dip("--config-dir", "mine", "model=mine", "image.crop=32", "iterations=1")
    assert outcome.code == 2
    assert (
        outcome.err
        == "dip: a model without dropout: expected this key in its file under model/, or dropout=; add dropout: 0.0\n"
    )


@pytest.mark.parametrize(
    "flags", [["-m", "--cfg", "job"], ["--multirun", "--cfg=job"], ["-m", "-c", "job"], ["-m", "--info"]]
)
def test_the_configuration_of_a_sweep_is_that_of_one_job(dip: Dip, tmp_path: Path, flags: list[str]) -> None:
    outcome = dip(*flags, "model=unet,resunet")
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert "leave out -m, and all values but one" in outcome.err
    assert not list(tmp_path.iterdir())
