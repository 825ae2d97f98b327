"""A folder of pictures: each is fitted by itself, in a run folder of its own."""

import logging
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape

from dip_lightning.data import SUFFIXES
from dip_lightning.data.folder import find_pictures
from dip_lightning.errors import UserError
from dip_lightning.fitting.fit import FitResult
from dip_lightning.fitting.resume_check import read_digest, resumable
from dip_lightning.names import printable
from dip_lightning.runs.lock import HeldError, hold
from dip_lightning.runs.record import Summary, is_worse, read_summary
from dip_lightning.runs.status import is_finished
from dip_lightning.runs.written import check_copies, copy_own
from dip_lightning.workflows.restore import fit

__all__ = ["FolderResult", "restore_folder", "tell", "tell_one"]

log = logging.getLogger(__name__)

# Where the results of a folder lie side by side, under the names of its pictures.
RESTORED = "restored"


@dataclass
class FolderResult:
    """What became of the pictures of a folder.

    Attributes:
        restored: Names of the pictures that were fitted now.
        present: Names of those that an earlier start had finished.
        unsure: Why some are not to be trusted, by name.
        worse: Names of those that came out worse than they were.
        failed: What was wrong with the others, by name.
        elsewhere: Who is at those that another run is fitting now, by name.
        total: How many pictures the folder has.
        signal: The number of the signal that ended it early, or None.
    """

    restored: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    unsure: dict[str, str] = field(default_factory=dict)
    worse: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)
    total: int = 0
    signal: int | None = None

    def find(self, name: str, place: Path) -> None:
        """Take note of a picture whose finished run is there already."""
        self.present.append(name)
        summary = read_summary(place)
        if unsure := summary.get("stopping", {}).get("unsure"):  # which a record of an older version may lack
            self.unsure[name] = unsure
        if is_worse(summary):
            self.worse.append(name)

    def take(self, name: str, fitted: FitResult) -> None:
        """Take note of a picture that was fitted now, or begun and interrupted."""
        unsure = fitted.summary["stopping"]["unsure"]
        if unsure:
            self.unsure[name] = unsure
        if fitted.is_worse:
            self.worse.append(name)
        if fitted.signal is None:
            self.restored.append(name)
        else:
            self.signal = fitted.signal


def restore_folder(cfg: DictConfig, run_folder: Path, console: Console | None = None) -> FolderResult:
    """Fit every picture of the folder that ``cfg.image.path`` names; one that fails does not stop the others.

    A picture that has a finished run in ``run_folder``, of the same pixels, is passed over, and one that another run
    is fitting there at this moment is left to that: the same command started twice shares the pictures.

    Args:
        cfg: The composed configuration. ``image.clean`` may name a folder with clean pictures of the same names.
        run_folder: Where each picture gets a run folder of its name.
        console: Where to tell about each picture; None for standard output.

    Returns:
        What became of them.

    Raises:
        UserError: The folder holds no picture, or a result would be copied over a file that no run has written.
    """
    console = console or Console(emoji=False)
    if cfg.image.page == "all" or cfg.image.bands == "each":
        raise UserError("a folder with image.page=all or image.bands=each", "one file", "name one of its files")
    pictures = find_pictures(Path(cfg.image.path))
    clean = None if cfg.image.clean is None else Path(cfg.image.clean)
    if clean is not None and not clean.is_dir():
        raise UserError(f"image.clean={clean}", "a folder too, since image.path is one", "leave image.clean out")
    _check_copies(cfg, pictures, clean, run_folder)
    result = FolderResult(total=len(pictures))
    waiting = list(enumerate(pictures, 1))
    while waiting:
        before, waiting = waiting, []
        for number, picture in before:
            # TensorBoard writes to folders of UTF-8 names alone.
            title, place = f"{number}/{len(pictures)} {printable(picture.name)}", run_folder / printable(picture.name)
            try:
                with hold(place):
                    result.elsewhere.pop(picture.name, None)
                    _restore_one(cfg, picture, place, clean, title, result, console)
            except HeldError as error:
                result.elsewhere[picture.name] = error.holder
                waiting.append((number, picture))
            except OSError as error:
                result.failed[picture.name] = f"{place} cannot be made ({error.strerror or error})"
            if result.signal is not None:
                return result
        if len(waiting) == len(before):  # all that are left are being fitted by others; of one that died none is
            break
    return result


