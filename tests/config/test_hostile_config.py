"""Whatever the overrides: a run, or one line and exit code 2."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dip_lightning.config.compose import config_folder
from dip_lightning.config.help_text import find_keys
from dip_lightning.errors import UserError
from tests.conftest import TINY_UNET, Outcome

Dip = Callable[..., Outcome]

# How many combinations are tried; more of them by hand: EXAMPLES=500 pytest tests/config/test_hostile_config.py
EXAMPLES = int(os.environ.get("EXAMPLES", "25"))

CONF = config_folder()
# How long a fit takes, and where its files are, is not left to chance.
KEYS = sorted(set(find_keys(CONF)) - {"iterations", "image.size", "callbacks.fit_progress.title"})
GROUPS = sorted(folder.name for folder in CONF.iterdir() if folder.is_dir() and folder.name != "hydra")

WORDS = ["null", "true", "false", "", "abc", "'a b'", "???", "${nope}", "${lr}", "[]", "[1,2]", "{}", "{a: 1}"]
ODD = ["0.5", "0.1", "-0.5", "1e1", "1e-9", "1e400", "nan", "inf", "99999999999"]
numbers = st.integers(-2, 12).map(str) | st.sampled_from(ODD)
values = st.sampled_from(WORDS) | numbers
assignments = st.builds("{}{}={}".format, st.sampled_from(["", "", "", "+", "++"]), st.sampled_from(KEYS), values)
choices = st.builds(
    lambda group, option: f"{group}={option}",
    st.sampled_from(GROUPS),
    st.sampled_from(sorted({path.stem for path in CONF.glob("*/*.yaml")} - {"quickstart"})) | st.sampled_from(WORDS),
)
deletions = st.sampled_from([*KEYS, *GROUPS]).map("~{}".format)
inventions = st.builds(
    "{}{}={}".format, st.sampled_from(["", "+"]), st.from_regex(r"[a-z]{1,5}(\.[a-z]{1,5})?", fullmatch=True), values
)


def assert_a_run_or_one_line(told: Outcome) -> None:
    assert told.code in (0, 2), told
    assert "Traceback" not in told.out + told.err
    if told.code == 2:
        (line,) = told.err.strip().splitlines()
        assert line.startswith("dip: ")
        assert "expected" in line


@pytest.mark.slow
@settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(assignments | choices | deletions | inventions, min_size=1, max_size=2))
def test_random_overrides_give_a_run_or_one_line(dip: Dip, overrides: list[str]) -> None:
    assert_a_run_or_one_line(dip(*TINY_UNET, "trainer=cpu", *overrides))


@pytest.mark.parametrize(
    ("override", "way_out"),
    [
        ("+foo=1", "foo: expected a key or a group"),
        ("+itertions=5", "try iterations"),
        ("iterations=1e3", "try iterations=1000"),
        ("iterations=1.5", "try iterations=2000"),
        ("~seed", "give one: seed=VALUE"),
        ("~degradation", "no degradation"),
        ("seed=???", "give one: seed=VALUE"),
        ("seed=${nope}", "${nope}: expected a key of the configuration"),
        ("stopping=null", "try stopping=none"),
        ("model=null", "try model=auto"),
        ("precision=3", "one of auto, bf16, fp16, fp32, fp64, tf32"),
        ("+stopping=wmv", "try stopping=wmv"),
        ("stopping.rules.wmv=3", "stopping.rules.wmv=3: expected a stopping rule"),
        ("callbacks.detection=3", "expected an object"),
        ("logger.tensorboard=3", "expected an object"),
        ("logger.tensorboard.max_queue=null", "max_queue=None: expected a number from 1 on"),
        ("trainer.max_time=true", "try trainer.max_time=00:01:00:00"),
        ("+callbacks.x={_target_: dip_lightning.models.UNet}", "callbacks.x of type UNet: expected a callback"),
        ("model._target_=dip_lightning.models.Nope", "a class that exists"),
        ("--foo", "a flag that dip --help lists"),
        ("=", "expected KEY=VALUE"),
        ("", "expected KEY=VALUE"),
    ],
)
def test_a_wrong_override_names_the_way_out(dip: Dip, tmp_path: Path, override: str, way_out: str) -> None:
    told = dip(*TINY_UNET, override)
    assert told.code == 2
    assert_a_run_or_one_line(told)
    assert way_out in told.err
    assert not (tmp_path / "outputs").exists()


def test_a_rule_can_be_left_out(dip: Dip) -> None:
    told = dip(*TINY_UNET, "stopping.rules.wmv=null")
    assert (told.code, told.err) == (0, "")


def test_from_python_a_group_that_is_none_is_the_users_mistake() -> None:
    from dip_lightning import restore

    with pytest.raises(UserError, match="try stopping=none"):
        restore("photo.png", stopping=None)


@pytest.mark.parametrize("name", ["a b,c\\d.png", 'it"s,.png', "end\\"])
def test_the_quotes_that_are_suggested_work(dip: Dip, name: str) -> None:
    import shlex

    told = dip(*TINY_UNET, f"image.path={name}=[")
    suggested = told.err.partition("quote it for Hydra and the shell: ")[2]
    (override,) = shlex.split(suggested)
    told = dip(*TINY_UNET, override)
    assert f"no file {name}=[:" in told.err
