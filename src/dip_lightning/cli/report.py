"""The command ``dip-report``."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dip_lightning.cli.one_line import OneLineParser, errors_in_one_line
from dip_lightning.config.paths import expand_home
from dip_lightning.errors import UserError
from dip_lightning.report.charts import draw_curves_of_groups, draw_factors
from dip_lightning.report.comparison import compare_groups
from dip_lightning.report.page import write_page
from dip_lightning.report.paper import as_in_the_paper
from dip_lightning.report.runs import find_runs, group_runs
from dip_lightning.report.table import explain_groups, make_rows, to_csv, to_latex, to_markdown
from dip_lightning.runs.written import hand_over

__all__ = ["main", "write_report"]

# What a terminal shows of the table; its files have all of it.
_FIRST = (
    *("setting", "runs", "one-pass (dB)", "averaged (dB)", "peak at", "handed back (dB)"),
    *("still rising", "unsure"),
)


def write_report(paths: list[Path], out: Path) -> list[Path]:
    """Write tables, figures and the page of some runs.

    Args:
        paths: Run folders, or folders that hold some.
        out: Where to write; made where it is missing. Only what reports have written there is written over.

    Returns:
        The files.

    Raises:
        UserError: There is no finished run, or a file in ``out`` is of another hand.
        OSError: The folder cannot be written.
    """
    return _write(paths, out)[0]


def _write(paths: list[Path], out: Path) -> tuple[list[Path], list[dict[str, str]], list[str]]:
    """Write a report; returns its files, the rows of its table, and the remarks below it."""
    found = find_runs(paths)
    runs = [run for run in found if run.is_complete]
    if not runs:
        told = f"{len(found)} interrupted {'run' if len(found) == 1 else 'runs'}"
        raise UserError(told, "some that came to their end", "start them again: they go on")
    groups = as_in_the_paper(group_runs(runs))
    rows, remarks = make_rows(groups), [*explain_groups(groups), *compare_groups(groups)]
    if cut := len(found) - len(runs):
        told = "1 run was" if cut == 1 else f"{cut} runs were"
        remarks.append(f"{told} interrupted and left out; started again, {'it goes' if cut == 1 else 'they go'} on")
    with TemporaryDirectory() as folder:
        made = Path(folder)
        tables = {"table.md": to_markdown(rows, remarks), "table.csv": to_csv(rows), "table.tex": to_latex(rows)}
        for name, text in tables.items():
            (made / name).write_text(text, encoding="utf-8")
        files = [*(made / name for name in tables), *draw_curves_of_groups(made, groups), *draw_factors(made, groups)]
        write_page(made / "report.html", groups, rows, remarks)
        return hand_over([*files, made / "report.html"], out), rows, remarks


def _print(rows: list[dict[str, str]], remarks: list[str]) -> None:
    """Print the columns of the table that are looked at first, where anything stands in them, and the remarks."""
    console, table = Console(emoji=False), Table()
    titles = [title for title in _FIRST if any(row.get(title, "") not in ("", "0") for row in rows)]
    for title in titles:
        table.add_column(title, justify="left" if title == "setting" else "right", overflow="fold")
    for row in rows:
        table.add_row(*(escape(row.get(title, "")) for title in titles))
    console.print(table, highlight=False)
    for remark in remarks:
        console.print(f"- {remark}", soft_wrap=True, highlight=False, markup=False)


def _path(text: str) -> Path:
    """A path of the command line; of ``--out=~/report`` no shell has made a home."""
    return Path(expand_home(text))


def main() -> NoReturn:
    """Run the command line.

    Raises:
        SystemExit: 0 after a report, 2 for a mistake of the user.
    """
    parser = OneLineParser(
        prog="dip-report",
        description="Compare finished runs: a table beside the paper's figures (Markdown, CSV, LaTeX), PSNR over "
        "iterations, one figure for each setting that differs, and a page with the pictures. Runs that differ only in "
        "the seed are taken together.",
    )
    parser.add_argument("runs", nargs="+", type=_path, help="run folders, or folders that hold some: outputs")
    parser.add_argument("--out", type=_path, default=Path("outputs/report"), help="where to write (outputs/report)")
    with errors_in_one_line("dip-report"):
        options = parser.parse_args()
        written, rows, remarks = _write(options.runs, options.out)
        _print(rows, remarks)
        print("\n".join(str(path) for path in written))
    sys.exit(0)
