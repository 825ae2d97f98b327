"""Objects of one's own, in `restore` and under a Trainer of one's own; and what Lightning's own tools expect."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn

from dip_lightning import DeepImagePrior, FitResult, Prior, Problem, UserError, restore
from dip_lightning.callbacks import CurveLogger, OutputEMA, PeakPSNR
from dip_lightning.config.compose import compose_config
from dip_lightning.fitting.fit import fit_picture
from dip_lightning.models import UNet
from dip_lightning.priors import Perturbed
from dip_lightning.problems import Downsample, Operator
from dip_lightning.stopping import HeldOut
from tests.conftest import TINY, TINY_UNET, Outcome
from tests.small import fit, network, picture, without_figures

PAGE = Path(__file__).parents[1] / "docs" / "own-parts.md"
ARRAY = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
OVERRIDES = ["trainer=cpu", "model.channels=4", "model.levels=1", "model.input_channels=4"]


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    without_figures(monkeypatch)


def own(image: Any = None, **settings: Any) -> FitResult:
    """`restore` with a network of one's own, by default for a few iterations of ``ARRAY``."""
    whole = isinstance(settings.get("problem"), Problem)
    given = {"model": Prior(network(), input_channels=4), "iterations": 5, "overrides": OVERRIDES} | settings
    return restore(ARRAY if image is None and not whole else image, **given)


