"""Every measurement of speed that waits for a GPU, one after another, in a folder; what is there is not made again.

What is left when the minutes are over is made by the same command, started again. Measured are: an iteration against
its convolutions, in each precision and each way to compile it; what the loop adds; a whole fit from the command to the
written image; with a checkout of the original, both against each other; small fits at once against one after another;
seconds until bf16 and TF32 are as good as float32.

    python benchmarks/gpu.py [--original CHECKOUT] [--minutes 8] [--out outputs/gpu/bench] [--size 512] [OVERRIDE...]

Each measurement is a file in the folder, and `bench.md` holds those that were asked for last. One that fails is told
apart from those that are left, with the end of what it said in NAME.failed; the same command tries it again, after the
others.
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from against_original import check_checkout
from arguments import check_precisions, device_of, duration, minutes, mistakes_told, positive, positives, square
from dip_lightning.compilation import COMPILATIONS, choose_compilation
from dip_lightning.errors import UserError
from loop import FIRST

# As it is given to Python, so that what is recorded can be typed in again.
HERE = Path(os.path.relpath(Path(__file__).parent))
# Side of a picture in pixels that has room for the networks' five levels.
SMALLEST = 32
# What is on, and may be faster off.
SWITCHES = ("trainer.benchmark=false", "channels_last=false")
# What a measurement gets to end by itself once its time is over.
GRACE = 10.0


@dataclass(frozen=True)
class Piece:
    """A measurement.

    Attributes:
        name: Of its file.
        command: After ``python``.
        run_folder: Of its fit, which begins anew; None where there is none.
    """

    name: str
    command: Sequence[str]
    run_folder: Path | None = None

    def line(self) -> str:
        """The command as it is typed in."""
        return f"python {shlex.join(self.command)}"


class Pieces:
    """How each measurement is made, by what is varied."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Take what they share."""
        self._options = options
        self._size, self._counts = ["--size", str(options.size)], ["--iterations", str(options.iterations)]
        self._more = [f"trainer={options.trainer}", *options.overrides]

    def floor(self, precision: str, compilation: str, *, model: str = "unet", switch: str | None = None) -> Piece:
        """The bare step against its convolutions; with a further setting, where there is one."""
        others = [] if switch is None else [switch]
        name = "-".join(["floor", *([] if model == "unet" else [model]), precision, compilation, *others])
        how = [f"model={model}", f"precision={precision}", f"compile={compilation}", *others, *self._more]
        return Piece(name, [_script("floor"), *self._size, "--repeats", "30", *how])

    def loop(self, precision: str, compilation: str) -> Piece:
        """The whole loop against the bare step."""
        how = ["model=unet", f"precision={precision}", f"compile={compilation}", *self._more]
        return Piece(f"loop-{precision}-{compilation}", [_script("loop"), *self._size, *self._counts, *how])

    def fit(self, precision: str, compilation: str) -> Piece:
        """A whole fit from the command to the written picture."""
        options = self._options
        run_folder = options.out / f"fit-{precision}-{compilation}"
        how = ["model=unet", f"precision={precision}", f"compile={compilation}", *self._more]
        length = [f"iterations={50 * options.iterations}", "stopping=none", *square(options.size)]
        where = [f"hydra.run.dir={run_folder}", "callbacks.fit_progress=null"]
        return Piece(run_folder.name, ["-m", "dip_lightning", *how, *length, *where], run_folder)

    def original(self, scale: int, compilation: str) -> Piece:
        """Our fit in every precision against the original's."""
        options = self._options
        side = options.size * scale
        sides = ["--sizes", str(side), "--precisions", ",".join(options.precisions), "--repeats", str(options.repeats)]
        where = ["--original", options.original, "--accelerator", options.trainer]
        how = [f"compile={compilation}", *options.overrides]
        command = [_script("against_original"), *where, *self._counts, *sides, *how]
        return Piece(f"original-{side}-{compilation}", command)

    def batch_fits(self, precision: str) -> Piece:
        """Many small fits at once."""
        options = self._options
        many = ["--fits", ",".join(map(str, options.fits)), "--seconds", f"{options.seconds:g}", "--repeats", "2"]
        how = ["model=unet", f"precision={precision}", *self._more]
        size = ["--size", str(max(options.size // 4, SMALLEST))]
        return Piece(f"batch-fits-{precision}", [_script("batch_fits"), *size, *many, *how])

    def quality(self) -> Piece:
        """Seconds until each precision is as good as the first."""
        options = self._options
        length = ["--iterations", str(25 * options.iterations), "--seeds", "0", "--out", str(options.out / "quality")]
        settings = ["--settings", *(f"precision={precision}" for precision in options.precisions)]
        common = ["--overrides", " ".join(["model=unet", *self._more])]
        return Piece("quality", [_script("time_to_quality"), *self._size, *length, *settings, *common])


def _script(name: str) -> str:
    return str(HERE / f"{name}.py")


def pieces(options: argparse.Namespace) -> Iterator[Piece]:
    """The measurements, most telling first: what needs no minute to be compiled, in the fastest precision."""
    make, best, others = Pieces(options), options.precisions[-1], options.precisions[-2::-1]
    quick = [compilation for compilation in options.compile if compilation in ("none", "capture")]
    slow = [compilation for compilation in options.compile if compilation not in quick]
    scales = options.scales if options.original is not None else []
    for compilation in quick:
        yield make.floor(best, compilation)
        yield make.fit(best, compilation)
    yield from (make.original(scale, compilation) for scale in scales[:1] for compilation in quick)
    for compilation in quick:
        yield make.loop(best, compilation)
        yield make.floor(best, compilation, model="resunet")
        yield from (make.floor(precision, compilation) for precision in others)
    yield from (make.floor(best, compilation, switch=switch) for compilation in quick[:1] for switch in SWITCHES)
    yield make.batch_fits(best)
    yield from (make.fit(precision, compilation) for precision in others for compilation in quick[:1])
    yield make.quality()
    for compilation in slow:
        yield make.floor(best, compilation)
        yield make.fit(best, compilation)
        yield make.loop(best, compilation)
        yield make.floor(best, compilation, model="resunet")
    yield from (make.original(scale, compilation) for scale in scales[1:] for compilation in quick[:1])
    yield from (make.floor(precision, compilation) for compilation in slow for precision in others)


def check(options: argparse.Namespace, every: Sequence[Piece]) -> None:
    """Refuse what would fail in every measurement, or mix results of different settings.

    Raises:
        UserError: There is no GPU, no checkout of the original, a setting is wrong, or the folder holds other results.
    """
    device = device_of(options.trainer)
    check_precisions(options.precisions, device, options.overrides)
    for compilation in options.compile:
        choose_compilation(compilation, device, options.size**2, options.iterations)
    if options.original is not None:
        check_checkout(Path(options.original))
    if options.size < SMALLEST:
        raise UserError(f"--size {options.size}", f"at least {SMALLEST} pixels a side", f"try --size {SMALLEST}")
    if options.iterations <= FIRST:
        raise UserError(f"--iterations {options.iterations}", f"at least {FIRST + 1}", "try --iterations 100")
    for piece in every:
        result = options.out / f"{piece.name}.txt"
        if result.exists() and piece.line() not in result.read_text(encoding="utf-8").splitlines():
            raise UserError(f"{result} of other settings", "a folder of the same ones", "choose another with --out")


def run(command: Sequence[str], limit: float) -> subprocess.CompletedProcess[str] | None:
    """Run a command with all that it starts; None if its time was over, and then nothing of it goes on.

    Args:
        command: After ``python``.
        limit: Its seconds.
    """
    # A group of its own: a benchmark starts processes too, which would go on with the GPU after it.
    with subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            out, complaints = process.communicate(timeout=max(limit, 0.1))
        except subprocess.TimeoutExpired:
            return None
        finally:
            end(process)
    return subprocess.CompletedProcess(command, process.returncode, out, complaints)


def end(process: subprocess.Popen[str]) -> None:
    """End a process and all that it has started, whose group it leads."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=GRACE)
        os.killpg(process.pid, signal.SIGKILL)


def measure(piece: Piece, out: Path, ends: float) -> bool | None:
    """Make a measurement; tell whether it is there, or None if its time was over."""
    if piece.run_folder is not None:
        shutil.rmtree(piece.run_folder, ignore_errors=True)  # timed is a whole fit, not the rest of one
    failure = out / f"{piece.name}.failed"
    started = time.perf_counter()
    done = run(piece.command, ends - time.monotonic())
    if done is None:
        return None
    if done.returncode != 0:
        failure.write_text(f"{piece.line()}\n{done.stderr[-20000:]}", encoding="utf-8")
        return False
    took = time.perf_counter() - started
    part = out / f"{piece.name}.part"
    text = f"## {piece.name}\n\n```\n{piece.line()}\n```\n\n{done.stdout}\n{took:.1f} s from the command to its end\n\n"
    part.write_text(text, encoding="utf-8")
    part.rename(out / f"{piece.name}.txt")
    failure.unlink(missing_ok=True)
    return True


def collect(every: Sequence[Piece], out: Path) -> str:
    """Write what is there into one file, and return it."""
    results = [out / f"{piece.name}.txt" for piece in every]
    text = "".join(result.read_text(encoding="utf-8") for result in results if result.exists())
    (out / "bench.md").write_text(text, encoding="utf-8")
    return text


def measure_all(every: Sequence[Piece], out: Path, limit: float) -> tuple[list[str], list[str]]:
    """Measure what is not there, for so many minutes; returns the names of what failed, and of what is left."""
    ends = time.monotonic() + 60 * limit
    missing = [piece for piece in every if not (out / f"{piece.name}.txt").exists()]
    # What failed before may fail again, and must not stand in the way of the others.
    missing.sort(key=lambda piece: (out / f"{piece.name}.failed").exists())
    failed, left = [], []
    for number, piece in enumerate(missing, 1):
        made = None
        if time.monotonic() < ends:
            print(f"[{number}/{len(missing)}] {piece.name}", end=" … ", file=sys.stderr, flush=True)
            started = time.monotonic()
            made = measure(piece, out, ends)
            collect(every, out)
            word = {True: "done", False: "failed", None: "not ready in time"}[made]
            print(f"{word} ({time.monotonic() - started:.0f} s)", file=sys.stderr, flush=True)
        if made is None:
            left.append(piece.name)
        elif not made:
            failed.append(piece.name)
    return failed, left


def read_options() -> argparse.Namespace:
    """Read the command line."""

    def words(text: str) -> list[str]:
        return text.split(",")

    def compilations(text: str) -> list[str]:
        for word in words(text):
            if word not in COMPILATIONS:
                raise argparse.ArgumentTypeError(f"{word!r}: expected some of {', '.join(COMPILATIONS)}; try none")
        return words(text)

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--original", help="checkout of DmitryUlyanov/deep-image-prior")
    parser.add_argument("--minutes", type=minutes, default="8", help="after which what is left is left; 0: show it")
    parser.add_argument("--out", type=Path, default=Path("outputs/gpu/bench"), help="the folder")
    parser.add_argument("--size", type=positive, default=512, help="side of the picture, pixels")
    parser.add_argument(
        "--iterations", type=positive, default=100, help="of a measurement; of the whole fits 50 times as many"
    )
    parser.add_argument("--scales", type=positives, default="1,2,4", help="of the size, against the original")
    parser.add_argument("--repeats", type=positive, default=3, help="against the original")
    parser.add_argument("--precisions", type=words, help="the fastest last; fp32,tf32,bf16 on a GPU, else fp32,bf16")
    parser.add_argument("--fits", type=positives, default="2,4,8,16", help="at once, at a quarter of the size")
    parser.add_argument("--seconds", type=duration, default="5", help="for each of these numbers")
    parser.add_argument("--compile", type=compilations, help="none,capture,graphs,default on a GPU, else none")
    parser.add_argument("--trainer", default="gpu", choices=("gpu", "cpu"), help="where; cpu only to try the command")
    parser.add_argument("overrides", nargs="*", help="as for dip, of every measurement")
    options = parser.parse_args()
    on_gpu = options.trainer == "gpu"
    options.precisions = options.precisions or (["fp32", "tf32", "bf16"] if on_gpu else ["fp32", "bf16"])
    options.compile = options.compile or (["none", "capture", "graphs", "default"] if on_gpu else ["none"])
    return options


def main() -> None:
    """Measure what is left, and print what is there."""

    def stop(number: int, frame: Any) -> None:
        sys.exit(128 + number)

    # So that what runs is ended with this.
    signal.signal(signal.SIGTERM, stop)
    options = read_options()
    failed: list[str] = []
    with mistakes_told():
        every = list(pieces(options))
        check(options, every)
        options.out.mkdir(parents=True, exist_ok=True)
        try:
            failed, left = measure_all(every, options.out, options.minutes)
        except (KeyboardInterrupt, SystemExit):  # whenever it comes: between two measurements, too
            print("stopped; the same command goes on", file=sys.stderr)
            raise
        print(collect(every, options.out))
        if left:
            over = f"{options.minutes:g} minutes are over"
            print(f"{over}; left: {', '.join(left)}; the same command goes on", file=sys.stderr)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; why is told by {options.out / '*.failed'}")


if __name__ == "__main__":
    main()
