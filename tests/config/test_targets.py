"""A configuration from someone else runs no code: only known classes are built from it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from dip_lightning.config.build import build
from dip_lightning.errors import UserError
from tests.conftest import TINY_UNET, Outcome

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
    "dip_lightning.workflows.restore.fit",
    "pytorch_lightning.Trainer.fit",
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
    assert "a configuration that runs no code" in line
    assert "Traceback" not in told.out


def test_what_hydra_needs_is_allowed(dip: Callable[..., Outcome]) -> None:
    hydra = ["hydra.job_logging.root.level=WARNING", "+hydra.job.env_set.MKL_NUM_THREADS=1", "hydra.verbose=true"]
    assert dip(*TINY_UNET, *hydra, "hydra/job_logging=stdout").code == 0


def test_what_the_configuration_needs_is_allowed(tmp_path: Path) -> None:
    for target in ("pytorch_lightning.loggers.CSVLogger", "dip_lightning.data.NoDegradation"):
        assert build(OmegaConf.create({"_target_": target}), tmp_path) is not None
