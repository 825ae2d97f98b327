"""How the jobs of a sweep are named, and what its folder tells of them."""

import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dip_lightning.runs.sweep import Sweep, differing, job_names, read_sweep


def product(**values: str) -> list[dict[str, str]]:
    lists = [value.split(";") for value in values.values()]
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*lists)]


def test_a_job_is_named_by_what_differs_in_the_order_of_the_command_line() -> None:
    jobs = product(trainer="cpu", model="unet;resunet", dropout="0;0.1", seed="1;2")
    assert differing(jobs) == ["model", "dropout", "seed"]
    names = job_names(jobs)
    assert names[:3] == ["model=unet,dropout=0,seed=1", "model=unet,dropout=0,seed=2", "model=unet,dropout=0.1,seed=1"]
    assert len(names) == 8


def test_what_only_some_jobs_set_differs() -> None:
    jobs = [{"model": "unet"}, {"model": "resunet", "dropout": "0"}, {"model": "resunet", "dropout": "0.1"}]
    assert job_names(jobs) == ["model=unet", "model=resunet,dropout=0", "model=resunet,dropout=0.1"]
    assert job_names([{"a": "1"}, {"a": "1", "b": "2"}]) == ["as-it-is", "b=2"]


def test_keys_are_told_by_their_last_word_where_that_is_clear() -> None:
    jobs = product(**{"model.levels": "2;3", "image.sigma": "5;6", "degradation.sigma": "5;6"})
    assert job_names(jobs)[0] == "levels=2,image.sigma=5,degradation.sigma=5"


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["photos/a.png", "photos/b.png"], ["path=a.png", "path=b.png"]),
        (["skimage:cat", "skimage:coins"], ["path=skimage_cat", "path=skimage_coins"]),
        (["Grüße (1).png", "x"], ["path=Grüße_1_.png", "path=x"]),
        (["[0,0,20,30]", "[1,0,20,30]"], ["path=0_0_20_30", "path=1_0_20_30"]),
        (["-1", "1e-3"], ["path=-1", "path=1e-3"]),
    ],
)
def test_odd_values_are_shortened(values: list[str], names: list[str]) -> None:
    assert job_names([{"image.path": value} for value in values]) == names


def test_values_that_would_read_alike_are_told_apart() -> None:
    one, other = job_names([{"image.path": "one/a.png"}, {"image.path": "other/a.png"}])
    assert one != other
    assert re.fullmatch(r"path=a\.png_[0-9a-f]{8}", one)
    # Also where only the case of letters tells them apart, which not every file system sees.
    upper, lower, third = job_names([{"path": "A.png"}, {"path": "a.png"}, {"path": "b.png"}])
    assert upper.casefold() != lower.casefold()
    assert third == "path=b.png"


def test_a_long_value_and_a_long_name_are_cut() -> None:
    names = job_names([{"image.path": "x" * 300 + end} for end in "ab"])
    assert all(len(name) < 50 for name in names)
    assert len(set(names)) == 2
    many = {f"key_number_{index}": str(index) for index in range(60)}
    names = job_names([many, {**many, "key_number_59": "x"}, dict.fromkeys(many, "0")])
    assert len(set(names)) == 3
    assert all(len(name.encode()) <= 180 for name in names)


def test_where_nothing_differs_there_is_a_number() -> None:
    assert job_names([{"seed": "1"}]) == ["0"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["a", "m.a", "b", "image.path"]), st.text()), min_size=2, max_size=6))
def test_names_are_different_and_fit_for_files(jobs: list[dict[str, str]]) -> None:
    unique = [dict(job) for job in {tuple(sorted(job.items())) for job in jobs}]
    names = job_names(unique)
    assert len({name.casefold() for name in names}) == len(unique)
    for name in names:
        assert re.fullmatch(r"[\w=,.+-]+", name)
        assert len(name.encode()) <= 200


def test_a_run_finds_its_sweep_and_no_other(tmp_path: Path) -> None:
    sweep = Sweep(["model"], {"model=unet": {"model": "unet"}, "model=resnet": {"model": "resnet"}})
    sweep.write(tmp_path)
    assert read_sweep(tmp_path / "model=unet") == replace(sweep, name="model=unet")
    assert read_sweep(tmp_path / "another") is None
    assert read_sweep(tmp_path / "model=unet" / "tiles") is None
    # Folders of one's own may lie in each other; of a sweep that seeks, every folder is a job.
    Sweep(["seed"], {"0/x": {"seed": 0}, "1/x": {"seed": 1}}).write(tmp_path)
    found = read_sweep(tmp_path / "1" / "x")
    assert found is not None
    assert found.own == {"seed": 1}
    assert read_sweep(tmp_path / "1") is None
    Sweep(["lr"], {}).write(tmp_path)
    assert read_sweep(tmp_path / "7") == Sweep(["lr"], {}, "7")
    assert read_sweep(tmp_path / "7" / "tiles") is None
    (tmp_path / "sweep.json").write_text('{"differs": 3}')
    assert read_sweep(tmp_path / "model=unet") is None
