"""A configuration from someone else runs no code: only known classes are built from it."""

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from omegaconf import OmegaConf

from dip_lightning import restore
from dip_lightning.config.build import build, build_factory
from dip_lightning.config.compose import compose_config
from dip_lightning.errors import UserError
from dip_lightning.fitting.fit import FitResult
from tests.conftest import TINY, TINY_UNET, Outcome

HOSTILE = [
    "os.system",
    "builtins.eval",
    "builtins.exec",
    "subprocess.run",
    "subprocess.Popen",
    "pathlib.Path.unlink",
    "torch.load",
    "pickle.loads",
    "hydra.utils.call",
    "functools.partial",
    "dip_lightning.cli.main.os.system",  # what our modules import lies in our package only by name
    "dip_lightning.config.compose.compose",
    "dip_lightning.config.build.Path",  # a class, and in our package only by name
    "dip_lightning.workflows.restore.fit",
    "pytorch_lightning.callbacks.model_checkpoint.Path",
    "torch.optim.lr_scheduler.Tensor",
    "torch.optim.lr_scheduler.partial",
    "pytorch_lightning.Trainer.fit",
    "pytorch_optimizer.load_optimizer",
    "pytorch_optimizer.Lookahead",  # of this package one class alone
]


@pytest.mark.parametrize("target", HOSTILE)
@pytest.mark.parametrize("partial", [False, True])
def test_a_hostile_target_is_refused_before_it_is_called(target: str, partial: bool, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    node = OmegaConf.create({"_target_": target, "_args_": [f"touch {witness}"], "_partial_": partial})
    with pytest.raises(UserError, match="a class of dip_lightning"):
        build(node)
    assert not witness.exists()


def test_a_hostile_target_is_found_at_any_depth_and_through_interpolation() -> None:
    cfg = OmegaConf.create(
        {
            "evil": "os.system",
            "parts": [{"_target_": "dip_lightning.data.NoDegradation", "deep": [{"_target_": "${evil}"}]}],
        }
    )
    with pytest.raises(UserError, match=r"os\.system"):
        build(cfg.parts[0])


@pytest.mark.parametrize(
    "overrides",
    [
        ["degradation._target_=os.system"],
        ["+callbacks.evil._target_=builtins.eval", "+callbacks.evil._args_=[1]"],
        ["+evil=subprocess.run", "model._target_=${evil}"],
        ["precision._target_=os.getcwd"],
        ["stopping.rules.wmv._target_=os.abort"],
        ["logger.tensorboard._target_=os.abort", "+logger.tensorboard._partial_=true"],
        ["logger=tensorboard", "+logger.tensorboard.evil._target_=os.abort"],
    ],
)
def test_on_the_command_line_it_costs_one_line(dip: Callable[..., Outcome], overrides: list[str]) -> None:
    told = dip(*TINY_UNET, *overrides)
    assert told.code == 2
    (line,) = told.err.strip().splitlines()
    assert "a class of dip_lightning" in line
    assert "Traceback" not in told.out


@pytest.mark.parametrize(
    "lines",
    [
        "callbacks: {evil: {_target_: os.system, command: WITNESS}}",
        "callbacks: '${evil}'",
        "callbacks: {evil: {_target_: '${evil.name}', command: WITNESS}}",
        "sweeper: {params: {evil: {_target_: os.system, command: WITNESS}}}",
        "job_logging: {handlers: {file: {class: os.system, command: WITNESS}}}",
        "job_logging: {formatters: {simple: {(): os.system, command: WITNESS}}}",
        "job_logging: {formatters: {simple: {(): '${evil.name}', command: WITNESS}}}",
        "job_logging: {handlers: {file: {class: '${hydra.runtime.cwd}'}}}",  # not known before the job begins
        "hydra_logging: {handlers: {console: {stream: ext://antigravity.webbrowser}}}",
        "job_logging: {handlers: {file: {filename: WITNESS}}}",
        "job_logging: {handlers: {file: {filename: '${hydra.runtime.output_dir}/../../dip.log'}}}",
        "job: {name: ../../witness}",
        "job: {env_set: {PYTHONPATH: /tmp}}",
        "job: {env_set: {OMP_NUM_THREADS: 1; touch WITNESS}}",
        "job: {env_set: {DIP_TRUST: os}}",
        "job: {num: 0}",  # what it is at the check, and another at the job
        "runtime: {output_dir: /tmp}",
        "output_subdir: ../../witness",
        "output_subdir: /tmp/witness",
        "output_subdir: ..",
        "sweep: {subdir: ../../witness}",
        "sweep: {subdir: '${evil.name}'}",
        "job_logging: {handlers: {file: {'.': {baseFilename: WITNESS}}}}",
        "job_logging: {formatters: {simple: {format: 'ext://antigravity'}}}",
        "job_logging: {formatters: {simple: {'.': {x: 1}}}}",
        "job_logging: {filters: {f: {(): os.system}}}",
        "sweeper: {params: {seed: '${evil.call}'}}",
    ],
)
@pytest.mark.parametrize("multirun", [(), ("-m",)])
def test_hydra_builds_nothing_from_someone_elses_configuration(
    dip: Callable[..., Outcome], tmp_path: Path, lines: str, multirun: tuple[str, ...]
) -> None:
    witness = tmp_path / "witness"
    folder = tmp_path / "theirs" / "experiment"
    folder.mkdir(parents=True)
    hydra = f"hydra: {{{lines.replace('WITNESS', f'touch {witness}')}}}"
    evil = f"evil: {{name: os.system, call: {{_target_: os.system, command: touch {witness}}}}}"
    (folder / "theirs.yaml").write_text(f"# @package _global_\n{hydra}\n{evil}\n")
    told = dip(*multirun, "--config-dir", str(tmp_path / "theirs"), "experiment=theirs", *TINY_UNET)
    assert not witness.exists()
    assert told.code == 2
    (line,) = told.err.strip().splitlines()
    expected = "a folder in that of the sweep" if lines.startswith("sweep:") else "a configuration that runs no code"
    assert expected in line
    assert "Traceback" not in told.out


@pytest.mark.parametrize(
    ("launcher", "line"),
    [
        ("submitit_slurm", "setup: [touch WITNESS]"),
        ("submitit_slurm", "additional_parameters: {wrap: touch WITNESS}"),
        ("submitit_slurm", "submitit_folder: WITNESS"),
        ("submitit_slurm", 'comment: "x\\ntouch WITNESS"'),
        ("joblib", "pre_dispatch: __import__('os').mkdir('WITNESS')"),
        ("joblib", "temp_folder: WITNESS"),
    ],
)
def test_a_launcher_is_told_what_to_run_by_the_command_line_only(
    dip: Callable[..., Outcome], tmp_path: Path, launcher: str, line: str
) -> None:
    (tmp_path / "theirs" / "experiment").mkdir(parents=True)
    lines = f"# @package _global_\nhydra: {{launcher: {{{line.replace('WITNESS', str(tmp_path / 'witness'))}}}}}\n"
    (tmp_path / "theirs" / "experiment" / "theirs.yaml").write_text(lines)
    chosen = ["-m", "--config-dir", str(tmp_path / "theirs"), f"hydra/launcher={launcher}", *TINY_UNET]
    told = dip(*chosen, "experiment=theirs")
    assert (told.code, "a configuration that runs no code" in told.err) == (2, True), told
    assert not (tmp_path / "witness").exists()


def test_a_launcher_takes_from_the_command_line_what_it_likes(dip: Callable[..., Outcome]) -> None:
    told = dip(
        "-m", *TINY_UNET, "hydra/launcher=joblib", "hydra.launcher.n_jobs=1", "hydra.launcher.temp_folder=x", "seed=1"
    )
    assert (told.code, told.err) == (0, "")


def test_a_value_of_a_launcher_of_another_kind_costs_one_line(dip: Callable[..., Outcome]) -> None:
    told = dip("-m", *TINY_UNET, "hydra/launcher=joblib", "hydra.launcher.n_jobs=abc", "seed=1")
    assert (told.code, told.err) == (2, "dip: hydra.launcher.n_jobs=abc: expected a whole number; see dip --help\n")


def test_what_hydra_needs_is_allowed(dip: Callable[..., Outcome]) -> None:
    hydra = ["hydra.job_logging.root.level=WARNING", "+hydra.job.env_set.MKL_NUM_THREADS=1", "hydra.verbose=true"]
    assert dip(*TINY_UNET, *hydra, "hydra/job_logging=stdout").code == 0
    assert dip(*TINY_UNET, "hydra.output_subdir=null", "hydra/job_logging=none").code == 0
    subdir = "hydra.sweep.subdir=${hydra.job.num}-${hydra.job.override_dirname}"
    assert dip("-m", "seed=1,2", subdir, *TINY_UNET).code == 0


def test_what_the_configuration_needs_is_allowed(tmp_path: Path) -> None:
    for target in ("pytorch_lightning.loggers.CSVLogger", "dip_lightning.data.NoDegradation"):
        assert build(OmegaConf.create({"_target_": target}), tmp_path) is not None


# Looks at a key that an argument changes: a harmless class where it is checked, another where it would be built.
TURNING = (
    "{kinds: {a: dip_lightning.models.ResUNet, '3': pathlib.Path.write_text}, output_channels: a, "
    "_target_: '${.kinds.${.output_channels}}', self: WITNESS, data: evil}"
)


def test_a_node_is_built_as_it_was_checked(tmp_path: Path) -> None:
    node = OmegaConf.create(
        f"{{kinds: {{a: dip_lightning.data.NoDegradation, '3': os.mkdir}}, which: a, "
        f"_target_: '${{.kinds.${{.which}}}}', path: {tmp_path / 'witness'}}}"
    )
    with pytest.raises(UserError, match="NoDegradation: got an unexpected keyword argument"):
        build(node, which="3")
    assert not (tmp_path / "witness").exists()


def test_a_turning_target_from_an_override(dip: Callable[..., Outcome], tmp_path: Path) -> None:
    node = TURNING.replace("WITNESS", "witness").replace("'${", "${").replace("}}'", "}}").replace("'3'", "3")
    told = dip(*TINY_UNET, f"++model={node}")
    assert told.code == 2, told
    assert not (tmp_path / "witness").exists()


def test_a_turning_target_from_an_experiment_file(dip: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "theirs" / "experiment").mkdir(parents=True)
    lines = f"# @package _global_\nmodel: {TURNING.replace('WITNESS', str(tmp_path / 'witness'))}\n"
    (tmp_path / "theirs" / "experiment" / "theirs.yaml").write_text(lines)
    told = dip("--config-dir", str(tmp_path / "theirs"), "experiment=theirs", *TINY_UNET)
    assert told.code == 2, told
    assert not (tmp_path / "witness").exists()


def theirs(run_folder: Path, **changes: object) -> None:
    """Put something else into the configuration of a checkpoint."""
    newest = run_folder / "checkpoints" / "last.ckpt"
    state = torch.load(newest, weights_only=True)
    state["config"].update(changes)
    torch.save(state, newest)


def test_a_turning_target_from_a_checkpoint(
    dip: Callable[..., Outcome], tiny_fit: Callable[..., FitResult], tmp_path: Path
) -> None:
    tiny_fit("stopping=none", run_folder=tmp_path / "run")
    turning = OmegaConf.to_container(OmegaConf.create(TURNING.replace("WITNESS", str(tmp_path / "witness"))))
    assert isinstance(turning, dict)
    theirs(tmp_path / "run", model={"input_channels": 4, "dropout": 0, "residual": True, **turning})
    told = dip("resume=run", "iterations=9")
    assert told.code == 2, told
    assert not (tmp_path / "witness").exists()


@pytest.mark.parametrize("order", ["_args_", "_partial_", "_recursive_", "_convert_", "_mode_"])
def test_hydras_orders_are_refused(order: str) -> None:
    with pytest.raises(UserError, match=order):
        build(OmegaConf.create({"_target_": "dip_lightning.data.NoDegradation", order: True}))


def test_arguments_from_python_are_not_walked() -> None:
    given = {"_target_": "os.system", "_args_": ["false"]}
    assert build(
        OmegaConf.create({"_target_": "dip_lightning.errors.JobsFailedError", "codes": 1}), codes=[0]
    ).codes == [0]
    with pytest.raises(UserError, match="a stopping rule"):
        build(OmegaConf.create({"_target_": "dip_lightning.callbacks.Detection"}), rules={"x": given})


def test_missing_and_unknown_arguments_cost_one_line() -> None:
    with pytest.raises(UserError, match="missing a required argument: 'rules'"):
        build(OmegaConf.create({"_target_": "dip_lightning.callbacks.Detection"}))
    with pytest.raises(UserError, match="unexpected keyword argument 'nope'"):
        build(OmegaConf.create({"_target_": "dip_lightning.data.NoDegradation", "nope": 1}))


WRITERS = {
    "pytorch_lightning.callbacks.ModelCheckpoint": ("dirpath", "filename"),
    "pytorch_lightning.callbacks.OnExceptionCheckpoint": ("dirpath", "filename"),
    "pytorch_lightning.callbacks.SpikeDetection": ("exclude_batches_path",),
    "pytorch_lightning.loggers.CSVLogger": ("save_dir", "name", "version"),
    "pytorch_lightning.loggers.TensorBoardLogger": ("save_dir", "name", "version", "sub_dir", "filename_suffix"),
    "pytorch_lightning.profilers.SimpleProfiler": ("dirpath", "filename"),
    "pytorch_lightning.profilers.AdvancedProfiler": ("dirpath", "filename"),
    "pytorch_lightning.profilers.PyTorchProfiler": ("dirpath", "filename"),
}


@pytest.mark.parametrize(("target", "name"), [(target, name) for target, names in WRITERS.items() for name in names])
@pytest.mark.parametrize(
    "value", ["..", "a/../../b", "/tmp", "$HOME", "~/x", "file:///tmp", "{epoch:/>9}", "..{epoch:/>2}/x", "link/x"]
)
def test_lightning_writes_into_the_run_folder_only(target: str, name: str, value: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match="below the run folder"):
        build(OmegaConf.create({"_target_": target, name: value}), tmp_path / "run")
    with pytest.raises(UserError):
        build(OmegaConf.create({"_target_": target, name: value}))


@pytest.mark.parametrize("target", WRITERS)
def test_lightnings_folders_lie_in_the_run_folder_by_themselves(target: str, tmp_path: Path) -> None:
    made = build(OmegaConf.create({"_target_": target}), tmp_path)
    names = ("dirpath", "save_dir", "exclude_batches_path")
    (place,) = (getattr(made, name) for name in names if getattr(made, name, None))
    assert Path(place).is_relative_to(tmp_path)


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "pytorch_lightning.callbacks.LambdaCallback", "on_train_start": "x"},
        {"_target_": "pytorch_lightning.callbacks.ThroughputMonitor", "batch_size_fn": "x"},
        {"_target_": "pytorch_lightning.callbacks.GradientAccumulationScheduler", "scheduling": {0: 2}},
        {"_target_": "pytorch_lightning.callbacks.RichProgressBar", "console_kwargs": {"file": "x"}},
        {"_target_": "pytorch_lightning.loggers.MLFlowLogger", "tracking_uri": "http://theirs"},
        {"_target_": "pytorch_lightning.loggers.WandbLogger", "settings": {"program": "x"}},
        {"_target_": "pytorch_lightning.loggers.WandbLogger", "save_code": True},
        {"_target_": "pytorch_lightning.loggers.CometLogger"},
    ],
)
def test_what_lightning_must_not_be_given_is_refused(node: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected"):
        build(OmegaConf.create(node), tmp_path)


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "pytorch_lightning.callbacks.EarlyStopping", "monitor": "loss", "mode": "min"},
        {"_target_": "pytorch_lightning.callbacks.StochasticWeightAveraging", "swa_lrs": [0.1]},
        {"_target_": "pytorch_lightning.callbacks.Timer", "duration": {"hours": 1}},
        {
            "_target_": "pytorch_lightning.callbacks.ModelCheckpoint",
            "filename": "{step}-{val/loss:.2f}",
            "dirpath": "b",
        },
        {"_target_": "pytorch_lightning.callbacks.TQDMProgressBar"},
        {"_target_": "pytorch_lightning.callbacks.RichModelSummary", "max_depth": 2},
        {"_target_": "pytorch_lightning.loggers.CSVLogger", "name": "csv", "version": 1, "prefix": "x"},
        {"_target_": "pytorch_lightning.profilers.PyTorchProfiler", "filename": "time", "profile_memory": True},
    ],
)
def test_lightnings_own_can_be_configured(node: dict[str, object], tmp_path: Path) -> None:
    assert type(build(OmegaConf.create(node), tmp_path)).__name__ in str(node["_target_"])