def test_the_page_runs_as_it_stands() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 2
    lines = [line for line in blocks[0].splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) <= 15
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["restored"].shape == (1, 3, 32, 32)
    assert names["fit"].curves.block()["regularizer_contrast"].shape[0] <= 60
    assert names["result"].output.shape == (32, 32, 3)
    assert names["result"].image.dtype == np.uint16


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning", "ignore:.*LeafSpec:DeprecationWarning")
def test_the_notebook_runs_as_it_stands() -> None:
    notebook = json.loads(PAGE.with_suffix(".ipynb").read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "a notebook is kept without what it printed"
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert names["restored"].shape == (1, 1, 32, 32)
    assert names["fit"].told == f"{len(names['losses'].kept)} iterations"
    same = torch.stack(names["losses"].kept).double()
    torch.testing.assert_close(same, torch.as_tensor(names["curves"]["loss"][: len(same)]).double())
    assert torch.allclose(names["program"].module()(names["fit"].prior.z), names["fitted"](names["fit"].prior.z))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_what_the_page_says_of_tracing_and_scripting() -> None:
    network, z = UNet(output_channels=3, input_channels=8, channels=8, levels=2).eval(), torch.rand(1, 8, 32, 32)
    assert torch.allclose(torch.jit.trace(network, z)(z), network(z))
    with pytest.raises(RuntimeError):
        torch.jit.script(network)


def test_a_whole_problem_is_fitted_and_left_as_it_was() -> None:
    problem = Problem(picture(3, 8, 8), operator=nn.AvgPool2d(2), shape=(3, 16, 16), sigma=25.0)
    result = own(problem=problem, precision="fp64")
    assert result.output.shape == (16, 16, 3)
    assert (result.summary["operator"], result.summary["sigma"]) == ("avgpool2d", 25.0)
    assert (result.summary["height"], result.summary["image"]) == (16, "problem")
    assert problem.observation.dtype is torch.float32
    assert problem.target is problem.used is None


def test_a_whole_problem_s_clean_image_is_measured_against() -> None:
    clean = picture()
    result = own(problem=Problem(clean + 0.1 * picture(seed=1), clean))
    assert result.summary["one_pass"] is not None
    expected = -10 * np.log10(((result.output - clean[0].permute(1, 2, 0).numpy()) ** 2).mean())
    assert result.summary["selected"]["psnr"] == pytest.approx(expected, rel=1e-5)


def test_an_operator_alone_is_taken_with_the_picture() -> None:
    class Dimmed(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return image / 2

    bright, dark = own(problem=Downsample(2)), own(problem=Dimmed(), iterations=150)
    assert bright.image.shape == (32, 32, 3)
    same = own(iterations=150)
    # Twice as bright is what it sees half of.
    assert dark.output.mean() > 1.3 * same.output.mean()
    function = own(problem=lambda image: image / 2, iterations=150)
    assert np.array_equal(function.output, dark.output)


def test_an_operator_may_change_size_and_channels() -> None:
    class Grey(Operator):
        def image_shape(self, observed: tuple[int, int, int]) -> tuple[int, int, int]:
            return 3, *observed[1:]

        def forward(self, image: Tensor) -> Tensor:
            return image.mean(dim=1, keepdim=True)

    coloured = own(ARRAY[:, :, 0], problem=Grey())
    assert coloured.image.shape == (16, 16, 3)
    # Where the picture is the image, any function of it will do.
    result = own(problem=nn.AvgPool2d(2), degradation="gaussian")
    assert result.image.shape == (16, 16, 3)
    assert result.summary["one_pass"] is not None
    assert result.summary["psnr_observation"] is None
    with pytest.raises(UserError, match=r"maps \(3, 16, 16\) to \(3, 8, 8\)"):
        own(problem=nn.AvgPool2d(2))


def test_noise_is_added_to_what_an_operator_of_one_s_own_sees() -> None:
    result = own(problem=lambda image: image.flip(3), degradation="gaussian")
    assert result.summary["psnr_observation"] is not None
    assert result.summary["psnr_observation"] < 12  # a mirrored picture


def test_a_network_is_copied_and_fitted() -> None:
    mine = network()
    before = {name: tensor.clone() for name, tensor in mine.state_dict().items()}
    result = own(model=mine)
    assert result.summary["model"] == "sequential"
    assert result.summary["num_parameters"] == sum(tensor.numel() for tensor in mine.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in mine.state_dict().items())
    # Of a network alone, the perturbation of z is that of the configuration.
    assert np.array_equal(
        own(model=mine, input_noise_std=1 / 30).output, own(model=Prior(mine, input_channels=4)).output
    )


def test_an_optimizer_and_a_scheduler_are_taken() -> None:
    still = own(optimizer=partial(torch.optim.SGD, lr=0.0)).curves["loss"]
    moving = own(optimizer=partial(torch.optim.SGD, lr=1.0)).curves["loss"]
    stopped = partial(torch.optim.lr_scheduler.LambdaLR, lr_lambda=lambda step: float(step < 2))
    still_z = Prior(network(), policy=Perturbed(0), input_channels=4)
    halted = own(model=still_z, optimizer=partial(torch.optim.SGD, lr=1.0), scheduler=stopped).curves["loss"]
    assert np.ptp(still) < np.ptp(moving)
    assert halted[2] == halted[3] == halted[4] != halted[1]


def test_a_data_term_and_regularizers_are_taken() -> None:
    def fourth(prediction: Tensor, observation: Tensor) -> Tensor:
        return (prediction - observation) ** 4

    result = own(data_term=fourth, regularizers={"bright": lambda x: -0.5 * x.mean()}, stopping={"h": HeldOut()})
    assert result.summary["data_term"] == "fourth"
    assert result.curves["regularizer_bright"].max() < 0
    assert result.curves["loss"].max() < 0.1


def test_stopping_rules_callbacks_and_a_logger_are_taken(tmp_path: Path) -> None:
    class Counts:
        """Judges the third iteration the best."""

        follows_output = True

        def prepare(self, problem: Problem) -> Problem:
            return problem

        def statistic(self, iterate: Any, output: Tensor) -> Tensor:
            return torch.tensor(float(abs(iterate.iteration - 2)))

        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...

    class Heard(pl.Callback):
        batches = 0

        def on_train_batch_end(self, *_: Any) -> None:
            self.batches += 1

    heard, logger = Heard(), CSVLogger(tmp_path / "logged")
    rules = [*OVERRIDES, "stopping.min_iterations=0", "stopping.patience=3", "select=one_pass"]
    result = own(
        stopping={"counts": Counts()},
        callbacks=[heard],
        logger=logger,
        iterations=20,
        overrides=rules,
        run_folder=tmp_path,
    )
    assert result.summary["stopping"]["picks"] == {"counts": 2}
    assert result.summary["iterations"] == heard.batches == 6
    assert len(list((tmp_path / "logged").rglob("metrics.csv"))) == 1
    assert not list(tmp_path.glob("events.out*"))  # instead of the configuration's
    assert own(callbacks=heard, logger=[logger, CSVLogger(tmp_path / "second")]).signal is None


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"seed": object()}, "seed of type object"),
        ({"iterations": nn.ReLU()}, "iterations of type ReLU"),
        ({"precision": torch.float64}, "precision of type dtype"),
        ({"degradation": lambda x: x}, "degradation of type function"),
        ({"model": object()}, "model of type object"),
        ({"model": nn.Conv2d}, "model of type type"),
        ({"problem": torch.zeros(3)}, "problem of type Tensor"),
        ({"input": nn.ReLU()}, "input of type ReLU"),
        ({"data_term": torch.zeros(3)}, "data_term of type Tensor"),
        ({"regularizers": [lambda x: x]}, "regularizers of type list"),
        ({"regularizers": {"tv": 3}}, "regularizers of type dict"),
        ({"stopping": HeldOut()}, "stopping of type HeldOut"),
        ({"stopping": {"mine": object()}}, "a stopping rule"),
        ({"optimizer": torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1)}, "optimizer of type SGD"),
        ({"callbacks": [object()]}, "callbacks of type list"),
        ({"callbacks": {"one": OutputEMA()}}, "callbacks of type dict"),
        ({"logger": [OutputEMA()]}, "logger of type list"),
        ({"problem": Problem(picture()), "image": ARRAY}, "an image and a whole problem"),
    ],
)
def test_an_object_where_none_belongs_is_refused_in_one_line(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=re.escape(told)) as refused:
        own(settings.pop("image", ARRAY), **settings)
    assert "\n" not in str(refused.value)


