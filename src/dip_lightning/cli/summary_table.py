"""The table at the end of a run."""

import shlex
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dip_lightning.names import counted
from dip_lightning.runs.checkpoint_file import find_checkpoint
from dip_lightning.runs.record import Summary, still_rises

# In dB: less is rounding.
_NEAR = 0.05

__all__ = ["print_job", "print_summary"]


def print_summary(summary: Summary, run_folder: Path, console: Console | None = None) -> None:
    """Print what a run reached and where its files are.

    Args:
        summary: The content of ``summary.json``.
        run_folder: The folder of the run.
        console: Where to print; None for standard output.
    """
    console = console or Console(emoji=False)
    table = Table(title=f"{summary['model']}, {summary['num_parameters']:,} parameters", title_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column("PSNR (dB)", justify="right")
    table.add_column("at iteration", justify="right")
    table.add_column("within 0.1 dB", justify="right")
    table.add_column("within 0.5 dB", justify="right")
    if summary["psnr_observation"] is not None:
        table.add_row("noisy image", f"{summary['psnr_observation']:.2f}", "", "", "")
    for peak, title in ((summary["one_pass"], "peak, one-pass"), (summary["averaged"], "peak, averaged")):
        if peak is not None:
            widths = [str(peak["plateau_0.1db"]), str(peak["plateau_0.5db"])]
            reached = f"{'≥ ' * still_rises(peak['peak_iteration'], summary['iterations'])}{peak['peak_psnr']:.2f}"
            table.add_row(title, reached, str(peak["peak_iteration"]), *widths)
    selected = summary["selected"]
    quality = "not measured" if selected["psnr"] is None else f"{selected['psnr']:.2f}"
    share = selected.get("nonlocal_means", 0.0)
    restored = f"restored, {share:.0%} non-local means" if share else "restored"
    if summary.get("tiles", {"done": 1})["done"]:
        table.add_row(restored, quality, str(selected["iteration"]), "", "")
    lost = selected.get("psnr_lost")
    if lost is not None:
        table.add_row("of it, what was lost", f"{lost:.2f}", "", "", "")
    console.print(table)
    told = f"{_work(summary)}, {_precisions(summary)} on {escape(summary['device'])}. {summary['stopping']['reason']}"
    console.print(told, soft_wrap=True, highlight=False)
    if summary["stopping"]["gap_db"] is not None:
        console.print(_distance(summary, summary["stopping"]["gap_db"]), soft_wrap=True, highlight=False)
    for remark in summary["remarks"]:
        console.print(f"Note: {escape(remark)}", soft_wrap=True, highlight=False)
    if summary["restores"]:
        console.print(f"Diverged and restored {counted(len(summary['restores']), 'time')}.", highlight=False)
    console.print(f"Run folder: {escape(str(run_folder))}", soft_wrap=True, highlight=False)
    goes_on = "tiles" in summary or find_checkpoint(run_folder) is not None
    if summary["signal"] is not None and goes_on:
        command = f"dip resume={shlex.quote(str(run_folder))}"
        console.print(f"To go on: {escape(command)}", soft_wrap=True, highlight=False)


def _work(summary: Summary) -> str:
    """How much was done, and how fast."""
    seconds, compiling = summary["seconds"], summary.get("seconds_compiling", 0)
    fits, tiles = "", summary.get("tiles")
    each = f"{summary['seconds_per_iteration']:.3f} s each"
    if tiles is not None:
        if not tiles["done"]:
            return f"No tile was finished in {seconds:.1f} s"
        fits = f"{counted(tiles['done'], 'tile')} of "
        each += " of a tile" + (" besides those that chose the iteration" if summary["stopping"]["picks"] else "")
    each += f" after {compiling:.1f} s of compiling" if compiling else ""
    return f"{fits}{counted(summary['iterations'], 'iteration')} in {seconds:.1f} s ({each})"


def _distance(summary: Summary, gap: float) -> str:
    """How far what is handed back lies from the best averaged output."""
    # Known pixels that are handed back as they were raise the picture, not the fit.
    averaged, best = summary["averaged"], summary["selected"]["psnr"]
    raised = averaged is not None and best is not None and best > averaged["peak_psnr"] + _NEAR
    mixed = summary["selected"].get("nonlocal_means", 0.0)
    # The average that is handed back of a short fit is a better one than that of the curves.
    far = f"{-gap:.2f} dB above" if gap < -_NEAR else f"{max(gap, 0):.2f} dB below"
    what = "What the fit gave" if mixed or (raised and gap >= -_NEAR) else "The restored picture"
    rises = averaged is not None and still_rises(averaged["peak_iteration"], summary["iterations"])
    rising = " so far: it was still rising, and has no peak yet" if rises else ""
    return f"{what} lies {far} the peak of the averaged output{rising}."


def _precisions(summary: Summary) -> str:
    """The precision that was asked for, and those that the guard went on in."""
    raised = [remedy["precision"] for remedy in summary.get("remedies", []) if "precision" in remedy]
    return ", then ".join([summary["precision"], *raised])


def print_job(title: str, summary: Summary, run_folder: Path) -> None:
    """Print what a job of a sweep reached, in one line.

    Args:
        title: Its number, from 0, and what tells it from the others.
        summary: The content of ``summary.json``.
        run_folder: The folder of the run.
    """
    averaged, selected = summary["averaged"], summary["selected"]
    parts = [f"{counted(summary['iterations'], 'iteration')} in {summary['seconds']:.1f} s"]
    if averaged is not None:
        best = f"{averaged['peak_psnr']:.2f} dB at {averaged['peak_iteration']}"
        rises = still_rises(averaged["peak_iteration"], summary["iterations"])
        parts.append(f"averaged output still rising, {best}" if rises else f"peak of the averaged output {best}")
    if selected["psnr"] is not None:
        parts.append(f"handed back {selected['psnr']:.2f} dB")
    if summary["restores"]:
        parts.append(f"diverged and restored {counted(len(summary['restores']), 'time')}")
    parts += [remark for remark in summary["remarks"] if remark.startswith("Unsure")]
    print(f"{title}: {', '.join(parts)}; {run_folder}", flush=True)
