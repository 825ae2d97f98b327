"""The configuration: every key has an effect, every key is explained, and what it builds is what it says."""

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml
from PIL import Image
from pytorch_lightning.callbacks import Timer

from dip_lightning.callbacks import Checkpoint, DivergenceGuard, FitProgress
from dip_lightning.config.build import build_factory
from dip_lightning.config.compose import compose_config, config_folder
from dip_lightning.config.help_text import find_keys, help_text
from dip_lightning.errors import UserError
from dip_lightning.workflows.restore import fit
from tests.conftest import TINY, TINY_UNET, Outcome

CONF = config_folder()
# A fit that a rule can end.
SHORT = [*TINY_UNET, "lr=0.1", "alpha=0.8", "stopping.min_iterations=10", "stopping.patience=8", "iterations=90"]
STOPPING = [*SHORT, "stopping.rules.wmv.window=5"]
PAST_PEAK = ["stopping=past_peak", "stopping.min_iterations=5", "lr=0.1", "alpha=0.5", "iterations=300"]
ESTIMATE = [*TINY_UNET, "input=estimate", "input.steps=3", "input.inner=1"]
# A stack of two pages, of which some samples were lost.
FILE = "image.path=FILE"
LEAN = [*TINY_UNET, "model=leanunet"]
RESNET = [*TINY, "model=resnet", "model.num_blocks=2"]

