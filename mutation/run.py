"""Changes the core in many small ways, and counts how many of these mutants the tests notice.

    python mutation/run.py [MODULE ...]     # make mutants, make mutants MODULE=metrics

Each module is mutated in a copy of the checkout, below outputs/mutants/, and judged by the tests that MODULES names:
those that are to notice, and fast. mutmut goes on where it was; delete the folder to begin anew.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "outputs" / "mutants"
PACKAGE = Path("src/dip_lightning")
# What a mutated copy needs besides the package and the tests.
NEEDED = ("conf", "docs", "pyproject.toml", "src", "tests")

# A module, by its path in the package, and its tests.
MODULES: dict[str, tuple[str, ...]] = {
    "metrics": ("tests/test_metrics.py",),
    "problems/data_terms": ("tests/problems/test_data_terms.py", "tests/problems/test_problem.py"),
    "problems/problem": ("tests/problems", "tests/test_wrong_kinds.py"),
    "stopping/clean_error": ("tests/callbacks/test_past_peak.py",),
    "stopping/holdout": ("tests/stopping/test_risk.py", "tests/problems/test_problem.py"),
    "stopping/replay": ("tests/stopping/test_replay.py",),
    "stopping/rule": ("tests/stopping", "tests/callbacks/test_detection.py"),
    "stopping/sure": ("tests/stopping/test_risk.py", "tests/problems/test_problem.py"),
    "stopping/variance": ("tests/stopping/test_variance.py", "tests/reference"),
    "module": (
        *("tests/test_module.py", "tests/reference", "tests/problems/test_problem.py", "tests/priors/test_prior.py"),
        *("tests/test_own_objects.py", "tests/fitting/test_optimization.py", "tests/callbacks/test_peak_psnr.py"),
    ),
    "callbacks/checkpoint": ("tests/workflows/test_resume.py",),
    "callbacks/curve_logger": ("tests/fitting/test_fit.py", "tests/test_own_objects.py"),
    "callbacks/detection": ("tests/callbacks/test_detection.py", "tests/stopping/test_replay.py"),
    "callbacks/divergence_guard": ("tests/callbacks/test_divergence_guard.py",),
    "callbacks/fit_progress": ("tests/system/test_terminal.py", "tests/cli/test_main.py"),
    "callbacks/fit_state": ("tests/workflows/test_resume.py",),
    "callbacks/interrupt": ("tests/system/test_terminal.py", "tests/workflows/test_resume.py"),
    "callbacks/output_ema": ("tests/callbacks/test_output_ema.py", "tests/callbacks/test_divergence_guard.py"),
    "callbacks/past_peak": ("tests/callbacks/test_past_peak.py",),
    "callbacks/peak_psnr": ("tests/callbacks/test_peak_psnr.py",),
    "callbacks/pictures": ("tests/fitting/test_fit.py",),
    "data/degradation": ("tests/data/test_degradation.py", "tests/data/test_observation.py"),
    "config/build": ("tests/config/test_targets.py", "tests/fitting/test_build.py"),
    "config/targets": ("tests/config/test_targets.py",),
    "config/trust": ("tests/config/test_targets.py",),
    "fitting/resume_check": ("tests/workflows/test_resume.py",),
    "workflows/resume": ("tests/workflows/test_resume.py",),
}


def mutmut() -> None:
    """Run mutmut in the current folder, but leave error messages alone: tests compare what matters of their words."""
    from mutmut.__main__ import cli
    from mutmut.mutation import file_mutation

    file_mutation.NEVER_MUTATE_FUNCTION_CALLS.add("UserError")
    cli()


def measure(module: str) -> dict[str, int]:
    """Mutate a module, run its tests for each mutant, and return how many there are of each fate."""
    folder = WORK / module.replace("/", ".")
    for name in NEEDED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        if not (folder / name).exists():
            folder.mkdir(parents=True, exist_ok=True)
            copy(ROOT / name, folder / name)
    lists = {
        "source_paths": ["src"],
        "only_mutate": [f"{PACKAGE}/{module}.py"],
        "also_copy": ["conf", "docs"],
        "pytest_add_cli_args": ["-p", "no:cacheprovider"],
        "pytest_add_cli_args_test_selection": MODULES[module],
    }
    lines = [f"{key} =\n" + "".join(f"    {value}\n" for value in values) for key, values in lists.items()]
    (folder / "setup.cfg").write_text("[mutmut]\n" + "".join(lines), encoding="utf-8")
    paths = [str(folder / "mutants" / "src"), str(folder / "mutants")]
    for path in paths:
        Path(path).mkdir(parents=True, exist_ok=True)  # Python never looks again for what was not there when it began
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    for arguments in (["run", "--max-children=1"], ["export-cicd-stats"]):
        command = [sys.executable, __file__, "--mutmut", *arguments]
        subprocess.run(command, cwd=folder, env=environment, check=True)
    counted: dict[str, int] = json.loads((folder / "mutants" / "mutmut-cicd-stats.json").read_text(encoding="utf-8"))
    return counted


def main(modules: list[str]) -> None:
    """Measure modules, all if none is named, and write a row of a table for each."""
    print("| module | mutants | killed | share | minutes |\n| --- | --- | --- | --- | --- |")
    for module in modules or list(MODULES):
        start = time.monotonic()
        counted = measure(module)
        killed = counted["killed"] + counted["timeout"]
        total = counted["total"] - counted["skipped"]
        minutes = (time.monotonic() - start) / 60
        print(f"| {module} | {total} | {killed} | {killed / total:.0%} | {minutes:.1f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--mutmut"]:
        sys.argv[1:] = sys.argv[2:]
        mutmut()
    else:
        main(sys.argv[1:])