def test_nothing_in_a_place_of_objects_is_nothing() -> None:
    assert own(callbacks=[], logger=[], regularizers={}, image=ARRAY).signal is None


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"max_epochs": 2}, "max_epochs=2"),
        ({"max_epochs": -1}, "max_epochs=-1"),
        ({"accumulate_grad_batches": 2}, "accumulate_grad_batches=2"),
    ],
)
def test_a_trainer_with_other_steps_is_refused_in_one_line(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=rf"{told}.*max_epochs=1") as refused:
        fit(Problem(picture()), trainer=settings)
    assert "\n" not in str(refused.value)


def test_a_trainer_of_one_s_own_is_otherwise_free() -> None:
    settings = {"gradient_clip_val": 1e-9, "limit_train_batches": 5, "log_every_n_steps": 2}
    module = fit(Problem(picture()), optimizer=partial(torch.optim.SGD, lr=1.0), trainer=settings)
    assert module.curves.recorded == 5
    assert np.ptp(module.curves.block()["loss"]) < 1e-3


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_lightning_reads_what_dip_writes(tmp_path: Path, precision: str) -> None:
    result = own(run_folder=tmp_path, precision=precision)
    problem = Problem(torch.from_numpy(ARRAY / 255).permute(2, 0, 1)[None].float())
    prior = Prior(nn.Sequential(*network()), input_channels=4)
    for parameter in prior.network.parameters():
        nn.init.zeros_(parameter)
    module = DeepImagePrior.load_from_checkpoint(tmp_path / "checkpoints" / "last.ckpt", prior=prior, problem=problem)
    held = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert module.state_dict().keys() == held.keys()
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, held[name].float()), name
    assert result.summary["iterations"] == 5
    assert torch.isfinite(module(module.prior.z)).all()


