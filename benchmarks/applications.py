"""Inverse problems: what is handed back of pictures with holes, small, blurred and mosaiced ones, and of JPEGs.

Fits what is missing, one picture after the other, and writes `applications.csv`: a line a picture, with what is handed
back, what simple methods make of the same observation, the detection gap, iterations, seconds and memory.

    python benchmarks/applications.py DATA [--only missing50,sr4] [--out FOLDER] [--minutes M] [OVERRIDE...]

DATA has the folders that Deep Image Prior's authors published: `missing50` (NAME.png, NAME_masked.png), `sr/set5`,
`set9/gt`, `inpainting` (kate.png, kate_mask.png); what is not there is left out. The fits never see the clean picture.
Finished fits are passed over and an interrupted one goes on, so that the same command goes on where it was.
"""

import argparse
import csv
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.restoration import richardson_lucy, wiener

from arguments import minutes, mistakes_told
from dip_lightning.config.compose import compose_config
from dip_lightning.fitting.resume_check import read_digest, resumable
from dip_lightning.report.runs import find_runs
from dip_lightning.runs.status import is_finished
from dip_lightning.workflows.restore import fit

Pixels = NDArray[np.float64]
Baseline = Callable[[Path, Pixels], dict[str, Pixels]]

# Four pictures of different kinds: edges, a house, faces, and fruit.
CROPS = ("f16", "house", "lena", "peppers")
# Standard deviation of the blur in pixels, and of the noise on it.
_BLUR, _BLUR_NOISE, _MOSAIC_NOISE, _QUALITY = 1.6, 2, 5, 10
COLUMNS = (
    *("problem", "picture", "observed", "baseline", "baseline dB", "peak averaged", "at", "handed back", "in the lost"),
    *("picked", "gap", "iterations", "seconds", "memory MB", "unsure"),
)


@dataclass(frozen=True)
class Case:
    """One picture of one problem.

    Attributes:
        problem: Name of the group of cases.
        picture: Name of the picture.
        clean: Its file, which only measures.
        overrides: The settings of the fit beside the defaults.
        prepare: Writes the files that the overrides name; None for none.
        baseline: Makes other methods' pictures of the run folder's observation, given the clean one for tuning.
        luma: Whether the figures are those of luminance without a border of 4 pixels, as is usual for enlarging.
        crop: Side of the central part that is measured; None for all.
    """

    problem: str
    picture: str
    clean: Path
    overrides: list[str]
    prepare: Callable[[], None] | None = None
    baseline: Baseline | None = None
    luma: bool = False
    crop: int | None = None

    @property
    def name(self) -> str:
        """Of the run folder."""
        return f"{self.problem}-{self.picture}"


def cases(data: Path, out: Path) -> Iterator[Case]:
    """What can be measured with the pictures that are there."""
    yield from _holes(data, out)
    for factor in (4, 8):
        for name in ("butterfly", "bird", "head", "woman"):
            yield _small(data / "sr" / "set5" / f"{name}.png", out, factor)
    for name in CROPS:
        clean = data / "set9" / "gt" / f"{name}.png"
        observed = [f"image.clean={clean}", "image.crop=128"]
        noise = [*observed, "degradation=gaussian", f"degradation.sigma={_BLUR_NOISE}"]
        # The study's picture goes on beyond its border as the operator says; of a photograph that is unknown.
        blur = ["problem=deblur", f"problem.width={_BLUR}", "problem.border=reflect", *noise]
        yield Case("deblur", name, clean, blur, None, _sharpened, crop=128)
        noise = [*noise[:-1], f"degradation.sigma={_MOSAIC_NOISE}", "iterations=2500"]
        yield Case("demosaic", name, clean, ["problem=demosaic", *noise], None, _demosaiced, crop=128)
        jpeg = [*observed, "problem=dejpeg", "degradation=jpeg", f"degradation.quality={_QUALITY}"]
        yield Case("dejpeg", name, clean, jpeg, crop=128)
        yield Case("intervals", name, clean, [*jpeg, "data_term=intervals", "iterations=1500"], crop=128)


