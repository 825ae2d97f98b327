"""A sweep that is a union of products, which Hydra's own sweeper cannot say."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from dip_lightning.config.early import check_early
from dip_lightning.errors import JobsFailedError, UserError
from dip_lightning.runs.sweep import Sweep, differing, job_names
from dip_lightning.runs.written import check_sweep

__all__ = ["BlockSweeper"]


class BlockSweeper(Sweeper):
    """Hydra's basic sweep, with ``blocks``: each is a product of settings, and the jobs are those of all blocks.

    ``params`` and the command line multiply every block. What the command line sets wins over a block, and jobs that
    come out alike are run once.
    """

    def __init__(
        self,
        params: Mapping[str, Any] | None = None,
        blocks: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Take the sweep of the configuration.

        Args:
            params: Values by key, ``{"model": "unet,resnet"}``.
            blocks: Further products of this kind, by names that only help the reader.
        """
        self.params = dict(params or {})
        self.blocks = [dict(block) for block in (blocks or {}).values()]
        self.launcher: Launcher | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Prepare the launcher; Hydra calls this."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Sequence[JobReturn]:
        """Run every job.

        Args:
            arguments: The overrides of the command line.

        Returns:
            What the jobs returned.

        Raises:
            JobsFailedError: A job ended with another exit code than 0.
        """
        assert self.launcher is not None
        assert self.hydra_context is not None
        assert self.config is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        jobs = self.make_jobs(parser, arguments)
        # A mistake in any of them shows before the first is run.
        subfolders = [self._check(number, job) for number, job in enumerate(jobs)]
        folder = Path(self.config.hydra.sweep.dir)
        check_sweep(folder, subfolders if self._names_folders() else ())
        folder.mkdir(parents=True, exist_ok=True)
        jobs = self._named(jobs, subfolders, parser, folder)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        returned = self.launcher.launch(jobs, initial_job_idx=0)
        codes = [job.return_value for job in returned]
        if any(codes):
            raise JobsFailedError(codes)
        return returned

    def make_jobs(self, parser: OverridesParser, arguments: list[str]) -> list[list[str]]:
        """Make the jobs.

        Args:
            parser: Of overrides.
            arguments: The overrides of the command line.

        Returns:
            Each job as a list of ``key=value``.
        """
        jobs: dict[tuple[str, ...], list[str]] = {}
        for block in self.blocks or [{}]:
            settings = [f"{key}={'null' if value is None else value}" for key, value in (block | self.params).items()]
            # Of two overrides of one key the later wins, and stands where the earlier stood.
            choices = {
                override.get_key_element(): _choices(override)
                for override in parser.parse_overrides([*settings, *arguments])
            }
            for job in itertools.product(*choices.values()):
                jobs.setdefault(tuple(sorted(job)), list(job))
        return list(jobs.values())

    def _check(self, number: int, job: list[str]) -> str:
        """Refuse a job that cannot be run; returns what its folder would be called if it were not given a name."""
        assert self.config is not None
        assert self.hydra_context is not None
        cfg = self.hydra_context.config_loader.load_sweep_config(self.config, job)
        with open_dict(cfg.hydra.job):
            cfg.hydra.job.num, cfg.hydra.job.id = number, str(number)
        subfolder = str(cfg.hydra.sweep.subdir)
        with open_dict(cfg):
            del cfg["hydra"]
        check_early(cfg)
        return subfolder

    def _names_folders(self) -> bool:
        """Whether the user has said what the folders of the jobs are called."""
        assert self.config is not None
        section = OmegaConf.to_container(self.config.hydra, resolve=False)
        assert isinstance(section, dict)
        given = any(line.startswith("hydra.sweep.subdir=") for line in section["overrides"]["hydra"])
        return given or str(section["sweep"]["subdir"]) != _NUMBER

    def _named(
        self, jobs: list[list[str]], subfolders: list[str], parser: OverridesParser, folder: Path
    ) -> list[list[str]]:
        """Give each job the name of its folder, and write down in the sweep's what tells the jobs apart.

        A sweep that was begun when jobs had numbers goes on with numbers, and one that was asked for other names has
        those.
        """
        assert self.config is not None
        parsed = [{_key(override): override for override in parser.parse_overrides(job)} for job in jobs]
        texts = [{key: _text(override) for key, override in job.items()} for job in parsed]
        names, keys = job_names(texts), differing(texts)
        if self._names_folders():
            names = subfolders
        elif any(_is_of(folder / str(number), job) for number, job in enumerate(jobs)):
            names = [str(number) for number in range(len(jobs))]
        check_sweep(folder, names)
        choices = self.config.hydra.runtime.choices  # what a job has of a group that only others choose from
        settings = [
            {key: _value(job[key]) if key in job else choices[key] for key in keys if key in job or key in choices}
            for job in parsed
        ]
        Sweep(keys, dict(zip(names, settings, strict=True))).write(folder)
        if self._names_folders():
            return jobs
        return [[*job, f"hydra.sweep.subdir='{name}'"] for job, name in zip(jobs, names, strict=True)]


# Where Hydra puts a job unless it is told otherwise.
_NUMBER = "${hydra.job.num}"


def _is_of(folder: Path, job: list[str]) -> bool:
    """Whether a folder holds the run of a job."""
    try:
        overrides = yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return False
    return isinstance(overrides, list) and sorted(map(str, overrides)) == sorted(job)


def _key(override: Override) -> str:
    return str(override.get_key_element()).lstrip("+~")


def _text(override: Override) -> str:
    """A value as it is written, without quotes."""
    value = override.value()
    return value if isinstance(value, str) else str(override.get_value_element_as_str())


def _value(override: Override) -> Any:
    """A value as JSON can say it."""
    value = override.value()
    return value if value is None or isinstance(value, (bool, int, float, str)) else _text(override)


def _choices(override: Override) -> list[str]:
    """What an override makes of its key in one job after another."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if not override.is_discrete_sweep():
        raise UserError(f"{override.input_line}", "values to go through", f"try {key}=1,2,3")
    return [f"{key}={value}" for value in override.sweep_string_iterator()]
