"""Sweeps that choose their jobs by what came of others: the sweeper of Optuna, where it is installed."""

import pickle
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher

from dip_lightning.errors import UserError
from dip_lightning.runs.record import read_summary
from dip_lightning.runs.sweep import read_sweep
from tests.conftest import TINY_UNET, Outcome

Dip = Callable[..., Outcome]
# Optuna 2 and what it needs warn of what they will no longer do; that is their packages' matter.
pytestmark = pytest.mark.filterwarnings("ignore")
SEEK = ("-m", "hydra/sweeper=optuna", *TINY_UNET, "logger=none", "callbacks.pictures=null")


@pytest.fixture
def optuna() -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")


def outcome_of(folder: Path) -> dict[str, Any]:
    found = yaml.safe_load((folder / "optimization_results.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def psnr(folder: Path) -> dict[str, float]:
    """Of the pictures that the jobs have handed back."""
    found = {path.parent.name: read_summary(path.parent)["selected"]["psnr"] for path in folder.glob("*/summary.json")}
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.slow
@pytest.mark.usefixtures("optuna")
@pytest.mark.parametrize(("direction", "sign"), [((), -1), (("hydra.sweeper.direction=maximize",), 1)])
def test_the_best_job_has_the_highest_psnr(dip: Dip, tmp_path: Path, direction: tuple[str, ...], sign: int) -> None:
    seek = (*(o for o in SEEK if not o.startswith("model.channels")), "hydra.sweep.dir=sweep", *direction)
    space = ("lr=tag(log,interval(0.001,0.1))", "model.channels=4,8")
    told = dip(*seek, *space, "hydra.sweeper.n_trials=4", "hydra.sweeper.sampler.seed=1")
    assert told.code == 0, told.err
    found = outcome_of(tmp_path / "sweep")
    assert set(found["best_params"]) == {"lr", "model.channels"}
    # What TensorBoard and the lines of the jobs tell them apart by.
    sweep = read_sweep(tmp_path / "sweep" / "3")
    assert sweep is not None
    assert sweep.differs == ["lr", "model.channels"]
    assert re.search(r"^job 3 \(lr=[\d.e-]+ model.channels=[48]\): 6 iterations", told.out, re.MULTILINE)
    reached = psnr(tmp_path / "sweep")
    assert len(set(reached.values())) == 4
    assert found["best_value"] == pytest.approx(sign * max(reached.values()), abs=1e-9)
    # The same command skips what is done.
    again = dip(*seek, *space, "hydra.sweeper.n_trials=4", "hydra.sweeper.sampler.seed=1")
    assert again.out.count("finished before") == 4
    assert outcome_of(tmp_path / "sweep") == found


@pytest.mark.usefixtures("optuna")
@pytest.mark.parametrize("name", ["optimization_results.yaml", "0/.hydra/overrides.yaml", "0/.hydra/config.yaml"])
def test_a_file_of_the_users_is_kept(dip: Dip, tmp_path: Path, name: str) -> None:
    theirs = tmp_path / "sweep" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("name: optuna\n")
    told = dip(*SEEK, "lr=0.01,0.02", "hydra.sweep.dir=sweep")
    assert told.code == 2
    (line,) = told.err.splitlines()
    assert f"{name} was not written by this sweep" in line
    assert f"hydra.sweep.dir={Path('sweep', 'sweep-1')}" in line
    assert [path for path in (tmp_path / "sweep").rglob("*") if path.is_file()] == [theirs]
    assert theirs.read_text() == "name: optuna\n"


@pytest.mark.usefixtures("optuna")
def test_a_sweep_writes_over_what_it_has_found_itself(dip: Dip, tmp_path: Path) -> None:
    command = (*SEEK, "lr=0.01", "hydra.sweeper.n_trials=1", "hydra.sweep.dir=sweep")
    best = tmp_path / "sweep" / "optimization_results.yaml"
    for notes in (True, False, True):
        assert dip(*command).code == 0
        if not notes:  # as of an earlier version
            (tmp_path / "sweep" / ".sought.json").unlink()
    best.write_text("mine\n")
    told = dip(*command)
    assert (told.code, "optimization_results.yaml was not written" in told.err) == (2, True), told
    assert best.read_text() == "mine\n"


@pytest.mark.slow
@pytest.mark.usefixtures("optuna")
def test_a_study_is_kept_where_the_command_line_says(dip: Dip, tmp_path: Path) -> None:
    storage = ("hydra.sweeper.storage=sqlite:///study.db", "hydra.sweeper.study_name=mine")
    parallel = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    told = dip(*SEEK, "hydra/sweeper/sampler=grid", "lr=0.01,0.02", "hydra.sweep.dir=sweep", *storage, *parallel)
    assert told.code == 0, told.err
    assert len(psnr(tmp_path / "sweep")) == 2
    assert (tmp_path / "study.db").is_file()


@pytest.mark.usefixtures("optuna")
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["degradation=none"], "skimage:astronaut has no clean picture: expected a clean picture"),
        (["image.path=."], "image.path=. in a sweep that seeks: expected one picture"),
        (["hydra.sweeper.direction=[maximize,minimize]"], "expected one direction"),
        (["hydra.sweeper.custom_search_space=os.getcwd"], "a configuration that runs no code"),
        (["hydra.sweeper.sampler._target_=os.getcwd"], "a configuration that runs no code"),
        (["hydra.sweeper.sampler={_target_: os.getcwd}"], "a configuration that runs no code"),
        (["+hydra.sweeper.sampler.x={_target_: os.getcwd}"], "a configuration that runs no code"),
        (["hydra.sweeper._target_=os.getcwd"], "expected a sweeper that is installed as a plugin"),
        (["hydra.sweeper._target_=hydra_plugins.nowhere.Sweeper"], "expected a sweeper that is installed as a plugin"),
        (["hydra.launcher._target_=hydra_plugins.dip_sweeper.BlockSweeper"], "expected a launcher that is installed"),
    ],
)
def test_what_cannot_be_sought_is_told_before_the_first_job(
    dip: Dip, tmp_path: Path, overrides: list[str], said: str
) -> None:
    told = dip(*SEEK, "lr=0.01,0.02", "hydra.sweep.dir=sweep", *overrides)
    assert told.code == 2
    (line,) = told.err.strip().splitlines()
    assert said in line
    assert not list(tmp_path.rglob("summary.json"))
    assert not (tmp_path / "sweep").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("optuna")