def _holes(data: Path, out: Path) -> Iterator[Case]:
    folder = data / "missing50"
    for name in ("cameraman256", "house", "montage", "peppers256"):
        masked, mask = folder / f"{name}_masked.png", out / "made" / f"{name}_mask.png"
        settings = [
            "problem=inpaint",
            f"image.path={masked}",
            f"problem.mask={mask}",
            f"image.clean={folder / name}.png",
            "image.sigma=0",
        ]
        prepare = partial(_write_mask, masked, folder / f"{name}.png", mask)
        yield Case("missing50", name, folder / f"{name}.png", settings, prepare)
    folder = data / "inpainting"
    clean, mask = folder / "kate.png", folder / "kate_mask.png"
    settings = ["problem=inpaint", f"image.clean={clean}", f"problem.mask={mask}"]
    yield Case("text", "kate", clean, settings)


def _write_mask(masked: Path, clean: Path, mask: Path) -> None:
    """The authors' pictures are 0 where a pixel is lost. Which of the black ones are known, they do not say.

    Half of them, as of all, drawn from one seed.
    """
    mask.parent.mkdir(parents=True, exist_ok=True)
    seen, black = _read(masked, "L") > 0, _read(clean, "L") == 0
    known = seen | (black & (np.random.default_rng(0).random(black.shape) < 0.5))
    Image.fromarray((known[:, :, 0] * 255).astype(np.uint8)).save(mask)