# For every key of the configuration another value than its default, and a base on which it shows where the usual
# tiny fit does not do.
CHANGES: dict[str, tuple[Any, ...]] = {
    "iterations": (7,),
    "seed": (1,),
    "dropout": (0.4,),
    "residual": ("false",),
    "data_term": ("l1",),
    "lr": (0.02,),
    "alpha": (0.5,),
    "select": ("one_pass",),
    "nonlocal_means": (0.5,),
    "input_scale": (0.2,),
    "z": ("meshgrid", [*TINY_UNET, "model.input_channels=2"]),
    "input_noise_std": (0.2,),
    "channels_last": ("false",),
    "compile": ("default",),  # in tests/test_compilation.py
    "save_checkpoint": ("false",),
    "tile": (16, [*TINY_UNET, "overlap=8", "stopping=none"]),
    "overlap": (0, [*TINY_UNET, "tile=16", "overlap=8", "stopping=none"]),
    "image.path": ("skimage:camera",),
    "image.clean": ("CLEAN", ["degradation=none"]),
    "image.crop": ("40",),
    "image.size": ("34",),
    "image.sigma": (60,),
    "image.page": (1, [*TINY_UNET, FILE]),
    "image.bands": ("[0,2]",),
    "image.lost": ("keep", [*TINY_UNET, FILE]),
    "image.range": ("[20,230]",),
    "problem.noise": ("NOISE",),
    "problem.filter": ("area", [*TINY_UNET, "problem=super_resolution", "problem.factor=2"]),
    "problem.kernel": ("disk", [*TINY_UNET, "problem=deblur"]),
    "problem.width": (2.5, [*TINY_UNET, "problem=deblur"]),
    "problem.angle": (60, [*TINY_UNET, "problem=deblur", "problem.kernel=motion", "problem.width=5"]),
    "problem.border": ("reflect", [*TINY_UNET, "problem=deblur"]),
    "problem.pattern": ("GBRG", [*TINY_UNET, "problem=demosaic"]),
    "problem.mask": ("MASK", [*TINY_UNET, "problem=inpaint", "problem.mask=OTHER"]),
    "problem.paste": ("true", [*TINY_UNET, "problem=inpaint", "problem.mask=OTHER"]),
    "problem.flash": ("MASK", [*TINY_UNET, "problem=flash", "problem.flash=OTHER"]),
    "problem.factor": (4, [*TINY_UNET, "problem=downsample"]),
    "regularizers.tv.weight": (1, [*TINY_UNET, "regularizers=tv"]),
    "regularizers.tv.kind": ("isotropic", [*TINY_UNET, "regularizers=tv"]),
    "input.std": (0.2,),
    "input.falls": ("true",),
    "input.every": (2,),
    "regularizers.auto": ("false", [*TINY_UNET, "problem=deblur", "degradation=gaussian", "degradation.sigma=2"]),
    "input.steps": (2, ESTIMATE),
    "input.inner": (2, ESTIMATE),
    "input.beta_min": (0.005, ESTIMATE),
    "input.beta_max": (0.02, ESTIMATE),
    "degradation.sigma": (30,),
    "degradation.seed": (1,),
    "degradation.clip": ("false",),
    "degradation.peak": (9, [*TINY_UNET, "degradation=shot"]),
    "degradation.amount": (0.3, [*TINY_UNET, "degradation=impulse"]),
    "degradation.strength": (0.1, [*TINY_UNET, "degradation=speckle"]),
    "degradation.quality": (40, [*TINY_UNET, "degradation=jpeg"]),
    "model.input_channels": (5,),
    "model.channels": (9,),
    "model.skip_channels": (0,),
    "model.full_channels": (5, LEAN),
    "model.levels": (3,),
    "model.num_blocks": (3, RESNET),
    "model.residual": ("false",),
    "model.hourglass": ("false",),
    "model.upsample": ("nearest",),
    "model.kernel_size": (5,),
    "model.downsample": ("average", ["model=unet"]),
    "model.pointwise": ("false", ["model=unet"]),
    "model.padding": ("zeros",),
    "model.activation": ("relu",),
    "model.dropout": (0.4,),
    "model.dropout_kind": ("channel",),
    "model.dropout_place": ("layer", ["dropout=0.3"]),
    "model.output": ("linear",),
    "stopping.agree": (1, STOPPING),
    "stopping.min_iterations": (70, STOPPING),
    "stopping.patience": (12, STOPPING),
    "stopping.check_every": (100, STOPPING),
    "stopping.drop_db": (
        3,
        [*TINY_UNET, *PAST_PEAK, "stopping.patience=1"],
    ),
    "stopping.rules.wmv.window": (7, STOPPING),
    "stopping.rules.wmv.max_samples": (50, STOPPING),
    "stopping.rules.holdout.fraction": (0.2, STOPPING),
    "stopping.rules.holdout.seed": (1, STOPPING),
    "stopping.rules.emv.alpha": (0.2, [*SHORT, "stopping=emv"]),
    "stopping.rules.sure.alpha": (0.4, [*SHORT, "stopping=sure"]),
    "stopping.rules.sure.seed": (1, [*SHORT, "stopping=sure"]),
    "precision.lightning": ("64-true",),
    "precision.accelerator": ("mps", [*TINY_UNET, "precision=auto"]),
    "precision.tf32": ("true",),
    "callbacks.detection": ("null", SHORT),
    "callbacks.divergence_guard.max_drop_db": (0.01,),
    "callbacks.divergence_guard.snapshot_every": (2,),
    "callbacks.divergence_guard.check_every": (3,),
    "callbacks.divergence_guard.max_restores": (1,),
    "callbacks.divergence_guard.escalate": ("false",),
    "callbacks.output_ema.alpha": (0.5,),
    "callbacks.peak_psnr.eval_every": (2,),
    "callbacks.pictures.every": (2,),
    "callbacks.checkpoint.seconds": (3,),
    "callbacks.checkpoint.iterations": (2,),
    "callbacks.fit_progress.line_every": (1.5, [*(o for o in TINY_UNET if "fit_progress" not in o)]),
    "callbacks.fit_progress.title": ("1/2", [*(o for o in TINY_UNET if "fit_progress" not in o)]),
    "callbacks.fit_progress.bar": ("false", [*(o for o in TINY_UNET if "fit_progress" not in o)]),
    "trainer.accelerator": ("auto",),
    "trainer.log_every_n_steps": (2,),
    "trainer.deterministic": ("true",),
    "trainer.benchmark": ("false",),
    "trainer.max_time": ("00:00:10:00",),
    "trainer.gradient_clip_val": (1e-4,),
    "trainer.gradient_clip_algorithm": ("value", [*TINY_UNET, "trainer.gradient_clip_val=1e-4"]),
    "trainer.limit_train_batches": (0.5,),
    "trainer.fast_dev_run": (2,),
    "trainer.profiler": ("{_target_: pytorch_lightning.profilers.SimpleProfiler, filename: time}",),
}
# What reaches the optimiser and the schedule: another value, and the group's option that has the key.
STEPS: dict[str, tuple[Any, str]] = {
    "optimizer.lr": (0.2, "adam"),
    "optimizer.betas": ([0.8, 0.9], "adam"),
    "optimizer.eps": (1e-3, "adam"),
    "optimizer.weight_decay": (0.3, "adamw"),
    "optimizer.momentum": (0.1, "sgd"),
    "optimizer.precondition_frequency": (3, "soap"),
    "optimizer.nesterov": (True, "sgd"),
    "optimizer.max_iter": (7, "lbfgs"),
    "optimizer.history_size": (3, "lbfgs"),
    "optimizer.line_search_fn": ("strong_wolfe", "lbfgs"),
    "scheduler.step_size": (7, "step"),
    "scheduler.gamma": (0.1, "step"),
    "scheduler.T_max": (7, "cosine"),
    "scheduler.eta_min": (0.001, "cosine"),
    "scheduler.factor": (0.1, "plateau"),
    "scheduler.patience": (7, "plateau"),
    "scheduler.threshold": (0.1, "plateau"),
    "scheduler.min_lr": (0.001, "plateau"),
}


