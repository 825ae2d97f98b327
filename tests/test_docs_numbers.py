"""Every number in a table of docs/results/ is that of its CSV, rounded to the digits shown.

The first CSV that is linked after a table, before the next table or heading, is the table's. ``READERS`` says of each
CSV what its table shows: the labels at the beginning of each row, and the cells behind them.
"""

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
Cell = str | float | tuple[float, ...]
Rows = dict[tuple[str, ...], list[Cell]]

# Tables of these sections hold no measurement of their own: what is still to be done, and words on the tables below.
WITHOUT_A_CSV_OF_THEIR_OWN = {"Pending", "Answers"}
NO_CSV = "in no CSV"  # what a section says of figures that were not kept in a file


@dataclass(frozen=True)
class Table:
    page: Path
    heading: str
    rows: list[list[str]]
    behind: str  # the text up to the next table or heading

    @property
    def csv(self) -> Path | None:
        link = re.search(r"\]\(([^)]+\.csv)\)", self.behind)
        return (self.page.parent / link[1]).resolve() if link else None

    def __str__(self) -> str:
        return f"{self.page.name}: {self.heading}: {self.rows[0][0]}"


def tables(page: Path) -> Iterator[Table]:
    """The tables of a page in Markdown, without the lines of dashes below their headers."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for section in re.split(r"^#+ ", text, flags=re.MULTILINE)[1:]:
        heading = section.split("\n", 1)[0]
        pieces = re.split(r"((?:^\|.*\n)+)", section, flags=re.MULTILINE)
        for table, behind in zip(pieces[1::2], pieces[2::2], strict=True):
            cells = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in table.splitlines()]
            yield Table(page, heading, [cells[0], *cells[2:]], behind)


def numbers(cell: str) -> list[str]:
    return [n.replace(",", "").replace("−", "-") for n in re.findall(r"[-−+]?\d[\d,]*(?:\.\d+)?", cell)]


def matches(shown: str, value: float) -> bool:
    digits = len(shown.partition(".")[2])
    return abs(float(shown) - value) <= 0.5 * 10**-digits + 1e-9


def cell_is(shown: str, expected: Cell) -> bool:
    if isinstance(expected, str):
        return shown.replace("*", "") == expected
    values = expected if isinstance(expected, tuple) else (expected,)
    found = numbers(shown)
    return len(found) == len(values) and all(map(matches, found, values))


def is_or_says_more(shown: str, label: str) -> bool:
    return f"{shown},".startswith(f"{label},")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def number(text: str) -> tuple[float, ...]:
    """One value, or a mean and its spread."""
    return tuple(float(part.replace(",", "")) for part in text.split("±"))


def first_fits(path: Path) -> Rows:
    rows: Rows = {}
    for name, label, seed in (
        ("unet-p0", "unet, p = 0", "0"),
        ("resunet-p0", "resunet, p = 0", "0"),
        ("resunet-p0.1", "resunet, p = 0.1", "0"),
        ("resunet-p0.1-seed1", "resunet, p = 0.1", "1"),
    ):
        curves = read(path.parent / f"{name}.csv")
        one_pass, averaged = ([float(row[f"psnr_{kind}"]) for row in curves] for kind in ("one_pass", "averaged"))
        peak = max(averaged)
        near = tuple(float(sum(value >= peak - d for value in averaged)) for d in (0.1, 0.5))
        evaluated = max(float(row["psnr_eval"]) for row in curves if row["psnr_eval"])
        rows[label, seed, "20.31"] = [  # the noisy picture's PSNR is in no curve
            *(max(one_pass), one_pass.index(max(one_pass)), peak, averaged.index(peak)),
            *(near, evaluated, averaged[-1]),
        ]
    return rows


def setting(name: str) -> str:
    """A row's name in a report as the pages write it."""
    name = name.replace("channels [16, 32, 64, 128, 128]", "16, 32, 64, 128, 128 channels from the outermost level in")
    for word, written in (
        (", channels 128", ""),
        ("residual False", "without shortcuts"),
        ("dropout_kind channel", "whole channels"),
        ("skip_channels 0", "no skips"),
        ("skip_channels 4", "skips of 4 channels"),
        ("dropout 0.0", "dropout 0"),
    ):
        name = re.sub(f"{re.escape(word)}(?!\\d)", written, name)
    return name


def report(*columns: str) -> Callable[[Path], Rows]:
    """What a table shows of a table.csv of dip-report: "a; b" is two columns in one cell, peaks have their spread."""
    wanted = [name for column in columns for name in column.split("; ")]

    def rows(path: Path) -> Rows:
        found: Rows = {}
        for row in read(path):
            values = {name: number(row[name])[: None if name in PEAKS else 1] for name in wanted}
            found[(setting(row["setting"]),)] = [
                tuple(v for name in column.split("; ") for v in values[name]) for column in columns
            ]
        return found

    return rows