def _restore_one(
    cfg: DictConfig, picture: Path, place: Path, clean: Path | None, title: str, result: FolderResult, console: Console
) -> None:
    """Fit one picture of a folder, unless that has been done, and note what became of it."""
    truth = None if clean is None else clean / picture.name
    if _is_done(cfg, picture, place, truth):
        result.find(picture.name, place)
        _put_beside(picture.name, place, result)
        return
    try:
        fitted = _fit_one(cfg, picture, place, truth, title)
    except UserError as error:
        result.failed[picture.name] = str(error)
        return
    except Exception as error:  # whatever is wrong with one picture, the others are still to be done
        log.exception("%s failed", picture.name)
        result.failed[picture.name] = f"{type(error).__name__}: {error}"
        return
    result.take(picture.name, fitted)
    if fitted.signal is None:
        _put_beside(picture.name, place, result)
    tell_one(console, title, fitted.summary)


def _is_done(cfg: DictConfig, picture: Path, place: Path, truth: Path | None) -> bool:
    return is_finished(place, cfg, partial(read_digest, cfg, image=picture, clean=truth))


def _check_copies(cfg: DictConfig, pictures: list[Path], clean: Path | None, run_folder: Path) -> None:
    """Refuse what could not be copied after a fit; of a picture that needs none it is told when its turn comes."""
    for picture in pictures:
        name, truth = printable(picture.name), None if clean is None else clean / picture.name
        endings = ("", *SUFFIXES.values())  # what is in a file, its name need not say
        try:
            check_copies([run_folder / RESTORED / f"{name}{ending}" for ending in endings], run_folder)
        except UserError:
            if not _is_done(cfg, picture, run_folder / name, truth):
                raise


def _put_beside(name: str, place: Path, result: FolderResult) -> None:
    """Copy what was restored to the folder of all, under the picture's own name."""
    for restored in place.glob("restored.*"):
        same = restored.suffix.lower() == Path(name).suffix.lower()
        copy = place.parent / RESTORED / printable(name if same else f"{name}{restored.suffix}")
        try:
            copy_own(restored, copy)
        except UserError as error:
            result.failed[name] = str(error)
        except OSError as error:
            result.failed[name] = f"{copy} cannot be written ({error.strerror or error})"


def tell_one(console: Console, title: str, summary: Summary) -> None:
    """Tell in a line what became of one picture of several.

    Args:
        console: Where.
        title: Which picture.
        summary: The content of its ``summary.json``.
    """
    stopping = summary["stopping"]
    quality = "" if stopping["psnr"] is None else f", {stopping['psnr']:.2f} dB"
    console.print(
        f"{escape(title)}: σ = {summary['sigma']:.1f}, iteration {stopping['iteration']} of {summary['iterations']}"
        f"{quality}",
        soft_wrap=True,
        highlight=False,
    )


def _fit_one(cfg: DictConfig, picture: Path, place: Path, truth: Path | None, title: str) -> FitResult:
    """Fit one picture of a folder."""
    if truth is not None and not truth.is_file():
        raise UserError(f"no clean picture {truth}", "one for each picture in image.clean", "add it")
    one = deepcopy(cfg)
    if one.callbacks.get("fit_progress"):
        one.callbacks.fit_progress.title = title
    return fit(one, place, image=picture, clean=truth, resume=resumable(place, one, image=picture, clean=truth))


def tell(result: FolderResult, run_folder: Path, what: str = "pictures") -> Iterator[str]:
    """Compose the lines that end a folder: how many, which failed and why, where the files are.

    Args:
        result: What became of them.
        run_folder: Where the files are.
        what: What they are.
    """
    before = f", {len(result.present)} of them before" if result.present else ""
    yield f"{len(result.restored) + len(result.present)} of {result.total} {what} restored{before}."
    for name, doubt in result.unsure.items():
        yield f"Unsure of {printable(name)}: {doubt}"
    if result.worse:
        yield f"Worse than before: {', '.join(map(printable, result.worse))}"
    if result.elsewhere:
        holders = ", ".join(sorted(set(result.elsewhere.values())))
        yield f"{len(result.elsewhere)} more are being restored by another run ({holders})."
    # A mistake in the settings is the same for every picture, and told once.
    alike: dict[str, list[str]] = {}
    for name, problem in result.failed.items():
        alike.setdefault(problem, []).append(name)
    for problem, names in alike.items():
        yield f"Failed, {printable(', '.join(names[:5]))}{' …' if len(names) > 5 else ''}: {problem}"
    if result.signal is not None:
        yield "Interrupted; the same command goes on with the picture it stopped at."
    if (run_folder / RESTORED).is_dir():
        yield f"Restored pictures: {printable(str(run_folder / RESTORED))}"
    yield f"Run folder: {printable(str(run_folder))}"