def keys() -> Iterator[str]:
    """Every key of every option, but the logger's and the sizes'.

    The logger's events lie where other programs look for them; what a size does, `test_sweep.py` looks at.
    """

    def walk(node: Any, prefix: str) -> Iterator[str]:
        for key, value in node.items():
            if key in ("_target_", "defaults"):
                continue
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{key}.")
            else:
                yield prefix + key

    found = set(walk(yaml.safe_load((CONF / "config.yaml").read_text()), ""))
    for option in [*CONF.glob("*/*.yaml"), *CONF.glob("*/shared/*.yaml")]:
        group = option.relative_to(CONF).parts[0]
        if group not in ("experiment", "hydra", "logger", "size"):
            found |= set(walk(yaml.safe_load(option.read_text()) or {}, f"{group}."))
    yield from sorted(found)


def fingerprint(overrides: list[str], folder: Path) -> dict[str, Any]:
    """Everything of a fit that a setting could change."""
    built: dict[str, Any] = {}
    construct = pl.Trainer.fit

    def spy(self: pl.Trainer, module: pl.LightningModule, **options: Any) -> None:
        built["deterministic"] = torch.are_deterministic_algorithms_enabled()
        built["benchmark"] = torch.backends.cudnn.benchmark
        built["devices"] = self.num_devices
        built["log_every_n_steps"] = self.log_every_n_steps  # type: ignore[attr-defined]
        for callback in self.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, FitProgress):
                built["line_every"] = callback.line_every, callback.title, callback.bar
            if isinstance(callback, Timer):
                built["max_time"] = callback.time_remaining()
            if isinstance(callback, Checkpoint):
                built["checkpoint"] = callback.seconds, callback.iterations
            if isinstance(callback, DivergenceGuard):
                built["guard"] = dict(vars(callback))
        weight = next(p for p in module.parameters() if p.ndim == 4)
        built["layout"] = weight.stride()
        construct(self, module, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pl.Trainer, "fit", spy)
        result = fit(compose_config(overrides), folder)
    files = sorted(str(path.relative_to(folder)).split("tfevents")[0] for path in folder.rglob("*"))
    curves = {name: curve.tobytes() for name, curve in result.curves.items()}
    picture = hashlib.sha256(result.image.tobytes()).hexdigest()
    kept = (
        "precision",
        "precision_in_force",
        "restores",
        "residual",
        "dropout",
        "image",
        "psnr_observation",
        "stopping",
        "sigma",
    )
    events = sum(path.stat().st_size for path in folder.rglob("events.out*"))
    return (
        built
        | {"files": files, "curves": curves, "picture": picture, "events": events}
        | {key: result.summary[key] for key in kept}
    )


@cache
def without_change(base: tuple[str, ...]) -> dict[str, Any]:
    """The fingerprint of a base, which most keys share."""
    with tempfile.TemporaryDirectory() as folder:
        return fingerprint(list(base), Path(folder))


def test_the_table_above_names_every_key() -> None:
    assert sorted([*CHANGES, *STEPS]) == sorted(keys())


