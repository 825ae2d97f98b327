"""What holds the house together: who may import whom, how long a file and a function may be, what needs torch."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

import dip_lightning
import dip_lightning.data
from dip_lightning.system import environment
from tests.conftest import TINY_UNET

SOURCE = Path(__file__).parents[1] / "src"
PACKAGE = "dip_lightning"

# From top to bottom: a room may import what stands in its own line or below, also inside a function.
FLOORS = (
    {"__main__", "hydra_plugins"},
    {"cli"},
    {PACKAGE, "api"},  # the names that `dip_lightning` itself hands out
    {"workflows"},
    {"fitting"},
    {"callbacks"},
    {"module"},
    {"stopping"},
    {"compilation", "precision", "priors", "problems", "models"},
    {"report"},
    {"runs"},
    {"data"},
    {"config", "system", "curves", "metrics", "stateful"},
    {"checks"},
    {"errors"},
    {"names"},
)
# Imports for type checkers alone, which do not run: the rules are handed the iteration that they judge, and what reads
# pictures the operator that an observation is made with.
FOR_TYPES = {
    (f"{PACKAGE}.stopping.{rule}", f"{PACKAGE}.module")
    for rule in ("clean_error", "holdout", "rule", "sure", "variance")
} | {
    # Loaded when they are asked for, since they need torch, or scikit-image.
    *((PACKAGE, f"{PACKAGE}.{place}") for place in set(dip_lightning._PLACES.values())),
    *((f"{PACKAGE}.data", f"{PACKAGE}.data.{place}") for place in set(dip_lightning.data._PLACES.values())),
    *(
        (f"{PACKAGE}.data.{name}", f"{PACKAGE}.problems.operators.operator")
        for name in ("loading", "observing", "source")
    ),
}
# Rooms that read and write files, or tell a user what is wrong, without torch. In `runs` checkpoints load it when read.
WITHOUT_TORCH = ("cli", "config", "report", "runs", "checks", "errors")

# Measured: 258 (divergence_guard.py), and 63 without its docstring (summarise, which lists the keys of a summary).
LONGEST_FILE, LONGEST_FUNCTION = 300, 80


@cache
def modules() -> dict[str, ast.Module]:
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def nodes(tree: ast.AST, *, types: bool, functions: bool = True) -> Iterator[ast.AST]:
    """Walk a tree; ``types`` tells whether to walk only what is under TYPE_CHECKING, or only the rest."""
    for child in ast.iter_child_nodes(tree):
        if is_for_types(child):
            yield from ast.walk(child) if types else ()
            continue
        if not types:
            yield child
        if functions or not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from nodes(child, types=types, functions=functions)


def imported(tree: ast.Module, *, types: bool = False, functions: bool = True) -> set[str]:
    """The modules that one imports: of ``from package import name`` the name, where that is a module."""
    found: set[str] = set()
    for node in nodes(tree, types=types, functions=functions):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here, so that this test reads them"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules() else str(node.module) for name in whole}
    return found


def own(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] in (PACKAGE, "hydra_plugins")}


def floor_of(module: str) -> int:
    parts = module.split(".")
    room = parts[1] if parts[0] == PACKAGE and len(parts) > 1 else parts[0]
    (floor,) = (number for number, rooms in enumerate(FLOORS) if room in rooms)
    return floor


@pytest.mark.parametrize("module", modules())
def test_a_room_imports_only_what_stands_below_it(module: str) -> None:
    above = {name for name in own(imported(modules()[module])) if floor_of(name) < floor_of(module)}
    assert not above


def test_no_modules_import_each_other() -> None:
    graph = {module: own(imported(tree)) - {module} for module, tree in modules().items()}
    # The package is loaded before anything in it, and by itself loads no more than the errors.
    assert own(imported(modules()[PACKAGE], functions=False)) == {f"{PACKAGE}.errors"}
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names them


def test_imports_for_types_alone_are_few() -> None:
    found = {(module, name) for module, tree in modules().items() for name in own(imported(tree, types=True))}
    assert found == FOR_TYPES


def test_a_report_reads_what_runs_have_written_and_nothing_else() -> None:
    allowed = {"report", "runs", "errors", "checks", "names"}
    for module, tree in modules().items():
        if module.startswith(f"{PACKAGE}.report"):
            names = own(imported(tree)) - {f"{PACKAGE}.config.settings"}
            assert {name.split(".")[1] for name in names} <= allowed, module


def test_no_file_and_no_function_is_too_long() -> None:
    long = []
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > LONGEST_FILE:
            long.append(path.name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                first = node.body[0]
                docstring = (first.end_lineno or 0) - first.lineno + 1 if ast.get_docstring(node) else 0
                if (node.end_lineno or 0) - node.lineno + 1 - docstring > LONGEST_FUNCTION:
                    long.append(f"{path.name}: {node.name}")
    assert not long


def run(code: str, cwd: Path | None = None) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_only_reads_and_tells_needs_no_torch() -> None:
    rooms = tuple(f"{PACKAGE}.{room}" for room in WITHOUT_TORCH)
    names = [name for name in modules() if name.startswith(rooms)]
    run(f"import sys, {', '.join(names)}; sys.exit('torch' in sys.modules and 'torch was loaded')")


# Libraries look at sys.platform, and are loaded before what Windows has not is taken away.
NOT_UNIX = """
import ctypes, signal, sys, hydra.main, matplotlib.figure, psutil, pytorch_lightning, rich, torch, torchmetrics
import skimage.metrics, skimage.restoration, skimage.transform, torch.utils.tensorboard

for name in ("fcntl", "grp", "posix", "pty", "pwd", "resource", "termios"):
    sys.modules[name] = None
del signal.SIGHUP  # Lightning wants the others where sys.platform is not Windows

def no_library_without_a_name(name):
    raise TypeError(name)

ctypes.CDLL = no_library_without_a_name
"""


@pytest.mark.slow
def test_the_package_works_where_there_is_no_unix(tmp_path: Path) -> None:
    run(
        f"{NOT_UNIX}\nimport {', '.join(name for name in modules() if name != f'{PACKAGE}.__main__')}\n"
        f"sys.argv = ['dip', *{TINY_UNET}, 'hydra.run.dir=run']\ndip_lightning.cli.main.main()",
        cwd=tmp_path,
    )
    assert (tmp_path / "run" / "summary.json").is_file()


def test_where_linux_does_not_tell_the_memory_the_system_does(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cpu")
    before = environment.peak_memory_mb(device), environment.present_memory(device)
    monkeypatch.setattr(Path, "read_text", lambda self: (_ for _ in ()).throw(FileNotFoundError(str(self))))
    # The peak of the whole process, which the tests before this one may have reset.
    assert environment.peak_memory_mb(device) >= 0.99 * before[0]
    assert environment.present_memory(device) == pytest.approx(before[1], rel=0.1)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(psutil.Process, "memory_info", lambda self: SimpleNamespace(peak_wset=5e6))
    assert environment.peak_memory_mb(device) == 5
