"""Large pictures in tiles: the geometry, what is put together, the iterations, and going on."""

import json
import os
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dip_lightning.workflows.tiled_fit
from dip_lightning import restore
from dip_lightning.callbacks import OutputEMA
from dip_lightning.config.compose import compose_config
from dip_lightning.data import Observation, Picture, load_observation, picture_from_array, read_image, write_image
from dip_lightning.data.degradation import GaussianNoise, NoDegradation
from dip_lightning.errors import UserError
from dip_lightning.fitting.fit import FitResult
from dip_lightning.report.runs import find_runs
from dip_lightning.runs.status import fingerprint
from dip_lightning.workflows.restore import fit
from dip_lightning.workflows.tiled_fit import choose_pilots
from dip_lightning.workflows.tiled_summary import TiledRun, mean_curves
from dip_lightning.workflows.tiles import Tiles
from tests.cli.test_main import dip_process
from tests.conftest import TINY_UNET, Outcome

Dip = Callable[..., Outcome]
# Two tiles of 32×32 of a picture of 32×40 pixels.
TWO = [*(o for o in TINY_UNET if "crop" not in o), "image.crop=[200,200,32,40]", "tile=32", "overlap=8"]


# The geometry


def test_tiles_cover_every_pixel_with_weights_that_add_up_to_one() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = (int(n) for n in rng.integers(8, 200, 2))
        side = int(rng.integers(16, 90))
        overlap = int(rng.integers(0, side // 2 + 1))
        tiles = Tiles(height, width, side, overlap)
        total = np.zeros((height, width, 1))
        for tile in tiles:
            assert (tile.height, tile.width) == (min(side, height), min(side, width))
            weight = tiles.weight(tile)
            assert weight.min() >= 0
            total[tile.part] += weight
        np.testing.assert_allclose(total, 1, atol=1e-6)
        assert len(tiles) == len(list(tiles)) == tiles.rows * tiles.columns


def test_neighbours_share_what_was_asked_for_and_no_tile_could_be_left_out() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        length, side = int(rng.integers(17, 900)), int(rng.integers(16, 90))
        overlap = int(rng.integers(0, side // 2 + 1))
        lefts = [tile.left for tile in Tiles(side, length, side, overlap)]
        assert lefts[0] == 0
        assert lefts[-1] + side >= length
        shared = [a + side - b for a, b in pairwise(lefts)]
        assert min(shared, default=overlap) >= overlap
        assert (len(lefts) - 1) * side - (len(lefts) - 2) * overlap < length or len(lefts) == 1


def test_a_weight_falls_smoothly_to_the_border_that_is_shared_and_to_no_other() -> None:
    tiles = Tiles(112, 64, 64, 16)
    upper = tiles.weight(next(iter(tiles)))[:, 0, 0]
    assert np.all(upper[:48] == 1)
    assert np.all(np.diff(upper[47:]) < 0)
    assert upper[-1] < 0.01
    assert np.abs(np.diff(upper)).max() < 0.11  # the steepest step of a raised cosine over 16 pixels: π/32


@pytest.mark.parametrize(
    ("side", "overlap", "said"),
    [(8, 2, "tile=8"), ("many", 2, "tile=many"), (64, 40, "at most 32"), (64, -1, "overlap=-1"), (64, 2.5, "overlap")],
)
def test_a_tile_without_sense_is_refused(side: Any, overlap: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Tiles(100, 100, side, overlap)


# The picture


def returns_what_it_gets(
    cfg: Any, folder: Path | None = None, *, image: Observation, resume: Path | None, own: Any
) -> FitResult:
    """A fit that has restored the picture as it is."""
    stopping = {"rule": "vote", "iteration": 7, "unsure": None, "cap": 8}
    summary = {"iterations": 8, "seconds": 1.0, "peak_memory_mb": 1.0, "stopping": stopping, "signal": None}
    summary |= {"remarks": [], "restores": [], "selected": {"psnr": None}, "data_term": "mse"}
    noisy = image.noisy[0].permute(1, 2, 0).numpy()
    return FitResult(image.picture.with_unit(noisy), noisy, {"loss": np.zeros(8)}, summary, None)


@pytest.mark.parametrize(
    ("picks", "doubted"), [((100, 119), False), ((100, 121), True), ((100, 150, 199), False), ((100, 150, 201), True)]
)
def test_tiles_that_disagree_are_doubted(
    picks: tuple[int, ...], doubted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    still_to_come = list(picks)

    def picks_another(*arguments: Any, **settings: Any) -> FitResult:
        result = returns_what_it_gets(*arguments, **settings)
        result.summary["stopping"]["iteration"] = still_to_come.pop(0) if still_to_come else 7
        return result

    monkeypatch.setattr(dip_lightning.workflows.tiled_fit, "fit_picture", picks_another)
    samples = np.random.default_rng(0).integers(0, 256, (32, 32 * len(picks)), np.uint8)
    unsure = restore(samples, overrides=["tile=32", "overlap=0"]).summary["stopping"]["unsure"]
    assert (unsure is not None) == doubted, unsure
    if doubted:
        assert all(str(pick) in unsure for pick in picks)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_tiles_that_are_as_they_were_make_the_picture_as_it_was(
    channels: int, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dip_lightning.workflows.tiled_fit, "fit_picture", returns_what_it_gets)
    top = np.iinfo(kind).max
    samples = np.random.default_rng(0).integers(0, top + 1, (101, 83, channels)).astype(kind)
    result = restore(samples, overrides=["tile=32", "overlap=10"])
    given = picture_from_array(samples)
    assert np.array_equal(result.picture.samples, given.samples)
    if given.alpha is None:
        assert result.picture.alpha is None
    else:
        assert np.array_equal(result.picture.alpha, given.alpha)
    assert (result.summary["height"], result.summary["width"]) == (101, 83)


def test_the_noise_is_drawn_once_for_the_whole_picture() -> None:
    whole = load_observation("skimage:astronaut", GaussianNoise(25), crop=40)
    first, second = (whole.cropped(0, left, 32, 32) for left in (0, 8))
    assert np.array_equal(first.noisy[..., 8:], second.noisy[..., :24])
    assert (first.sigma, first.sigma_in_force) == (whole.sigma, whole.sigma_in_force)
    assert first.digest != second.digest


def test_a_picture_that_is_no_larger_than_a_tile_is_a_fit_like_any_other(tmp_path: Path) -> None:
    whole = fit(compose_config(list(TINY_UNET)), tmp_path / "whole")
    one = fit(compose_config([*TINY_UNET, "tile=32", "overlap=8"]), tmp_path / "one")
    assert np.array_equal(whole.image, one.image)
    assert "tiles" not in one.summary
    assert not (tmp_path / "one" / "tiles").exists()


def test_how_tiles_overlap_counts_only_where_there_are_tiles() -> None:
    plain, wider = (fingerprint(compose_config([f"overlap={overlap}"])) for overlap in (32, 16))
    assert plain == wider
    assert len({plain, *(fingerprint(compose_config(["tile=64", f"overlap={overlap}"])) for overlap in (32, 16))}) == 3


def test_what_is_missing_stays_as_it_was() -> None:
    observation = load_observation(np.full((40, 40), 99, np.uint8), NoDegradation())
    run = TiledRun(observation, Tiles(40, 40, 32, 8), cap=1)
    run.fill()
    np.testing.assert_allclose(run.blended, 99 / 255, atol=1e-6)


# The iterations


def test_the_tiles_that_choose_differ_in_detail() -> None:
    rng = np.random.default_rng(0)
    samples = np.full((32, 32 * 9), 128, np.uint8)
    for column in range(9):  # the more to the right, the more detail, in blocks that no noise has
        blocks = np.kron(rng.integers(-1, 2, (4, 4)), np.ones((8, 8)))
        samples[:, 32 * column : 32 * (column + 1)] += (10 * column * blocks).astype(np.int64).astype(np.uint8)
    observation = load_observation(samples, NoDegradation())
    chosen = choose_pilots(observation, Tiles(32, 32 * 9, 32, 0))
    assert [tile.column for tile in chosen] == [1, 4, 7]
    assert len(choose_pilots(observation, Tiles(32, 32 * 9, 200, 0))) == 2


def test_every_tile_has_the_iterations_of_the_middle_one_that_stopped_by_itself(tmp_path: Path) -> None:
    short = ["lr=0.1", "alpha=0.8", "stopping.min_iterations=10", "stopping.patience=8", "stopping.rules.wmv.window=5"]
    base = [o for o in TWO if "iterations" not in o and "crop" not in o]
    crop = [200, 200, 32, 64]
    result = fit(compose_config([*base, *short, "iterations=90", "logger=none", f"image.crop={crop}"]), tmp_path)
    picks = sorted(result.summary["stopping"]["picks"].values())
    assert len(picks) == 3
    assert picks[1] < 89
    assert result.summary["stopping"]["iteration"] == picks[1]
    assert result.summary["tiles"]["iterations"] == [picks[1]] * 3
    assert "the middle one of 3 stopped by itself" in result.summary["stopping"]["reason"]
    for name in ("0-0", "0-1", "0-2"):
        summary = json.loads((tmp_path / "tiles" / name / "summary.json").read_text())
        assert summary["iterations"] == picks[1] + 1
        assert summary["stopping"]["rule"] == "none"  # nothing held out, nothing perturbed
    assert len(result.curves["loss"]) == picks[1] + 1
    clean = load_observation("skimage:astronaut", NoDegradation(), crop=crop).picture.samples
    error = np.square(result.picture.samples.astype(float) - clean).mean()
    assert result.summary["selected"]["psnr"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-9)


def test_without_a_rule_every_tile_has_all_iterations_and_none_is_fitted_twice(tmp_path: Path) -> None:
    result = fit(compose_config([*TWO, "stopping=none", "logger=none"]), tmp_path)
    assert result.summary["tiles"]["iterations"] == [5] * 2
    assert result.summary["stopping"]["rule"] == "none"
    assert not (tmp_path / "pilots").exists()


def test_the_curves_are_those_of_all_tiles_together() -> None:
    one = {"loss": np.array([0.1, 0.2]), "psnr_averaged": np.array([20.0, 10.0]), "restores": np.array([1.0, 1.0])}
    two = {"loss": np.array([0.3, 0.4]), "psnr_averaged": np.array([20.0, 20.0])}
    means = mean_curves([one, two])
    np.testing.assert_allclose(means["loss"], [0.2, 0.3])
    # A mean squared error of (0.1 + 0.01) / 2.
    np.testing.assert_allclose(means["psnr_averaged"], [20, -10 * np.log10(0.055)])
    assert set(means) == {"loss", "psnr_averaged"}


# The command line, folders, sweeps, and going on


def stamps(run: Path) -> dict[str, int]:
    records = run.glob("*/*/summary.json")
    return {str(record.parent.relative_to(run)): record.stat().st_mtime_ns for record in records}


def of_the_whole(folder: Path) -> list[Path]:
    return sorted(
        record.parent for record in folder.rglob("summary.json") if record.parts[-3] not in ("tiles", "pilots")
    )


def same(one: Path, other: Path) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in ("restored.png", "curves.csv"))


def test_the_command_line_restores_a_picture_in_tiles(dip: Dip, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (32, 45, 3)).astype(np.uint16)
    write_image(tmp_path / "deep.png", picture_from_array(samples))
    told = dip(*(o for o in TWO if "crop" not in o and "fit_progress" not in o), "image.path=deep.png")
    assert told.code == 0, told.err
    (run,) = of_the_whole(tmp_path)
    restored: Picture = read_image(run / "restored.png")
    assert restored.samples.shape == (32, 45, 3)
    assert restored.samples.dtype == np.uint16
    assert {path.name for path in run.iterdir()} >= {"observation.png", "comparison.png", "curves.png", "curves.csv"}
    assert sorted(path.name for path in (run / "tiles").iterdir()) == ["0-0", "0-1"]
    # Where each lies, and how long the others will take.
    assert "tile 1/2 at row 0, column 0: " in told.err
    assert " s left for 1 more" in told.err
    assert "tile 2/2 at row 0, column 13: " in told.err
    # Not "stopped by itself": all six iterations were done.
    text = " ".join(told.out.split())
    assert "2 tiles of 6 iterations in " in text
    assert "none of the 2 that choose stopped by itself" in text
    assert "every tile is handed back at iteration 5" in told.err
    (found,) = find_runs([tmp_path / "outputs"])
    assert found.folder == run
    assert "all its tiles" in dip(f"resume={run}").err


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_tiles_that_are_missing(dip: Dip, tmp_path: Path) -> None:
    base = [*(o for o in TWO if "fit_progress" not in o and "iterations" not in o), "logger=none", "stopping=none"]
    process = dip_process(*base, "iterations=100", "callbacks.checkpoint.iterations=20", cwd=tmp_path)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("tile 1/2 at row 0, column 0: "):
            break
    process.kill()
    process.communicate(timeout=60)
    (run,) = {record.parents[2] for record in tmp_path.rglob("summary.json")}
    before = stamps(run)
    assert set(before) == {"tiles/0-0"}
    assert not (run / "restored.png").exists()
    assert "leave it out" in dip(f"resume={run}", "iterations=200").err
    told = dip(f"resume={run}")
    assert told.code == 0, told.err
    assert "tile 1/2 at row 0, column 0: finished before" in told.err
    after = stamps(run)
    assert {name: after[name] for name in before} == before
    whole = tmp_path / "whole"
    assert dip(*base, "iterations=100", f"hydra.run.dir={whole}").code == 0
    assert same(run, whole)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_what_is_finished_and_says_how_to_go_on(
    dip: Dip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    average, begun = OutputEMA.on_train_batch_end, []

    def interrupt(self: OutputEMA, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        average(self, trainer, module, outputs, batch, batch_idx)
        begun.append(batch_idx)
        if len(begun) == 9:  # in the second tile
            os.kill(os.getpid(), number)

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 40), dtype=np.uint8)).save(tmp_path / "photo.png")
    base = [*(o for o in TWO if "crop" not in o), "stopping=none", "image.path=photo.png"]
    with monkeypatch.context() as patch:
        patch.setattr(OutputEMA, "on_train_batch_end", interrupt)
        told = dip(*base)
    assert told.code == code
    (run,) = {record.parent for record in tmp_path.glob("outputs/*/*/summary.json")}
    summary = json.loads((run / "summary.json").read_text())
    assert summary["signal"] == number
    assert summary["tiles"]["done"] == 1
    assert "1 of 2 tiles are done" in summary["stopping"]["reason"]
    assert not (run / "restored.png").exists()
    assert f"To go on: dip resume={run}" in told.out
    assert "try dip resume=" in dip(f"resume={run / 'tiles' / '0-1'}").err
    before = stamps(run)["tiles/0-0"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)  # the picture was named relative to another folder
    assert dip(f"resume={run}").code == 0
    assert stamps(run)["tiles/0-0"] == before
    monkeypatch.chdir(tmp_path)
    whole = tmp_path / "whole"
    assert dip(*base, f"hydra.run.dir={whole}").code == 0
    assert same(run, whole)


def test_a_signal_between_two_tiles_ends_as_cleanly(dip: Dip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add, settings = TiledRun.add, [*TWO, "stopping=none"]

    def interrupt(self: TiledRun, *arguments: Any) -> None:
        add(self, *arguments)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(TiledRun, "add", interrupt)
        assert dip(*settings).code == 143
    (run,) = {record.parent for record in tmp_path.glob("outputs/*/*/summary.json")}
    assert json.loads((run / "summary.json").read_text())["tiles"]["done"] == 1

    def at_once(*arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(dip_lightning.workflows.tiled_fit, "choose_pilots", at_once)
    assert dip(*TWO).code == 130


def test_other_pixels_or_settings_are_fitted_anew(tmp_path: Path) -> None:
    # The noise is told: the estimate is of the whole picture, and every tile would change with it.
    settings = [*TWO, "stopping=none", "logger=none", f"image.path={tmp_path / 'photo.png'}", "image.crop=null"]
    settings.append("image.sigma=25")
    samples = np.random.default_rng(0).integers(0, 256, (32, 40), dtype=np.uint8)
    Image.fromarray(samples).save(tmp_path / "photo.png")
    fit(compose_config(settings), tmp_path / "run")
    first = stamps(tmp_path / "run")
    fit(compose_config(settings), tmp_path / "run")
    assert stamps(tmp_path / "run") == first
    fit(compose_config([*settings, "lr=0.02"]), tmp_path / "run")
    second = stamps(tmp_path / "run")
    assert all(second[name] != first[name] for name in first)
    samples[0, 0] ^= 1  # in one tile only
    Image.fromarray(samples).save(tmp_path / "photo.png")
    fit(compose_config([*settings, "lr=0.02"]), tmp_path / "run")
    third = stamps(tmp_path / "run")
    assert [name for name in third if third[name] != second[name]] == ["tiles/0-0"]


@pytest.mark.slow
def test_sweeps_and_folders_have_tiles_too(dip: Dip, tmp_path: Path) -> None:
    sweep = [*TWO, "stopping=none", "logger=none", "seed=1,2"]
    assert dip("-m", *sweep).code == 0
    assert len(of_the_whole(tmp_path / "outputs" / "multirun")) == 2
    assert dip("-m", *sweep).out.count("finished before") == 2
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, width in (("small.png", 20), ("large.png", 40)):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, width), dtype=np.uint8)).save(photos / name)
    settings = [*(o for o in TWO if "crop" not in o), "stopping=none", "logger=none", "image.path=photos"]
    assert "2 of 2 pictures restored." in dip(*settings).out
    assert "2 of 2 pictures restored, 2 of them before." in dip(*settings).out


def test_from_python_nothing_is_written_unless_told() -> None:
    overrides = [*TWO[:3], *TWO[-2:]]
    result = restore(np.full((32, 40), 90, np.uint8), iterations=4, stopping="none", overrides=overrides)
    assert result.image.shape == (32, 40)
    assert result.run_folder is None
    assert len(result.curves["loss"]) == 4
    assert result.summary["psnr_observation"] is None
