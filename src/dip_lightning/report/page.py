"""The page of a report: one HTML file that needs nothing else, neither network nor neighbours."""

import base64
import html
import io
import json
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dip_lightning.names import printable
from dip_lightning.report.charts import COLOURS
from dip_lightning.report.runs import Group, Run
from dip_lightning.runs.record import PREVIEW
from dip_lightning.runs.sweep import read_sweep

__all__ = ["write_page"]

_POINTS = 400  # of a curve; a screen shows no more
_LONGEST_SIDE = 640  # of an embedded picture, in pixels
_MOST_PICTURES = 60  # runs with pictures; beyond, the page would be too large to open
# The columns that stand there at first, ten at most; the others are behind a switch.
_FIRST = (
    *("setting", "runs", "parameters", "one-pass (dB)", "evaluation mode (dB)", "averaged (dB)", "peak at"),
    *("within 0.5 dB", "handed back (dB)", "unsure"),
)
# Groups of one colour are told apart by their dashes, in pixels; the first is drawn through.
_DASHES = ("", "8 4", "2 4", "10 3 2 3", "14 4", "4 8", "10 3 2 3 2 3", "1 7", "16 3 4 3")


def write_page(path: Path, groups: list[Group], rows: list[dict[str, str]], remarks: list[str]) -> None:
    """Write the page: table, curves with values at the pointer, and for each run its pictures, settings and versions.

    Everything that comes from a run (names of files, settings) is escaped.

    Args:
        path: The HTML file.
        groups: Runs that belong together.
        rows: The table, see :func:`dip_lightning.report.table.make_rows`.
        remarks: Sentences that stand below the table.
    """
    runs = [(index, group, run) for index, group in enumerate(groups) for run in group.runs]
    titles = _titles([(group, run) for _, group, run in runs])
    curves = [_curves(index, title, run) for title, (index, _, run) in zip(titles, runs, strict=True)]
    cards = [
        _card(title, run, with_pictures=place < _MOST_PICTURES)
        for place, (title, (_, _, run)) in enumerate(zip(titles, runs, strict=True))
    ]
    page = Template(files("dip_lightning.report").joinpath("page.html").read_text(encoding="utf-8")).substitute(
        count=len(runs),
        table=_table(rows),
        remarks="".join(f"<li>{html.escape(remark)}</li>" for remark in remarks),
        curves=_for_script([curve for curve in curves if curve["averaged"]]),
        runs="\n".join(cards),
    )
    path.write_text(page, encoding="utf-8")


def _for_script(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _table(rows: list[dict[str, str]]) -> str:
    def kind(title: str) -> str:
        return "" if title in _FIRST else ' class="more"'

    head = "".join(f"<th{kind(title)}>{html.escape(title)}</th>" for title in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td{kind(title)}>{html.escape(cell)}</td>" for title, cell in row.items()) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _curves(index: int, title: str, run: Run) -> dict[str, Any]:
    """The curves of a run, thinned, for the script."""
    length = max((len(curve) for curve in run.curves.values()), default=0)
    step = max(1, length // _POINTS)
    stopping = run.summary.get("stopping") or {}
    return {
        "label": title,
        "colour": COLOURS[index % len(COLOURS)],
        "dashes": _DASHES[index // len(COLOURS) % len(_DASHES)],
        "step": step,
        "averaged": _thinned(run.curves.get("psnr_averaged"), step),
        "onePass": _thinned(run.curves.get("psnr_one_pass"), step),
        "detected": None if stopping.get("rule") in (None, "none") else run.figure("stopping", "iteration"),
    }


def _thinned(curve: NDArray[np.floating] | None, step: int) -> list[float | None]:
    if curve is None or not np.isfinite(curve).any():
        return []
    return [round(float(value), 3) if np.isfinite(value) else None for value in curve[::step]]


def _titles(runs: list[tuple[Group, Run]]) -> list[str]:
    """What the runs are called: as their folders where all are of one sweep, else by what tells their groups apart."""
    names = [run.folder.name for _, run in runs]
    of_one = len({run.folder.parent for _, run in runs}) == 1
    if of_one and all("=" in name and read_sweep(run.folder) for name, (_, run) in zip(names, runs, strict=True)):
        return names
    return [
        group.label if len(group.runs) == 1 else f"{group.label}, seed {run.summary.get('seed')}" for group, run in runs
    ]


def _card(title: str, run: Run, *, with_pictures: bool) -> str:
    """The pictures, settings and versions of a run."""
    summary = run.summary
    stopping = summary.get("stopping") or {}
    facts = {
        "folder": run.folder,
        "image": summary.get("image"),
        "network": f"{summary.get('model')}, {summary.get('num_parameters', 0):,} parameters",
        "time": f"{summary.get('seconds')} s, {summary.get('iterations')} iterations on {summary.get('device')}",
        "commit": summary.get("git_commit") or "not known",
    }
    pictures = _slider(run) if with_pictures else ""
    stopped = f"{stopping.get('reason')} Handed back: iteration {stopping.get('iteration')}"
    unsure = stopping.get("unsure")
    doubt = f'<p class="unsure">Unsure. {_escaped(unsure)}</p>' if unsure else ""
    name = html.escape(title)
    return (
        f'<section class="run" title="{name}"><h3>{name}</h3>{pictures}<p>{_escaped(stopped)}</p>{doubt}'
        f"{_details('about', facts)}{_details('settings', run.settings)}"
        f"{_details('versions', summary.get('versions') or {})}</section>"
    )


def _escaped(value: Any) -> str:
    return html.escape(printable(str(value)))


def _details(title: str, values: dict[str, Any]) -> str:
    lines = "".join(f"<tr><td>{_escaped(key)}</td><td>{_escaped(value)}</td></tr>" for key, value in values.items())
    return f"<details><summary>{title}</summary><table>{lines}</table></details>"


def _slider(run: Run) -> str:
    """Before and after, one above the other, with a slider between them; nothing where a picture is missing."""
    before = _embedded(run.folder / "observation.png")
    restored = [*run.folder.glob(PREVIEW), *sorted(run.folder.glob("restored.*"))]
    after = _embedded(restored[0]) if restored else None
    if before is None or after is None:
        return ""
    return (
        f'<div class="pair"><img alt="restored" src="{after}"><img class="before" alt="noisy" src="{before}">'
        '<input type="range" min="0" max="100" value="50" aria-label="how much of the noisy picture is shown"></div>'
    )


def _embedded(path: Path) -> str | None:
    """A picture as a data URI, reduced where it is large; None where it cannot be read."""
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):  # 16 bits, which browsers would have as they are and JPEG would not
                shown = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
            else:
                shown = image.convert("RGB")
            shown.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
            file = io.BytesIO()
            shown.save(file, "JPEG", quality=92)
    except (OSError, ValueError):
        return None
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