PEAKS = ("one-pass (dB)", "evaluation mode (dB)", "averaged (dB)")
CURVE = ("peak at", "within 0.1 dB; within 0.5 dB")
FALL = "fall to the end (dB)"


def table1(path: Path) -> Rows:
    rows = report(*PEAKS, *CURVE, FALL, "s / iteration")(path)
    rows["unet",][-1] = "other work ran"
    return rows


def precisions(path: Path) -> Rows:
    fits = {(row["model"], row["precision"], row["lr"]): row for row in read(path)}
    models = {"unet": "U-net", "resunet": "residual U-net, p = 0.1", "resnet": "ResNet"}
    kinds = {"fp64": "float64", "fp32": "float32", "bf16": "bf16"}
    rows: Rows = {}
    for (model, precision, lr), slow in fits.items():
        if lr != "0.01":
            continue
        fast = fits[model, precision, "0.1"]
        drops, at = int(fast["drops"]), fast["drops at"].split()
        guard: Cell = ""
        if fast["remedies"]:
            rate, iteration = re.findall(r"[\d.]+", fast["remedies"])
            guard = (drops, float(rate), int(iteration))
        elif drops:
            guard = tuple(float(one) for one in at)
        last = (float(slow["last averaged (dB)"]), float(fast["last averaged (dB)"]))
        recovered: Cell = drops if drops and fast["iterations"] == "300" else ""
        rows[models[model], kinds[precision]] = [float(slow["drops"]), drops, recovered, guard, last]
    return rows


def stopping_rules(path: Path) -> Rows:
    groups = {(row["group"], row["rule"]): row for row in read(path)}
    rows: Rows = {}
    for (group, rule), every in groups.items():
        if group == "all":
            target = groups["target", rule]
            gaps = [(float(g["mean_gap"]), float(g["worst_gap"])) for g in (target, every)]
            fits, sure, saved = (float(every[k]) for k in ("fits", "above_1db_and_sure", "mean_saved"))
            rows[(rule,)] = [gaps[0], (*gaps[1], fits), sure, saved]
    return rows


def stopping_cases(path: Path) -> Rows:
    rows: Rows = {}
    cases = {(row["network"], row["noise"], row["image"], row["rule"]): row for row in read(path)}
    for (network, noise, image, rule), row in cases.items():
        if rule != "vote":
            continue
        others = [cases.get((network, noise, image, r)) for r in ("wmv", "wmv, plain", "emv", "holdout", "sure")]
        rows[network, noise, image] = [
            *(float(row["psnr_noisy"]), float(row["peak"]), float(row["peak_iteration"])),
            (float(row["detected"]), float(row["gap"])),
            "yes" if row["unsure"] == "True" else "",
            *(float(other["gap"]) if other else "abstains" for other in others),
        ]
    return rows


def stopping_cost(path: Path) -> Rows:
    columns = ("peak_untouched", "peak_with_rules", "cost")
    return {(f"{row['network']}, {row['image']}",): [float(row[c]) for c in columns] for row in read(path)}


def seams(path: Path) -> Rows:
    rows: Rows = {}
    for row in read(path):
        iterations = [float(one) for one in row["iterations"].split()]
        span = iterations[0] if len(iterations) == 1 else (min(iterations), max(iterations))
        roughness = tuple(float(row[f"roughness_{k}_db"]) for k in ("mean", "worst") if row[f"roughness_{k}_db"])
        difference: Cell = float(row["difference"]) if row["difference"] else ""
        rows[row["picture"], row["tiles"]] = [span, float(row["psnr"]), difference, roughness or ""]
    return rows


def as_it_is(labels: int) -> Callable[[Path], Rows]:
    """A table that shows a CSV as it is: so many columns of labels, and figures or words behind them."""

    def cell(text: str) -> Cell:
        try:
            return float(text)
        except ValueError:
            return text

    def rows(path: Path) -> Rows:
        with path.open(encoding="utf-8", newline="") as file:
            _, *found = csv.reader(file)
        return {tuple(row[:labels]): [cell(text) for text in row[labels:]] for row in found}

    return rows


def against_original(path: Path) -> Rows:
    names = {"original": "original, float32", "fp32": "ours, float32", "bf16": "ours, bf16"}
    rows: Rows = {}
    for row in read(path):
        seconds, ratio = (tuple(float(row[f"{of}{k}"]) for k in ("", "_min", "_max")) for of in ("seconds", "ratio"))
        own: Cell = 1.0 if row["side"] == "original" else ratio
        label = (f"{row['size']}×{row['size']}", names[row["side"]])
        rows[label] = [seconds, own, float(row["memory_mb"]), float(row["kept_mb"])]
    return rows