def test_loading_is_of_the_network_that_was_fitted(tiny_fit: Callable[..., FitResult], tmp_path: Path) -> None:
    tiny_fit("model=deep_decoder", "model.levels=2", "model.input_channels=null", run_folder=tmp_path)
    from dip_lightning.models import DeepDecoder

    prior, problem = Prior(DeepDecoder(channels=8, levels=2)), Problem(picture(3, 32, 32))
    path = tmp_path / "checkpoints" / "last.ckpt"
    module = DeepImagePrior.load_from_checkpoint(path, prior=prior, problem=problem)
    state = torch.load(path, weights_only=True)
    with torch.no_grad():
        module.prior.train()
        assert torch.isfinite(module(module.prior.z)).all()
    assert torch.equal(module.prior.z, state["state_dict"]["prior.z"])


class Reads(pl.Callback):
    """Notes what `trainer.callback_metrics` has after each iteration."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:  # type: ignore[override]
        self.seen.append({name: float(value) for name, value in trainer.callback_metrics.items()})


def test_the_metrics_are_there_at_the_logging_cadence() -> None:
    reads = Reads()
    callbacks = [OutputEMA(), PeakPSNR(eval_every=0), CurveLogger(), reads]
    problem = Problem(picture(), picture(seed=1))
    module = fit(problem, callbacks=callbacks, iterations=10, trainer={"log_every_n_steps": 4})
    curves = module.curves.block()
    expected = {"loss", "psnr_observation", "psnr_one_pass", "psnr_averaged"}
    final = {name: float(value) for name, value in module.trainer.callback_metrics.items()}
    assert final.keys() == expected
    for iteration, metrics in enumerate([*reads.seen, final]):
        # Those of an iteration can be read from its end on; another callback may run before Lightning has them.
        at = {i: {name: float(curves[name][i]) for name in expected} for i in (3, 7)}
        if iteration < 3:
            assert not metrics
        elif iteration > 7:
            assert metrics == at[7]
        elif 3 < iteration < 7:
            assert metrics == at[3]


SLOW = ("iterations=60", "lr=1e-12", "trainer.log_every_n_steps=5", "dropout=0", "input_noise_std=0", "stopping=none")
EARLY = "+callbacks.early._target_=pytorch_lightning.callbacks.EarlyStopping"


def test_early_stopping_is_configured(tiny_fit: Callable[..., FitResult]) -> None:
    # Of a network that stands still, the averaged output soon gets no better.
    early = [f"+callbacks.early.{key}" for key in ("monitor=psnr_averaged", "mode=max", "patience=2", "min_delta=0.1")]
    result = tiny_fit(*SLOW, EARLY, *early, "alpha=0.5")
    assert result.summary["iterations"] == 15
    assert result.summary["stopping"]["reason"] == "It ended early."
    moves = tiny_fit(*SLOW, EARLY, *early, "alpha=0.5", "lr=0.01", "iterations=20")
    assert moves.summary["iterations"] == 20


def test_early_stopping_is_given() -> None:
    early = EarlyStopping(monitor="psnr_averaged", mode="max", patience=2, min_delta=0.1)
    problem = Problem(picture(), picture(seed=1))
    settings = [*OVERRIDES, *(one for one in SLOW if not one.startswith("iterations")), "alpha=0.5"]
    result = own(problem=problem, callbacks=[early], iterations=60, overrides=settings)
    assert result.summary["iterations"] == 15
    callbacks = [OutputEMA(0.5), PeakPSNR(0), CurveLogger(), EarlyStopping("loss", patience=1, min_delta=1)]
    module = fit(problem, callbacks=callbacks, iterations=60, trainer={"log_every_n_steps": 4, "val_check_interval": 4})
    assert module.curves.recorded == 8


def test_early_stopping_of_a_fit_shorter_than_the_cadence(tiny_fit: Callable[..., FitResult]) -> None:
    assert tiny_fit(EARLY, "+callbacks.early.monitor=loss", "iterations=6").summary["iterations"] == 6


def test_a_model_checkpoint_is_configured_and_given(tiny_fit: Callable[..., FitResult], tmp_path: Path) -> None:
    best = [f"+callbacks.best.{key}" for key in ("monitor=loss", "save_top_k=2", "filename='best-{step}-{loss:.3f}'")]
    target = "+callbacks.best._target_=pytorch_lightning.callbacks.ModelCheckpoint"
    result = tiny_fit(target, *best, "iterations=30", "trainer.log_every_n_steps=10", run_folder=tmp_path)
    names = sorted(path.name for path in (tmp_path / "model_checkpoints").iterdir())
    losses = {step: result.curves["loss"][step - 1] for step in (10, 20, 30)}
    lowest = sorted(losses, key=losses.__getitem__)[:2]
    assert names == sorted(f"best-step={step}-loss={losses[step]:.3f}.ckpt" for step in lowest)
    assert (tmp_path / "checkpoints" / "last.ckpt").is_file()
    mine = ModelCheckpoint(tmp_path / "mine", monitor="psnr_observation", mode="max")
    own(callbacks=[mine], iterations=6, overrides=[*OVERRIDES, "trainer.log_every_n_steps=3"])
    assert Path(mine.best_model_path).is_file()
    state = torch.load(mine.best_model_path, weights_only=False)["state_dict"]
    assert "prior.z" in state


def test_the_time_of_a_fit_is_limited(tiny_fit: Callable[..., FitResult]) -> None:
    result = tiny_fit("trainer.max_time=00:00:00:01", "iterations=100000", "stopping=none")
    assert 0 < result.summary["iterations"] < 100_000
    assert result.summary["stopping"]["reason"] == "It ended early."


@pytest.mark.parametrize(("precision", "algorithm"), [("fp32", "value"), ("bf16", "norm")])
def test_gradients_are_clipped(tiny_fit: Callable[..., FitResult], precision: str, algorithm: str) -> None:
    settings = ["optimizer=sgd", "lr=1", "iterations=4", f"precision={precision}", "stopping=none"]
    clip = ["trainer.gradient_clip_val=1e-9", f"trainer.gradient_clip_algorithm={algorithm}"]
    clipped, free = tiny_fit(*settings, *clip), tiny_fit(*settings)
    assert not np.array_equal(clipped.output, free.output)
    # Adam, fused where it can be, takes clipped gradients as well.
    assert tiny_fit(*clip, f"precision={precision}", "iterations=3").summary["iterations"] == 3


@pytest.mark.parametrize(("given", "done"), [("0.5", 10), ("7", 7), ("1.0", 20), ("1", 1)])
def test_a_part_of_the_iterations_is_done(tiny_fit: Callable[..., FitResult], given: str, done: int) -> None:
    assert tiny_fit(f"trainer.limit_train_batches={given}", "iterations=20").summary["iterations"] == done


@pytest.mark.parametrize(("given", "done"), [("true", 1), ("3", 3)])
def test_a_dry_run(tiny_fit: Callable[..., FitResult], tmp_path: Path, given: str, done: int) -> None:
    result = tiny_fit(f"trainer.fast_dev_run={given}", "iterations=20", run_folder=tmp_path)
    assert result.summary["iterations"] == done


def test_a_profiler_writes_to_the_run_folder(dip: Callable[..., Outcome], tmp_path: Path) -> None:
    profiler = "{_target_: pytorch_lightning.profilers.SimpleProfiler, filename: time}"
    told = dip(*TINY, "model.levels=2", f"trainer.profiler={profiler}", "hydra.run.dir=run", "stopping=none")
    assert told.code == 0, told.err
    (written,) = (tmp_path / "run").glob("*time*")
    assert "run_training_batch" in written.read_text()


def test_what_is_seen_of_an_object_is_compared_when_a_fit_goes_on(tmp_path: Path) -> None:
    own(run_folder=tmp_path)
    cfg = compose_config([*TINY_UNET])
    with pytest.raises(UserError, match=r"begin the fit anew|go on from Python"):
        fit_picture(cfg, tmp_path, resume=tmp_path / "checkpoints" / "last.ckpt")


@pytest.mark.parametrize(
    "options", [{"regularizers": "tv"}, {"data_term": "l1"}, {"overrides": ["image.crop=16"]}, {"degradation": "shot"}]
)
def test_what_a_whole_problem_says_is_not_said_twice(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="beside a whole problem"):
        restore(problem=Problem(torch.rand(1, 3, 16, 16)), **options)
