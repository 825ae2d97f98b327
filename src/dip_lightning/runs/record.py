"""What ``summary.json``, the record of a run, holds. Other programs read it: keys are added, and seldom taken away.

``docs/summary.schema.json`` says the same as a JSON schema. In the file, a number that JSON cannot say is null.
"""

import json
from pathlib import Path
from typing import NotRequired, cast

# typing's own is not read by pydantic, which makes the schema, before Python 3.12.
from typing_extensions import TypedDict

__all__ = [
    "PREVIEW",
    "RECORD",
    "TILE_FOLDERS",
    "CurveSummary",
    "NoiseSummary",
    "RangeSummary",
    "Remedy",
    "RemovedSummary",
    "SelectedSummary",
    "StoppingSummary",
    "Summary",
    "TilesSummary",
    "is_worse",
    "read_summary",
    "still_rises",
]

# Under a run folder: its record.
RECORD = "summary.json"
# The restored picture as a PNG, where it is of a format that browsers do not show.
PREVIEW = "preview.png"

# Under the run folder of a picture in tiles: the fits of the tiles, and of those that choose the iteration.
TILE_FOLDERS = ("tiles", "pilots")

# Of a fit of fewer iterations nobody expects a good picture: the averaged output is hardly more than its beginning.
_FEWEST = 300

# PSNRs in dB; iterations from 0; how many iterations lie within 0.1 and 0.5 dB of the peak.
CurveSummary = TypedDict(
    "CurveSummary",
    {
        "peak_psnr": float,
        "peak_iteration": int,
        "final_psnr": float,
        "plateau_0.1db": int,
        "plateau_0.5db": int,
    },
)


class StoppingSummary(TypedDict):
    """Why the fit ended, and how much the choice of the iteration is to be trusted.

    Attributes:
        rule: The option of ``stopping``, ``"none"`` for none.
        iteration: Whose output is handed back.
        reason: Why the fit ended, in one sentence.
        unsure: Why the choice should not be trusted, in one sentence; None where nothing says so.
        psnr: Of the picture that is handed back, clipped and rounded as it is, in dB; None without a clean image. JPEG
            and a palette lose a little more.
        gap_db: How far the output that it was made of lies below the peak of the averaged output.
        picks: The iteration that each rule picked, by its name; of tiles, that of each tile that was asked.
        abstained: What rules that could not judge would have needed, by their names.
        cap: The most iterations that the fit might have had.
    """

    rule: str
    iteration: int
    reason: str
    unsure: str | None
    psnr: float | None
    gap_db: float | None
    picks: dict[str, int]
    abstained: dict[str, str]
    cap: int


class SelectedSummary(TypedDict):
    """What is handed back: which output, of which iteration, and its PSNR in dB, None without a clean image.

    ``nonlocal_means`` is their share in it, in [0, 1]; of tiles the mean. ``psnr_lost`` is its PSNR where samples were
    lost, None where none was.
    """

    output: str
    iteration: int
    psnr: float | None
    nonlocal_means: NotRequired[float]  # records of before have none
    psnr_lost: NotRequired[float | None]  # likewise


class RangeSummary(TypedDict):
    """The sample values that were black and white for the fit, in the units of the file.

    ``source`` is ``type`` where they are all that the samples' type can say, ``estimated`` from the picture, or
    ``given``. So many pixels of the observation lie ``beyond`` them, and were handed through.
    """

    low: float
    high: float
    source: str
    beyond: int


class NoiseSummary(TypedDict):
    """What the noise was taken for: standard deviations on the scale 0 to 255, of all and of each channel.

    Variance ``intercept`` + ``slope`` · brightness in squares of [0, 1]; correlation of neighbours ``across`` and
    ``down``, the distance in pixels that a quarter of it ``reach``es, and the correlation of the channels (C, C).
    ``source`` is ``estimated``, ``given``, ``added`` or ``assumed``.
    """

    level: float
    sigma: list[float]
    intercept: float
    slope: float
    across: float
    down: float
    reach: int
    colors: list[list[float]]
    white: bool
    source: str