def every(room: ModuleType, base: type) -> list[str]:
    classes = [getattr(room, name) for name in dir(room) if not name.startswith("_")]
    return [kind.__name__ for kind in classes if inspect.isclass(kind) and issubclass(kind, base) and kind is not base]


@pytest.mark.parametrize("name", every(torch.optim, torch.optim.Optimizer))
def test_every_optimizer_of_torch_can_be_built(name: str) -> None:
    node = compose_config(["optimizer=other", f"+optimizer._target_=torch.optim.{name}", "lr=0.5"]).optimizer
    made = build_factory(node, torch.optim.Optimizer)([torch.nn.Parameter(torch.ones(2, 2))])
    assert (type(made).__name__, float(made.param_groups[0]["lr"])) == (name, 0.5)


def test_a_factory_refuses_early_what_it_can() -> None:
    optimizer, scheduler = torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler
    for node, kind in [
        ({"_target_": "torch.optim.Adam", "nope": 1}, optimizer),
        ({"_target_": "torch.optim.Adam"}, scheduler),
        ({"_target_": "dip_lightning.data.NoDegradation"}, optimizer),
        ({"_target_": "os.system"}, optimizer),
        ({}, optimizer),
    ]:
        with pytest.raises(UserError):
            build_factory(OmegaConf.create(node), kind)
    make = build_factory(OmegaConf.create({"_target_": "torch.optim.Adam", "lr": -1}), optimizer)
    with pytest.raises(UserError, match="Invalid learning rate"):
        make([torch.nn.Parameter(torch.ones(1))])


