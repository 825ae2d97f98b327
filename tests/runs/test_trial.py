"""What could not be written at the end is refused at the beginning."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dip_lightning import UserError, restore
from dip_lightning.data import Picture
from dip_lightning.runs import figures
from dip_lightning.runs.trial import try_to_write
from tests.conftest import TINY_UNET

OVERRIDES = [o for o in TINY_UNET if o.startswith(("model.", "trainer"))]
ARRAY = np.random.default_rng(0).integers(0, 256, (33, 41, 3), dtype=np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP", "BMP"])
def test_what_can_be_written_leaves_nothing(dtype: Any, channels: int, kind: str, tmp_path: Path) -> None:
    if dtype is np.uint16 and kind not in ("PNG", "TIFF"):
        return
    try_to_write(tmp_path / "run", Picture(np.zeros((5, 40, channels), dtype), format=kind))
    assert list((tmp_path / "run").iterdir()) == []


def test_a_picture_that_its_format_does_not_take_is_refused(tmp_path: Path) -> None:
    wide = Picture(np.zeros((1, 17_000, 1), np.uint8), format="WEBP")  # which has at most 16,383
    with pytest.raises(UserError, match="17000x1 pixels as WEBP"):
        try_to_write(tmp_path, wide)
    spoiled = Picture(np.zeros((8, 8, 3), np.uint8), format="PNG", metadata={"dpi": "many"})
    with pytest.raises(UserError, match="convert it to PNG first"):
        try_to_write(tmp_path, spoiled)
    assert list(tmp_path.iterdir()) == []


def test_it_is_tried_before_the_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("no such letter")

    monkeypatch.setattr("dip_lightning.runs.trial.write_image", refuse)
    monkeypatch.setattr("pytorch_lightning.Trainer.fit", lambda *_: pytest.fail("it was fitted"))
    for more in ([], ["tile=32", "overlap=8"]):
        with pytest.raises(UserError, match="no such letter"):
            restore(ARRAY, run_folder=tmp_path / "run", iterations=3, overrides=[*OVERRIDES, *more])


def test_a_figure_or_a_logger_that_fails_at_the_end_loses_no_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("latex could not be found")

    monkeypatch.setattr(figures, "draw_curves", fail)
    monkeypatch.setattr("dip_lightning.fitting.tensorboard.run_figures", fail)
    restore(ARRAY, run_folder=tmp_path, iterations=3, overrides=OVERRIDES)
    assert (tmp_path / "restored.png").exists()
    assert (tmp_path / "summary.json").exists()
    assert not (tmp_path / "curves.png").exists()
    assert "curves.png could not be drawn (RuntimeError: latex could not be found)" in caplog.text
    assert "the last figures could not be logged" in caplog.text