class RemovedSummary(TypedDict):
    """What was removed, the observation minus the result as it would be seen, over the samples that were fitted.

    Its root mean square and the change of the mean of the channel that changed most, on the scale 0 to 255; how alike
    neighbouring pixels are in it, a correlation; and how many times the noise it is.
    """

    rms: float
    shift: float
    neighbours: float
    times_sigma: float


class TilesSummary(TypedDict):
    """How a picture was cut: side and overlap in pixels, rows and columns of tiles, how many of them are done.

    ``iterations`` are those that the tiles are handed back at.
    """

    side: int
    overlap: int
    rows: int
    columns: int
    done: int
    iterations: list[int]


class Remedy(TypedDict):
    """What a fit that diverged went on with, from an iteration on: a learning rate, or a precision."""

    iteration: int
    lr: NotRequired[float]
    precision: NotRequired[str]


class Summary(TypedDict):
    """The record of a run, whole or in tiles.

    PSNRs are in dB and None without a clean image, sigmas on the scale 0 to 255, iterations count from 0, memory is
    in MB (10⁶ bytes). 255, and the peak of a PSNR, are the white of ``range``. ``tiles`` is of pictures in tiles only;
    ``one_pass``, ``averaged`` and ``eval`` are None there. ``worse_than_observation`` is judged by PSNR, or without a
    clean image by ``removed``, which is None where no tile is done.
    """

    model: str
    operator: str
    num_parameters: int
    residual: bool
    dropout: float
    precision: str
    precision_in_force: dict[str, str | bool | None]
    seed: int
    device: str
    image: str
    height: int
    width: int
    channels: int
    sigma: float
    sigma_source: str
    sigma_estimated: float
    sigma_in_force: float
    noise: NoiseSummary
    range: RangeSummary
    data_term: str
    input_noise_std: float | None
    betas: NotRequired[list[float] | None]
    iterations: int
    seconds: float
    seconds_per_iteration: float
    seconds_compiling: float
    peak_memory_mb: float
    memory_estimate_mb: float | None
    psnr_observation: float | None
    one_pass: CurveSummary | None
    averaged: CurveSummary | None
    eval: CurveSummary | None
    stopping: StoppingSummary
    selected: SelectedSummary
    removed: RemovedSummary | None
    worse_than_observation: bool
    tiles: NotRequired[TilesSummary]
    remarks: list[str]
    signal: int | None
    restores: list[int]
    remedies: list[Remedy]
    gave_up: bool
    out_of_memory: bool
    versions: dict[str, str]
    git_commit: str | None
    digest: str
    fingerprint: str


def read_summary(run_folder: Path) -> Summary:
    """Read the record of a run. One of an older version may lack keys.

    Args:
        run_folder: The folder of the run.

    Raises:
        OSError: There is none, or it cannot be read.
        ValueError: It is no record.
    """
    summary = json.loads((run_folder / RECORD).read_text(encoding="utf-8"))
    if not isinstance(summary, dict):
        raise ValueError(f"{RECORD} is no record of a run")
    return cast(Summary, summary)


def is_worse(summary: Summary) -> bool:
    """Tell whether a run came out worse than what was given, after enough iterations for it to be better.

    So does one that diverged until nothing helped, where its result is doubtful, after however many.

    Args:
        summary: Its record; one of an older version did not judge.
    """
    worse = summary.get("worse_than_observation", False)
    if summary.get("gave_up"):  # it was to have more iterations, and what it had reached is no good
        return worse or summary["stopping"]["unsure"] is not None
    return worse and summary["iterations"] >= _FEWEST


def still_rises(peak_iteration: float | None, iterations: float | None) -> bool:
    """Tell whether an output was best at the last iteration: that is no peak yet.

    Args:
        peak_iteration: Where it was best, counted from 0; None where that was not measured.
        iterations: How many were done.
    """
    return peak_iteration is not None and iterations is not None and peak_iteration >= iterations - 1