@pytest.mark.parametrize("key", STEPS)
def test_every_key_of_the_steps_has_an_effect(key: str) -> None:
    value, option = STEPS[key]
    group, name = key.split(".")

    def state(*overrides: str) -> Any:
        cfg = compose_config(["optimizer=adam", f"{group}={option}", "iterations=50", *overrides])
        optimizer = build_factory(cfg.optimizer, torch.optim.Optimizer)([torch.nn.Parameter(torch.ones(1))])
        if group == "optimizer":
            return optimizer.param_groups[0][name]
        scheduler = build_factory(cfg.scheduler, torch.optim.lr_scheduler.LRScheduler)(optimizer)
        return scheduler.min_lrs[0] if name == "min_lr" else getattr(scheduler, name)

    after = state(f"{key}={value}")
    assert state() != after
    assert list(after) == value if isinstance(value, list) else after == value


def test_the_learning_rate_at_the_top_is_that_of_every_optimizer() -> None:
    for option in sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml")):
        assert compose_config([f"optimizer={option}", "lr=0.5"]).optimizer.lr == 0.5


def test_shared_files_are_no_options(dip: Callable[..., Outcome]) -> None:
    text = help_text(CONF)
    for file in CONF.glob("*/shared/*.yaml"):
        assert f"={file.stem} " not in text
        assert "shared" not in text
    assert "shared" not in dip("trainer=nope").err
    assert find_keys(CONF)["stopping.patience"] == [
        f"stopping={name}" for name in ("all", "emv", "holdout", "past_peak", "sure", "vote", "wmv")
    ]


def test_without_a_change_there_is_no_effect(tmp_path: Path) -> None:
    for name in ("one", "another"):
        assert fingerprint([*TINY_UNET, "image.crop=32"], tmp_path / name) == without_change(
            (*TINY_UNET, "image.crop=32")
        )


@pytest.mark.parametrize("key", sorted(set(CHANGES) - {"trainer.accelerator", "precision.tf32", "compile"}))
def test_every_key_has_an_effect(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if key == "precision.accelerator":  # which decides nothing where a processor has no bf16
        monkeypatch.setattr("dip_lightning.precision.has_native_bf16", lambda: True)
    value, *rest = CHANGES[key]
    base = list(TINY_UNET) if not rest else list(rest[0]) if len(rest[0]) > 2 else [*TINY_UNET, *rest[0]]
    base += ["image.crop=32"] if key != "image.crop" else []
    if FILE in base:
        stack = np.random.default_rng(0).normal(100, 9, (2, 40, 40))
        stack[:, 9:12] = np.nan
        np.save(tmp_path / "stack.npy", stack)
        base[base.index(FILE)] = f"image.path={tmp_path / 'stack.npy'}"
    if value == "CLEAN":
        Image.fromarray(np.full((512, 512, 3), 90, np.uint8)).save(tmp_path / "clean.png")
        value = tmp_path / "clean.png"
    masks = {"MASK": tmp_path / "mask.png", "problem.mask=OTHER": tmp_path / "other.png"}
    masks["problem.flash=OTHER"] = masks["problem.mask=OTHER"]
    for number, path in enumerate(masks.values()):
        lost = np.random.default_rng(number).random((512, 512)) < 0.3
        Image.fromarray((~lost * 255).astype(np.uint8)).save(path)
    base = [f"{each.partition('=')[0]}={masks[each]}" if each in masks else each for each in base]
    value = masks.get(str(value), value)
    if value == "NOISE":
        np.save(tmp_path / "shared.npy", np.outer([0.5, 1, 0.5], [0.5, 1, 0.5]))
        value = tmp_path / "shared.npy"
    if key in ("callbacks.divergence_guard.max_restores", "callbacks.divergence_guard.escalate"):
        base += ["callbacks.divergence_guard.max_drop_db=0.000001", "iterations=40"]
    assert fingerprint([*base, f"{key}={value}"], tmp_path / "after") != without_change(tuple(base))


@pytest.mark.parametrize("override", ["trainer.accelerator=gpu", "precision.tf32=true"])
def test_keys_that_ask_for_a_gpu_are_refused_without_one(override: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"GPU|gpu"):
        fit(compose_config([*TINY_UNET, override]))


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("+trainer.max_epochs=3", "one epoch, as many as iterations="),
        ("+trainer.min_epochs=3", "one epoch"),
        ("+trainer.max_steps=3", "one epoch"),
        ("+trainer.accumulate_grad_batches=2", "one step"),
        ("+trainer.devices=2", "one device"),
        ("+trainer.num_nodes=2", "one device"),
        ("+trainer.strategy=ddp", "one device"),
        ("+trainer.check_val_every_n_epoch=1", "only trains"),
        ("+trainer.limit_val_batches=1", "only trains"),
        ("+trainer.logger=true", "a group of its own"),
        ("+trainer.plugins=x", "dip --help"),
        ("trainer.gradient_clip_algorithm=nope", "norm, value"),
        ("trainer.max_time=soon", "trainer:"),
        ("trainer.limit_train_batches=1.5", "trainer:"),
        ("trainer.profiler=3", "an object"),
    ],
)
def test_what_would_break_one_epoch_on_one_device_is_refused(override: str, why: str) -> None:
    with pytest.raises(UserError, match=r"trainer|configuration") as told:
        fit(compose_config([*TINY_UNET, override]))
    assert why in str(told.value)


