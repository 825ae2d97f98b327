"""Changes the core in many small ways, and counts how many of these mutants its tests notice.

    python mutation/run.py [MODULE ...]     # make mutants, make mutants MODULE=metrics

Each module is mutated in a copy of the checkout, below outputs/mutants/, and judged by the tests that MODULES names:
those that are to notice, and fast. One that was interrupted goes on; one that is finished begins anew.
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

# A module, by its path in the package, and its tests below tests/; those of the ranges of all settings belong to each.
RANGES = "test_ranges.py"
MODULES: dict[str, str] = {
    "metrics": "test_metrics.py",
    "problems/data_terms": "problems/test_data_terms.py problems/test_problem.py",
    "problems/problem": "problems test_wrong_kinds.py",
    "stopping/clean_error": "callbacks/test_past_peak.py",
    "stopping/holdout": "stopping/test_risk.py problems/test_problem.py",
    "stopping/replay": "stopping/test_replay.py",
    "stopping/rule": "stopping/test_rule.py stopping/test_risk.py",
    "stopping/sure": "stopping/test_risk.py problems/test_problem.py",
    "stopping/variance": "stopping/test_variance.py reference",
    "module": "test_module.py reference problems/test_problem.py priors/test_prior.py test_own_objects.py "
    "fitting/test_optimization.py callbacks/test_peak_psnr.py test_wrong_kinds.py",
    "callbacks/checkpoint": "workflows/test_resume.py",
    "callbacks/curve_logger": "fitting/test_fit.py test_own_objects.py",
    "callbacks/detection": "callbacks/test_detection.py stopping/test_replay.py",
    "callbacks/divergence_guard": "callbacks/test_divergence_guard.py",
    "callbacks/fit_progress": "system/test_terminal.py cli/test_main.py",
    "callbacks/fit_state": "workflows/test_resume.py",
    "callbacks/interrupt": "system/test_terminal.py workflows/test_resume.py",
    "callbacks/output_ema": "callbacks/test_output_ema.py callbacks/test_divergence_guard.py",
    "callbacks/past_peak": "callbacks/test_past_peak.py",
    "callbacks/peak_psnr": "callbacks/test_peak_psnr.py",
    "callbacks/pictures": "fitting/test_fit.py",
    "data/degradation": "data/test_degradation.py data/test_observation.py",
    "config/build": "config/test_targets.py fitting/test_build.py",
    "config/targets": "config/test_targets.py",
    "config/trust": "config/test_targets.py",
    "fitting/resume_check": "workflows/test_resume.py",
    "workflows/resume": "workflows/test_resume.py",
}


def mutmut() -> None:
    """Run mutmut in the current folder, but leave error messages alone: tests compare what matters of their words."""
    from mutmut.__main__ import cli
    from mutmut.mutation import file_mutation

    file_mutation.NEVER_MUTATE_FUNCTION_CALLS.add("UserError")
    cli()


def measure(module: str) -> dict[str, int]:
    """Mutate a module, run its tests for each mutant, and return how many there are of each fate.

    What mutmut says is in ``mutmut.log`` beside the copy, and ``mutmut results`` tells there who survived.
    """
    folder = WORK / module.replace("/", ".")
    counts = folder / "mutants" / "mutmut-cicd-stats.json"
    if counts.exists():
        shutil.rmtree(folder)
    if not folder.exists():
        folder.mkdir(parents=True)
        for name in NEEDED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy(ROOT / name, folder / name)
    lists = {
        "source_paths": ["src"],
        "only_mutate": [f"{PACKAGE}/{module}.py"],
        "also_copy": ["conf", "docs"],
        "pytest_add_cli_args": ["-p", "no:cacheprovider"],
        "pytest_add_cli_args_test_selection": [f"tests/{name}" for name in [RANGES, *MODULES[module].split()]],
    }
    lines = [f"{key} =\n" + "".join(f"    {value}\n" for value in values) for key, values in lists.items()]
    (folder / "setup.cfg").write_text("[mutmut]\n" + "".join(lines), encoding="utf-8")
    paths = [str(folder / "mutants" / "src"), str(folder / "mutants")]
    for path in paths:
        Path(path).mkdir(parents=True, exist_ok=True)  # Python never looks again for what was not there when it began
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    for arguments in (["run", "--max-children=1"], ["export-cicd-stats"]):
        command = [sys.executable, __file__, "--mutmut", *arguments]
        with (folder / "mutmut.log").open("a", encoding="utf-8") as log:
            subprocess.run(command, cwd=folder, env=environment, check=True, stdout=log, stderr=log)
    counted: dict[str, int] = json.loads(counts.read_text(encoding="utf-8"))
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