def test_how_many_jobs_may_fail_is_the_sweepers_matter(dip: Dip, tmp_path: Path) -> None:
    seek = (*SEEK, "hydra.sweep.dir=sweep", "hydra.sweeper.n_jobs=1", "hydra.sweeper.sampler.seed=1")
    told = dip(*seek, "dropout=0.1,1.5")
    assert told.code == 2
    assert told.err.splitlines()[-1].startswith("dip: dropout=1.5: expected a number in [0, 1)")
    told = dip(*seek, "dropout=0.1,1.5", "hydra.sweeper.max_failure_rate=1")
    assert told.code == 0
    assert outcome_of(tmp_path / "sweep")["best_params"] == {"dropout": 0.1}
    told = dip(*SEEK, "dropout=1.5", "lr=0.1,0.2", "hydra.sweeper.n_trials=2", "hydra.sweeper.max_failure_rate=1")
    assert told.code == 2
    assert told.err.splitlines()[-1].startswith("dip: a sweep of which no job went well")


@pytest.mark.usefixtures("optuna")
@pytest.mark.parametrize(
    "line",
    ["storage: sqlite:///theirs.db", "custom_search_space: os.getcwd", "sampler: {_target_: os.getcwd}"],
)
def test_a_file_says_neither_what_runs_nor_where_a_study_is_kept(dip: Dip, tmp_path: Path, line: str) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "e.yaml").write_text(f"# @package _global_\nhydra: {{sweeper: {{{line}}}}}\n")
    told = dip(*SEEK, "--config-dir", "mine", "experiment=e", "lr=0.01,0.02")
    assert (told.code, "a configuration that runs no code" in told.err) == (2, True), told
    assert not (tmp_path / "theirs.db").exists()


@pytest.mark.usefixtures("optuna")
def test_a_file_may_say_what_is_sought(dip: Dip, tmp_path: Path) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    space = "params: {lr: 'interval(0.01,0.1)'}"
    sweeper = f"{{n_trials: 2, direction: maximize, study_name: mine, sampler: {{seed: 1}}, {space}}}"
    lines = f"# @package _global_\nhydra: {{mode: MULTIRUN, sweep: {{dir: sweep}}, sweeper: {sweeper}}}\n"
    (tmp_path / "mine" / "experiment" / "e.yaml").write_text(lines)
    told = dip(*SEEK[1:], "--config-dir", "mine", "experiment=e")
    assert told.code == 0, told.err
    assert outcome_of(tmp_path / "sweep")["best_value"] == pytest.approx(max(psnr(tmp_path / "sweep").values()))


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A launcher as another package's would be, with settings of its own of every kind."""
    members = {"__init__": _make, "setup": _setup, "launch": _launch, "__module__": "hydra_plugins.ray"}
    kind = type("RayLauncher", (Launcher,), members)
    module = ModuleType("hydra_plugins.ray")
    vars(module)["RayLauncher"] = kind
    monkeypatch.setitem(sys.modules, module.__name__, module)
    plugins, store = Plugins.instance(), ConfigStore.instance()
    options = {"address": None, "runtime_env": {"working_dir": "s3://theirs"}, "num_cpus": 2}
    store.store(
        group="hydra/launcher",
        name="fake_ray",
        node={"_target_": "hydra_plugins.ray.RayLauncher", "ray": options},
        provider="tests",
    )
    plugins.register(kind)
    yield
    del store.repo["hydra"]["launcher"]["fake_ray.yaml"]
    del plugins.class_name_to_class["hydra_plugins.ray.RayLauncher"]
    for found in plugins.plugin_type_to_subclass_list.values():
        if kind in found:
            found.remove(kind)


def _make(self: Launcher, ray: Any) -> None:
    pass


def _setup(self: Launcher, **parts: Any) -> None:
    pass


def _launch(self: Launcher, job_overrides: list[list[str]], initial_job_idx: int) -> list[Any]:
    print("launched", len(job_overrides))
    return []


@pytest.mark.usefixtures("ray")
def test_a_launcher_of_another_package_is_let_do_its_work(dip: Dip, tmp_path: Path) -> None:
    chosen = ("-m", "hydra/launcher=fake_ray", *TINY_UNET, "seed=1,2")
    told = dip(*chosen, "hydra.launcher.ray.address=auto", "hydra.launcher.ray.num_cpus=4")
    assert (told.code, told.err) == (0, ""), told
    assert "launched 2" in told.out
    for line in ("ray: {address: theirs}", "ray: {runtime_env: {working_dir: /}}", "ray: {x: {_target_: os.getcwd}}"):
        (tmp_path / "mine" / "experiment").mkdir(parents=True, exist_ok=True)
        lines = f"# @package _global_\nhydra: {{launcher: {{{line}}}}}\n"
        (tmp_path / "mine" / "experiment" / "e.yaml").write_text(lines)
        told = dip(*chosen, "--config-dir", "mine", "experiment=e")
        assert (told.code, "a configuration that runs no code" in told.err) == (2, True), told


def test_a_sweeper_that_is_missing_is_named_with_its_package(dip: Dip) -> None:
    told = dip("-m", "hydra/launcher=ray", *TINY_UNET, "seed=1,2")
    assert (told.code, "pip install 'hydra-ray-launcher'" in told.err) == (2, True), told


def test_a_mistake_comes_back_from_another_process() -> None:
    error = pickle.loads(pickle.dumps(UserError("lr=-1", "a number above 0", "try lr=0.01")))
    assert isinstance(error, UserError)
    assert (str(error), error.remedy) == ("lr=-1: expected a number above 0; try lr=0.01", "try lr=0.01")