def test_lightnings_own_callbacks_run_and_write_into_the_run_folder(tmp_path: Path) -> None:
    nodes = [
        "+callbacks.best={_target_: pytorch_lightning.callbacks.ModelCheckpoint, save_last: true}",
        "+callbacks.rate={_target_: pytorch_lightning.callbacks.LearningRateMonitor}",
        "+logger.csv={_target_: pytorch_lightning.loggers.CSVLogger, name: csv, version: a}",
        "trainer.profiler={_target_: pytorch_lightning.profilers.SimpleProfiler, filename: time}",
    ]
    fit(compose_config([*TINY_UNET, *nodes]), tmp_path)
    assert (tmp_path / "csv" / "a" / "metrics.csv").is_file()
    assert (tmp_path / "model_checkpoints" / "last.ckpt").is_file()
    assert (tmp_path / "fit-time.txt").is_file()


def test_the_help_explains_every_group_option_and_key() -> None:
    text = help_text(CONF)
    for group in (folder.name for folder in CONF.iterdir() if folder.name != "hydra" and folder.is_dir()):
        assert re.search(rf"^Group {group}: \w+", text, re.MULTILINE), group
    for option in CONF.glob("*/*.yaml"):
        if option.parent.name != "hydra":
            assert f"{option.parent.name}={option.stem}" in text
    lines = text.splitlines()
    for key in keys():
        at = [n for n, line in enumerate(lines) if line.strip().startswith(f"{key}=")]
        assert at, f"{key} is not explained"
        # Beside the key, or below it where the key is long.
        explained = any("  " in lines[n].strip() or lines[n + 1].startswith(" " * 40) for n in at)
        assert explained, f"{key} has no explanation"


# Those of the original's applications want a picture with a mask: tests/config/test_ulyanov.py.
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml") if not path.stem.startswith("ulyanov"))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_runs(experiment: str) -> None:
    # A sample stands for the small picture.
    result = fit(compose_config([f"experiment={experiment}", *TINY_UNET]))
    assert result.summary["iterations"] == 6


def test_quickstart_suits_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cfg = compose_config(["experiment=quickstart"])
    assert list(cfg.image.crop) == [66, 176, 96, 96]
    assert (cfg.model._target_, cfg.dropout) == ("dip_lightning.models.UNet", 0)
    on_cpu = cfg.iterations
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    cfg = compose_config(["experiment=quickstart"])
    assert cfg.image.crop is None
    assert cfg.iterations > on_cpu
    assert list(compose_config(["experiment=quickstart", "trainer=cpu"]).image.crop) == [66, 176, 96, 96]


def test_switches_at_the_top_and_in_the_model_agree() -> None:
    assert compose_config(["model=unet"]).dropout == 0
    assert compose_config(["model=resunet"]).dropout == 0.1
    assert compose_config(["model=unet", "model.dropout=0.3"]).dropout == 0.3
    assert compose_config(["dropout=0.2"]).dropout == 0.2
    assert compose_config(["model=unet"]).residual is None


def test_composing_inside_another_hydra_application_leaves_it_alone() -> None:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONF), version_base="1.3"):
        compose_config(["model=unet"])
        assert compose("config").model.channels is None
