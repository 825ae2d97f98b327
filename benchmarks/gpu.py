"""Every measurement of speed that waits for a GPU, one after another, in a folder; what is there is not made again.

What is left when the minutes are over is made by the same command, started again. Measured are: an iteration against
its convolutions, in each precision and each way to compile it; what the loop adds; a fit of 5000 iterations from the
command to the written image; with a checkout of the original, both against each other; small fits at once against one
after another; seconds until bf16 and TF32 are as good as float32.

    python benchmarks/gpu.py [--original CHECKOUT] [--minutes 8] [--out outputs/gpu/bench] [--size 512] [OVERRIDE...]
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent


def pieces(options: argparse.Namespace) -> Iterator[tuple[str, list[str]]]:
    """The measurements by name, most telling first, each a command after ``python``."""
    size, more = ["--size", str(options.size)], [f"trainer={options.trainer}", *options.overrides]
    precisions = options.precisions.split(",")
    script = {path.stem: str(path) for path in HERE.glob("*.py")}
    for compilation in options.compile.split(","):
        floor, how = [script["floor"], *size, "--repeats", "30"], [f"compile={compilation}", *more]
        for precision in reversed(precisions):
            yield f"floor-{precision}-{compilation}", [*floor, "model=unet", f"precision={precision}", *how]
        yield f"floor-resunet-{compilation}", [*floor, "model=resunet", f"precision={precisions[-1]}", *how]
    counts = ["--iterations", str(options.iterations)]
    for scale in options.scales.split(",") if options.original is not None else ():
        against = [script["against_original"], "--original", options.original, "--accelerator", options.trainer]
        pixels = options.size * int(scale)
        for precision in reversed(precisions):
            arguments = ["--sizes", str(pixels), "--precisions", precision, "--repeats", str(options.repeats)]
            yield f"original-{pixels}-{precision}", [*against, *counts, *arguments, *options.overrides]
    for precision in precisions:
        yield f"loop-{precision}", [script["loop"], *size, *counts, "model=unet", f"precision={precision}", *more]
        run_folder = options.out / f"fit-{precision}"
        length = [f"iterations={50 * options.iterations}", "stopping=none", f"image.crop={options.size}"]
        where = [f"hydra.run.dir={run_folder}", "callbacks.fit_progress=null"]
        yield f"fit-{precision}", ["-m", "dip_lightning", f"precision={precision}", *length, *where, *more]
    many = ["--size", str(options.size // 4), "--fits", options.fits, "--seconds", str(options.seconds)]
    yield (
        "batch-fits",
        [script["batch_fits"], *many, "--repeats", "2", "model=unet", f"precision={precisions[-1]}", *more],
    )
    settings = ["--settings", *(f"precision={precision}" for precision in precisions)]
    length = ["--iterations", str(25 * options.iterations), "--seeds", "0", "--out", str(options.out / "quality")]
    yield (
        "quality",
        [script["time_to_quality"], *size, *length, *settings, "--overrides", " ".join(["model=unet", *more])],
    )


def measure(name: str, command: list[str], out: Path, ends: float) -> bool:
    """Make one measurement, unless it is there; tell whether it is now."""
    result = out / f"{name}.txt"
    if result.exists():
        return True
    started = time.perf_counter()
    seconds = max(ends - time.monotonic(), 0.1)
    try:
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    if done.returncode != 0:
        print(f"{name} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
        return False
    took = time.perf_counter() - started
    part = result.with_suffix(".part")
    part.write_text(f"## {name}\n\n{done.stdout}\n{took:.1f} s from the command to its end\n\n", encoding="utf-8")
    part.rename(result)
    return True


def main() -> None:
    """Measure what is left, and print what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--original", help="checkout of DmitryUlyanov/deep-image-prior")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--out", type=Path, default=Path("outputs/gpu/bench"))
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--scales", default="1,2,4", help="of the size, against the original")
    parser.add_argument("--repeats", type=int, default=3, help="against the original")
    parser.add_argument("--precisions", default="fp32,tf32,bf16", help="the fastest last")
    parser.add_argument("--fits", default="2,4,8,16", help="at once, at a quarter of the size")
    parser.add_argument("--seconds", type=float, default=5, help="for each of these numbers")
    parser.add_argument("--compile", default="none,default,graphs")
    parser.add_argument("--trainer", default="gpu", choices=("gpu", "cpu"))
    parser.add_argument("overrides", nargs="*", help="as for dip, of every measurement")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + 60 * options.minutes
    every = list(pieces(options))
    left = [name for name, command in every if not measure(name, command, options.out, ends)]
    there = [(options.out / f"{name}.txt").read_text(encoding="utf-8") for name, _ in every if name not in left]
    (options.out / "bench.md").write_text("".join(there), encoding="utf-8")
    print("".join(there))
    if left:
        sys.exit(f"left: {', '.join(left)}; the same command goes on")


if __name__ == "__main__":
    main()