# What a package of one's own may look like.
MINE = """
from os import system
from pathlib import Path
import pytorch_lightning as pl
import torch
class Mine(pl.Callback):
    def on_fit_start(self, trainer, module):
        Path("witness").touch()
def make():
    return Mine()
class Net(torch.nn.Conv2d):
    def __init__(self, output_channels, width=4, input_channels=7):
        super().__init__(input_channels, output_channels, 1)
        Path("net").write_text(f"{output_channels} {width} {input_channels}")
def bare():
    return torch.nn.Conv2d(5, 3, 1)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "my_package.py").write_text(MINE)
    monkeypatch.delenv("DIP_TRUST", raising=False)
    yield "my_package"
    sys.modules.pop("my_package", None)


@pytest.mark.parametrize("target", ["my_package.Mine", "my_package.make"])
@pytest.mark.parametrize("given", ["trust=my_package", "trust=[json,my_package]"])
def test_the_command_line_trusts_a_package(
    dip: Callable[..., Outcome], package: str, tmp_path: Path, target: str, given: str
) -> None:
    assert dip(*TINY_UNET, f"+callbacks.mine._target_={target}").code == 2
    told = dip(*TINY_UNET, f"+callbacks.mine._target_={target}", given)
    assert (told.code, told.err) == (0, "")
    assert (tmp_path / "witness").exists()
    stored = [path.read_text() for path in tmp_path.glob("outputs/**/.hydra/*.yaml")]
    assert stored
    assert not any("trust=" in text or "DIP_TRUST" in text for text in stored)
    assert "DIP_TRUST" not in os.environ
    assert str(tmp_path) not in sys.path


def test_what_a_trusted_package_has_imported_is_refused(dip: Callable[..., Outcome], package: str) -> None:
    told = dip(*TINY_UNET, "trust=my_package", "+callbacks.mine={_target_: my_package.system, command: touch witness}")
    assert told.code == 2
    assert "my_package.system" in told.err


def test_the_environment_trusts_a_package(
    dip: Callable[..., Outcome], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIP_TRUST", "a,my_package")
    assert dip(*TINY_UNET, "+callbacks.mine._target_=my_package.Mine").code == 0


def test_a_sweep_trusts_in_every_job(dip: Callable[..., Outcome], package: str, tmp_path: Path) -> None:
    told = dip("-m", *TINY_UNET, "seed=1,2", "+callbacks.mine._target_=my_package.Mine", "trust=my_package")
    assert (told.code, told.err) == (0, "")


def test_python_trusts_a_package(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    overrides = [*TINY_UNET, "+callbacks.mine._target_=my_package.Mine"]
    with pytest.raises(UserError, match="my_package"):
        restore("skimage:camera", overrides=overrides)
    for given in ("my_package", ["x", "my_package"]):
        restore("skimage:camera", overrides=overrides, trust=given)
    with pytest.raises(UserError, match="my_package"):  # once is once
        restore("skimage:camera", overrides=overrides)
    with pytest.raises(UserError, match="trust"):
        restore("skimage:camera", overrides=[*overrides, "+trust=my_package"])


@pytest.mark.parametrize(
    "lines",
    [
        "trust: my_package",
        "hydra: {overrides: {task: ['trust=my_package']}}",
        "hydra: {sweeper: {params: {trust: my_package}}}",
        "hydra: {sweeper: {params: {+trust: my_package}}}",
        "hydra: {job: {env_set: {DIP_TRUST: my_package}}}",
    ],
)
@pytest.mark.parametrize("multirun", [(), ("-m",)])
def test_no_file_brings_trust_along(
    dip: Callable[..., Outcome], package: str, tmp_path: Path, lines: str, multirun: tuple[str, ...]
) -> None:
    (tmp_path / "theirs" / "experiment").mkdir(parents=True)
    evil = "callbacks: {mine: {_target_: my_package.Mine}}"
    (tmp_path / "theirs" / "experiment" / "theirs.yaml").write_text(f"# @package _global_\n{lines}\n{evil}\n")
    told = dip(*multirun, "--config-dir", str(tmp_path / "theirs"), "experiment=theirs", *TINY_UNET)
    assert told.code != 0
    assert not (tmp_path / "witness").exists()


def test_a_stored_configuration_brings_no_trust_along(
    dip: Callable[..., Outcome], package: str, tmp_path: Path
) -> None:
    run = ["stopping=none", "hydra.run.dir=run", "+callbacks.mine._target_=my_package.Mine", "trust=my_package"]
    assert dip(*TINY_UNET, *run).code == 0
    (tmp_path / "witness").unlink()
    for changes in ({}, {"trust": ["my_package"]}):
        theirs(tmp_path / "run", **changes)
        told = dip("resume=run", "iterations=9")
        assert (told.code, "my_package" in told.err) == (2, True)
        assert not (tmp_path / "witness").exists()
    theirs_state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    del theirs_state["config"]["trust"]
    torch.save(theirs_state, tmp_path / "run" / "checkpoints" / "last.ckpt")
    told = dip("resume=run", "iterations=9", "trust=my_package")
    assert (told.code, told.err) == (0, "")
    assert (tmp_path / "witness").exists()


def test_a_name_that_is_no_package_costs_one_line(dip: Callable[..., Outcome]) -> None:
    told = dip(*TINY_UNET, "trust=../x")
    assert told.code == 2
    assert told.err == "dip: trust=../x: expected names of packages; try trust=my_package, or trust=[a,b]\n"


def test_the_command_line_fits_a_network_of_ones_own(dip: Callable[..., Outcome], package: str, tmp_path: Path) -> None:
    short = [setting for setting in TINY if not setting.startswith("model.")]
    run = [*short, "stopping=none", "model=other", "trust=my_package"]
    told = dip(*run, "+model._target_=my_package.Net", "+model.width=6", "model.input_channels=5", "hydra.run.dir=one")
    assert (told.code, told.err) == (0, "")
    assert (tmp_path / "net").read_text() == "3 6 5"
    # One that has no place for what every fit says; z has what the configuration says.
    told = dip(*run, "+model._target_=my_package.bare", "model.input_channels=5", "hydra.run.dir=two")
    assert (told.code, told.err) == (0, "")
    assert dip("resume=two", "iterations=8", "trust=my_package").code == 0
    for settings, said in (([], "model=other alone"), (["+model._target_=my_package.make"], "of type Mine")):
        told = dip(*run, *settings)
        assert told.code == 2
        assert said in told.err