def _small(clean: Path, out: Path, factor: int) -> Case:
    small = out / "made" / f"{clean.stem}-{factor}.png"
    settings = ["experiment=super_resolution", f"problem.factor={factor}", f"image.path={small}"]
    whole = out / "made" / f"{clean.stem}-clean-{factor}.png"

    def prepare() -> None:
        small.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(clean) as file:
            image = file.convert("RGB")
        # The authors' sizes are multiples of 4; what is over at 8 is left out.
        width, height = (length // factor * factor for length in image.size)
        image.crop((0, 0, width, height)).save(whole)
        image.crop((0, 0, width, height)).resize((width // factor, height // factor), Image.Resampling.LANCZOS).save(
            small
        )

    settings.append(f"image.clean={whole}")
    return Case(f"sr{factor}", clean.stem, whole, settings, prepare, partial(_enlarged, small), luma=True)


def _enlarged(small: Path, _: Path, clean: Pixels) -> dict[str, Pixels]:
    with Image.open(small) as image:
        large = image.convert("RGB").resize(clean.shape[1::-1], Image.Resampling.BICUBIC)
    return {"bicubic": np.asarray(large, np.float64) / 255}


def _sharpened(folder: Path, clean: Pixels) -> dict[str, Pixels]:
    """Richardson-Lucy and Wiener, each with what suits the clean picture best, channel by channel."""
    seen, margin = _read(folder / "observation.png", "RGB"), 16
    kernel = np.zeros((13, 13))
    kernel[6, 6] = 1
    kernel = gaussian_filter(kernel, _BLUR, mode="constant")
    kernel /= kernel.sum()
    padded = np.pad(seen, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")

    def each(function: Callable[[Pixels], Pixels]) -> Pixels:
        sharp = np.stack([function(padded[:, :, band]) for band in range(3)], axis=2)
        return np.clip(sharp[margin:-margin, margin:-margin], 0, 1)

    lucy = [each(lambda one, n=n: richardson_lucy(one, kernel, num_iter=n)) for n in (2, 4, 6, 8, 10, 15, 20, 30, 50)]
    linear = [each(lambda one, b=b: wiener(one, kernel, b)) for b in np.geomspace(1e-4, 1, 17)]
    best = partial(max, key=lambda image: _psnr(image, clean))
    return {"Richardson-Lucy": best(lucy), "Wiener": best(linear)}


def _demosaiced(folder: Path, _: Pixels) -> dict[str, Pixels]:
    try:
        from colour_demosaicing import demosaicing_CFA_Bayer_bilinear as bilinear
        from colour_demosaicing import demosaicing_CFA_Bayer_Menon2007 as menon
    except ModuleNotFoundError:
        sys.exit("colour-demosaicing is missing: python -m pip install -c constraints.txt colour-demosaicing")
    seen = _read(folder / "observation.png", "L")[:, :, 0]
    return {"bilinear": np.clip(bilinear(seen), 0, 1), "Menon": np.clip(menon(seen), 0, 1)}


def row_of(case: Case, out: Path, overrides: list[str], late: bool) -> dict[str, Any] | None:
    """Fit, or read what was fitted; None where there is nothing, and no time to fit it."""
    folder = out / case.name
    if case.prepare is not None:
        case.prepare()
    shown = [f"callbacks.fit_progress.title={case.name}", "callbacks.fit_progress.line_every=60"]
    cfg = compose_config([*case.overrides, *shown, "logger=none", *overrides])
    if not is_finished(folder, cfg, partial(read_digest, cfg)):
        if late:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        result = fit(cfg, folder, resume=resumable(folder, cfg))
        if result.signal is not None:
            sys.exit("interrupted; the same command goes on")
    (run,) = find_runs([folder])
    return _measure(case, folder, dict(run.summary))


def _measure(case: Case, folder: Path, summary: dict[str, Any]) -> dict[str, Any]:
    clean = _read(
        case.clean, "RGB" if summary["psnr_observation"] is None or case.luma or case.crop else None, case.crop
    )
    others = case.baseline(folder, clean) if case.baseline else {}
    figure = _psnr_of_luma if case.luma else _psnr
    restored = _read(folder / "restored.png", None if clean.shape[2] == 1 else "RGB")
    best, stopping = max(others, key=lambda name: figure(others[name], clean), default=""), summary["stopping"] or {}
    lost = summary["selected"].get("psnr_lost")
    return {
        "problem": case.problem,
        "picture": case.picture,
        "observed": _decimals(summary["psnr_observation"]),
        "baseline": best,
        "baseline dB": _decimals(figure(others[best], clean) if others else None),
        "peak averaged": _decimals(summary["averaged"]["peak_psnr"]),
        "at": summary["averaged"]["peak_iteration"],
        "handed back": _decimals(figure(restored, clean)),
        "in the lost": _decimals(lost),
        "picked": summary["selected"]["iteration"],
        "gap": _decimals(stopping.get("gap_db")),
        "iterations": summary["iterations"],
        "seconds": round(summary["seconds"]),
        "memory MB": round(summary["peak_memory_mb"]) if summary.get("peak_memory_mb") else "",
        "unsure": "unsure" if stopping.get("unsure") else "",
    }


def _read(path: Path, mode: str | None, crop: int | None = None) -> Pixels:
    with Image.open(path) as image:
        samples = np.asarray(image if mode is None else image.convert(mode), np.float64) / 255
    samples = samples if samples.ndim == 3 else samples[:, :, None]
    if crop is None:
        return samples
    top, left = ((length - crop) // 2 for length in samples.shape[:2])
    return samples[top : top + crop, left : left + crop]


def _psnr(image: Pixels, clean: Pixels) -> float:
    return float(-10 * np.log10(np.square(image - clean).mean()))


def _psnr_of_luma(image: Pixels, clean: Pixels) -> float:
    """On Y of BT.601 (16 to 235, of 255), 4 pixels at the border left out."""
    weights = np.array([65.481, 128.553, 24.966]) / 255
    return _psnr((image @ weights)[4:-4, 4:-4], (clean @ weights)[4:-4, 4:-4])


def _decimals(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def main() -> None:
    """Fit what is missing, and write the table of what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with the authors' pictures")
    parser.add_argument("--only", default="", help="problems or fits, comma-separated: missing50,sr4-butterfly")
    parser.add_argument("--out", type=Path, default=Path("outputs/applications"))
    parser.add_argument("--minutes", type=minutes, default=float("inf"), help="begin no fit after so many")
    parser.add_argument("overrides", nargs="*", help="settings of dip beside the defaults")
    options = parser.parse_intermixed_args()
    data, out = options.data.expanduser().resolve(), options.out.resolve()
    wanted, begun, rows = set(options.only.split(",")) - {""}, time.monotonic(), []
    for case in cases(data, out):
        if (wanted and not wanted & {case.problem, case.name}) or not (case.prepare or case.clean.exists()):
            continue
        row = row_of(case, out, options.overrides, time.monotonic() - begun > 60 * options.minutes)
        if row is not None:
            rows.append(row)
            print(
                f"{case.name}: {row['handed back']} dB handed back; {row['baseline']} {row['baseline dB']}", flush=True
            )
    if not rows:
        sys.exit(f"nothing was fitted: {data} has none of the folders missing50, sr/set5, set9/gt, inpainting")
    with (out / "applications.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    with mistakes_told():
        main()
