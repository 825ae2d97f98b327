"""Files of a configuration that are no YAML, or more than that, and packages that are not there: one line each."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TINY_UNET, Outcome


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lr: [1, 2\nmodel: {a\n", "mine.yaml, line 3: "),
        ('lr: !!python/object/apply:os.system ["touch witness"]\n', "mine.yaml, line 2: could not determine"),
        ("lr: *nowhere\n", "mine.yaml, line 2: found undefined alias"),
        ("\tlr: 1\n", "mine.yaml, line 2: "),
    ],
)
def test_an_experiment_that_cannot_be_read(dip: Callable[..., Outcome], tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{text}", encoding="utf-8")
    told = dip(f"--config-dir={tmp_path / 'conf'}", "experiment=mine", *TINY_UNET)
    assert told.code == 2
    (line,) = told.err.strip().splitlines()
    assert said in line
    assert not (tmp_path / "witness").exists()


@pytest.mark.parametrize(("given", "said"), [("trust=nowhere_to_be_found", "trust=nowhere"), ("trust=", "trust= ")])
def test_a_package_to_trust_must_be_there(dip: Callable[..., Outcome], given: str, said: str) -> None:
    told = dip(*TINY_UNET, given)
    assert told.code == 2
    (line,) = told.err.strip().splitlines()
    assert line.startswith(f"dip: {said}")
