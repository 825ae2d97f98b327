"""The progress bar of a fit."""

import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from dip_lightning.callbacks.time_left import TimeLeft, is_soap
from dip_lightning.checks import check_flag, check_number
from dip_lightning.curves import Curves
from dip_lightning.module import DeepImagePrior
from dip_lightning.names import counted
from dip_lightning.problems import Identity
from dip_lightning.system.output import tolerant

__all__ = ["FitProgress"]

# How each value is shown, in this order; those that are not measured are left out. Short: the bar, too, must fit into
# 80 columns.
_SHOWN = {
    "loss": "loss {:.4f}",
    "psnr_one_pass": "PSNR {:.2f}",
    "psnr_averaged": "averaged {:.2f}",
    "psnr_observation": "PSNR to observation {:.2f}",
}

# So many iterations are timed before it is said how long the fit will be, and beyond so many seconds what is faster.
_TIMED, _LONG = 20, 1800.0
# A part and a smaller copy of so many pixels a side, or of the next power of two that is smaller than the picture.
_PART, _COPY = 256, 512


class FitProgress(ProgressBar):
    """Shows iterations a second, time left, loss and PSNR.

    On a terminal it is a bar that is redrawn four times a second by a thread of its own. Elsewhere (a log file, a
    pipe) it is a plain line every ``line_every`` seconds. Values come from the CPU as they are, and from an
    accelerator only every ``log_every_n_steps`` iterations, when the curves are copied anyway.

    Attributes:
        about: What is fitted, set by the fit.
    """

    def __init__(self, line_every: float = 15.0, title: str | None = None, bar: bool = True) -> None:
        """Set how often a line appears where there is no terminal.

        Args:
            line_every: Seconds.
            title: What stands before the bar.
            bar: Whether a terminal gets a bar; False for lines there as well.

        Raises:
            UserError: The time is not positive.
        """
        super().__init__()
        name = "callbacks.fit_progress.line_every"
        self.line_every = check_number(name, line_every, 0, low_open=True, example=15)
        self.bar = check_flag("callbacks.fit_progress.bar", bar)
        self.title = "" if title is None else escape(str(title))
        self.about = ""
        self._console = Console(file=tolerant(sys.stderr), stderr=True, emoji=False)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._enabled = True

    def disable(self) -> None:
        """Show nothing; Lightning calls this on all but one process."""
        self._enabled = False

    def enable(self) -> None:
        """Show progress again."""
        self._enabled = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        """Draw the bar."""
        self._started = self._last_line = time.monotonic()
        self._values = ""
        self._left = TimeLeft.of(trainer, pl_module)
        self._faster = _faster(pl_module)
        if self._enabled:
            head = f"{self.title}  " if self.title else ""
            about = f"{escape(self.about)}; " if self.about else ""
            self._console.print(f"{head}{about}{_introduce(trainer, pl_module)}", soft_wrap=True, highlight=False)
        if self._enabled and self.bar and self._console.is_terminal:
            self._bar = Progress(
                *([TextColumn("{task.description}")] if self.title else []),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[speed]} it/s"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[values]}"),
                console=self._console,
                refresh_per_second=4,
            )
            first = pl_module.first_iteration
            total = first + int(trainer.num_training_batches)
            self._task = self._bar.add_task(self.title, total=total, completed=first, speed="-", values="")
            self._bar.start()

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell the bar; it redraws itself when it is time."""
        if not self._enabled:
            return
        iteration, total = pl_module.iterate.iteration, pl_module.curves.iterations
        done = iteration + 1
        if pl_module.device.type == "cpu" or done % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._values = _describe(pl_module.curves, iteration)
        elapsed = time.monotonic() - self._started
        speed = (batch_idx + 1) / max(elapsed, 1e-9)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, speed=f"{speed:.3g}", values=self._values)
        elif time.monotonic() - self._last_line >= self.line_every:
            self._last_line = time.monotonic()
            left = self._left.describe(done, speed)
            head = f"{self.title}  " if self.title else ""
            line = f"{head}iteration {done}/{total}  {speed:.3g} it/s  {left}  {self._values}"
            self._console.print(line, soft_wrap=True)
        if batch_idx + 1 == _TIMED:
            self._foretell(done, elapsed / _TIMED)

    def _foretell(self, done: int, seconds: float) -> None:
        """Say once how long the fit will be, and what would be faster where that is long."""
        is_long = (self._left.likely - done) * seconds > _LONG
        if self._left.likely == self._left.most and not is_long:
            return
        told = self._left.describe(done, 1 / seconds)
        faster = f" (faster: {self._faster})" if is_long else ""
        head = f"{self.title}  " if self.title else ""
        self._console.print(f"{head}{told}{faster}", soft_wrap=True, highlight=False)

    def on_train_end(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        """Leave the finished bar."""
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Give the terminal back."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _faster(pl_module: DeepImagePrior) -> str:
    """Name what would be faster than this fit."""
    height, width = pl_module.problem.shape[-2:]
    problem = pl_module.problem
    # Tried to denoise alone, and on a CPU, where many small matrices cost little.
    suits_soap = isinstance(problem.operator, Identity) and not problem.shares_noise and pl_module.device.type == "cpu"
    ways = ["fewer iterations, optimizer=soap"] if suits_soap and not is_soap(pl_module.trainer) else []
    ways += ["half the resolution, model=leanunet"] if pl_module.prior.z.shape[-2:] == (height, width) else []
    part, copy = (1 << max((side - 1).bit_length() - 1, 0) for side in (min(height, width), max(height, width)))
    ways += [f"a part, image.crop={min(part, _PART)}", f"a smaller copy, image.size={min(copy, _COPY)}", "a GPU"]
    return "; ".join(ways)


def _introduce(trainer: pl.Trainer, pl_module: DeepImagePrior) -> str:
    """Say how long the fit may be, and what memory it takes."""
    first = pl_module.first_iteration
    limit = f"at most {counted(first + int(trainer.num_training_batches), 'iteration')}"
    if first > 0:
        limit = f"going on after {first} of {limit}"
    memory = pl_module.memory_estimate_mb
    taken = "" if memory is None else f", about {memory / 1000:.1f} GB of memory"
    program, compiling = pl_module.program, ""
    if program is not None:
        long = "compiled first, which can take minutes"
        compiling = f"; the network is {long if program.builds_kernels else 'captured first'}"
    return f"{limit}{taken}{compiling}"


def _describe(curves: Curves, iteration: int) -> str:
    """Compose the line of values; with PSNRs against the clean image, the one to the observation is left out."""
    block = curves.block(iteration, iteration + 1)
    names = [name for name in _SHOWN if name in block]
    if "psnr_averaged" in names:
        names.remove("psnr_observation")
    return "  ".join(_SHOWN[name].format(float(block[name][0])) for name in names)