def time_to_quality(path: Path) -> Rows:
    rows: Rows = {}
    for precision, name in (("fp32", "float32"), ("bf16", "bf16")):
        seeds = [row for row in read(path) if row["setting"] == f"precision={precision}"]
        peaks = tuple(float(row["peak"]) for row in seeds)
        reached = [[float(row[k]) for row in seeds if row[k]] for k in ("reached", "seconds")]
        differences = tuple(float(row["difference"]) for row in seeds)
        against: Cell = (*differences, sum(differences) / len(seeds)) if any(differences) else ""
        per_iteration = sorted(float(row["seconds_per_iteration"]) for row in seeds)[len(seeds) // 2]
        rows[(name,)] = [per_iteration, peaks, against, tuple(reached[0]), tuple(reached[1])]
    return rows


def widths(path: Path) -> Rows:
    columns = ("peak", "peak_iteration", "within_0.1 within_0.5", "one_pass_peak", "handed_back", "iterations")
    return {
        (row["setting"], row["picture"]): [tuple(float(row[name]) for name in column.split()) for column in columns]
        for row in read(path)
    }


READERS: dict[str, Callable[[Path], Rows]] = {
    "results/first-fits/unet-p0.csv": first_fits,
    "results/structure/table-512.csv": as_it_is(1),
    "results/structure/fits-512.csv": as_it_is(2),
    "results/structure/errors-128.csv": as_it_is(1),
    "results/structure/table-256.csv": report("parameters", *PEAKS, *CURVE),
    "results/structure/table-128.csv": report("runs", *PEAKS, *CURVE, FALL),
    "results/structure/table-64.csv": report("runs", *PEAKS, *CURVE, FALL),
    "results/structure/table1-64.csv": table1,
    "results/precision/table-48.csv": precisions,
    "results/stopping/rules.csv": stopping_rules,
    "results/stopping/cases.csv": stopping_cases,
    "results/stopping/cost.csv": stopping_cost,
    "results/stopping/growing.csv": as_it_is(4),
    "results/applications/handed-back.csv": as_it_is(3),
    "results/applications/holes.csv": as_it_is(2),
    "results/applications/input-noise.csv": as_it_is(2),
    "results/real-photographs/estimate.csv": as_it_is(3),
    "results/real-photographs/photographs.csv": as_it_is(1),
    "results/real-photographs/as-it-is.csv": as_it_is(1),
    "results/real-photographs/made.csv": as_it_is(1),
    "results/real-photographs/ways.csv": as_it_is(2),
    "results/tiling/seams.csv": seams,
    "results/width/fits.csv": widths,
    "results/width/larger.csv": as_it_is(3),
    "results/width/leads.csv": as_it_is(2),
    "results/width/soap.csv": as_it_is(2),
    "results/performance/against-original.csv": against_original,
    "results/performance/quality-96.csv": time_to_quality,
}

RESULTS = [table for page in sorted((DOCS / "results").glob("*.md")) for table in tables(page)]
LINKED = [table for table in [*RESULTS, *tables(DOCS / "performance.md"), *tables(ROOT / "README.md")] if table.csv]


@pytest.mark.parametrize("table", LINKED, ids=str)
def test_a_table_shows_what_its_csv_says(table: Table) -> None:
    assert table.csv is not None
    expected = READERS[table.csv.relative_to(DOCS).as_posix()](table.csv)
    labels = len(next(iter(expected)))
    seen = ("",) * labels
    wrong, shown = [], []
    for row in table.rows[1:]:
        # An empty label is that of the row above; behind a comma a page may say more of it than the CSV.
        seen = tuple(cell.replace("*", "") or above for cell, above in zip(row, seen, strict=False))
        said_more = (key for key in expected if all(map(is_or_says_more, seen, key)))
        label = seen if seen in expected else next(said_more)
        shown.append(label)
        cells = zip(table.rows[0][labels:], row[labels:], expected[label], strict=True)
        wrong += [
            f"{label}: {column}: {cell}, not {value}" for column, cell, value in cells if not cell_is(cell, value)
        ]
    assert not wrong, "\n".join(wrong)
    assert set(shown) == set(expected)


@pytest.mark.parametrize("table", RESULTS, ids=str)
def test_a_table_of_results_names_its_csv_or_says_that_there_is_none(table: Table) -> None:
    if table.heading not in WITHOUT_A_CSV_OF_THEIR_OWN:
        assert table.csv is not None or NO_CSV in table.behind


def test_every_csv_of_a_table_is_read_by_one() -> None:
    assert {table.csv.relative_to(DOCS).as_posix() for table in LINKED if table.csv} == set(READERS)


@pytest.mark.parametrize(
    ("shown", "value", "right"),
    [
        ("30.47", 30.474, True),
        ("30.47", 30.476, False),
        ("−0.15", -0.152, True),
        ("2,217,831", 2217831, True),
        ("**0.28**", 0.277, True),
        ("0.28 (1.17)", (0.281, 1.172), True),
        ("0.28 (1.17)", (1.172, 0.281), False),
        ("", 0.3, False),
        ("abstains", "abstains", True),
    ],
)
def test_a_cell_is_compared_to_the_digits_it_shows(shown: str, value: Cell, right: bool) -> None:
    assert cell_is(shown, value) is right
