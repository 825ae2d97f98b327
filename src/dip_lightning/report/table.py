"""The table of a report: one row a group of runs, beside the paper's figures, as Markdown, CSV and LaTeX."""

import csv
import io
from dataclasses import dataclass
from statistics import fmean, stdev

from dip_lightning.report.paper import published_for
from dip_lightning.report.runs import Group

__all__ = ["Spread", "explain_groups", "make_rows", "to_csv", "to_latex", "to_markdown"]

# Path in summary.json, title, and number of decimals of each column of measured figures.
_COLUMNS: tuple[tuple[tuple[str, ...], str, int], ...] = (
    (("one_pass", "peak_psnr"), "one-pass (dB)", 2),
    (("eval", "peak_psnr"), "evaluation mode (dB)", 2),
    (("averaged", "peak_psnr"), "averaged (dB)", 2),
    (("averaged", "peak_iteration"), "peak at", 0),
    (("averaged", "plateau_0.1db"), "within 0.1 dB", 0),
    (("averaged", "plateau_0.5db"), "within 0.5 dB", 0),
    (("selected", "psnr"), "handed back (dB)", 2),
    (("seconds_per_iteration",), "s / iteration", 4),
    (("peak_memory_mb",), "memory (MB)", 0),
)


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of some values.

    Attributes:
        mean: Their mean.
        deviation: Their standard deviation; None of a single value.
        count: How many there are.
    """

    mean: float
    deviation: float | None
    count: int

    @classmethod
    def of(cls, values: list[float]) -> "Spread | None":
        """Return the spread of some values, None of none."""
        if not values:
            return None
        return cls(fmean(values), stdev(values) if len(values) > 1 else None, len(values))

    def text(self, decimals: int) -> str:
        """Write ``30.12 ± 0.04``, or the mean alone."""
        mean = f"{self.mean:.{decimals}f}"
        return mean if self.deviation is None else f"{mean} ± {self.deviation:.{decimals}f}"


def make_rows(groups: list[Group]) -> list[dict[str, str]]:
    """Make the rows of the table, every cell as text; empty where nothing was measured.

    Args:
        groups: Runs that belong together.
    """
    rows = []
    for group in groups:
        summary = group.runs[0].summary
        row = {
            "setting": group.label,
            "runs": str(len(group.runs)),
            "parameters": f"{summary.get('num_parameters', 0):,}",
        }
        for keys, title, decimals in _COLUMNS:
            spread = Spread.of(group.figures(*keys))
            at_least = (
                "≥ " if keys[1:] == ("peak_psnr",) and any(run.still_rising(keys[0]) for run in group.runs) else ""
            )
            row[title] = "" if spread is None else at_least + spread.text(decimals)
        row["fall to the end (dB)"] = _fall(group)
        row["still rising"] = str(sum(run.still_rising("averaged") for run in group.runs))
        row["unsure"] = str(sum(bool((run.summary.get("stopping") or {}).get("unsure")) for run in group.runs))
        row["restored after a divergence"] = str(sum(len(run.summary.get("restores") or ()) for run in group.runs))
        published = published_for(group)
        for title, key in (("one-pass", "one_pass"), ("averaged", "averaged")):
            own = Spread.of(group.figures(key, "peak_psnr"))
            rising = any(run.still_rising(key) for run in group.runs)
            theirs = None if published is None or rising else getattr(published, key)
            row[f"paper, {title}"] = "" if theirs is None else f"{theirs:.2f}"
            row[f"difference, {title}"] = "" if theirs is None or own is None else f"{own.mean - theirs:+.2f}"
        rows.append(row)
    # The paper's columns where the paper has something to say.
    optional = ("paper, ", "difference, ")
    empty = {title for row in rows for title in row if title.startswith(optional) and not any(r[title] for r in rows)}
    return [{title: cell for title, cell in row.items() if title not in empty} for row in rows]


def _fall(group: Group) -> str:
    peaks, ends = group.figures("averaged", "peak_psnr"), group.figures("averaged", "final_psnr")
    spread = Spread.of([peak - end for peak, end in zip(peaks, ends, strict=False)])
    return "" if spread is None else spread.text(2)


def explain_groups(groups: list[Group]) -> list[str]:
    """Say what the names of the groups leave out, and which figures are none of a peak.

    Args:
        groups: Runs that belong together.

    Returns:
        Sentences; none where there is nothing to say.
    """
    usual: dict[str, dict[str, str]] = {}
    for group in groups:
        names = usual.setdefault(str(group.runs[0].summary["model"]), {})
        names |= {key.removeprefix("model."): str(value) for key, value in group.usual.items()}
    told = [
        f"{model}: where nothing else is said, {', '.join(f'{key} {value}' for key, value in names.items())}"
        for model, names in usual.items()
        if names
    ]
    if any(run.still_rising("averaged") for group in groups for run in group.runs):
        told.append("≥: the output was still rising at the last iteration; it has no peak yet, and is not compared")
    return told


def to_markdown(rows: list[dict[str, str]], remarks: list[str]) -> str:
    """Write the rows as a Markdown table, and the remarks below it as a list."""
    lines = ["| " + " | ".join(rows[0]) + " |", "| --- " * len(rows[0]) + "|"]
    lines += ["| " + " | ".join(_for_markdown(cell) for cell in row.values()) + " |" for row in rows]
    lines += ["", *(f"- {_for_markdown(remark)}" for remark in remarks)] if remarks else []
    return "\n".join(lines) + "\n"


def _for_markdown(cell: str) -> str:
    return " ".join(cell.replace("|", "\\|").replace("<", "&lt;").split())


def to_csv(rows: list[dict[str, str]]) -> str:
    """Write the rows as CSV with plain numbers; standard deviations have columns of their own, ``…, sd``."""
    spread = {title for row in rows for title, cell in row.items() if " ± " in cell and title != "setting"}
    plain = []
    for row in rows:
        cells: dict[str, str] = {}
        for title, cell in row.items():
            if title == "setting":
                cells[title] = _for_spreadsheet(cell)
                continue
            cells[title], _, deviation = cell.removeprefix("≥ ").replace(",", "").partition(" ± ")
            if title in spread:
                cells[f"{title}, sd"] = deviation
        plain.append(cells)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(plain[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(plain)
    return text.getvalue()


def _for_spreadsheet(cell: str) -> str:
    """What comes from files of others is text, even where a spreadsheet would compute it."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else cell


_LATEX = {
    "\\": r"\textbackslash{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "σ": r"$\sigma$",
    "≥": r"$\geq$",
}


def to_latex(rows: list[dict[str, str]]) -> str:
    """Write the rows as a LaTeX ``tabular`` with the rules of booktabs."""

    def line(cells: list[str]) -> str:
        return " & ".join("".join(_LATEX.get(char, char) for char in cell) for cell in cells) + r" \\"

    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{tabular}{l" + "r" * (len(rows[0]) - 1) + "}",
            r"\toprule",
            line(list(rows[0])),
            r"\midrule",
            *(line(list(row.values())) for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )
