"""Names that are not UTF-8 go through everything that is written, and names that a console cannot say, too."""

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dip_lightning.cli.report import write_report
from dip_lightning.config.paths import quoted
from dip_lightning.errors import UserError
from dip_lightning.names import as_json_text, counted, is_text, printable
from dip_lightning.system.output import tolerant, tolerate_broken_output
from tests.conftest import TINY_UNET, Outcome
from tests.forked import run_forked

Dip = Callable[..., Outcome]
LATIN = os.fsdecode(b"caf\xe9.png")
SETTINGS = [o for o in TINY_UNET if "crop" not in o]


def write_picture(path: Path) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (32, 33, 3), dtype=np.uint8)
    with path.open("wb") as file:
        Image.fromarray(samples).save(file, "PNG")


def test_a_name_is_written_out_where_text_is_wanted() -> None:
    assert (printable(LATIN), printable("Grüße"), printable("\ud800")) == ("caf\\xe9.png", "Grüße", "\\ud800")
    assert (is_text("Grüße"), is_text(LATIN)) == (True, False)
    text = as_json_text(json.dumps({"image": LATIN}, ensure_ascii=False))
    text.encode("utf-8")
    assert json.loads(text) == {"image": LATIN}
    str(UserError(LATIN, "text", LATIN)).encode("utf-8")


def test_a_picture_of_such_a_name_is_restored_resumed_and_reported(dip: Dip, tmp_path: Path) -> None:
    write_picture(tmp_path / LATIN)
    settings = [o for o in SETTINGS if "fit_progress" not in o]
    outcome = dip(*settings, f"image.path={quoted(LATIN)}", "hydra.run.dir=run")
    assert outcome.code == 0, outcome
    run = tmp_path / "run"
    assert json.loads((run / "summary.json").read_text(encoding="utf-8"))["image"] == LATIN
    for path in (*run.glob("*.json"), *run.glob("*.yaml"), *run.glob(".hydra/*"), *run.glob("*.csv"), run / "dip.log"):
        path.read_text(encoding="utf-8")
    assert dip("resume=run", "iterations=8").code == 0
    written = write_report([run], tmp_path / "report")
    told = "".join(path.read_text(encoding="utf-8") for path in written if path.suffix in (".md", ".csv", ".html"))
    assert "caf\\xe9.png" in told


def test_a_folder_and_a_run_folder_of_such_names(dip: Dip, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"f\xfcr")
    folder.mkdir()
    write_picture(folder / LATIN)
    (folder / os.fsdecode(b"\xff.png")).write_text("no image")
    outcome = dip(*SETTINGS, f"image.path={quoted(folder.name)}")
    assert (outcome.code, "1 of 2 pictures restored" in outcome.out) == (2, True), outcome
    assert "Failed, \\xff.png" in outcome.out
    (run,) = tmp_path.glob("outputs/folders/*")
    assert list((run / "caf\\xe9.png").glob("events*"))
    assert "1 of 2 pictures restored, 1 of them before" in dip(*SETTINGS, f"image.path={quoted(folder.name)}").out
    outcome = dip(*SETTINGS, "image.crop=32", f"hydra.run.dir={quoted(LATIN)}")
    assert (outcome.code, (tmp_path / LATIN / "summary.json").exists()) == (0, True), outcome
    assert "no TensorBoard: the name of" in outcome.out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_console_of_few_letters_gets_what_it_can_say(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    with tolerate_broken_output():
        print(f"σ = 25, {LATIN}")
        sys.stdout.flush()
        told = raw.getvalue().decode(encoding)
    assert "\\u03c3 = 25, caf\\xe9.png" in told


def test_a_run_on_such_a_console_ends_well(tmp_path: Path) -> None:
    write_picture(tmp_path / "Grüße.png")
    program = (
        "import io, sys\n"
        "sys.stdout, sys.stderr = (io.TextIOWrapper(open(number, 'wb'), encoding='ascii') for number in (1, 2))\n"
        "from dip_lightning.cli.main import main; main()"
    )
    settings = [o for o in SETTINGS if "fit_progress" not in o]
    done = run_forked(program, *settings, "image.path=Grüße.png", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done
    assert "Gr\\xfc\\xdfe.png: 32x33" in done.stderr
    assert (tmp_path / "run" / "summary.json").exists()


def test_a_stream_that_fails_is_given_up_without_touching_its_descriptor() -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(9, "Bad file descriptor")

        def fileno(self) -> int:
            raise AssertionError("its descriptor is not ours")

    stream = tolerant(Broken())
    assert stream is not None
    stream.write("something")
    stream.flush()
    assert tolerant(None) is None


def test_one_of_a_thing_is_singular() -> None:
    assert [counted(number, "iteration") for number in (0, 1, 2)] == ["0 iterations", "1 iteration", "2 iterations"]
